#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Clashes of translated tuples: a port that a rule names is refused only if the tuple is in use; an
# unreplied entry that a peer's early datagram left behind does not cost a connection its port; an
# address that has gone takes its connections with it.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

tap_begin nft conntrack
need_tracker
[[ $TRACKER == rust_ct ]] || modprobe -a nf_nat nf_conntrack_netlink
setup_router
at_end() { in_ns "$R" nft flush ruleset; } 2>/dev/null

forget_all() { in_ns "$R" conntrack -F; } 2>/dev/null
is_rust() { [[ $TRACKER == rust_ct ]]; }
set_nat() { must write "$R" "/proc/sys/net/netfilter/nf_nat_$1" "$2"; } # NAME VALUE
# The named counter goes up by N while the command runs. (N NAME COMMAND...)
nat_counts() {
	local count=$1 file=/proc/sys/net/netfilter/nf_nat_$2 before
	must cat "$R" "$file" && before=${LINES[0]} && "${@:3}" && must cat "$R" "$file" &&
		same "$((LINES[0] - before))" "$count"
}

# The rules of a hook of NAT. (HOOK STATEMENT...)
nat_rules() {
	local hook=$1
	shift
	{
		printf 'table %s nat\ndelete table %s nat\ntable %s nat {\n' $NFT $NFT $NFT
		printf 'chain c {\ntype nat hook %s priority 100;\n' "$hook"
		printf '%s\n' "$@"
		printf '}\n}\n'
	} | in_ns "$R" nft -f -
}

# --- a rule names one port --------------------------------------------------

# A datagram from this port of the client's side to port 443 leaves from this port of the router.
# (PORT PORT)
leaves_from() {
	must inject c udp "$X,$1" "$Y,443" && entry "$R" udp "sport=$1" sport=443 "dport=$2"
}

named_port() {
	nat_rules postrouting "oifname tos udp dport 443 snat to $NAT:500"
	must udp ike "$R" 500 "$ANY"
	check "$FAMILY snat to a port that a socket of the router has" leaves_from 4001 500
	must inject c udp "$X,4002" "$Y,443"
	check "... a second connection to the same server finds it taken" no_entry "$R" udp sport=4002
	must close ike
	forget_all

	must write "$R" /proc/sys/net/ipv4/ip_local_reserved_ports 500,600
	check "$FAMILY snat to a port that is reserved" leaves_from 4001 500
	forget_all
	nat_rules postrouting "oifname tos udp dport 443 masquerade to :600"
	check "$FAMILY masquerade to a port that is reserved" leaves_from 4003 600
	forget_all
	! is_rust || set_nat excluded_ports 600
	check "$FAMILY masquerade to a port that is excluded" leaves_from 4003 600
	! is_rust || set_nat excluded_ports ''
	nat_rules prerouting "iifname toc udp dport 53 redirect to :600"
	must udp dns "$R" 600 "$ANY"
	must udp client "$C" 4004 "$CA"
	must sendto client "$SA" 53 10
	check "$FAMILY redirect to a port that is reserved, and a socket's" must 10 -- take dns
	must close client
	must close dns
	must write "$R" /proc/sys/net/ipv4/ip_local_reserved_ports ''

	must listen bgp "$R" "$ANY" 179
	nat_rules postrouting "oifname tos tcp dport 80 snat to $NAT:179"
	must inject c tcp "$X,4005" "$Y,80" S seq=1
	check "$FAMILY TCP: snat to a port that a socket listens at" \
		entry "$R" tcp SYN_SENT sport=4005 dport=179
	must close bgp
	forget_all

	# As conntrackd commits an entry.
	must udp ike "$R" 500 "$ANY"
	check "$FAMILY ctnetlink: a translated entry with one port" commit 4006
	check "... has the port" entry "$R" udp sport=4006 sport=443 dport=500
	check "... which another entry does not get" refused quiet commit 4007
	must close ike
	forget_all
	nat_rules postrouting
}
commit() { # PORT
	in_ns "$R" conntrack -I -p udp -s "$X" -d "$Y" --sport "$1" --dport 443 \
		--timeout 60 -n "$NAT:500" 2>&1
}

for version in 4 6; do
	use_family $version
	NAT=$RY ANY=0.0.0.0 NFT=ip
	if ((version == 6)); then
		NAT="[$RY]" ANY=:: NFT=ip6
	fi
	named_port
done
tap_finish
