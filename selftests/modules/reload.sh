#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# rust_ct comes and goes, again and again, under traffic, while packets in queues
# hold its entries: it leaves when it is told to, leaves nothing behind, and may
# come back at once. It does not come where the C tracker is, nor with parameters
# that make no sense. What was loaded at the start is loaded at the end.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

tap_begin tc insmod rmmod modinfo
module=$(rust_ct_module) || skip_all "no rust_ct.ko (RUST_CT_KO says where)"
stock=$(modinfo -n nf_conntrack 2>/dev/null) || stock=
was=$(tracker_loaded)
# Not by /sys/module: rust_ct is there under the C modules' names, too.
is_loaded() { grep -q "^$1 " /proc/modules; }
[[ $was != stock ]] || skip_all "the C tracker is loaded: unload it first"
modprobe -a nf_defrag_ipv4 nf_defrag_ipv6 sch_netem || skip_all "no nf_defrag or sch_netem module"
dir=$(mktemp -d)
helpers=()

at_end() {
	((!${#helpers[@]})) || kill "${helpers[@]}" 2>/dev/null
	! is_loaded nf_conntrack || rmmod nf_conntrack
	case $was in
	none) ! is_loaded rust_ct || rmmod rust_ct ;;
	rust_ct) is_loaded rust_ct || insmod "$module" ;;
	esac
	rm -rf "$dir"
}

is_gone() {
	! is_loaded rust_ct && [[ ! -e /sys/module/nf_conntrack && ! -e /sys/module/nf_conntrack_netlink &&
		! -e /proc/net/nf_conntrack && ! -e /proc/sys/net/netfilter/nf_conntrack_max ]]
}
slab() { awk '$1 == "nf_conntrack" { print $2 }' /proc/slabinfo; }

is_loaded rust_ct || insmod "$module" || skip_all "rust_ct.ko cannot be loaded here"

# --- rounds under traffic ---------------------------------------------------

setup_router
# A packet that has passed the router waits here, and its entry with it.
delay=200
tc -n "$R" qdisc add dev tos root netem delay ${delay}ms limit 20000
tc -n "$R" qdisc add dev toc root netem delay 20ms limit 20000
must listen l "$S" $S4 80
must connected -- connect a "$C" $S4 80
must accept b l
must udp u "$S" 5000
must udp v "$C" 0
python3 "$SELFTESTS/lib/stress.py" flood "$C" eth0 $MAC_C $MAC_RC $X4 $Y4 7000 \
	"$(scaled 200 10)" "$(scaled 0.05 0.2)" >"$dir/flood" &
helpers+=($!)

waiting() { tc -n "$R" -s qdisc show dev tos | sed -n 's/.* backlog [0-9A-Za-z]*b \([0-9]*\)p.*/\1/p' | head -n 1; }
packets_wait() { (($(waiting) > 0)) && [[ $(wc -l <"/proc/net/nf_conntrack") ]] && count_some; }
count_some() { get_ct "$R" count && ((VALUE > 0)); }

# What reads and writes the parameters meanwhile, by the C module's name.
while :; do
	cat /sys/module/nf_*/{initstate,parameters/*}
	echo 1024 >/sys/module/nf_conntrack/parameters/hashsize
done >/dev/null 2>&1 &
helpers+=($!)

rounds=$(scaled 20 4)
longest=0 failed='' held=0
must bulk x a b "$(scaled 3000000 100000)"
for ((round = 1; round <= rounds; round++)); do
	# Into the receive queue of a socket that is not read.
	t sendto v $S4 5000 100
	wait_for 20 quiet packets_wait || failed+=" $round:no-packets"
	((held += $(waiting)))
	start=${EPOCHREALTIME/./}
	timeout 60 rmmod rust_ct || failed+=" $round:rmmod"
	took=$(((${EPOCHREALTIME/./} - start) / 1000))
	((took <= longest)) || longest=$took
	is_gone || failed+=" $round:not-gone"
	[[ -z $(slab) ]] || failed+=" $round:slab"
	insmod "$module" || failed+=" $round:insmod"
done
check "$rounds times unloaded and loaded at once" same "$failed" ""
diag "the longest took $longest ms; $held packets were waiting, in all"
check "... with packets in a queue that held entries" that "held >= rounds"
check "... none took much longer than the queue" that "longest < delay + $(scaled 8000 40000)"
check "a TCP transfer went through all of it" must await x
kill "${helpers[@]}"
wait "${helpers[@]}"
helpers=()
sent=$(sed -n 2p "$dir/flood")
check "... and $sent new flows" that "sent > 50"
check "the connection is tracked, by the last one loaded" must send a 100
check "..." must recv b 100
check "... as one that it has not seen the beginning of" entry "$R" tcp dport=80 ESTABLISHED
for ((i = 0; i < rounds; i++)); do
	t take u || break
done
check "datagrams that waited in a socket are delivered" that "i > 0"
check "unloaded again" rmmod rust_ct
check "... nothing of it is left" is_gone
check "... no slab" same "$(slab)" ""

# --- hooks that cannot be registered ----------------------------------------

# Netfilter allows 1024 hooks at one point. The last of the tracker's finds no room there, while
# packets pass those that were registered before it, and make entries.
full_hook() {
	local i
	echo "table ip6 full {"
	for ((i = 0; i < 1024; i++)); do
		echo "chain i$i { type filter hook input priority $i; }"
		((i >= 900)) || echo "chain p$i { type filter hook prerouting priority $i; }"
	done
	echo "}"
}
if command -v nft >/dev/null && modprobe nf_tables; then
	ip link set lo up
	python3 "$SELFTESTS/lib/stress.py" datagrams 127.0.0.1 &
	helpers+=($!)
	nft -f - < <(full_hook) || fail "1024 chains at one hook"
	check "no room for the last hook: it is not loaded" refused insmod "$module"
	check "... nothing of it is left" is_gone
	check "... no slab" same "$(slab)" ""
	nft delete table ip6 full
	in_ns "$R" nft -f - < <(full_hook) || fail "1024 chains at one hook"
	check "no room in another namespace: it is loaded" insmod "$module"
	check "... the log says so" \
		quiet eval 'kernel_log | grep "rust_ct: netns [0-9]* is not tracked: no room for hooks, errno 7$"'
	must send a 100
	must recv b 100
	check "... the others are tracked" entry "$C" tcp dport=80 ESTABLISHED
	check "... that one is not" count_is "$R" 0
	in_ns "$R" nft delete table ip6 full
	kill "${helpers[@]}"
	wait "${helpers[@]}"
	helpers=()
	check "... and it goes" rmmod rust_ct
else
	skip "hooks that cannot be registered" "no nft"
fi

# --- parameters -------------------------------------------------------------

# How many lines of the log are new, and like a regular expression.
log_lines() { kernel_log | sed "1,/$step/d" | grep -cE "$1"; }
step_number=0
mark_log() {
	step_number=$((step_number + 1))
	step="$log_mark step $step_number."
	echo "$step" >/dev/kmsg
}

rejected() { # REGEX PARAMETER...
	mark_log
	if insmod "$module" "${@:2}" 2>"$dir/error"; then
		diag "was loaded"
		rmmod rust_ct
		return 1
	fi
	is_gone || diag "is there all the same"
	is_gone && grep -qE "Invalid parameters|Invalid argument|out of range" "$dir/error" || {
		diag "insmod says: $(<"$dir/error")"
		return 1
	}
	(($(log_lines "$1") == 1)) && return
	diag "the log: $(kernel_log | sed "1,/$step/d")"
	return 1
}
loads() { # PARAMETER...
	mark_log
	insmod "$module" "$@"
}
parameter() { same "$(<"/sys/module/rust_ct/parameters/$1")" "$2"; }

check "hashsize=many is refused" rejected "rust_ct: .many. invalid for parameter .hashsize." hashsize=many
check "hashsize=0 is refused" rejected "rust_ct: .0. invalid for parameter .hashsize." hashsize=0
check "hashsize=-1 is refused" rejected "rust_ct: .-1. invalid for parameter .hashsize." hashsize=-1
check "acct=7 is refused" rejected "rust_ct: .7. invalid for parameter .acct." acct=7
check "tstamp=maybe is refused" rejected "rust_ct: .maybe. invalid for parameter .tstamp." tstamp=maybe
check "enable_hooks=2 is refused" rejected "rust_ct: .2. invalid for parameter .enable_hooks." enable_hooks=2
check "a parameter that is none is no reason" loads bogus=1
check "... the log says so" that "$(log_lines "rust_ct: unknown parameter 'bogus' ignored") == 1"
rmmod rust_ct
check "hashsize=2000 acct=1 tstamp=y enable_hooks=0" loads hashsize=2000 acct=1 tstamp=y enable_hooks=0
check "... hashsize is rounded up" parameter hashsize 2048
check "... nf_conntrack_buckets shows it" same "$(</proc/sys/net/netfilter/nf_conntrack_buckets)" 2048
check "... eight entries for each of them" same "$(</proc/sys/net/nf_conntrack_max)" 16384
check "... acct" parameter acct Y
check "... tstamp" parameter tstamp Y
check "... enable_hooks" parameter enable_hooks N
check "... a namespace has them as its settings" must cat "$R" /proc/sys/net/netfilter/nf_conntrack_acct
check "... 1" same "${LINES[0]}" 1
must send a 100
check "... and tracks nothing, as nobody asks for it" same "$(get_ct "$R" count && echo "$VALUE")" 0
must recv b 100
rmmod rust_ct
check "without parameters it loads again" loads
check "... with those of the C tracker" same \
	"$(cd /sys/module/rust_ct/parameters && echo "$(<acct) $(<tstamp) $(<enable_hooks)")" "N N Y"

# --- one tracker at a time --------------------------------------------------

clash() { # COMMAND MODULE OTHER
	mark_log
	if insmod "$1" 2>"$dir/error"; then
		diag "was loaded"
		rmmod "$2"
		return 1
	fi
	is_loaded "$2" && diag "$2 is there all the same"
	[[ $(log_lines "$2: exports duplicate symbol .* \(owned by $3\)") == 1 && $(log_lines "$2") == 1 ]] && return
	diag "insmod says: $(<"$dir/error")" "the log: $(kernel_log | sed "1,/$step/d")"
	return 1
}
if [[ -n $stock && -e $stock ]]; then
	check "the C tracker is refused where rust_ct is, with one line that says why" \
		clash "$stock" nf_conntrack rust_ct
	check "... rust_ct goes on" test -e /proc/net/rust_conntrack
	rmmod rust_ct
	check "the C tracker loads where rust_ct was" insmod "$stock"
	check "rust_ct is refused where the C tracker is, with one line that says why" \
		clash "$module" rust_ct nf_conntrack
	check "... the C tracker goes on" test -e /proc/sys/net/nf_conntrack_max
	rmmod nf_conntrack
	check "rust_ct loads where the C tracker was" loads
else
	skip "one tracker at a time" "no nf_conntrack module"
fi
check "the connection goes on" must send a 100
check "..." must recv b 100
check "unloading, with connections" rmmod rust_ct
tap_finish
