#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The table gets another size, back and forth, while connections come, go and
# stay: none of those that stay is lost, and every listing that is made meanwhile
# shows each of them, once. Values that are no size change nothing.
#
# The stock tracker goes on in the same bucket of a table of another size: what
# its listings show during a resize it does not promise.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

tap_begin
need_tracker
HASHSIZE=/sys/module/$MODULE/parameters/hashsize
save_table
dir=$(mktemp -d)
helpers=()

at_end() {
	((!${#helpers[@]})) || kill "${helpers[@]}" 2>/dev/null
	restore_table
	rm -rf "$dir"
}

helper() { # NAME ARGUMENT...
	python3 "$SELFTESTS/lib/stress.py" "${@:2}" >"$dir/$1" &
	helpers+=($!)
}

end_helpers() {
	local pid
	kill "${helpers[@]}"
	for pid in "${helpers[@]}"; do
		wait "$pid" || diag "helper $pid: status $?"
	done
	helpers=()
}

says() { grep -q "$2" "$dir/$1"; } # HELPER REGEX

setup_router
echo 262144 >$MAX

# --- what stays -------------------------------------------------------------

flows=$(scaled 500 60) connections=$(scaled 20 4)
set_ct "$R" udp_timeout 600
must flood c $((flows / 2)) $X4 $Y4 dport=5000
must flood c $((flows / 2)) $X6 $Y6 dport=5001
must listen l "$S" $S4 80
for ((i = 0; i < connections; i++)); do
	must connected -- connect "c$i" "$C" $S4 80 "sport=$((20000 + i))"
	must accept "s$i" l
done
must listen m "$S" $S4 81
must connected -- connect big "$C" $S4 81
must accept gib m
set_ct "$R" udp_timeout 3

helper classic watch "$R" /proc/net/nf_conntrack 4096 dport=5000 dport=5001 dport=80
[[ $TRACKER != rust_ct ]] ||
	helper extended watch "$R" /proc/net/rust_conntrack 65536 dport=5000 dport=5001 dport=80
check "connections that stay are there" \
	wait_for 20 says classic "^watching $((flows + connections))$"
# Few enough for the smallest table: a chain that is full refuses connections, in either tracker.
helper flood flood "$C" eth0 $MAC_C $MAC_RC $X4 $Y4 7000 "$(scaled 100 20)" "$(scaled 0.1 0.3)"
wait_for 20 says flood flooding

# --- back and forth ---------------------------------------------------------

# Sizes that are rounded up too, and what they become.
resize() { # VALUE BUCKETS
	local size
	echo "$1" >$BUCKETS || return
	size=$(<$BUCKETS)
	((size == $2)) || diag "$1 written, $size read"
	((size == $2))
}

must bulk b big gib "$(scaled 16000000 300000)"
rounds=0 wrong=0
end=$((SECONDS + $(scaled 12 25)))
while ((SECONDS < end || rounds == 0)); do
	for size in 512:512 65536:65536 1024:1024 1000:1024 4096:4096 1:512 16384:16384; do
		resize "${size%:*}" "${size#*:}" || wrong=$((wrong + 1))
		rounds=$((rounds + 1))
	done
done
check "$rounds new sizes, each in force at once" that "wrong == 0 && rounds > 6"
check "a transfer meanwhile is complete" must await b
end_helpers
sent=$(sed -n 2p "$dir/flood")
check "new connections came meanwhile ($sent)" that "sent > $(scaled 1000 10)"
for view in classic extended; do
	if [[ $TRACKER != rust_ct ]]; then
		skip "$view listings meanwhile: each entry that stays, once" \
			"the stock tracker's listings do not survive a resize"
		continue
	fi
	listings=$(sed -n 's/^listings //p' "$dir/$view")
	problems=$(sed '1,/^listings/d' "$dir/$view")
	check "$view listings meanwhile (${listings:-0}): each entry that stays, once; no half line" \
		same "${problems}" ""
	check "... and there were some" that "${listings:-0} >= $(scaled 5 2)"
done

# --- afterwards -------------------------------------------------------------

all_there() {
	local port
	for port in 5000 5001; do
		count_entries "$R" udp "dport=$port" '!dport=7000'
		same "$COUNT" $((flows / 2)) || return
	done
	count_entries "$R" tcp dport=80 ESTABLISHED '[ASSURED]'
	same "$COUNT" "$connections"
}
check "afterwards: what was to stay is there" all_there

usable() {
	local i
	for ((i = 0; i < connections; i++)); do
		must send "c$i" 100 && must recv "s$i" 100 && must send "s$i" 100 && must recv "c$i" 100 ||
			return
	done
}
check "... and connections go on" usable
check "... without one of them being tracked anew" all_there

# Those of the flood have three seconds; a listing removes those that are over.
as_many() {
	entries "$R"
	local lines=${#LINES[@]}
	get_ct "$R" count
	same "$VALUE" "$lines" && that "lines == flows + connections + 1"
}
check "the flood expires, and the count is that of the lines" wait_for 20 quiet as_many
stat "$R" insert_failed
if [[ $TRACKER == rust_ct ]]; then
	check "no connection was refused by the table" same "$VALUE" 0
else
	skip "no connection was refused by the table" \
		"the stock tracker's lookups may miss during a resize; it refused $VALUE"
fi

# --- what is no size --------------------------------------------------------

resize 2048 2048
before=$(<$MAX)
unchanged() { same "$(<$BUCKETS)" 2048 && same "$(<$MAX)" "$before"; }
bad() { # FILE VALUE ERRNO
	if t write "${4:--}" "$1" "$2"; then
		diag "'$2' was accepted"
		return 1
	fi
	same "$ANSWER" "$3" && unchanged
}
check "nf_conntrack_buckets: 0 is refused" bad $BUCKETS 0 EINVAL
check "nf_conntrack_buckets: -1 is refused" bad $BUCKETS -1 ENOMEM
check "nf_conntrack_buckets: text is refused" bad $BUCKETS many EINVAL
check "nf_conntrack_buckets: a number beyond all bounds is refused" bad $BUCKETS 99999999999999 EINVAL
if [[ $TRACKER == rust_ct ]]; then
	check "nf_conntrack_buckets: more than fits into memory is refused" bad $BUCKETS 2147483647 ENOMEM
else
	skip "nf_conntrack_buckets: more than fits into memory is refused" "makes the stock tracker warn"
fi
check "hashsize: is a parameter for root" same "$(command stat -c %a "$HASHSIZE")" 600
check "hashsize: shows the same number" same "$(<"$HASHSIZE")" 2048
check "hashsize: 0 is refused" bad "$HASHSIZE" 0 EINVAL
check "hashsize: -1 is refused" bad "$HASHSIZE" -1 EINVAL
check "hashsize: text is refused" bad "$HASHSIZE" many EINVAL
check "hashsize: a number beyond all bounds is refused" bad "$HASHSIZE" 4294967296 ERANGE
check "in another namespace nf_conntrack_buckets is only to be read" must 444 -- mode "$R" $BUCKETS
check "... and shows the same number" must cat "$R" $BUCKETS
check "... which is that of the machine" same "${LINES[0]}" 2048
check "... and is not to be written" bad $BUCKETS 4096 EACCES "$R"
check "hashsize is not to be written from another namespace" bad "$HASHSIZE" 4096 ENOTSUP "$R"
by_parameter() { must write - "$HASHSIZE" "$1" && same "$(<$BUCKETS)" "$2" && same "$(<"$HASHSIZE")" "$2"; }
check "hashsize: another size" by_parameter 4096 4096
check "hashsize: is rounded up as well" by_parameter 5000 5120
check "... and what was to stay is still there" all_there
tap_finish
