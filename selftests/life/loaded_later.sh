#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Connections that are older than the tracker: they are opened while none is
# loaded, then it is, and then they go on.
#
#     loaded_later.sh [rust_ct|stock]
#
# loads that tracker, which must not be loaded before. Each line that starts with
# "=" says what became of one connection; compare.sh holds them against what the
# other tracker does.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

TRACKER=${1:-${RUST_CT_TRACKER:-rust_ct}}
[[ $TRACKER != none ]] || TRACKER=rust_ct

tap_begin modprobe insmod
if [[ $(tracker_loaded) == "$TRACKER" ]]; then
	# Where the tracker can be unloaded, that does as well.
	unload_tracker "$TRACKER" || skip_all "$TRACKER is in use"
fi
[[ $(tracker_loaded) == none ]] || skip_all "another tracker is loaded"
setup_router
loaded_here=0
at_end() { ((!loaded_here)) || unload_tracker "$TRACKER"; }

# adopt.sh is about what rust_ct does without the parameter.
[[ $TRACKER == stock ]] && idle=() || idle=(adopt_sockets=0)
load() { # [PARAMETER]...
	load_tracker "$TRACKER" "${idle[@]}" "$@" || return
	loaded_here=1
	t write "$R" /proc/sys/net/netfilter/nf_conntrack_acct 1
}

unload() {
	unload_tracker "$TRACKER" && loaded_here=0
}

# What the router knows of a flow. (ITEM WORD...)
shown() {
	local item=$1 line n=
	t summary "$R" "$FAMILY" "${@:2}"
	for line in "${LINES[@]:-no entry}"; do
		result "$FAMILY $group / $item$n" "$line"
		n=$((n + 1))
	done
}

# The same, without the counters: how many bare ACKs two kernels send, and in how
# many packets they put their data, is their affair.
shown_uncounted() {
	local item=$1
	t summary "$R" "$FAMILY" "${@:2}"
	if [[ ${LINES[0]:-no entry} =~ ^(.*)\ [0-9]+/[0-9]+\ [0-9]+/[0-9]+$ ]]; then
		result "$FAMILY $group / $item" "${BASH_REMATCH[1]}"
	else
		result "$FAMILY $group / $item" "${LINES[0]:-no entry}"
	fi
}

# Waits until the kernels' own ACKs have come: the entry lives for so long, or has
# a word. (SECONDS|WORD WORD...)
settle() {
	if [[ $1 =~ ^[0-9]+$ ]]; then
		wait_for 3 lives "$1" "$R" "$FAMILY" "${@:2}" >/dev/null
	else
		wait_for 3 entry "$R" "$FAMILY" "$@" >/dev/null
	fi
}

# A packet of our own making, and what came of it. (c|s PACKET...)
packet() {
	t step "$1" "$R" "${@:2}" || ANSWER="error $ANSWER"
	local text="$1 ${*:2}"
	text=${text/"$X"/X}
	result "$FAMILY $group / ${text/"$Y"/Y}" "$ANSWER"
}
c() { packet c tcp "$X,$port" "$Y,80" "$@"; }
s() { packet s tcp "$Y,80" "$X,$port" "$@"; }

# Before the tracker there is nothing to be seen: only the packets pass.
before() { t inject "$@" && same "$ANSWER" passed; }

declare -A listening=()
open_real() { # NAME PORT
	if [[ -z ${listening[$FAMILY]:-} ]]; then
		must listen "l$FAMILY" "$S" "$SA" 80 || return
		listening[$FAMILY]=1
	fi
	must connected -- connect "c$1" "$C" "$SA" 80 sport="$2" && must accept "s$1" "l$FAMILY"
}

# --- before -----------------------------------------------------------------

names='idle client server half clientfin serverfin reset down up'

prepare() { # 4|6
	use_family "$1"
	local name port=4000
	for name in $names; do
		port=$((port + 1))
		open_real "$name$1" "$port" || return
		must send "c$name$1" 100 && must recv "s$name$1" 100 || return
	done
	must shut "chalf$1" && must eof "shalf$1" || return
	must udp "u$1" "$S" 53 "$SA" || return
	for name in idle client server; do
		must udp "v$name$1" "$C" $((port += 1)) "$CA" &&
			must sendto "v$name$1" "$SA" 53 10 && must take "u$1" || return
	done
	# Three opened by packets of our own, with sequence numbers to play with.
	for port in 5001 5002 5003 5004 5005 5006 5007 5008; do
		before c tcp "$X,$port" "$Y,80" S seq=1000 win=8000 wscale=7 sackok &&
			before s tcp "$Y,80" "$X,$port" SA seq=5000 ack=1001 win=8000 wscale=7 sackok &&
			before c tcp "$X,$port" "$Y,80" A seq=1001 ack=5001 win=100 || return
	done
	local request=8
	[[ $FAMILY == ipv4 ]] || request=128
	before c icmp "$X" "$Y" "$request" 0 word=71,1 && before c ip "$X" "$Y" 253 len=10
}

# --- after ------------------------------------------------------------------

real_connections() { # 4|6
	local v=$1
	group="idle"
	shown "TCP, opened before" sport=4001
	shown "UDP, used before" udp sport=4010

	group="TCP, the client sends first"
	must send "cclient$v" 100 && must recv "sclient$v" 100
	settle '![UNREPLIED]' sport=4002
	shown_uncounted "data from the client" sport=4002
	must send "sclient$v" 100 && must recv "cclient$v" 100
	settle 432000 sport=4002
	shown_uncounted "data from the server" sport=4002

	group="TCP, the server sends first"
	must send "sserver$v" 100 && must recv "cserver$v" 100
	settle '![UNREPLIED]' dport=4003
	shown_uncounted "data from the server" dport=4003
	must send "cserver$v" 100 && must recv "sserver$v" 100
	settle 432000 dport=4003
	shown_uncounted "data from the client" dport=4003
	must shut "cserver$v" && must eof "sserver$v" && must close "sserver$v" && must eof "cserver$v"
	must close "cserver$v"
	settle TIME_WAIT dport=4003
	shown_uncounted "both close" dport=4003

	group="TCP, half closed before"
	shown "nothing yet" sport=4004
	must send "shalf$v" 100 && must recv "chalf$v" 100
	settle '![UNREPLIED]' dport=4004
	shown_uncounted "data from the server" dport=4004
	must close "shalf$v" && must eof "chalf$v"
	settle CLOSE_WAIT dport=4004
	shown_uncounted "the server closes" dport=4004

	group="TCP, the client closes first"
	must shut "cclientfin$v" && must eof "sclientfin$v"
	settle tcp dport=4005
	shown_uncounted "FIN, and its ACK" sport=80 dport=4005

	group="TCP, the server closes first"
	must shut "sserverfin$v" && must eof "cserverfin$v"
	settle tcp sport=4006
	shown_uncounted "FIN, and its ACK" sport=4006

	group="TCP, the client resets"
	must abort "creset$v" && must reset "sreset$v"
	shown_uncounted "RST" sport=4007

	group="UDP"
	must sendto "vclient$v" "$SA" 53 10 && must take "u$v"
	shown "the client sends first" udp sport=4011
	must reply "u$v" 20 && must take "vclient$v"
	shown "the server answers" udp sport=4011
	must sendto "u$v" "$CA" 4012 20 && must take "vserver$v"
	shown "the server sends first" udp dport=4012
	must reply "vserver$v" 10 && must take "u$v"
	shown "the client answers" udp dport=4012
}

crafted_connections() {
	local request=8 answer=0
	[[ $FAMILY == ipv4 ]] || request=128 answer=129
	group="a bare ACK of the client first" port=5001
	c A seq=1001 ack=5001 win=100
	s A seq=5001 ack=1001 win=100
	c A seq=1001 ack=5001 win=100

	group="a bare ACK of the server first" port=5002
	s A seq=5001 ack=1001 win=100
	c A seq=1001 ack=5001 win=100
	s A seq=5001 ack=1001 win=100

	group="data in flight, windows scaled" port=5003
	s PA seq=5001 ack=1001 win=100 len=1000
	s PA seq=12001 ack=1001 win=100 len=1000
	c A seq=1001 ack=6001 win=90
	s PA seq=17000 ack=1001 win=100 len=800
	c A seq=1001 ack=6001 win=90 sack=12001:13001
	c PA seq=11000 ack=17800 win=90 len=1000
	s A seq=17800 ack=12000 win=100

	group="FIN first" port=5004
	c FA seq=1001 ack=5001 win=100
	s A seq=5001 ack=1002 win=100
	s FA seq=5001 ack=1002 win=100
	c A seq=1002 ack=5002 win=100

	group="RST first" port=5005
	s R seq=5001 win=0
	c A seq=1001 ack=5001 win=100

	group="SYN/ACK again first" port=5006
	s SA seq=5000 ack=1001 win=8000 wscale=7 sackok
	c A seq=1001 ack=5001 win=100

	group="SYN again first" port=5007
	c S seq=1000 win=8000 wscale=7 sackok
	s SA seq=5000 ack=1001 win=8000 wscale=7 sackok
	c A seq=1001 ack=5001 win=100

	group="RST of a connection that was picked up" port=5008
	c PA seq=1001 ack=5001 win=100 len=10
	s A seq=5001 ack=1011 win=100
	c A seq=1011 ack=5001 win=100
	s R seq=5001 win=0

	group="ping"
	packet s icmp "$Y" "$X" $answer 0 word=71,1
	packet c icmp "$X" "$Y" $request 0 word=71,2
	packet s icmp "$Y" "$X" $answer 0 word=71,2

	group="protocol 253"
	packet s ip "$Y" "$X" 253 len=10
	packet c ip "$X" "$Y" 253 len=10
}

# A transfer that goes on while the tracker is loaded, one in each direction.
readonly BULK=$(($(scaled 24 3) * 1000000 / 4096 * 4096))

transfers() { # 4|6
	local v=$1 name
	group="TCP, in the middle of a transfer"
	for name in down up; do
		if must await "bulk$name$v"; then
			result "$FAMILY $group / $name" complete
		else
			result "$FAMILY $group / $name" "$ANSWER"
		fi
	done
	# Either side can have been the first to be seen.
	for name in 4008 4009; do
		check "$FAMILY: the connection of a transfer was picked up" \
			entry "$R" "$FAMILY" tcp ESTABLISHED "sport=$name" "dport=$name" '[ASSURED]'
	done
}

# ----------------------------------------------------------------------------

check "IPv4 connections are opened without a tracker" prepare 4
check "IPv6 connections are opened without a tracker" prepare 6
for v in 4 6; do
	must bulk bulkdown$v sdown$v cdown$v "$BULK"
	must bulk bulkup$v cup$v sup$v "$BULK"
done
check "the tracker is loaded in the middle of all that" load
for v in 4 6; do
	use_family $v
	transfers $v
done
for v in 4 6; do
	use_family $v
	real_connections $v
	crafted_connections
done
t stats "$R"
diag "statistics of the router: $ANSWER"

# Once more, and what is in the middle is not to be picked up.
check "the tracker is unloaded" unload
for v in 4 6; do
	use_family $v
	open_real strict$v 4101 || fail "a connection is opened"
	open_real strictback$v 4102 || fail "a connection is opened"
done
check "the tracker is loaded again" load
set_ct "$R" tcp_loose 0
for v in 4 6; do
	use_family $v
	group="tcp_loose=0"
	stat "$R" invalid && was=$VALUE
	must send cstrict$v 100 && must recv sstrict$v 100
	shown "data from the client" sport=4101
	must send sstrictback$v 100 && must recv cstrictback$v 100
	shown "data from the server" dport=4102
	stat "$R" invalid
	result "$FAMILY $group / invalid packets" "$((VALUE - was >= 2)) (at least two)"
	port=5001
	c A seq=1001 ack=5001 win=100
	c PA seq=1001 ack=5001 win=100 len=10
	s PA seq=5001 ack=1001 win=100 len=10
	port=5009
	c S seq=1000 win=8000
	s SA seq=5000 ack=1001 win=8000
	c A seq=1001 ack=5001 win=8000
done
check "the tracker is unloaded again" unload
tap_finish
