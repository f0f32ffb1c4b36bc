#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Stale mappings: a client keeps sending from one port, without an answer, while NAT's rules change.
# With the C tracker he stays on the old mapping for as long as he sends; rust_ct shows his
# connection to the rules again. Each case prints after which time the packets went where the rules
# say.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

tap_begin nft conntrack ping
need_tracker
[[ $TRACKER == rust_ct ]] || modprobe -a nf_nat nf_conntrack_netlink
setup_router
folder=$(mktemp -d)
at_end() {
	rm -rf "$folder"
	in_ns "$R" nft flush ruleset 2>/dev/null
}

# A service, and the two hosts that answer for it.
readonly SERVICE=10.9.9.9 A=$S4 B=10.0.2.3
ip -n "$S" addr add $B/24 dev eth0
# How long it is waited for what never comes.
readonly NEVER=6

set_nat() { # NAME VALUE
	[[ $TRACKER == stock ]] || must write "$R" "/proc/sys/net/netfilter/nf_$1" "$2"
}
counter() { # NAME -> VALUE
	must cat "$R" "/proc/sys/net/netfilter/nf_nat_$1" && VALUE=${LINES[0]}
}
rules() { in_ns "$R" nft -f -; }
# The rule that translates the service, in place of the former one.
dnat() { # STATEMENT
	rules <<-RULES
		table ip destinations
		delete table ip destinations
		table ip destinations {
			map host { type inet_service : ipv4_addr; elements = { 5300 : $A }; }
			chain c { type nat hook prerouting priority -100; ip daddr $SERVICE $1; }
		}
	RULES
}
snat() { # STATEMENT
	rules <<-RULES
		table ip sources
		delete table ip sources
		table ip sources { chain c { type nat hook postrouting priority 100; oifname tos $1; }; }
	RULES
}

# A client that sends from this port, and the sockets of the two hosts.
begins() { # PORT
	must udp client "$C" "$1" && must udp a "$S" 5300 $A && must udp b "$S" 5300 $B
}
ends() {
	local name
	for name in client a b; do
		t close $name
	done
}
sends() { must sendto client $SERVICE 5300 20; }
# The next datagram comes to this host. (a|b)
comes_to() { sends && must 20 -- take "$1"; }
# How long it takes, in ms, until a datagram does: into TOOK. (a|b SECONDS)
comes_in_time_to() {
	local begin now
	now=$(date +%s%3N) begin=$now
	while ((now - begin <= $2 * 1000)); do
		sends || return
		sleep 0.1
		now=$(date +%s%3N)
		if ! t silence "$1"; then
			TOOK=$((now - begin))
			return
		fi
	done
	TOOK=never
	return 1
}
drop_what_came() {
	local name
	for name in a b; do
		while ! t silence $name; do
			t take $name
		done
	done
}

# The packets of a client go to the first host; then something happens, and they should go to the
# second one: with rust_ct not before MIN and not after MAX seconds (MAX from the client's first packet
# on), with C never.
# (DESCRIPTION PORT MIN MAX COMMAND...)
TOOK=never
moves() {
	local what=$1 port=$2 min=$3 max=$4
	shift 4
	begins "$port"
	check "$what: first to the one host" comes_to a
	"$@"
	if [[ $TRACKER == stock ]]; then
		comes_in_time_to b $NEVER
		check "$what: the C tracker stays there ($NEVER s)" same "$TOOK" never
	else
		check "$what: then to the other" comes_in_time_to b $((max + $(scaled 1 10)))
		check "... not before" that "$TOOK >= $min * 1000"
	fi
	diag "$what: after ${TOOK/%[0-9]/& ms}"
	ends
}

# --- the destination ----------------------------------------------------------

set_nat nat_reconsider_after 2
dnat "dnat to $A"
moves "a rule is replaced" 4001 1 3 dnat "dnat to $B"
dnat "dnat to udp dport map @host"
moves "an element of a map is replaced" 4002 1 3 rules <<-RULES
	delete element ip destinations host { 5300 : $A }
	add element ip destinations host { 5300 : $B }
RULES

if [[ $TRACKER == rust_ct ]]; then
	set_nat nat_reconsider_after 0
	dnat "dnat to $A"
	begins 4010
	check "at once, if so wanted: first to the one host" comes_to a
	counter moved && before=$VALUE
	dnat "dnat to $B"
	check "... the first datagram after the change goes to the other" comes_to b
	counter moved
	check "... one connection was moved" same "$((VALUE - before))" 1
	check "... its entry is there once" entry "$R" udp sport=4010 src=$B
	check "... by no other mapping" no_entry "$R" udp sport=4010 src=$A
	ends

	# Nothing moves without need.
	set_nat nat_reconsider_after 0
	dnat "dnat to $A"
	snat "masquerade random"
	begins 4011
	check "a stream with a random source port" comes_to a
	entry "$R" udp sport=4011 && [[ $ENTRY =~ .*dport=([0-9]+) ]] && port=${BASH_REMATCH[1]}
	counter reconsidered && before=$VALUE
	counter moved && moved=$VALUE
	for n in 1 2 3 4 5; do
		rules <<<"add set ip destinations s$n { type ipv4_addr; }"
		sends
		sleep 1.1
	done
	counter reconsidered
	check "... is shown to the rules after each commit ($((VALUE - before)) times)" \
		that "$((VALUE - before)) == 5"
	counter moved
	check "... and never moved" same "$((VALUE - moved))" 0
	check "... its port stays" like " dport=$port " "$R" udp sport=4011
	drop_what_came
	# Two changes in a second are one.
	counter reconsidered && before=$VALUE
	begin=$SECONDS
	for n in $(seq 100 120); do
		rules <<<"add set ip destinations s$n { type ipv4_addr; }"
		sends
	done
	counter reconsidered
	check "... at most once a second" that "$((VALUE - before)) <= $((SECONDS - begin + 2))"
	ends
	snat "accept"
fi

# --- iptables -----------------------------------------------------------------

# The rules of the old tables are compared on a packet's way, so that the next one asks them.
port=4012
for tool in iptables-nft iptables-legacy; do
	port=$((port + 1))
	set_nat nat_reconsider_after 0
	in_ns "$R" nft flush ruleset
	if ! in_ns "$R" $tool -w -t nat -A PREROUTING -d $SERVICE -j DNAT --to $A 2>/dev/null; then
		skip "$tool: a rule is replaced" "it does not work here"
		continue
	fi
	begins $port
	check "$tool: to the host of the rule" comes_to a
	in_ns "$R" $tool -w -t nat -R PREROUTING 1 -d $SERVICE -j DNAT --to $B
	if [[ $tool == *legacy ]]; then
		check "$tool: the rule is replaced: one more to the former host" comes_to a
	fi
	if [[ $TRACKER == stock ]]; then
		check "$tool: the rule is replaced: the C tracker does not ask it" comes_to a
	else
		check "$tool: the rule is replaced: to the other host" comes_to b
	fi
	in_ns "$R" $tool -w -t nat -F
	ends
done
snat "accept"

# --- connections that are never moved -------------------------------------------

set_nat nat_reconsider_after 0
dnat "dnat to $A"
begins 4020
check "a connection that is answered" comes_to a
check "... has its answer" must reply a 30
check "... at the client" must 30 -- take client
dnat "dnat to $B"
check "... stays where it is" comes_to a
ends
if [[ $TRACKER == rust_ct ]]; then
	set_nat nat_reconsider 0
	dnat "dnat to $A"
	begins 4021
	check "with nf_nat_reconsider=0" comes_to a
	dnat "dnat to $B"
	check "... a mapping stays as in C" comes_to a
	set_nat nat_reconsider 1
	dnat "dnat to $B"
	check "... until it is 1 again, and rules change" comes_to b
	ends
fi

# --- a rule that comes later, or goes --------------------------------------------

set_nat nat_reconsider_after 0
# The service's address leads to the first host when no rule translates it.
ip -n "$R" route add $SERVICE via $A
ip -n "$S" addr add $SERVICE/32 dev lo
begins 4030
must udp own "$S" 5300 $SERVICE
dnat "accept"
sends
check "without a rule: to the address itself" must 20 -- take own
dnat "dnat to $B"
if [[ $TRACKER == rust_ct ]]; then
	check "... a rule comes: to its host" comes_to b
	# No connection is asked about more than once a second.
	sleep 1.1
	dnat "accept"
	sends
	check "... the rule goes: to the address itself" must 20 -- take own
	in_ns "$R" nft delete table ip destinations
	in_ns "$R" nft delete table ip sources
	sends
	check "... the last chain goes: no harm" must 20 -- take own
else
	sends
	check "... a rule comes: the C tracker does not ask it" must 20 -- take own
fi
t close own
ends
ip -n "$S" addr del $SERVICE/32 dev lo
ip -n "$R" route del $SERVICE

# --- other protocols ------------------------------------------------------------

# A SYN that is sent again asks at once, whatever the delay.
set_nat nat_reconsider_after 30
ip -n "$R" route add $SERVICE via 10.0.2.77
ip -n "$R" neigh add 10.0.2.77 lladdr $MAC_S dev tos nud permanent
dnat "accept"
must listen l "$S" $B 80
t connect x "$C" $SERVICE 80 sport=4040 nowait
check "TCP: the SYN of a connection is lost" same "$ANSWER" pending
dnat "dnat to $B"
if [[ $TRACKER == rust_ct ]]; then
	check "... a rule comes: the next SYN goes to its host" wait_for 15 entry "$R" tcp sport=4040 ESTABLISHED "src=$B"
	check "... which accepts it" must accept y l
	t close y
else
	sleep 4
	check "... a rule comes: the C tracker's next SYN is lost, too" no_entry "$R" tcp sport=4040 "src=$B"
fi
t abort x
t close l

# A gateway whose rule comes late.
set_nat nat_reconsider_after 1
rules <<<"table ip sources; delete table ip sources; add table ip sources
	add chain ip sources c { type nat hook postrouting priority 100; }"
ip -n "$S" route del default
ns_exec "$C" ping -q -i 0.2 -w "$(scaled 6 20)" -e 4050 $S4 >"$folder/ping" 2>&1 &
pinger=$!
check "ping through a gateway: unreplied" wait_for 5 entry "$R" icmp id=4050 "[UNREPLIED]"
snat masquerade
wait $pinger
replies=$(sed -n 's/.* \([0-9]*\) received.*/\1/p' "$folder/ping")
if [[ $TRACKER == rust_ct ]]; then
	check "... until the rule comes that was missing ($replies replies)" that "$replies > 0"
else
	check "... for ever with the C tracker" same "$replies" 0
fi
ip -n "$S" route add default via $RS4

# --- an ICMP error ----------------------------------------------------------------

if [[ $TRACKER == rust_ct ]]; then
	set_nat nat_reconsider_after 1000
	dnat "dnat to $A"
	snat "accept"
	begins 4060
	check "a host that goes away" comes_to a
	dnat "dnat to $B"
	check "... its rule is replaced: not yet" comes_to a
	ip -n "$R" route add unreachable $A
	sends
	check "... its address is unreachable: the client is told" must EHOSTUNREACH -- error client
	check "... and the next datagram asks the rules" comes_to b
	ip -n "$R" route del unreachable $A
	ends
	dnat "dnat to $A"
	begins 4061
	check "a host that has answered" comes_to a
	must reply a 30 && must 30 -- take client
	ip -n "$R" route add unreachable $A
	sends
	check "... goes away: the client is told" must EHOSTUNREACH -- error client
	check "... and stays, as its rule does" entry "$R" udp sport=4061 src=$A '![UNREPLIED]'
	dnat "dnat to $B"
	sends
	check "... its rule is replaced: the client is told once more" must EHOSTUNREACH -- error client
	check "... and the next datagram asks the rules" comes_to b
	ip -n "$R" route del unreachable $A
	ends

	# --- a host that answers no more -------------------------------------------------

	# With short timeouts the collector comes by often.
	set_ct "$R" udp_timeout 3
	set_ct "$R" udp_timeout_stream 5
	set_ct "$R" acct 1
	set_nat nat_reconsider_after 3
	answers() { sends && must 20 -- take a && must reply a 30 && must 30 -- take client; }
	keeps_answering() {
		local end=$((SECONDS + 12))
		while ((SECONDS < end)); do
			answers || return
			sleep 0.3
		done
	}
	dnat "dnat to $A"
	begins 4062
	check "a host that answers" answers
	dnat "dnat to $B"
	check "... while its rule is replaced: keeps the client" keeps_answering
	set_nat nat_reconsider 2
	check "... nf_nat_reconsider=2: as long as it answers" keeps_answering
	# In the second of the collector's rounds, which are a minute apart.
	check "... and after that the rules are asked" comes_in_time_to b "$(scaled 150 300)"
	diag "after $TOOK ms"
	check "... not before the time" that "${TOOK//never/0} >= 2000"
	ends
	set_nat nat_reconsider 1
	dnat "dnat to $A"
	begins 4063
	check "by default, a host that answers no more" answers
	dnat "dnat to $B"
	check "... keeps the client" refused comes_in_time_to b 12
	ends
	set_ct "$R" acct 0

	# --- a source port that was taken ------------------------------------------------

	set_nat conntrack_udp_unreplied_max 3
	dnat "accept"
	ip -n "$R" route replace $SERVICE via $A
	ip -n "$S" addr add $SERVICE/32 dev lo
	ip -n "$C" addr add 10.0.1.3/24 dev eth0
	snat masquerade
	must udp other "$C" 4070 10.0.1.3 && must udp client "$C" 4070 $C4 && must udp own "$S" 5300 $SERVICE
	must sendto other $SERVICE 5300 20
	sends
	check "of two clients with one port" entry "$R" udp src=10.0.1.3 sport=4070 dport=4070
	check "... the second one gets another" no_entry "$R" udp src=$C4 sport=4070 dport=4070
	# 3 s, and the collector's pause.
	end=$((SECONDS + $(scaled 75 200)))
	until no_entry "$R" udp src=10.0.1.3 >/dev/null && entry "$R" udp src=$C4 sport=4070 dport=4070 >/dev/null; do
		((SECONDS < end)) || break
		sends
		sleep 0.2
	done
	check "... and its own when that is free" entry "$R" udp src=$C4 sport=4070 dport=4070
	counter moved && before=$VALUE
	sends
	sleep 4
	sends
	counter moved
	check "... which it keeps" same "$((VALUE - before))" 0
	for name in other client own; do
		t close $name
	done
fi
tap_finish
