#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Packets by chance (packet_fuzz.py) through a router with rules by chance; beside listeners that
# never read, namespaces that come and go, and a table at its limit (surroundings.py).
# (SECONDS [SEED]; without a seed another one each time, which is printed)

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"
# shellcheck source=selftests/lib/libfuzz.sh
source "$SELFTESTS/lib/libfuzz.sh"

seconds=${1:-60} seed=${2:-}
tap_begin nft
need_tracker
if [[ $TRACKER == stock ]]; then
	modprobe nf_conntrack_netlink || skip_all "no nf_conntrack_netlink module"
fi
: "${seed:=$RANDOM$RANDOM}"
for helper in ftp tftp sip irc pptp h323 amanda netbios_ns snmp sane; do
	modprobe -q nf_conntrack_$helper || skip_all "no helper nf_conntrack_$helper"
	modprobe -q nf_nat_$helper || modprobe -q nf_nat_${helper}_basic
done
setup_router
# Hosts on both sides, which only the fuzzer speaks for.
neighbours() {
	local last
	for last in 9 a b c 64 65 66; do
		echo "neigh replace 10.0.1.$((16#$last)) lladdr $MAC_C dev toc nud permanent"
		echo "neigh replace 10.0.2.$((16#$last)) lladdr $MAC_S dev tos nud permanent"
		echo "neigh replace fd00:1::$last lladdr $MAC_C dev toc nud permanent"
		echo "neigh replace fd00:2::$last lladdr $MAC_S dev tos nud permanent"
	done
}
ip_batch "$R" < <(neighbours)

surround 150 "$R"
relay fuzz "" python3 "$SELFTESTS/packets/packet_fuzz.py" "$C" "$R" "$S" --seed "$seed" --seconds "$seconds" \
	--watch "$WATCHED"
surround_end
traffic_end
all_goes
tap_finish
