#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Memory runs out, wherever and whenever the tracker asks for some: it goes on
# with less, or says so, and is as before when there is memory again.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

tap_begin conntrack
mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug
FAIL=/sys/kernel/debug/failslab SLAB=/sys/kernel/slab/nf_conntrack
[[ -d $FAIL && -e /proc/self/fail-nth ]] || skip_all "needs a kernel with CONFIG_FAILSLAB"
[[ -e $FAIL/require-start ]] || skip_all "needs CONFIG_FAULT_INJECTION_STACKTRACE_FILTER"
need_tracker
[[ -w $SLAB/failslab ]] || skip_all "no $SLAB/failslab"
save_table

fault() { # NAME=VALUE...
	local setting
	for setting; do
		echo "${setting#*=}" >"$FAIL/${setting%%=*}"
	done
}
# Where a kernel function begins and ends, into START and END. (FUNCTION)
place_of() {
	read -r START END < <(awk -v name="$1" '
		$3 == name { start = $1 }
		start != "" && $1 != start { print "0x" start, "0x" $1; exit }' /proc/kallsyms)
}
# Both of these leave the probability at 0: between a new beginning and a new end lies most of
# the kernel, and whatever failed there meanwhile would fail for good.
#
# Only what is asked for in the course of a kernel function, by any caller.
in_the_course_of() { # FUNCTION
	fault probability=0
	place_of "$1"
	fault "require-start=${START:?}" "require-end=$END" stacktrace-depth=32
}
no_faults() { fault probability=0 cache-filter=N task-filter=N require-start=0 require-end=0xffffffffffffffff; }
# Only what the tracker asks for, or a function that it calls.
of_the_tracker() {
	local start size end text=/sys/module/$MODULE/sections/.text
	fault probability=0
	# Its name in the large code model.
	[[ -e $text ]] || text=${text/.text/.ltext}
	start=$(<"$text")
	size=$(<"/sys/module/$MODULE/coresize")
	printf -v end '0x%x' $((start + size))
	fault "require-start=$start" "require-end=$end" stacktrace-depth=32
}
at_end() {
	hash_stands
	no_faults
	[[ ! -e $BUCKETS ]] || restore_table
}
no_faults
fault interval=1 times=-1 space=0 verbose=0 ignore-gfp-wait=N
# A task that reclaims memory may close files. Where they lie on a host, without memory to say so to
# that, their numbers are never free again, and no file is opened any more.
place_of p9_client_rpc
[[ -z $START ]] || fault "reject-start=$START" "reject-end=$END"

setup_router
set_ct "$R" acct 1
must listen l "$S" $S4 80
must connected -- connect a "$C" $S4 80
must accept b l

# --- no memory for entries --------------------------------------------------

listed() { # As many lines as entries.
	entries "$R"
	count_is "$R" ${#LINES[@]}
}
few=$(scaled 200 40)
echo 1 >$SLAB/failslab
fault cache-filter=Y probability=100
# Each processor may have memory for one in hand, which was freed there.
stat "$R" drop
had=$VALUE
must flood c "$few" $X4 $Y4 dport=5000
stat "$R" drop
dropped=$((VALUE - had))
check "no memory for entries: packets of new connections are dropped ($dropped of $few)" \
	that "dropped <= few && dropped + $(nproc) >= few"
check "... no entry is counted for them" count_is "$R" $((1 + few - dropped))
must send a 1000
check "... a connection goes on" must recv b 1000
fault probability=50
must flood c "$few" $X4 $Y4 dport=5001
get_ct "$R" count
check "memory for some: some are tracked ($((VALUE - 1)) of $few)" that "VALUE > 1 && VALUE < few + 1"
before=$VALUE
no_faults
echo 0 >$SLAB/failslab
# A listing's cursor comes from the same cache.
check "... which are listed" listed
check "memory again: all are tracked" must flood c "$few" $X4 $Y4 dport=5002
check "..." count_is "$R" $((before + few))

# What goes through the entries of a namespace has a cursor, which needs memory.
echo 1 >$SLAB/failslab
fault cache-filter=Y probability=100
# Each processor uses up what it has in hand.
must flood c "$few" $X4 $Y4 dport=5003
get_ct "$R" count
listing() { t cat "$R" /proc/net/nf_conntrack && same ${#LINES[@]} "$VALUE" || same "$ANSWER" ENOMEM; }
check "no memory: a listing is complete, or says so" listing
flushed() { in_ns "$R" conntrack -F 2>/dev/null && count_is "$R" 0; }
check "... a flush removes all entries" flushed
no_faults
echo 0 >$SLAB/failslab

# Without a cursor the flush goes through the table, whose order must stay what it is meanwhile.
readonly HASH=/sys/module/$MODULE/parameters/hash
flushed_anew() {
	local round
	for round in 1 2 3 4 5; do
		must flood c "$few" $X4 $Y4 dport=501$round
		echo 1 >$SLAB/failslab
		fault cache-filter=Y probability=100
		must flood c "$few" $X4 $Y4 dport=502$round
		flushed || return
		no_faults
		echo 0 >$SLAB/failslab
	done
}
if [[ $TRACKER == rust_ct ]]; then
	was_hash=$(<"$HASH")
	hash_changes "$HASH"
	check "... also while the hash changes all the time" flushed_anew
	no_faults
	echo 0 >$SLAB/failslab
	hash_stands
	echo "$was_hash" >"$HASH"
else
	skip "... also while the hash changes all the time" "the stock tracker has no other"
fi
must send a 1000 && must recv b 1000
check "memory again: all are tracked" must flood c "$few" $X4 $Y4 dport=5004
check "..." count_is "$R" $((1 + few))

# --- the Nth time that a call needs memory ----------------------------------

# Resizes until one needs memory fewer than N times.
calls=0 refused=0 problems=''
while ((++calls <= 10)); do
	echo 1024 >$BUCKETS
	of_the_tracker
	read -r result left < <(python3 "$SELFTESTS/lib/faults.py" write $BUCKETS 4096 $calls)
	no_faults
	size=$(<$BUCKETS)
	((left == 0)) || break
	case $result-$size in
	# What the small allocator does not have, the one for pages may.
	ok-4096) ;;
	ENOMEM-1024) refused=$((refused + 1)) ;;
	*) problems+=" $calls:$result-$size" ;;
	esac
done
check "resizing: without memory there is an error, and the table is as it was" same "$problems" ""
check "... at $refused of $((calls - 1)) allocations" that "refused >= 1 && calls <= 10"
check "... with memory it has the new size" same "$result $size" "ok 4096"
check "... entries are all there" listed

of_the_tracker
results=$(python3 "$SELFTESTS/lib/faults.py" netns 200)
no_faults
failed=$(grep -c ' 0$' <<<"$results") refused=$(grep -c '^ENOMEM 0$' <<<"$results")
check "namespaces: without memory for their part there is none, or one with less" \
	same "$(grep -vE '^(ok|ENOMEM) 0$' <<<"$results" | cut -d ' ' -f 1)" ok
check "... at $refused of $failed allocations" that "refused > 3"

# --- always a little too little, under traffic ------------------------------

of_the_tracker
fault probability=30
must bulk x a b "$(scaled 1000000 40000)"
for round in 1 2 3; do
	must flood c "$few" $X4 $Y4 dport=600$round
	echo $((512 * round)) 2>/dev/null >$BUCKETS
	entries "$R"
	ip netns add "ct-f-$$-$round" 2>/dev/null && ip netns del "ct-f-$$-$round" 2>/dev/null
	rm -f "/run/netns/ct-f-$$-$round"
done
# Whatever becomes of a packet that arrives: it has no memory to be copied into, either.
in_the_course_of process_backlog
fault probability=5
must flood c "$few" $X4 $Y4 dport=6005
no_faults
check "a transfer is complete" must await x
check "every entry is listed" listed
get_ct "$R" count
before=$VALUE
check "memory again: all are tracked" must flood c "$few" $X4 $Y4 dport=6006
check "..." count_is "$R" $((before + few))
count_entries "$R" dport=6006 packets=1
check "... with their counters" that "COUNT == few"

# --- nothing is left --------------------------------------------------------

# First the connection, whose sockets would keep their namespaces.
traffic_end
sleep 1
ns_del "$R"
ns_del "$S"
ns_del "$C"
free() { slab_has "$(</proc/sys/net/netfilter/nf_conntrack_count)"; }
if [[ -n ${RUST_CT_VM:-} ]]; then
	check "with the namespaces every entry goes" wait_for 30 free
else
	skip "with the namespaces every entry goes" "there are other namespaces"
fi

# --- loading ----------------------------------------------------------------

clean_slate() {
	[[ ! -d /sys/module/rust_ct && ! -e /proc/net/nf_conntrack && ! -e /proc/net/stat/nf_conntrack &&
		! -e /proc/sys/net/nf_conntrack_max ]] && ! grep -q '^nf_conntrack ' /proc/slabinfo
}
if [[ $TRACKER == rust_ct ]] && module=$(rust_ct_module); then
	rmmod rust_ct
	check "unloaded" clean_slate
	# What the module's start asks for, and not what its loading does.
	in_the_course_of do_one_initcall
	many=1000000
	read -r result left < <(python3 "$SELFTESTS/lib/faults.py" load "$module" $many)
	allocations=$((many - left))
	check "loaded, with $allocations allocations" same "$result" ok
	rmmod rust_ct
	points=$(scaled 40 8) refused=0 missed=0 problems=''
	for ((i = 0; i < points; i++)); do
		n=$((1 + i * allocations / points))
		read -r result left < <(python3 "$SELFTESTS/lib/faults.py" load "$module" $n)
		case $result in
		ok) rmmod rust_ct || problems+=" $n:rmmod" ;;
		ENOMEM) refused=$((refused + 1)) ;;
		*) problems+=" $n:$result" ;;
		esac
		((left == 0)) || missed=$((missed + 1))
		clean_slate || problems+=" $n:left-behind"
	done
	no_faults
	check "without memory, at one of $points moments, it does not load, or with less" same "$problems" ""
	check "... $refused times it did not; memory was missing each time" that "missed == 0 && allocations > points"
	check "with memory it does" insmod "$module"
	check "... and tracks" test -e /proc/net/rust_conntrack
else
	skip "loading" "rust_ct only"
fi
tap_finish
