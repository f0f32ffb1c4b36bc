#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The life of an entry, protocol by protocol and in both families, as a router
# sees it: which packet makes it, which states it goes through, how long it has
# left in each of them, what is counted, and what ends it. (packets/traces.sh plays
# the lives of TCP connections, packet by packet.)

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

tap_begin ping
need_tracker
setup_router
set_ct "$R" acct 1

# A packet from the client's side or from the server's, which must come out again.
c() { must passed -- inject c "$@"; }
s() { must passed -- inject s "$@"; }
ct() { c tcp "$X,$port" "$Y,80" "$@"; }
st() { s tcp "$Y,80" "$X,$port" "$@"; }

# The one entry of the flow at hand.
flow() { entry "$R" "$FAMILY" tcp "sport=$port" dport=80 "$@"; }
flow_lives() { lives "$1" "$R" "$FAMILY" tcp "sport=$port" dport=80 "${@:2}"; }
state() { # SECONDS STATE WORD...
	flow_lives "$1" "${@:2}"
}

tcp_counters() {
	port=1001
	ct S seq=1000 win=8000 mss=1460 sackok wscale=0
	check "$FAMILY tcp: a SYN makes an entry, unreplied" state 120 SYN_SENT '[UNREPLIED]' '![ASSURED]'
	st SA seq=5000 ack=1001 win=8000 mss=1460 sackok wscale=0
	ct A seq=1001 ack=5001 win=8000
	proc_addr "$X" && local x=$ADDR
	proc_addr "$Y" && local y=$ADDR
	check "$FAMILY tcp: the tuples stand in order" \
		like " src=$x dst=$y sport=1001 dport=80 .*src=$y dst=$x sport=80 dport=1001 " \
		"$R" "$FAMILY" tcp sport=1001
	ct PA seq=1001 ack=5001 win=8000 len=100
	st A seq=5001 ack=1101 win=8000
	ct FA seq=1101 ack=5001 win=8000
	st A seq=5001 ack=1102 win=8000
	st PA seq=5001 ack=1102 win=8000 len=500
	ct A seq=1102 ack=5501 win=8000
	st FA seq=5501 ack=1102 win=8000
	ct A seq=1102 ack=5502 win=8000
	# The SYN and the SYN/ACK had twelve bytes of options.
	local h=$((HEADER + 20))
	check "$FAMILY tcp: packets and bytes of both directions" \
		counted "6/$((6 * h + 12 + 100))" "5/$((5 * h + 12 + 500))" "$R" "$FAMILY" tcp "sport=$port"
	check "$FAMILY tcp: nobody but the table holds the entry" flow use=2
	ct S seq=90000 win=8000
	check "$FAMILY tcp: a SYN in TIME_WAIT starts anew, with new counters" \
		counted "1/$h" "0/0" "$R" "$FAMILY" tcp "sport=$port"
}

# Connections between two kernels, with what they send on their own.
tcp_real() {
	must listen l "$S" "$SA" 80
	must connected -- connect a "$C" "$SA" 80 sport=2001
	must accept b l
	port=2001
	check "$FAMILY tcp: two kernels connect" state 432000 ESTABLISHED '[ASSURED]'
	must send a 20000 && must recv b 20000 && must send b 300 && must recv a 300
	check "$FAMILY tcp: ... exchange data" state 432000 ESTABLISHED '[ASSURED]'
	must shut a && must eof b
	check "$FAMILY tcp: ... one closes" soon quiet state 60 CLOSE_WAIT
	must send b 4000 && must recv a 4000
	check "$FAMILY tcp: ... half closed" state 60 CLOSE_WAIT
	must close b && must eof a && must close a
	check "$FAMILY tcp: ... both closed" soon quiet state 120 TIME_WAIT
	check "$FAMILY tcp: ... nothing in that was invalid" grows 0 "$R" invalid true
	must refused -- connect a "$C" "$SA" 81 sport=2002
	check "$FAMILY tcp: one kernel refuses: no entry" no_entry "$R" "$FAMILY" tcp sport=2002
	must connected -- connect a "$C" "$SA" 80 sport=2003
	must accept b l && must abort a && must reset b
	port=2003
	check "$FAMILY tcp: one kernel resets" state 10 CLOSE
	must close l
}

udp() {
	local since=${EPOCHREALTIME/./}
	check "$FAMILY udp: a datagram passes" c udp "$X,1100" "$Y,53" len=100
	check "$FAMILY udp: it makes an entry, unreplied" \
		lives 30 "$R" "$FAMILY" udp sport=1100 dport=53 '[UNREPLIED]' '![ASSURED]'
	s udp "$Y,53" "$X,1100" len=200
	check "$FAMILY udp: an answer" \
		lives 30 "$R" "$FAMILY" udp sport=1100 '![UNREPLIED]' '![ASSURED]'
	c udp "$X,1100" "$Y,53" len=10
	s udp "$Y,53" "$X,1100" len=10
	local what="$FAMILY udp: more of both within two seconds: not assured"
	if ((${EPOCHREALTIME/./} - since < 1900000)); then
		check "$what" lives 30 "$R" "$FAMILY" udp sport=1100 '![ASSURED]'
	else
		skip "$what" "this machine is too slow now"
	fi
	local h=$((HEADER + 8))
	check "$FAMILY udp: packets and bytes" \
		counted "2/$((2 * h + 110))" "2/$((2 * h + 210))" "$R" "$FAMILY" udp sport=1100
}

# What becomes of flows after two seconds.
declare -A begun
before_later() {
	begun[$FAMILY]=$EPOCHSECONDS
	c udp "$X,1101" "$Y,53" len=100
	c udp "$X,1102" "$Y,53" len=100
	s udp "$Y,53" "$X,1102" len=100
}
later() {
	# With every checker on, the rest may have taken longer than an entry lives.
	if ((EPOCHSECONDS - begun[$FAMILY] > 20)); then
		before_later
		sleep 2.5
	fi
	c udp "$X,1101" "$Y,53" len=100
	check "$FAMILY udp: after two seconds, still one way: not assured" \
		lives 30 "$R" "$FAMILY" udp sport=1101 '[UNREPLIED]' '![ASSURED]'
	c udp "$X,1102" "$Y,53" len=10
	check "$FAMILY udp: after two seconds, both ways: a stream" \
		lives 120 "$R" "$FAMILY" udp sport=1102 '[ASSURED]'
}

ping_echo() {
	in_ns "$C" ping -q -c 3 -i 0.1 -W 10 -s 100 "$SA" >/dev/null || diag "ping failed"
	local request=8 answer=0
	[[ $FAMILY == ipv4 ]] || request=128 answer=129
	check "$FAMILY ping: one entry, replied" \
		lives 30 "$R" "$FAMILY" "$ICMP" type=$request type=$answer code=0 '![UNREPLIED]' '![ASSURED]'
	check "$FAMILY ping: packets and bytes" \
		counted "3/$((3 * (HEADER + 108)))" "3/$((3 * (HEADER + 108)))" "$R" "$FAMILY" "$ICMP" type=$request
	check "$FAMILY ping: a request passes" c icmp "$X" "$Y" $request 0 word=77,1 len=10
	check "$FAMILY ping: ... makes an entry, unreplied" \
		lives 30 "$R" "$FAMILY" "$ICMP" type=$request id=77 '[UNREPLIED]'
	s icmp "$Y" "$X" $answer 0 word=77,1 len=10
	check "$FAMILY ping: ... and its reply" \
		lives 30 "$R" "$FAMILY" "$ICMP" id=77 '![UNREPLIED]'
	check "$FAMILY ping: another sequence number is the same entry" c icmp "$X" "$Y" $request 0 word=77,2
	check "$FAMILY ping: ... " entry "$R" "$FAMILY" "$ICMP" id=77
	check "$FAMILY ping: a reply that nobody asked for is invalid" \
		grows 1 "$R" invalid s icmp "$Y" "$X" $answer 0 word=78,1
	check "$FAMILY ping: ... and makes no entry" no_entry "$R" "$FAMILY" "$ICMP" id=78
	local type
	if [[ $FAMILY == ipv4 ]]; then
		for type in 13 15 17; do
			c icmp "$X" "$Y" $type 0 word=9$type,1 len=12
			check "$FAMILY icmp: query of type $type makes an entry" \
				entry "$R" "$FAMILY" "$ICMP" type=$type id=9$type '[UNREPLIED]' type=$((type + 1))
		done
		check "$FAMILY icmp: type 40 is an error" grows 1 "$R" icmp_error c icmp "$X" "$Y" 40 0 word=79,1
		check "$FAMILY icmp: router solicitation is invalid" \
			grows 1 "$R" invalid c icmp "$X" "$Y" 10 0 word=79,1
	else
		c icmp "$X" "$Y" 139 0 word=97,1 len=12
		check "$FAMILY icmp: node information query makes an entry" \
			entry "$R" "$FAMILY" "$ICMP" type=139 id=97 '[UNREPLIED]' type=140
		check "$FAMILY icmp: neighbour discovery and the like is not tracked" \
			grows 0 "$R" invalid c icmp "$X" "$Y" 135 0 len=20
		check "$FAMILY icmp: an unknown type is invalid" \
			grows 1 "$R" invalid c icmp "$X" "$Y" 200 0 word=79,1
	fi
	check "$FAMILY icmp: ... no entry" no_entry "$R" "$FAMILY" "$ICMP" id=79
}

generic() {
	local proto
	for proto in 253 136; do
		check "$FAMILY protocol $proto passes" c ip "$X" "$Y" $proto len=40
		check "$FAMILY protocol $proto: an entry, unreplied, ten minutes" \
			lives 600 "$R" "$FAMILY" unknown $proto '[UNREPLIED]' '![ASSURED]'
		s ip "$Y" "$X" $proto len=50
		check "$FAMILY protocol $proto: replied" \
			lives 600 "$R" "$FAMILY" unknown $proto '![UNREPLIED]' '![ASSURED]'
		check "$FAMILY protocol $proto: packets and bytes" \
			counted "1/$((HEADER + 40))" "1/$((HEADER + 50))" "$R" "$FAMILY" unknown $proto
	done
	proc_addr "$X" && local x=$ADDR
	proc_addr "$Y" && local y=$ADDR
	check "$FAMILY protocol 253: its line has addresses alone" entry "$R" unknown 253 "src=$x" "dst=$y"
	check "$FAMILY protocol 253: ... no ports" \
		unlike 'port=|id=|type=' "$R" unknown 253 "src=$x" "dst=$y"
}

# Connections of which one direction can be taken for the other.
alike() {
	# Two addresses that differ in the middle only.
	[[ $FAMILY == ipv4 ]] || Y=fd00:1::5:0:9
	ip -n "$R" route replace "$Y" dev tos
	ip -n "$R" neigh replace "$Y" lladdr $MAC_S dev tos nud permanent
	check "$FAMILY alike: a datagram from a port to the same port" c udp "$X,1300" "$Y,1300" len=10
	check "$FAMILY alike: ... makes an entry, unreplied" \
		entry "$R" "$FAMILY" udp sport=1300 dport=1300 '[UNREPLIED]'
	check "$FAMILY alike: another one" c udp "$X,1300" "$Y,1300" len=10
	check "$FAMILY alike: ... is no answer" \
		entry "$R" "$FAMILY" udp sport=1300 dport=1300 '[UNREPLIED]'
	check "$FAMILY alike: the answer" s udp "$Y,1300" "$X,1300" len=20
	check "$FAMILY alike: ... is one" \
		counted "2/$((2 * (HEADER + 18)))" "1/$((HEADER + 28))" "$R" "$FAMILY" udp sport=1300
	# A socket that is its own peer: its packets are their own answers.
	local own=127.0.0.1
	[[ $FAMILY == ipv4 ]] || own=::1
	in_ns "$R" python3 - "$own" <<-'PEER'
		import socket, sys
		peer = (sys.argv[1], 1301)
		socket_of = socket.AF_INET6 if ":" in peer[0] else socket.AF_INET
		with socket.socket(socket_of, socket.SOCK_DGRAM) as it:
		    it.bind(peer)
		    it.connect(peer)
		    for _ in range(2):
		        it.send(b"x")
		        it.recv(1)
	PEER
	check "$FAMILY alike: a socket that is its own peer has one entry, replied" \
		entry "$R" "$FAMILY" udp sport=1301 dport=1301 '![UNREPLIED]'
	use_family "$1"
}

switches() {
	use_family 4
	c udp "$X,1200" "$SA,1200" len=10
	check "counters are not there where nf_conntrack_acct is off" unlike packets= "$S" ipv4 udp sport=1200
	set_ct "$R" acct 0
	c udp "$X,1201" "$Y,53" len=10
	check "acct=0: a new entry has no counters" unlike packets= "$R" ipv4 udp sport=1201
	c udp "$X,1200" "$SA,1200" len=10
	check "acct=0: an old entry keeps counting" like packets=2 "$R" ipv4 udp sport=1200
	set_ct "$R" acct 1
	set_ct "$R" timestamp 1
	c udp "$X,1202" "$Y,53" len=10
	check "timestamp=1: a new entry shows its age" like ' delta-time=[0-9] use=' "$R" ipv4 udp sport=1202
	check "timestamp=1: an old entry does not" unlike delta-time "$R" ipv4 udp sport=1200
	set_ct "$R" timestamp 0
}

for family in 4 6; do
	use_family $family
	udp
	tcp_counters
	tcp_real
	ping_echo
	generic
	alike $family
	before_later
done
sleep 2.5
for family in 4 6; do
	use_family $family
	later
done
switches
tap_finish
