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

# --- a packet that came too early -------------------------------------------

# Two hosts behind NATs send to each other at the same time (hole punching). That of the other side is
# the first one here, and nobody wants it.
too_early() {
	nat_rules postrouting "oifname tos masquerade"
	must inject s udp "$Y,6001" "$RY,5001"
	check "$FAMILY an early datagram of the peer leaves an entry" \
		entry "$R" udp sport=6001 dport=5001 '[UNREPLIED]'
	if is_rust; then
		check "... which gives way to our connection" nat_counts 1 gave_way punch 5001 6001
	else
		punch 5001 6001
	fi
	if is_rust; then
		check "... and keeps its port" entry "$R" udp "src=$OWN" sport=5001 dport=6001 dport=5001
		check "... so that both ends meet" met 5001 6001
	else
		check "... our connection loses its port" \
			entry "$R" udp "src=$OWN" sport=5001 dport=6001 '!dport=5001'
	fi

	# What a socket wants stays.
	must udp wanted "$R" 5002 "$ANY"
	must inject s udp "$Y,6002" "$RY,5002"
	punch 5002 6002
	check "$FAMILY an early datagram that a socket wants keeps its entry" \
		entry "$R" udp sport=6002 dport=5002 '[UNREPLIED]' "src=$PEER"
	must close wanted
	! is_rust || set_nat drop_early 0
	must inject s udp "$Y,6003" "$RY,5003"
	punch 5003 6003
	check "$FAMILY ... and so does any, if one wants" \
		entry "$R" udp sport=6003 dport=5003 '[UNREPLIED]' "src=$PEER"
	! is_rust || set_nat drop_early 1
	nat_rules postrouting
	forget_all
}
punch() { must inject c udp "$X,$1" "$Y,$2"; } # PORT PORT
met() { # PORT PORT
	must inject s udp "$Y,$2" "$RY,$1"
	entry "$R" udp "src=$OWN" "sport=$1" "dport=$2" "src=$PEER" "sport=$2" "dport=$1" '![UNREPLIED]'
}

# --- zones of one direction -------------------------------------------------

# Two tenants with the same addresses: what they send is told apart, the answers are not, without any
# chain of NAT.
two_tenants() {
	in_ns "$R" nft flush ruleset
	in_ns "$R" nft -f - <<-'RULES'
		table inet zones {
			chain pre {
				type filter hook prerouting priority raw
				iifname toc meta mark 0 udp dport 4500 udp length 11 ct original zone set 1
				iifname toc meta mark 0 udp dport 4500 udp length 12 ct original zone set 2
			}
		}
	RULES
	must inject c udp "$X,7001" "$Y,4500" len=3
	must inject c udp "$X,7001" "$Y,4500" len=4
	sleep 0.5
	if is_rust; then
		check "$FAMILY a clash of replies in two zones: the next packet has another port" \
			nat_counts 1 clashes must inject c udp "$X,7001" "$Y,4500" len=4
	else
		must inject c udp "$X,7001" "$Y,4500" len=4
	fi
	count_entries "$R" udp sport=7001 dport=4500
	check "... $(is_rust && echo both connections have || echo one connection has) an entry" \
		same "$COUNT" "$(is_rust && echo 2 || echo 1)"
	in_ns "$R" nft flush ruleset
	forget_all
}

# --- an address that has gone -----------------------------------------------

lost_address() {
	local gone=10.0.2.60 options=(dev tos) length=24
	((version == 4)) || gone=fd00:2::60 options=(dev tos nodad) length=64
	proc_addr $gone
	nat_rules postrouting "oifname tos udp dport 443 snat to $gone"
	for forgets in 0 1; do
		! is_rust || set_nat forget_lost_addresses $forgets
		ip -n "$R" addr add $gone/$length "${options[@]}"
		must inject c udp "$X,700$forgets" "$Y,443"
		check "$FAMILY a connection is translated to an address" entry "$R" udp "sport=700$forgets" "dst=$ADDR"
		ip -n "$R" addr del $gone/$length dev tos
		if ((forgets)) && is_rust; then
			check "... which goes, and the connection with it" soon no_entry "$R" udp "sport=700$forgets"
		else
			sleep 0.5
			check "... which goes, and the connection stays" entry "$R" udp "sport=700$forgets" "dst=$ADDR"
		fi
	done
	# An address that is routed here, and never was the router's.
	must inject c udp "$X,7002" "$Y,443"
	ip -n "$R" addr add 10.0.2.61/24 dev tos
	ip -n "$R" addr del 10.0.2.61/24 dev tos
	check "... another one does not matter" entry "$R" udp sport=7002 "dst=$ADDR"
	nat_rules postrouting
	forget_all
}

for version in 4 6; do
	use_family $version
	proc_addr "$Y" && PEER=$ADDR
	proc_addr "$X" && OWN=$ADDR
	NAT=$RY ANY=0.0.0.0 NFT=ip
	if ((version == 6)); then
		NAT="[$RY]" ANY=:: NFT=ip6
	fi
	named_port
	too_early
	two_tenants
	lost_address
done
tap_finish
