#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What a tenant does to the NAT of others, and how long one packet of his keeps a processor: ports
# that are all excluded, more pools of ports than one namespace is allowed.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

tap_begin nft conntrack unshare
need_tracker
[[ $TRACKER == rust_ct ]] || modprobe -a nf_nat nf_conntrack_netlink
save_table
setup_router
at_end() {
	tenant_ends
	restore_table
	in_ns "$R" nft flush ruleset
} 2>/dev/null
use_family 4
set_table "$(scaled 131072 8192)" 400000
# A namespace cannot load modules for its rules.
in_ns "$R" nft -f - <<-'RULES' || skip_all "nft does not take the rules"
	table ip warm { chain c { type nat hook postrouting priority 100; masquerade random; snat to 10.9.9.9; }; }
	delete table ip warm
RULES

# A program in namespaces of its own, whose first line of output is in SAID. (MODE ARGUMENT...)
tenant_begins() {
	coproc TENANT { exec unshare -Urn python3 "$SELFTESTS/nat/nat_tenants.py" "$@"; }
	tenant_pid=$! SAID=
	read -r SAID <&"${TENANT[0]}"
}
tenant_ends() {
	[[ -n ${tenant_pid:-} ]] || return 0
	# The first one may have ended by itself.
	local fd=${TENANT[1]:-}
	[[ -z $fd ]] || exec {fd}>&-
	wait "$tenant_pid"
	tenant_pid=
}

nat_rules() { # STATEMENT
	in_ns "$R" nft -f - <<-RULES
		table ip nat
		delete table ip nat
		table ip nat { chain c { type nat hook postrouting priority 100; oifname tos meta l4proto udp $1; }; }
	RULES
}

# --- no port is allowed -----------------------------------------------------

tenant_begins bars
tenant_ends
diag "one datagram: $SAID us"
check "32 addresses without an allowed port: no datagram takes long" \
	that "$SAID > 0 && $SAID < $(scaled 3000 30000)"

# --- pools ------------------------------------------------------------------

ports=$(scaled 1000 100)
dport=3000 first=0
# So many connections to a port of their own, of which each has a port. (COUNT) Their source ports are
# new: one that has a mapping keeps it towards another destination, without a search.
all_have_one() {
	local count=$1
	dport=$((dport + 1)) first=$((first + count))
	must flood c "$count" "$X" "$Y" "sport=$((1024 + first))" dport=$dport ports=60000 &&
		count_entries "$R" udp "dport=$dport" && same "$COUNT" "$count"
}
if [[ $TRACKER == rust_ct ]]; then
	nat_rules "snat to $RY:20000-$((20000 + ports - 1))"
	check "$ports ports, as many connections: each has one" all_have_one "$ports"
	tenant_begins pools "$(scaled 4096 200)"
	diag "a tenant has $SAID connections, thirteen to a pool"
	for _ in 1 2 3; do
		check "... also while a tenant has all the pools that he may have" all_have_one "$ports"
	done
	tenant_ends
fi

# --- addresses that go ------------------------------------------------------

# A connection that is masqueraded with an address loses it. (PORT COMMAND...)
loses() {
	local port=$1
	shift
	must inject c udp "$X,$port" "$Y,53"
	entry "$R" udp "sport=$port" "dst=$NAT" && "$@" && soon no_entry "$R" udp "sport=$port"
}
readonly NAT=10.0.2.50
# The first address of the network is the one that connections are masqueraded with.
address_comes() {
	ip_batch "$R" <<-LINES
		addr flush dev tos
		addr add $NAT/24 dev tos
		neigh replace $Y lladdr $MAC_S dev tos nud permanent
	LINES
}
address_goes() { ip -n "$R" addr del $NAT/24 dev tos; }
# With many others, all in one go.
all_go() {
	local i
	{
		for ((i = 0; i < 1500; i++)); do echo "addr add 10.7.$((i / 250)).$((i % 250))/32 dev lo"; done
		for ((i = 0; i < 1500; i++)); do echo "addr del 10.7.$((i / 250)).$((i % 250))/32 dev lo"; done
		echo "addr del $NAT/24 dev tos"
	} | ip_batch "$R"
}
if [[ $TRACKER == rust_ct ]]; then
	set_ct "$R" udp_timeout 600
	nat_rules masquerade
	address_comes
	tenant_begins addresses 300
	check "a connection ends with its address while a tenant loses addresses all the time" \
		loses 4001 address_goes
	address_comes
	check "..." loses 4002 address_goes
	tenant_ends
	address_comes
	check "... and when its namespace loses 1500 others just before" loses 4003 all_go
	address_comes
	check "... but not when others go" refused quiet loses 4004 ip -n "$R" addr add 10.7.7.7/32 dev lo
fi
tap_finish
