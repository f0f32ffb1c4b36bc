#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The life of an entry, protocol by protocol and in both families, as a router
# sees it: which packet makes it, which states it goes through, how long it has
# left in each of them, what is counted, and what ends it.

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

opened() { # handshake: client 1000, server 5000
	ct S seq=1000 win=8000 mss=1460 sackok wscale=0 &&
		st SA seq=5000 ack=1001 win=8000 mss=1460 sackok wscale=0 &&
		ct A seq=1001 ack=5001 win=8000
}

tcp_open_and_close() {
	port=1001
	check "$FAMILY tcp: SYN passes" ct S seq=1000 win=8000 mss=1460 sackok wscale=0
	check "$FAMILY tcp: SYN makes SYN_SENT, unreplied" state 120 SYN_SENT '[UNREPLIED]' '![ASSURED]'
	check "$FAMILY tcp: SYN/ACK passes" st SA seq=5000 ack=1001 win=8000 mss=1460 sackok wscale=0
	check "$FAMILY tcp: SYN/ACK makes SYN_RECV" state 60 SYN_RECV '![UNREPLIED]' '![ASSURED]'
	ct A seq=1001 ack=5001 win=8000
	check "$FAMILY tcp: ACK makes ESTABLISHED, assured" state 432000 ESTABLISHED '![UNREPLIED]' '[ASSURED]'
	proc_addr "$X" && local x=$ADDR
	proc_addr "$Y" && local y=$ADDR
	check "$FAMILY tcp: the tuples stand in order" \
		like " src=$x dst=$y sport=1001 dport=80 .*src=$y dst=$x sport=80 dport=1001 " \
		"$R" "$FAMILY" tcp sport=1001
	ct PA seq=1001 ack=5001 win=8000 len=100
	check "$FAMILY tcp: data that waits for its ACK shortens the life" state 300 ESTABLISHED
	st A seq=5001 ack=1101 win=8000
	check "$FAMILY tcp: the ACK gives it back" state 432000 ESTABLISHED
	ct FA seq=1101 ack=5001 win=8000
	check "$FAMILY tcp: FIN makes FIN_WAIT" state 120 FIN_WAIT '[ASSURED]'
	st A seq=5001 ack=1102 win=8000
	check "$FAMILY tcp: its ACK makes CLOSE_WAIT" state 60 CLOSE_WAIT
	st PA seq=5001 ack=1102 win=8000 len=500
	ct A seq=1102 ack=5501 win=8000
	check "$FAMILY tcp: half closed, data the other way keep CLOSE_WAIT" state 60 CLOSE_WAIT
	st FA seq=5501 ack=1102 win=8000
	check "$FAMILY tcp: the second FIN makes LAST_ACK" state 30 LAST_ACK
	ct A seq=1102 ack=5502 win=8000
	check "$FAMILY tcp: the last ACK makes TIME_WAIT" state 120 TIME_WAIT '[ASSURED]'
	# The SYN and the SYN/ACK had twelve bytes of options.
	local h=$((HEADER + 20))
	check "$FAMILY tcp: packets and bytes of both directions" \
		counted "6/$((6 * h + 12 + 100))" "5/$((5 * h + 12 + 500))" "$R" "$FAMILY" tcp "sport=$port"
	check "$FAMILY tcp: nobody but the table holds the entry" flow use=2
	ct S seq=90000 win=8000
	check "$FAMILY tcp: a SYN in TIME_WAIT starts anew" state 120 SYN_SENT '[UNREPLIED]' '![ASSURED]'
	check "$FAMILY tcp: ... with new counters" \
		counted "1/$h" "0/0" "$R" "$FAMILY" tcp "sport=$port"
}

tcp_server_closes() {
	port=1002
	check "$FAMILY tcp: opened, and closed by the server" opened
	st FA seq=5001 ack=1001 win=8000
	check "$FAMILY tcp: its FIN makes FIN_WAIT" state 120 FIN_WAIT
	ct FA seq=1001 ack=5002 win=8000
	check "$FAMILY tcp: FIN at once from the client makes LAST_ACK" state 30 LAST_ACK
	st A seq=5002 ack=1002 win=8000
	check "$FAMILY tcp: its ACK makes TIME_WAIT" state 120 TIME_WAIT
}

tcp_resets() {
	port=1003
	check "$FAMILY tcp: opened, and reset by the client" opened
	ct RA seq=1001 ack=5001 win=0
	check "$FAMILY tcp: RST makes CLOSE" state 10 CLOSE '[ASSURED]'
	ct S seq=2000000 win=8000
	check "$FAMILY tcp: a SYN after RST starts anew" state 120 SYN_SENT '[UNREPLIED]'

	port=1004
	check "$FAMILY tcp: opened, and reset by the server" opened
	st R seq=5001 win=0
	check "$FAMILY tcp: RST of the server makes CLOSE" state 10 CLOSE

	port=1005
	check "$FAMILY tcp: opened, and a RST that does not fit exactly" opened
	st R seq=5101 win=0
	check "$FAMILY tcp: ... keeps ESTABLISHED, for a shorter life" state 300 ESTABLISHED

	port=1006
	check "$FAMILY tcp: opened, and a RST from before the window" opened
	check "$FAMILY tcp: ... is invalid" grows 1 "$R" invalid st R seq=4000 win=0
	check "$FAMILY tcp: ... and changes nothing" state 432000 ESTABLISHED
	set_ct "$R" tcp_ignore_invalid_rst 1
	check "$FAMILY tcp: with tcp_ignore_invalid_rst=1 it is not judged as RST" \
		grows 0 "$R" invalid st R seq=4999 win=0
	set_ct "$R" tcp_ignore_invalid_rst 0

	port=1007
	ct S seq=1000 win=8000
	check "$FAMILY tcp: a connection is asked for" state 120 SYN_SENT '[UNREPLIED]'
	check "$FAMILY tcp: the refusal passes" st RA seq=0 ack=1001 win=0
	check "$FAMILY tcp: the entry of a refused connection is gone" no_entry "$R" "$FAMILY" tcp "sport=$port"
}

tcp_simultaneous() {
	port=1008
	ct S seq=1000 win=8000 mss=1460
	check "$FAMILY tcp: SYNs cross: a SYN against SYN_SENT passes" st S seq=5000 win=8000 mss=1460
	check "$FAMILY tcp: ... makes SYN_SENT2" state 120 SYN_SENT2 '![UNREPLIED]' '![ASSURED]'
	check "$FAMILY tcp: ... SYN/ACK passes" ct SA seq=1000 ack=5001 win=8000 mss=1460
	check "$FAMILY tcp: ... makes SYN_RECV" state 60 SYN_RECV
	check "$FAMILY tcp: ... SYN/ACK the other way passes" st SA seq=5000 ack=1001 win=8000 mss=1460
	check "$FAMILY tcp: ... ACK passes" st A seq=5001 ack=1001 win=8000
	check "$FAMILY tcp: ... makes ESTABLISHED" state 432000 ESTABLISHED '[ASSURED]'
}

tcp_retransmission() {
	local i
	set_ct "$R" tcp_timeout_max_retrans 200
	set_ct "$R" tcp_timeout_unacknowledged 250
	port=1009
	check "$FAMILY tcp: opened, and the same ACK again and again" opened
	for i in 1 2; do
		ct A seq=1001 ack=5001 win=8000
	done
	check "$FAMILY tcp: not yet at tcp_max_retrans" state 432000 ESTABLISHED
	ct A seq=1001 ack=5001 win=8000
	check "$FAMILY tcp: at tcp_max_retrans, the life is tcp_timeout_max_retrans" state 200 ESTABLISHED
	st A seq=5001 ack=1001 win=8000
	check "$FAMILY tcp: something new ends that" state 432000 ESTABLISHED

	port=1010
	check "$FAMILY tcp: opened, and the server's window closes" opened
	st A seq=5001 ack=1001 win=0
	check "$FAMILY tcp: window zero: tcp_timeout_max_retrans" state 200 ESTABLISHED
	st A seq=5001 ack=1001 win=4000
	check "$FAMILY tcp: window open: the normal life" state 432000 ESTABLISHED

	port=1011
	check "$FAMILY tcp: opened, and data without an ACK" opened
	st PA seq=5001 ack=1001 win=8000 len=200
	check "$FAMILY tcp: unacknowledged: tcp_timeout_unacknowledged" state 250 ESTABLISHED
	st PA seq=5001 ack=1001 win=8000 len=200
	st PA seq=5001 ack=1001 win=8000 len=200
	st PA seq=5001 ack=1001 win=8000 len=200
	check "$FAMILY tcp: retransmitted too often: tcp_timeout_max_retrans" state 200 ESTABLISHED
	set_ct "$R" tcp_timeout_max_retrans 300
	set_ct "$R" tcp_timeout_unacknowledged 300
}

tcp_window() {
	port=1012
	check "$FAMILY tcp: opened, for segments outside of the window" opened
	check "$FAMILY tcp: far beyond the window: invalid" \
		grows 1 "$R" invalid ct PA seq=500000 ack=5001 win=8000 len=10
	check "$FAMILY tcp: ACK of what was not sent: invalid" \
		grows 1 "$R" invalid ct A seq=1001 ack=900000 win=8000
	check "$FAMILY tcp: ... the entry is as before" state 432000 ESTABLISHED
	check "$FAMILY tcp: at the window's edge: valid" \
		grows 0 "$R" invalid ct PA seq=8901 ack=5001 win=8000 len=100
	set_ct "$R" tcp_be_liberal 1
	check "$FAMILY tcp: with tcp_be_liberal=1, beyond the window is valid" \
		grows 0 "$R" invalid ct PA seq=500000 ack=5001 win=8000 len=10
	set_ct "$R" tcp_be_liberal 0

	port=1013
	ct S seq=1000 win=1000 mss=1460 wscale=4
	st SA seq=5000 ack=1001 win=1000 mss=1460 wscale=3
	ct A seq=1001 ack=5001 win=1000
	check "$FAMILY tcp: window scaling: 1000 << 4 may be sent to the client" \
		grows 0 "$R" invalid st PA seq=19901 ack=1001 win=1000 len=1000
	check "$FAMILY tcp: ... and no more" \
		grows 1 "$R" invalid st PA seq=99901 ack=1001 win=1000 len=1000

	port=1014
	ct S seq=4294967000 win=8000 mss=1460 sackok
	st SA seq=4294967200 ack=4294967001 win=8000 mss=1460 sackok
	ct A seq=4294967001 ack=4294967201 win=8000
	check "$FAMILY tcp: sequence numbers wrap around" \
		grows 0 "$R" invalid ct PA seq=4294967001 ack=4294967201 win=8000 len=1000
	st A seq=4294967201 ack=705 win=8000
	check "$FAMILY tcp: ... and all is acknowledged" state 432000 ESTABLISHED
	ct PA seq=1705 ack=4294967201 win=8000 len=1000
	check "$FAMILY tcp: selective acknowledgement is no news beyond the end" \
		grows 0 "$R" invalid st A seq=4294967201 ack=705 win=8000 sack=1705:2705
	check "$FAMILY tcp: ... but beyond what was sent it is" \
		grows 1 "$R" invalid st A seq=4294967201 ack=705 win=8000 sack=1705:9705
}

tcp_loose() {
	port=1015
	check "$FAMILY tcp: a segment out of nowhere passes" ct A seq=1001 ack=5001 win=8000
	check "$FAMILY tcp: ... it is picked up, for a short life" state 300 ESTABLISHED '[UNREPLIED]' '![ASSURED]'
	st A seq=5001 ack=1001 win=8000
	check "$FAMILY tcp: ... an answer alone does not lengthen it" state 300 ESTABLISHED '![ASSURED]' '![UNREPLIED]'
	ct A seq=1001 ack=5001 win=8000
	check "$FAMILY tcp: ... one more segment makes it whole" state 432000 ESTABLISHED '[ASSURED]'
	port=1016
	set_ct "$R" tcp_loose 0
	check "$FAMILY tcp: with tcp_loose=0 it is invalid" grows 1 "$R" invalid ct A seq=1001 ack=5001 win=8000
	check "$FAMILY tcp: ... and makes no entry" no_entry "$R" "$FAMILY" tcp "sport=$port"
	set_ct "$R" tcp_loose 1
	port=1017
	check "$FAMILY tcp: SYN/ACK out of nowhere is invalid" grows 1 "$R" invalid st SA seq=5000 ack=1001 win=8000
	check "$FAMILY tcp: FIN out of nowhere is invalid" grows 1 "$R" invalid ct FA seq=1001 ack=5001 win=8000
	check "$FAMILY tcp: RST out of nowhere is invalid" grows 1 "$R" invalid ct R seq=1001 win=0
	check "$FAMILY tcp: ... none makes an entry" no_entry "$R" "$FAMILY" tcp "sport=$port"
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
	port=1020
	ct S seq=1000 win=8000
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
	port=1020
	check "$FAMILY tcp: a SYN again" ct S seq=1000 win=8000
	lifetime "$R" "$FAMILY" tcp sport=$port SYN_SENT
	check "$FAMILY tcp: ... does not lengthen the life" that "$LEFT <= 118"
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
	tcp_open_and_close
	tcp_server_closes
	tcp_resets
	tcp_simultaneous
	tcp_retransmission
	tcp_window
	tcp_loose
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
