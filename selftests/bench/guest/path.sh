#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Programs on a client talk through a router to programs on a server, all three of them
# namespaces of this machine: what the whole way costs, sockets, copies, devices and all. For
# a machine whose time is instructions (scripts/vm --icount). With any tracker or none; each
# packet meets it on the client, on the router and on the server.
#
#   path.sh PROGRAM MEGABYTES PACKETS CONNECTIONS
#     PROGRAM      that of path.c
#     the others   how much there is to measure
#
# Prints "cost NAME NANOSECONDS": of one megabyte, one packet, one connection. What a program
# takes to begin and to end is not in it: a small and a large run are measured, and the
# difference is what counts. Idle time is not in it either: one process takes it
# all, so that the machine is never idle (its clock would jump then), and does not count.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../../lib/lib.sh"

program=$1 megabytes=$2 packets=$3 connections=$4
tap_begin iperf3 ethtool
server='' idle=''
dir=$(mktemp -d)
at_end() {
	# shellcheck disable=SC2086 # none, one or two
	kill $server $idle 2>/dev/null
	rm -rf "$dir"
}
[[ $(tracker_loaded) == none ]] || echo 262144 >/proc/sys/net/nf_conntrack_max
# A receiver that gets its turn late loses nothing.
echo 33554432 >/proc/sys/net/core/rmem_max
setup_router
# Nothing of ours runs beside what is measured.
traffic_end

"$program" idle &
idle=$!

# What one unit costs of a command that takes a number of them. (NAME UNITS COMMAND...)
cost() {
	local name=$1 small=$(($2 / 10)) large=$2 clock=()
	shift 2
	clock+=("$("$program" clock $idle)")
	"$@" $small || return
	clock+=("$("$program" clock $idle)")
	"$@" "$large" || return
	clock+=("$("$program" clock $idle)")
	echo "cost $name $(((clock[2] - 2 * clock[1] + clock[0]) / (large - small)))"
}

iperf() { # COUNT-OPTION OPTION...
	in_ns "$C" iperf3 -c $S4 "$@" >"$dir/iperf" || {
		diag "$(tail -n 5 "$dir/iperf")"
		return 1
	}
}
tcp() { iperf -n "$1M"; }
# Of 1000 bytes each.
udp() {
	iperf -u -b 0 -l 1000 -w 8M -n $((1000 * $1)) || return
	grep -qE ' 0/[0-9]+ \(0%\) +receiver' "$dir/iperf" || diag "lost: $(grep receiver "$dir/iperf")"
}
connect() { in_ns "$C" "$program" ask $S4 80 "$1"; }

offload() { # on|off
	local ns device
	while read -r ns device; do
		in_ns "$ns" ethtool -K "$device" tso "$1" gso "$1" gro "$1" >/dev/null || return
	done <<-DEVICES
		$C eth0
		$R toc
		$R tos
		$S eth0
	DEVICES
}

in_ns "$S" iperf3 -s >/dev/null 2>&1 &
server=$!
wait_for 10 in_ns "$S" grep -q ':1451 ' /proc/net/tcp6
check "TCP" cost tcp "$megabytes" tcp
check "small packets from here on" offload off
check "TCP, small packets" cost tcp-small "$megabytes" tcp
check "UDP" cost udp "$packets" udp
kill $server
in_ns "$S" "$program" serve $S4 80 &
server=$!
wait_for 10 in_ns "$S" grep -q ':0050 ' /proc/net/tcp
check "short connections" cost connections "$connections" connect
if [[ $(tracker_loaded) != none ]]; then
	in_ns "$R" nft -f - <<-RULES
		table ip nat {
			chain post {
				type nat hook postrouting priority srcnat
				oifname tos masquerade
			}
		}
	RULES
	check "short connections, masqueraded" cost connections-nat "$connections" connect
	in_ns "$R" nft flush ruleset
fi
tap_finish
