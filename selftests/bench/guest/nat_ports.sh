#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What a new connection costs through SNAT when most ports are used, and how many fail: prints
# lines of "PERCENT USED FAILED OF NANOSECONDS", after one for no NAT at all ("none").
# (FLOWS PERCENT...)
#
# PORTS: the size of the range (60000). SETTINGS: "NAME=VALUE..." of nf_nat_*, for rust_ct.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../../lib/lib.sh"

tap_begin nft
need_tracker
setup_router
save_table
at_end() {
	in_ns "$R" nft flush ruleset
	restore_table
}
set_table 131072 400000
set_ct "$R" udp_timeout 100000
for setting in ${SETTINGS:-}; do
	must write "$R" "/proc/sys/net/netfilter/nf_nat_${setting%%=*}" "${setting#*=}"
done
size=${PORTS:-60000} flows=$1
shift
measure() { # DADDR PERCENT...
	python3 "$SELFTESTS/bench/guest/nat_ports.py" "$C" eth0 $MAC_C $MAC_RC 10.0.1.100 "$1" "$R" \
		2000 "$size" "$flows" "${@:2}"
}
for other in 100 101 102 103; do
	ip -n "$R" neigh add 10.0.1.$other lladdr $MAC_C dev toc nud permanent
done
echo "none $(measure "$Y4" 0)"
in_ns "$R" nft -f - <<-RULES
	table ip nat {
		chain post {
			type nat hook postrouting priority 100
			oifname tos udp dport 7 snat to $RS4:2000-$((1999 + size)) fully-random
		}
	}
RULES
ip -n "$R" neigh add 10.0.2.8 lladdr $MAC_S dev tos nud permanent
check "measured" measure 10.0.2.8 0 "$@"
tap_finish
