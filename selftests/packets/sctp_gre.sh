#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# SCTP and GRE: after each packet the verdict, the entry with its state and its
# lifetime, and the statistics that changed. What is known beforehand is checked;
# compare.sh holds all of it against the other tracker. (The lives of SCTP
# associations are in traces/.)

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"
# shellcheck source=selftests/lib/libsteps.sh
source "$SELFTESTS/lib/libsteps.sh"

tap_begin ping iptables-legacy
need_tracker
setup_router
set_ct "$R" acct 1

set_lifetimes sctp_timeout_{closed,cookie_wait,cookie_echoed,established,shutdown_sent} \
	sctp_timeout_{shutdown_recd,shutdown_ack_sent,heartbeat_sent} gre_timeout gre_timeout_stream

# From the client and from the server. Unless told, with the other one's tag:
# the client gave 0xc, the server 0x5. (CHUNK... [vtag=N])
c() {
	local tag=vtag=0x5
	[[ $1 != INIT:* ]] || tag=vtag=0
	step c sctp "$X,$port" "$Y,9" $tag "$@"
}
s() {
	local tag=vtag=0xc
	[[ $1 != INIT:* ]] || tag=vtag=0
	step s sctp "$Y,9" "$X,$port" $tag "$@"
}

# The state after the last step. (STATE NAME-OF-LIFETIME WORD...)
is_now() {
	local seconds=life_sctp_timeout_$2
	lives "${!seconds}" "$R" "$FAMILY" sctp "sport=$port" "$1" "${@:3}"
}
is() { check "$group: $1" is_now "$@"; }

opened() {
	c INIT:0xc
	s INITACK:0x5
	c COOKIEECHO
	s COOKIEACK
}

malformed() {
	begin "chunks cut short"
	opened
	c NOLENGTH
	c DATA NOLENGTH
	c vtag=0x5
	c DATA+100 l4cut=15
	c DATA+100 l4cut=20
	c DATA+100 l4cut=11
	c DATA+100 l4cut=4
	c DATA+3
	begin "INIT cut short"
	c INIT:0xc l4cut=20
	c INIT:0xc l4cut=16

	begin "checksums"
	c INIT:0xc csum=bad
	check "$group: a wrong one makes no entry" no_entry "$R" "$FAMILY" sctp "sport=$port"
	set_ct "$R" checksum 0
	c INIT:0xc csum=bad
	is CLOSED closed '[UNREPLIED]'
	set_ct "$R" checksum 1
}

# Chunks that might come and some that might not, the same ones with each tracker.
dice() { # NUMBER -> DICE
	random=$(((random * 1103515245 + 12345) & 0x7fffffff))
	DICE=$(((random >> 12) % $1))
}
random_chunks() { # SEED
	random=$1
	local kinds=(DATA DATA DATA SACK HB HBACK INIT INITACK COOKIEECHO COOKIEACK SHUTDOWN SHUTACK
		SHUTCOMP ABORT ABORT/T ERROR "DATA SHUTDOWN" "COOKIEECHO DATA") tags=(0x5 0xc 0x77 0) side words tag i
	for ((i = 0; i < 60; i++)); do
		if ((i % 12 == 0)); then
			begin "random chunks $1"
			dice 3
			((DICE)) || opened
		fi
		dice 2 && side=$((DICE))
		dice ${#kinds[@]} && words=${kinds[DICE]}
		dice 4 && [[ $words != INIT* ]] || words+=:${tags[DICE]}
		dice 6
		tag=
		((DICE > 3)) || tag=vtag=${tags[DICE]}
		# shellcheck disable=SC2086 # words on purpose
		((side)) && c $words $tag || s $words $tag
	done
}

# Two kernels. Python knows the protocol as a stream socket.
real_association() {
	begin "two kernels"
	modprobe sctp 2>/dev/null
	if ! must listen l "$S" "$SA" 9 sctp; then
		skip "$FAMILY: association of two kernels" "no SCTP"
		return
	fi
	check "$group: they connect" must connected -- connect a "$C" "$SA" 9 sport=4000 sctp
	must accept b l
	port=4000
	check "$group: data go" must send a 100
	check "$group: ... and arrive" must recv b 100
	is ESTABLISHED established '[ASSURED]'
	must close a
	must eof b
	must close b
	check "$group: they part" soon quiet is_now CLOSED closed
	t summary "$R" "$FAMILY" sctp sport=4000
	result "$group / closed" "${LINES[0]% [0-9]*/* [0-9]*/*}"
	must close l
}

gre() {
	begin "gre"
	step c gre "$X" "$Y" len=20
	check "$group: one packet" lives 3400 "$R" "$FAMILY" gre '[UNREPLIED]'
	step c gre "$X" "$Y" len=20 key=7
	step s gre "$Y" "$X" len=20
	check "$group: an answer" lives 3400 "$R" "$FAMILY" gre '![UNREPLIED]' timeout=3400, stream_timeout=3700
	step c gre "$X" "$Y" len=20 key=9
	check "$group: more of them" lives 3700 "$R" "$FAMILY" gre '[ASSURED]'
	set_ct "$R" gre_timeout_stream 3100
	step s gre "$Y" "$X" len=20
	set_ct "$R" gre_timeout_stream 3700
	# Version 1 (PPTP) needs a control connection, which is not there.
	step c gre "$X" "$Y" call=5 seq=1 len=20
	step s gre "$Y" "$X" call=6 ackn=1
	step c gre "$X" "$Y" flags=2 len=20
	# Version 1 with another payload than PPP, without and with a call ID.
	step c ip "$X" "$Y" 47 data=200186dd0000
	step c ip "$X" "$Y" 47 data=200186dd00000000
	step c ip "$X" "$Y" 47 data=2001
	step c ip "$X" "$Y" 47 data=200188
	step c ip "$X" "$Y" 47 data=2001880b
	step c ip "$X" "$Y" 47 len=0
}

# A tunnel of two kernels, through the router.
tunnel() {
	local kind=gre inner=10.7.7
	begin "tunnel"
	[[ $FAMILY == ipv4 ]] || kind=ip6gre inner=10.7.8
	if ! ip -n "$C" link add tun$inner type $kind local "$CA" remote "$SA" key 3; then
		skip "$FAMILY: GRE tunnel" "no $kind"
		return
	fi
	ip -n "$S" link add tun$inner type $kind local "$SA" remote "$CA" key 3
	ip -n "$C" addr add $inner.1/24 dev tun$inner
	ip -n "$S" addr add $inner.2/24 dev tun$inner
	ip -n "$C" link set tun$inner up
	ip -n "$S" link set tun$inner up
	# Datagrams that the interfaces send on their own come first; after the second
	# question nothing depends on them.
	check "$group: pings go through" quiet in_ns "$C" ping -q -c 3 -i 0.2 -W 10 $inner.2
	proc_addr "$CA"
	check "$group: its entry" lives 3700 "$R" "$FAMILY" gre "src=$ADDR" '[ASSURED]'
	t summary "$R" "$FAMILY" gre
	result "$group / entries" "${#LINES[@]}"
	ip -n "$C" link del tun$inner
	ip -n "$S" link del tun$inner
}

# Version 1 of GRE belongs to the control connection that a PPTP client and server have.
pptp() {
	begin "pptp"
	in_ns "$R" iptables-legacy -w -t raw -A PREROUTING -p tcp --dport 1723 -j CT --helper pptp || {
		skip "$FAMILY: PPTP" "no helper"
		return
	}
	pptp_calls
	show_expectations expectation
	check "$group: both directions are expected" expected 2
	step c gre "$X" "$Y" call=0x22 seq=1 len=20
	check "$group: the call belongs to its control connection" \
		entry "$R" gre srckey=0x11 dstkey=0x22 '[UNREPLIED]'
	step s gre "$Y" "$X" call=0x11 seq=1 ackn=1 len=20
	step c gre "$X" "$Y" call=0x22 ackn=1
	check "$group: ... in both directions" entry "$R" gre srckey=0x11 dstkey=0x22 '[ASSURED]'
	step s gre "$Y" "$X" call=0x33 seq=1 len=20
	pptp_hangs_up
	check "$group: the call ends with it" no_entry "$R" gre srckey=0x11
	show_expectations left
	in_ns "$R" iptables-legacy -w -t raw -F
}

for family in 4 6; do
	use_family $family
	malformed
	# Not where time is slow.
	[[ $SELFTEST_SCALE == small ]] || random_chunks $family
	real_association
	gre
	tunnel
done
use_family 4
pptp

# Of the call's two expectations one is only withdrawn, and goes whenever the collector comes by.
show_statistics | grep -v '^= statistics / expect_delete:'
result "steps / packets" "$steps"
check "all of the traffic was sent" that "$steps > $(scaled 180 60)"
tap_finish
