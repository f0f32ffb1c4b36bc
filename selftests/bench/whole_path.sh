#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Programs on a client talk through a router to programs on a server, all three of them
# namespaces of this machine: what the whole way costs, sockets, copies, devices and all. For
# a machine whose time is instructions (scripts/vm --icount). With any tracker or none; each
# packet meets it on the client, on the router and on the server.
#
#   whole_path.sh CONNECTIONS MEGABYTES PACKETS COUNT
#     CONNECTIONS  the program of connections.c
#     the others   how much there is to measure
#
# Prints "cost NAME NANOSECONDS": of one megabyte, one packet, one connection. What a program
# takes to begin and to end is not in it: small and large runs are measured, and the difference
# is what counts. Time that nobody used is not in it either ("idle NAME PERCENT").

# shellcheck source=selftests/lib.sh
source "$(dirname "$0")/../lib.sh"

program=$1 megabytes=$2 packets=$3 count=$4
tap_begin iperf3 ethtool
at_end() { [[ -z ${server:-} ]] || kill "$server" 2>/dev/null; }
[[ $(tracker_loaded) == none ]] || echo 262144 >/proc/sys/net/nf_conntrack_max
# A receiver that gets its turn late loses nothing.
echo 33554432 >/proc/sys/net/core/rmem_max
setup_router
# Nothing of ours runs beside what is measured.
traffic_end

# Nanoseconds since the start, and those of them when nobody ran.
now() {
	local _ idle
	read -r _ idle </proc/uptime
	NOW=$(date +%s%N) IDLE=$((10#${idle/./} * 10000000))
}

# What a command takes, into SPENT, and what was idle meanwhile, into UNUSED.
spend() {
	local now idle
	now
	now=$NOW idle=$IDLE
	"$@" || return
	now
	UNUSED=$((IDLE - idle)) SPENT=$((NOW - now - UNUSED))
}

# What one of the units costs of which a command takes a number. (NAME UNITS COMMAND...)
cost() {
	local name=$1 small=$(($2 / 10)) large=$2 first idle
	shift 2
	spend "$@" $small || return
	first=$SPENT idle=$UNUSED
	spend "$@" "$large" || return
	echo "cost $name $(((SPENT - first) / (large - small)))"
	echo "idle $name $((100 * (UNUSED - idle) / (SPENT - first + UNUSED - idle)))"
}

iperf() { # COUNT-OPTION OPTION...
	in_ns "$C" iperf3 -c $S4 "$@" >"$dir/iperf" || {
		diag "$(tail -n 5 "$dir/iperf")"
		return 1
	}
}
tcp() { iperf -n "$1M"; }
# Of 1000 octets each.
udp() {
	iperf -u -b 0 -l 1000 -w 8M -n $((1000 * $1)) || return
	grep -qE ' 0/[0-9]+ \(0%\) +receiver' "$dir/iperf" || diag "lost: $(grep receiver "$dir/iperf")"
}
connect() { in_ns "$C" "$program" ask $S4 80 "$1"; }

offload() { # on|off
	local pair
	for pair in "$C eth0" "$R toc" "$R tos" "$S eth0"; do
		# shellcheck disable=SC2086 # two words
		set -- $pair $1
		in_ns "$1" ethtool -K "$2" tso "$3" gso "$3" gro "$3" >/dev/null || return
		set -- "$3"
	done
}

dir=$(mktemp -d)
in_ns "$S" iperf3 -s >/dev/null &
server=$!
wait_for 10 in_ns "$S" sh -c 'grep -q ":1451 " /proc/net/tcp6 /proc/net/tcp'
check "TCP" cost tcp "$megabytes" tcp
check "small packets from here on" offload off
check "TCP, small packets" cost tcp-small "$megabytes" tcp
check "UDP" cost udp "$packets" udp
kill $server
in_ns "$S" "$program" serve $S4 80 &
server=$!
wait_for 10 in_ns "$S" grep -q ':0050 ' /proc/net/tcp
check "short connections" cost connections "$count" connect
if [[ $(tracker_loaded) != none ]]; then
	in_ns "$R" nft -f - <<-RULES
		table ip nat {
			chain post {
				type nat hook postrouting priority srcnat
				oifname tos masquerade
			}
		}
	RULES
	check "short connections, masqueraded" cost connections-nat "$count" connect
	in_ns "$R" nft flush ruleset
fi
rm -rf "$dir"
tap_finish
