#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Shows connection tracking at work: two hosts (network namespaces joined by a
# veth pair), a little traffic between them, and the tracker's view of it.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

if [[ $(tracker_loaded) == none || $EUID != 0 ]]; then
	echo "demo: needs root and a loaded connection tracker" >&2
	exit "$KSFT_SKIP"
fi
trap cleanup EXIT
trap 'exit 1' INT TERM

view=rust_conntrack
[[ -e /proc/net/$view ]] || view=nf_conntrack

bold='' dim='' off=''
if [[ -t 1 || -n ${FORCE_COLOR:-} ]]; then
	bold=$'\e[1m' dim=$'\e[2m' off=$'\e[0m'
fi

headline() { printf '\n%s== %s%s\n' "$bold" "$1" "$off"; }
explain() { printf '%s   %s%s\n' "$dim" "$1" "$off"; }

# The lines of /proc that speak of a flow.
show() { # WORD...
	local line shown=0
	t cat "$A" /proc/net/$view
	for line in "${LINES[@]}"; do
		if matches "$line" "$@"; then
			printf '     %s\n' "$line"
			shown=1
		fi
	done
	((shown)) || echo "     (no entry)"
}

declare -i problems=0
expect() { # COMMAND OF LIBTRAFFIC...
	t "$@" && return
	echo "demo: $*: $ANSWER" >&2
	problems+=1
}

ns_add A B
join "$A" eth0 02:00:00:00:00:01 10.0.0.1/24 fd00::1/64 \
	"$B" eth0 02:00:00:00:00:02 10.0.0.2/24 fd00::2/64
traffic_start
for ns in "$A" "$B"; do
	set_ct "$ns" acct 1
done

echo "Host A is 10.0.0.1 and fd00::1, host B is 10.0.0.2 and fd00::2."
echo "What follows is A's /proc/net/$view: family, protocol, seconds to live, TCP state,"
echo "then source, destination, ports, packets and bytes, first of the direction in which"
echo "the connection was opened, then of the answers."

headline "ping 10.0.0.2, ping -6 fd00::2"
in_ns "$A" ping -q -c 2 -i 0.2 -W 5 10.0.0.2 >/dev/null || problems+=1
in_ns "$A" ping -6 -q -c 2 -i 0.2 -W 5 fd00::2 >/dev/null || problems+=1
explain "One entry each; two requests (packets=2), two replies."
show icmp
show icmpv6

headline "A TCP connection is opened to 10.0.0.9, where nobody lives"
ip -n "$A" neigh add 10.0.0.9 lladdr 02:00:00:00:00:09 dev eth0 nud permanent
expect connect lost "$A" 10.0.0.9 80 nowait
explain "New: a SYN went out, SYN_SENT, and [UNREPLIED] until something comes back."
show tcp dst=10.0.0.9
expect close lost

headline "A TCP connection to port 80 of B"
expect listen server "$B" 10.0.0.2 80
expect connect client "$A" 10.0.0.2 80
expect accept served server
explain "Three packets later: ESTABLISHED, [ASSURED], and five days to live."
show tcp dst=10.0.0.2 dport=80

headline "B sends 100000 bytes to A over it"
expect send served 100000
expect recv client 100000
explain "Look at packets and bytes of the answers, after the second pair of ports."
show tcp dst=10.0.0.2 dport=80

headline "Both close it"
expect shut client
expect eof served
expect close served
expect eof client
expect close client
explain "FIN from both sides: TIME_WAIT, the entry goes two minutes later."
show tcp dst=10.0.0.2 dport=80

headline "A asks for port 81 of B, where nobody listens"
expect connect refused "$A" 10.0.0.2 81
explain "A SYN answered by RST alone: the entry is gone at once."
show tcp dport=81

headline "A connection to port 80 that the client resets"
expect connect client "$A" 10.0.0.2 80 sport=40000
expect accept served server
expect abort client
expect reset served
explain "RST after data could flow: CLOSE, ten seconds."
show tcp sport=40000

headline "A sends a UDP datagram to port 53 of B"
expect udp resolver "$B" 53 10.0.0.2
expect udp asking "$A" 0 10.0.0.1
expect sendto asking 10.0.0.2 53 40
expect take resolver
explain "[UNREPLIED]: so far in one direction only, thirty seconds."
show udp dport=53

headline "B answers"
expect reply resolver 120
expect take asking
explain "Seen in both directions; a stream that lasts two seconds becomes [ASSURED]."
show udp dport=53

headline "What B's own tracker knows"
explain "Each namespace sees its own entries: here the same flow, as B saw it."
A=$B show udp dport=53

# shellcheck disable=SC2034 # lib.sh reads it
finished=1
exit $((problems > 0))
