#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A mixture of traffic whose every packet is known beforehand, and what the
# tracker makes of it: after each step the entry and the statistics that changed,
# at the end the whole table, and of each connection what netlink told of it.
# (The lives of TCP connections are in traces/.)
# compare.sh holds the lines that start with "=" or "~" against those of the other
# tracker.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"
# shellcheck source=selftests/lib/libsteps.sh
source "$SELFTESTS/lib/libsteps.sh"

tap_begin ping
need_tracker
setup_router
set_ct "$R" acct 1

record_events $C4 $C6

udp_and_icmp() {
	local request=8 answer=0
	[[ $FAMILY == ipv4 ]] || request=128 answer=129
	begin udp 3300
	step c udp "$X,3300" "$Y,53" len=10
	step c udp "$X,3300" "$Y,53" len=10
	step s udp "$Y,53" "$X,3300" len=20
	step c udp "$X,3300" "$Y,53" len=10
	step s udp "$Y,53" "$X,3300" len=20
	step c udp "$X,3301" "$Y,53" len=10 csum=bad
	step c udp "$X,3302" "$Y,53" len=10 csum=zero
	step c udp "$X,3303" "$Y,53" len=10 ulen=30
	step c udp "$X,3304" "$Y,53" len=10 ulen=4
	step c udp "$X,3305" "$Y,53" len=10 ulen=0
	step c udp "$X,3306" "$Y,0" len=10
	step c udp "$X,0" "$Y,53" len=0

	begin icmp 0
	step c icmp "$X" "$Y" $request 0 word=5,1 len=20
	step c icmp "$X" "$Y" $request 0 word=5,2 len=20
	step s icmp "$Y" "$X" $answer 0 word=5,1 len=20
	step s icmp "$Y" "$X" $answer 0 word=6,1 len=20
	step c icmp "$X" "$Y" $request 1 word=5,1 len=20
	step c icmp "$X" "$Y" $request 0 word=7,1 len=20 csum=bad
	local type
	for type in 1 9 10 13 14 15 16 17 18 19 40 130 133 134 135 136 137 138 139 140 143 151 200 255; do
		step c icmp "$X" "$Y" $type 0 word=8,1 len=20
	done

	begin "errors of a host" 3400
	local unreachable='3 3' toobig='3 4 word=0,1400' exceeded='11 0' problem='12 0' quench='4 0'
	if [[ $FAMILY == ipv6 ]]; then
		unreachable='1 4' toobig='2 0 word=0,1400' exceeded='3 0' problem='4 0' quench='100 0'
	fi
	step c tcp "$X,3400" "$Y,80" S seq=1000 mss=1460
	step s tcp "$Y,80" "$X,3400" SA seq=5000 ack=1001 mss=1460
	step c tcp "$X,3400" "$Y,80" A seq=1001 ack=5001
	step c udp "$X,3400" "$Y,53" len=10
	local kind inner="udp $X,3400 $Y,53 len=10"
	for kind in "$unreachable" "$toobig" "$exceeded" "$problem" "$quench"; do
		# shellcheck disable=SC2086 # words on purpose
		step s icmp "$Y" "$X" $kind inner $inner
	done
	# shellcheck disable=SC2086
	{
		step s icmp "$Y" "$X" $unreachable inner tcp "$X,3400" "$Y,80" A seq=1001 ack=5001
		step s icmp "$RY" "$X" $exceeded inner $inner
		step s icmp "$Y" "$X" $unreachable inner udp "$X,3499" "$Y,53" len=10
		step s icmp "$Y" "$CA" $unreachable inner $inner
		step s icmp "$Y" "$X" $unreachable quote=$((HEADER + 4)) inner $inner
		step s icmp "$Y" "$X" $unreachable quote=$((HEADER - 4)) inner $inner
		step s icmp "$Y" "$X" $unreachable csum=bad inner $inner
		step s icmp "$Y" "$X" $unreachable inner icmp "$X" "$Y" $request 0 word=5,1
		step s icmp "$Y" "$X" $unreachable inner icmp "$Y" "$X" $answer 0 word=5,1
		step s icmp "$Y" "$X" $unreachable inner icmp "$X" "$Y" $unreachable inner $inner
		step c icmp "$X" "$Y" $unreachable inner udp "$Y,53" "$X,3400" len=10
		step c icmp "$X" "$Y" $unreachable inner $inner
	}

	begin "other protocols" 0
	step c ip "$X" "$Y" 253 len=10
	step s ip "$Y" "$X" 253 len=10
	step c ip "$X" "$Y" 136 len=10
	step c ip "$X" "$Y" 33 len=30
	step c ip "$X" "$Y" 50 len=30
	step c ip "$X" "$Y" 51 data=0604000000000001000000010000000000000000000000000000000000000000
	step c ip "$X" "$Y" 255 len=0
}

fragments() {
	begin fragments 3500
	step c udp "$X,3500" "$Y,53" len=2000 id=700 slice=:1000 mf
	step c udp "$X,3500" "$Y,53" len=2000 id=700 slice=1000: frag=1000
	step c udp "$X,3501" "$Y,53" len=2000 id=701 slice=1000: frag=1000
	step c udp "$X,3501" "$Y,53" len=2000 id=701 slice=:1000 mf
	step c udp "$X,3502" "$Y,53" len=2000 id=702 slice=:1000 mf
	step c udp "$X,3502" "$Y,53" len=2000 id=702 slice=800: frag=800
	step c tcp "$X,3503" "$Y,80" S seq=1 slice=:16 id=703 mf
	step c tcp "$X,3503" "$Y,80" S seq=1 slice=16: id=703 frag=16
}

real_traffic() {
	local size=100
	group="$FAMILY two kernels"
	must listen l "$S" "$SA" 80
	must connected -- connect a "$C" "$SA" 80 sport=3601 && must accept b l
	shown "connected" sport=3601
	must send a $size && must recv b $size
	must shut a && must eof b && must send b $size && must recv a $size
	wait_for 5 entry "$R" "$FAMILY" tcp sport=3601 CLOSE_WAIT >/dev/null
	must close b && must eof a && must close a
	wait_for 5 entry "$R" "$FAMILY" tcp sport=3601 TIME_WAIT >/dev/null
	# How many bare ACKs two kernels send is their affair.
	t summary "$R" "$FAMILY" tcp sport=3601
	result "$group / closed" "${LINES[0]% [0-9]*/* [0-9]*/*}"
	must connected -- connect a "$C" "$SA" 80 sport=3602 && must accept b l
	must abort a && must reset b
	shown reset tcp sport=3602
	t connect a "$C" "$SA" 81 sport=3603
	shown "refused ($ANSWER)" tcp sport=3603
	must udp u "$S" 53 "$SA" && must udp v "$C" 3604 "$CA"
	must sendto v "$SA" 53 10 && must take u
	shown "asked" udp sport=3604
	must reply u 20 && must take v
	shown "answered" udp sport=3604
	must sendto v "$SA" 54 10 && t error v
	shown "udp refused ($ANSWER)" udp sport=3604
	local hops=-t
	[[ $FAMILY == ipv4 ]] || hops='-6 -t'
	# shellcheck disable=SC2086
	in_ns "$C" ping $hops 1 -q -c 1 -W 10 -e 4242 "$SA" >/dev/null
	shown "ping that gets as far as the router" id=4242
	in_ns "$C" ping -q -c 2 -i 0.2 -W 10 -e 4243 "$SA" >/dev/null
	shown "ping" id=4243
	local name
	for name in l u v; do
		must close $name
	done
}

# A rule marks a connection, by the length of its packets: 1, the same again, 2.
marks() {
	begin marks 3700
	step c udp "$X,3700" "$Y,53" len=10
	step c udp "$X,3700" "$Y,53" len=10
	step c udp "$X,3700" "$Y,53" len=20
	step s udp "$Y,53" "$X,3700" len=10
	step s udp "$Y,53" "$X,3700" len=20
}

# Where time is slow, what is to be seen must not expire before.
if [[ $SELFTEST_SCALE == small ]]; then
	for name in udp icmp icmpv6; do
		set_ct "$R" ${name}_timeout 300
	done
fi
for family in 4 6; do
	use_family $family
	udp_and_icmp
	fragments
	real_traffic
done

# Each lifetime another number, and none of them short.
life=1000
for name in close last_ack close_wait syn_recv fin_wait time_wait syn_sent unacknowledged max_retrans; do
	set_ct "$R" tcp_timeout_$name $life
	life=$((life + 300))
done
for family in 4 6; do
	use_family $family
	group="$FAMILY random segments"
	for seed in 1 2; do
		t fuzz "$R" "$(scaled 160 40)" $seed "$X" "$Y" || diag "fuzz: $ANSWER"
		for line in "${LINES[@]}"; do
			detail "$group $seed / ${line%%: *}" "${line#*: }"
		done
	done
done

if in_ns "$R" nft 'table inet t {
	chain c {
		type filter hook forward priority 0
		udp dport 53 udp length 18 ct mark set 1
		udp length 28 ct mark set 2
	}
}' 2>/dev/null; then
	for family in 4 6; do
		use_family $family
		marks
	done
	in_ns "$R" nft delete table inet t
else
	skip "marks" "nft does not take the rules"
fi

# What has time left, however slow the machine is.
t summary "$R" 'left>400000'
n=0
for line in "${LINES[@]}"; do
	n=$((n + 1))
	detail "table / $n" "$line"
done
result "steps / packets" "$steps"
result "table / lasting entries" "$n"
show_statistics

show_events "$(scaled 200 150)"
check "all of the traffic was sent" that "$steps > 150"
tap_finish
