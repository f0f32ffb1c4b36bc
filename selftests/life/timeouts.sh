#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Entries really go when their time is over. Each lifetime is set to a second or
# two in turn, so that an entry that goes can only have gone because of it; its
# neighbours with the normal lifetimes stay.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

tap_begin ip
need_tracker
setup_router

# On a slow machine an entry must live long enough to be seen.
LIFE=$(scaled 2 8)
readonly LIFE

c() { must passed -- inject c "$@"; }
s() { must passed -- inject s "$@"; }
ct() { c tcp "$X,$port" "$Y,80" "$@"; }
st() { s tcp "$Y,80" "$X,$port" "$@"; }

opened() {
	ct S seq=1000 win=8000 && st SA seq=5000 ack=1001 win=8000 && ct A seq=1001 ack=5001 win=8000
}

# The ways into each state. They leave one entry of $port.
in_syn_sent() { ct S seq=1000 win=8000; }
in_syn_recv() { in_syn_sent && st SA seq=5000 ack=1001 win=8000; }
in_established() { opened; }
in_fin_wait() { opened && ct FA seq=1001 ack=5001; }
in_close_wait() { in_fin_wait && st A seq=5001 ack=1002; }
in_last_ack() { in_fin_wait && st FA seq=5001 ack=1002; }
in_time_wait() { in_last_ack && ct A seq=1002 ack=5002; }
in_close() { opened && ct RA seq=1001 ack=5001; }
in_unacknowledged() { opened && ct PA seq=1001 ack=5001 len=10; }
in_max_retrans() { opened && ct A seq=1001 ack=5001 && ct A seq=1001 ack=5001 && ct A seq=1001 ack=5001 && ct A seq=1001 ack=5001; }
in_picked_up() { ct A seq=1001 ack=5001; }

declare -A state=(
	[syn_sent]=SYN_SENT [syn_recv]=SYN_RECV [established]=ESTABLISHED [fin_wait]=FIN_WAIT
	[close_wait]=CLOSE_WAIT [last_ack]=LAST_ACK [time_wait]=TIME_WAIT [close]=CLOSE
	[unacknowledged]=ESTABLISHED [max_retrans]=ESTABLISHED
)
readonly STATES='syn_sent syn_recv established fin_wait close_wait last_ack time_wait close unacknowledged max_retrans'

# The entry was there with a lifetime of at most LIFE ...
short_lived() { # WORD...
	lifetime "$R" "$@" || return
	that "$LEFT <= $LIFE && $LEFT >= 0"
}

# ... and is gone after it, not before. BEGAN is when it was last refreshed.
expires() { # WORD...
	count_entries "$R" "$@"
	if ((COUNT == 0 && $(now) < BEGAN + LIFE * 1000 - 100)); then
		diag "gone too early"
		return 1
	fi
	wait_for $((LIFE + 5)) no_entry "$R" "$@"
}

now() { local n=${EPOCHREALTIME/./}; echo $((n / 1000)); }

# --- TCP --------------------------------------------------------------------

# The normal lifetimes, each read back from the entry.
began=()
port=100
for family in 4 6; do
	use_family $family
	for name in $STATES; do
		get_ct "$R" "tcp_timeout_$name"
		default=$VALUE
		port=$((port + 1))
		"in_$name"
		check "$FAMILY tcp: ${state[$name]} lives for tcp_timeout_$name" \
			lives "$default" "$R" "$FAMILY" tcp "sport=$port" "${state[$name]}"
	done
done

# The short ones, all at once: each lifetime once on its own entry.
for name in $STATES; do
	get_ct "$R" "tcp_timeout_$name"
	default=$VALUE
	for family in 4 6; do
		use_family $family
		port=$((port + 1))
		# Only the last packet meets the short lifetime, except where it is
		# the only one.
		check "$FAMILY tcp: tcp_timeout_$name=$LIFE is taken" set_ct "$R" "tcp_timeout_$name" "$LIFE"
		BEGAN=$(now)
		"in_$name"
		check "$FAMILY tcp: ${state[$name]} has at most $LIFE s" \
			short_lived "$FAMILY" tcp "sport=$port" "${state[$name]}"
		set_ct "$R" "tcp_timeout_$name" "$default"
		began[port]=$BEGAN
	done
done
last=$port
port=$((port - 2 * 10))
for name in $STATES; do
	for family in 4 6; do
		use_family $family
		port=$((port + 1))
		BEGAN=${began[port]}
		check "$FAMILY tcp: ${state[$name]} expires by tcp_timeout_$name" \
			expires "$FAMILY" tcp "sport=$port"
	done
done
port=$last
normal=0
for ((n = 101; n <= 120; n++)); do
	count_entries "$R" tcp "sport=$n"
	normal=$((normal + COUNT))
done
# Those of CLOSE have ten seconds by default; where time is slow, minutes have passed.
check "tcp: those with normal lifetimes are still there" that "$normal >= $(scaled 18 6)"

# --- what prolongs, and what does not ---------------------------------------

use_family 4
set_ct "$R" udp_timeout "$LIFE"
set_ct "$R" udp_timeout_stream $((LIFE + 2))
set_ct "$R" acct 1
port=300
set_ct "$R" tcp_timeout_syn_sent "$LIFE"
end=$(($(now) + LIFE * 1000 * 2))
refreshed=1 syns=0
c udp "$X,300" "$Y,53" len=10
while (($(now) < end)); do
	ct S seq=1000 win=8000
	syns=$((syns + 1))
	count_entries "$R" udp sport=300
	((COUNT == 1)) || refreshed=0
	c udp "$X,300" "$Y,53" len=10
	sleep 0.3
done
check "udp: packets keep an entry alive beyond udp_timeout" that "$refreshed == 1"
# By their packet counter: there was more than one entry. The last one may just have
# gone, the next has no more packets.
syns_of_entry() {
	ct S seq=1000 win=8000
	count_entries "$R" ipv4 tcp sport=300 SYN_SENT
	[[ $ENTRY =~ packets=([0-9]+) ]] && SYNS=${BASH_REMATCH[1]}
}
SYNS=0
check "tcp: there is an entry after SYNs again and again" wait_for 10 quiet syns_of_entry
check "... they do not prolong it, tcp_timeout_syn_sent counts from the first" \
	that "$SYNS > 0 && $SYNS <= $syns * 2 / 3 && $syns > 3"
set_ct "$R" tcp_timeout_syn_sent 120
check "udp: without packets it expires" wait_for $((LIFE + 5)) no_entry "$R" udp sport=300

# --- the other protocols ----------------------------------------------------

for family in 4 6; do
	use_family $family
	request=8 name=icmp
	[[ $FAMILY == ipv4 ]] || request=128 name=icmpv6
	set_ct "$R" ${name}_timeout "$LIFE"
	set_ct "$R" generic_timeout "$LIFE"

	BEGAN=$(now)
	c udp "$X,400" "$Y,53" len=10
	c icmp "$X" "$Y" $request 0 word=40,1
	c ip "$X" "$Y" 253 len=10
	check "$FAMILY udp: at most udp_timeout" short_lived "$FAMILY" udp sport=400
	check "$FAMILY ping: at most ${name}_timeout" short_lived "$FAMILY" "$ICMP" id=40
	check "$FAMILY protocol 253: at most generic_timeout" short_lived "$FAMILY" unknown 253
	check "$FAMILY udp: expires" expires "$FAMILY" udp sport=400
	check "$FAMILY ping: expires" expires "$FAMILY" "$ICMP" id=40
	check "$FAMILY protocol 253: expires" expires "$FAMILY" unknown 253

	# A stream: answered, and more after two seconds.
	set_ct "$R" udp_timeout 30
	c udp "$X,401" "$Y,53" len=10
	s udp "$Y,53" "$X,401" len=10
	sleep 2.2
	c udp "$X,401" "$Y,53" len=10
	check "$FAMILY udp: a stream has at most udp_timeout_stream" \
		lives $((LIFE + 2)) "$R" "$FAMILY" udp sport=401 '[ASSURED]'
	check "$FAMILY udp: a stream expires" wait_for $((LIFE + 7)) no_entry "$R" "$FAMILY" udp sport=401
	set_ct "$R" udp_timeout "$LIFE"
	set_ct "$R" ${name}_timeout 30
	set_ct "$R" generic_timeout 600
done

# --- expired is gone, for everyone ------------------------------------------

set_ct "$R" udp_timeout "$LIFE"
must flood c "$(scaled 500 50)" "$X" "$Y" dport=9000
get_ct "$R" count
check "a flood makes many entries" that "$VALUE >= $(scaled 500 50)"
few() { get_ct "$R" count && that "$VALUE < 30"; }
# No listing looks at the entries here: the tracker collects them on its own.
check "they are collected without a listing" wait_for 100 quiet few
c udp "$X,500" "$Y,53" len=10
sleep $((LIFE + 1))
check "an entry that was just used anew, after it expired, is a new one" \
	c udp "$X,500" "$Y,53" len=10
check "... unreplied" entry "$R" udp sport=500 '[UNREPLIED]'
tap_finish
