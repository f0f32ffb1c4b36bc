#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A mixture of traffic whose every packet is known beforehand, and what the
# tracker makes of it: after each step the entry and the statistics that changed,
# at the end the whole table, and of each connection what netlink told of it.
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

# Both trackers' events, or none: rust_ct has them without this module.
[[ $TRACKER == stock ]] && ask=modprobe || ask=modinfo
if quiet "$ask" nf_conntrack_netlink 2>&1; then
	set_ct "$R" events 1
	check "netlink is listened to" must events e "$R" $C4 $C6
	events=1
else
	skip "what netlink tells of each connection" "this kernel has no nf_conntrack_netlink"
	events=0
fi

c() { step c tcp "$X,$port" "$Y,80" "$@"; }
s() { step s tcp "$Y,80" "$X,$port" "$@"; }

opened() { # [OPTION...]
	c S seq=1000 win=8000 mss=1460 "$@"
	s SA seq=5000 ack=1001 win=8000 mss=1460 "$@"
	c A seq=1001 ack=5001 win=8000
}

tcp_states() {
	begin "open and close" 3001
	opened sackok wscale=7
	c PA seq=1001 ack=5001 win=100 len=100
	s A seq=5001 ack=1101 win=100
	s PA seq=5001 ack=1101 win=100 len=1000
	c FA seq=1101 ack=6001 win=100
	s A seq=6001 ack=1102 win=100
	s FA seq=6001 ack=1102 win=100
	c A seq=1102 ack=6002 win=100
	s FA seq=6001 ack=1102 win=100
	c A seq=1102 ack=6002 win=100
	c S seq=80000 win=8000

	begin "both close at once" 3002
	opened
	c FA seq=1001 ack=5001
	s FA seq=5001 ack=1001
	c A seq=1002 ack=5002
	s A seq=5002 ack=1002

	begin "half closed, data go on" 3003
	opened
	c FA seq=1001 ack=5001
	s PA seq=5001 ack=1002 len=500
	c A seq=1002 ack=5501
	s PA seq=5501 ack=1002 len=500
	s RA seq=6001 ack=1002
	c S seq=900000 win=8000
	s SA seq=700000 ack=900001 win=8000

	begin "refused" 3004
	c S seq=1000 win=8000
	s RA seq=0 ack=1001 win=0

	begin "refused, then asked again" 3005
	c S seq=1000 win=8000
	s RA seq=0 ack=1001 win=0
	c S seq=1001 win=8000
	s SA seq=1 ack=1002 win=8000

	begin "SYNs lost" 3006
	c S seq=1000 win=8000
	c S seq=1000 win=8000
	c S seq=2000 win=8000
	s SA seq=5000 ack=2001 win=8000
	s SA seq=5000 ack=2001 win=8000
	c A seq=2001 ack=5001

	begin "SYN/ACK of an older SYN" 3007
	c S seq=1000 win=8000
	s SA seq=5000 ack=501 win=8000
	c R seq=501 win=0
	s SA seq=5000 ack=1001 win=8000
	c A seq=1001 ack=5001

	begin "SYNs cross" 3008
	c S seq=1000 win=8000
	s S seq=5000 win=8000
	c SA seq=1000 ack=5001 win=8000
	s SA seq=5000 ack=1001 win=8000
	s A seq=5001 ack=1001
	c A seq=1001 ack=5001
	c PA seq=1001 ack=5001 len=10

	begin "SYN with data" 3009
	c S seq=1000 win=8000 len=100
	s SA seq=5000 ack=1101 win=8000
	c A seq=1101 ack=5001

	begin "SYN within a connection, challenged" 3010
	opened
	c S seq=1050 win=8000
	s A seq=5001 ack=1001
	c R seq=1001 win=0

	begin "SYN of a new life, answered" 3011
	opened
	c S seq=700000 win=4000 wscale=3 sackok
	s SA seq=300000 ack=700001 win=4000
	c A seq=700001 ack=300001
	c PA seq=700001 ack=300001 len=100

	begin "SYN of a new life, refused" 3012
	opened
	c S seq=700000 win=4000
	s RA seq=0 ack=700001 win=0

	begin "SYN in LAST_ACK, challenged" 3013
	opened
	s FA seq=5001 ack=1001
	c FA seq=1001 ack=5002
	c S seq=700000 win=4000
	s A seq=5002 ack=1001
	s A seq=5002 ack=1002

	begin "SYN from the server in TIME_WAIT" 3014
	opened
	c FA seq=1001 ack=5001
	s FA seq=5001 ack=1002
	c A seq=1002 ack=5002
	s S seq=900000 win=8000
	c SA seq=800000 ack=900001 win=8000

	begin "SYN in SYN_SENT, challenged" 3015
	c S seq=1000 win=8000
	s A seq=5000 ack=400
	c R seq=400 win=0

	begin "closing, SYN anew before the last ACK" 3016
	opened
	c FA seq=1001 ack=5001
	s A seq=5001 ack=1002
	c S seq=900000 win=8000
	s SA seq=700000 ack=900001 win=8000
	c A seq=900001 ack=700001
}

tcp_resets() {
	begin "RST exact" 3101
	opened
	s R seq=5001 win=0

	begin "RST inexact, in window" 3102
	opened
	s R seq=5011 win=0
	c A seq=1001 ack=5001
	s R seq=5001 win=0

	begin "RST below what was acknowledged" 3103
	opened
	s PA seq=5001 ack=1001 len=100
	c A seq=1001 ack=5101
	s R seq=5001 win=0
	s R seq=5101 win=0

	begin "RST beyond the window" 3104
	opened
	s R seq=900000 win=0

	begin "RST after data, same train" 3105
	opened
	s PA seq=5001 ack=1001 len=100
	s R seq=5101 win=0

	begin "RST with data" 3106
	opened
	s RA seq=5001 ack=1001 win=0 len=30

	begin "RST in SYN_RECV" 3107
	c S seq=1000 win=8000
	s SA seq=5000 ack=1001 win=8000
	c R seq=1001 win=0
	c S seq=1000 win=8000

	begin "RST with ack zero" 3108
	opened
	c RA seq=1001 ack=0 win=0

	begin "RST from the client in SYN_SENT" 3109
	c S seq=1000 win=8000
	c R seq=1001 win=0
	c RA seq=1001 ack=1 win=0

	begin "RST in TIME_WAIT" 3110
	opened
	c FA seq=1001 ack=5001
	s FA seq=5001 ack=1002
	c A seq=1002 ack=5002
	s R seq=1 win=0

	begin "RST twice" 3111
	opened
	c R seq=1001 win=0
	c R seq=1001 win=0
	s A seq=5001 ack=1001
	c R seq=1001 win=0

	begin "FIN and RST outside of the window, both sides" 3112
	opened
	c FA seq=900000 ack=5001
	s R seq=900000 win=0
	c RA seq=900000 ack=5001
}

tcp_windows() {
	begin "out of the window" 3201
	opened
	c PA seq=8901 ack=5001 len=100
	c PA seq=9001 ack=5001 len=100
	c PA seq=9102 ack=5001 len=100
	c PA seq=300000 ack=5001 len=100
	s A seq=5001 ack=9101
	s A seq=5001 ack=9202
	s A seq=5001 ack=1001
	c A seq=900 ack=5001
	c A seq=1001 ack=4900

	begin "old data again" 3202
	opened
	c PA seq=1001 ack=5001 len=1000
	s A seq=5001 ack=2001
	c PA seq=1001 ack=5001 len=1000
	c PA seq=4294900000 ack=5001 len=100
	s A seq=5001 ack=2001

	begin "keep-alive" 3203
	opened
	c A seq=1000 ack=5001
	s A seq=5001 ack=1001

	begin "zero window and probes" 3204
	opened
	s A seq=5001 ack=1001 win=0
	c PA seq=1001 ack=5001 len=1
	s A seq=5001 ack=1001 win=0
	c PA seq=1001 ack=5001 len=1
	s A seq=5001 ack=1002 win=0
	s A seq=5001 ack=1002 win=4000
	c PA seq=1002 ack=5001 len=1000

	begin "the same data again and again" 3205
	opened
	local _
	for _ in 1 2 3 4 5; do
		c PA seq=1001 ack=5001 len=10
	done
	s A seq=5001 ack=1011

	begin "window scale" 3206
	c S seq=1000 win=1000 wscale=4
	s SA seq=5000 ack=1001 win=1000 wscale=2
	c A seq=1001 ack=5001 win=1000
	s PA seq=20001 ack=1001 win=1000 len=1000
	s PA seq=21000 ack=1001 win=1000 len=100
	s PA seq=99000 ack=1001 win=1000 len=100
	c PA seq=4001 ack=5001 win=1000 len=1000
	c PA seq=5002 ack=5001 win=1000 len=100
	c PA seq=9000 ack=5001 win=1000 len=100

	begin "window scale of one side alone" 3207
	c S seq=1000 win=1000 wscale=4
	s SA seq=5000 ack=1001 win=1000
	c A seq=1001 ack=5001 win=1000
	s PA seq=6001 ack=1001 win=1000 len=100
	s PA seq=16001 ack=1001 win=1000 len=100

	begin "window scale above fourteen" 3208
	c S seq=1000 win=1000 wscale=15
	s SA seq=5000 ack=1001 win=1000 wscale=14
	c A seq=1001 ack=5001 win=1
	s PA seq=21000 ack=1001 win=1 len=100

	begin "SACK" 3209
	opened sackok
	c PA seq=1001 ack=5001 len=1000
	c PA seq=3001 ack=5001 len=1000
	s A seq=5001 ack=2001 sack=3001:4001
	s A seq=5001 ack=2001 sack=3001:4001,6001:7001
	c PA seq=2001 ack=5001 len=1000
	s A seq=5001 ack=4001

	begin "sequence numbers wrap" 3210
	c S seq=4294967290 win=8000
	s SA seq=4294967295 ack=4294967291 win=8000
	c A seq=4294967291 ack=0
	c PA seq=4294967291 ack=0 len=100
	s A seq=0 ack=95
	c PA seq=95 ack=0 len=100
	s A seq=0 ack=195

	begin "picked up in the middle" 3211
	c PA seq=1001 ack=5001 win=10 len=100
	s A seq=5001 ack=1101 win=10
	c PA seq=60000 ack=5001 win=10 len=100
	s PA seq=5001 ack=60100 win=10 len=100
	c A seq=60100 ack=5101 win=10
	s R seq=5101 win=0

	begin "picked up from the server's side" 3212
	s PA seq=5001 ack=1001 win=10 len=100
	c A seq=1001 ack=5101 win=10
	s A seq=5101 ack=1001 win=10
	c S seq=900000 win=8000
	s SA seq=700000 ack=900001 win=8000

	begin "out of nowhere" 3213
	s SA seq=5000 ack=1001
	c FA seq=1001 ack=5001
	c RA seq=1001 ack=5001
	c R seq=1001
	c F seq=1001
	c - seq=1001
	c SF seq=1001
	c SR seq=1001
	c FRA seq=1001 ack=1
	c U seq=1001
	c P seq=1001
	c SUPEC seq=1001

	begin "timestamps, urgent, ECN" 3214
	c SEC seq=1000 win=8000 mss=1460 sackok ts=1,0 wscale=2
	s SAE seq=5000 ack=1001 win=8000 mss=1460 sackok ts=9,1 wscale=2
	c A seq=1001 ack=5001 ts=2,9
	c PAU seq=1001 ack=5001 len=10 urg=5 ts=3,9
	s A seq=5001 ack=1011 ts=10,3
}

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
	opened
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
	tcp_states
	tcp_resets
	tcp_windows
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

# Of each connection its events in their order. They end with the connections, so that this
# comes last.
tell_events() {
	must told e || return
	local line word
	for line in "${LINES[@]}"; do
		detail "events / ${line%%: *}" "${line#*: }"
	done
	for word in $ANSWER; do
		result "events / ${word%=*}" "${word#*=}"
	done
	that "${#LINES[@]} > 500"
}
((!events)) || check "no event was lost" tell_events
check "all of the traffic was sent" that "$steps > 500"
tap_finish
