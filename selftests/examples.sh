#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The examples of README.md and docs/examples.md: each is taken from there as it stands,
# loaded in a router whose interfaces have the names that it uses, and tried with traffic.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

tap_begin nft iptables
need_tracker

# --- what the pages say -------------------------------------------------------

# The indented blocks of the README's section "Examples", then those of docs/examples.md, into BLOCKS.
read_examples() {
	local line block=''
	BLOCKS=()
	while IFS= read -r line; do
		if [[ $line == '    '* ]]; then
			block+=${line#    }$'\n'
		elif [[ -n $block ]]; then
			BLOCKS+=("$block")
			block=
		fi
	done < <(sed -n '/^## Examples$/,/^## /p' "$SELFTESTS/../README.md"
		cat "$SELFTESTS/../docs/examples.md"
		echo)
}

# Loads the block with that number as its reader would. (NS NUMBER)
load() {
	if [[ ${BLOCKS[$2]:-} == table* ]]; then
		in_ns "$1" nft -f - <<<"${BLOCKS[$2]}"
	else
		in_ns "$1" bash -ec "${BLOCKS[$2]:-false}"
	fi
}

clear_rules() { # NS
	in_ns "$1" nft flush ruleset
	in_ns "$1" bash -c 'iptables -P FORWARD ACCEPT
		for table in filter raw mangle; do iptables -t $table -F; done' 2>/dev/null
}

readonly FIREWALL_NFT=0 NAT_NFT=1 TENANTS_NFT=2 FIREWALL_IPTABLES=3 TENANTS_IPTABLES=4 CONNMARK=5
read_examples
check "the pages have six examples" same "${#BLOCKS[@]}" 6

# --- routers ------------------------------------------------------------------

mac() { printf '02:00:00:00:%02x:%02x' "$1" "$2"; }

# A host at the router's interface, in the network with that number. (HOST ROUTER DEV NUMBER [NAME])
wire() {
	wires=$((wires + 1))
	join "$1" "${5:-eth0}" "$(mac $wires 2)" "10.0.$4.2/24" "fd00:$4::2/64" \
		"$2" "$3" "$(mac $wires 1)" "10.0.$4.1/24" "fd00:$4::1/64"
	[[ -n ${5:-} ]] || ip -n "$1" route add default via "10.0.$4.1"
	[[ -n ${5:-} ]] || ip -n "$1" -6 route add default via "fd00:$4::1"
	t side "$3" "$1" "${5:-eth0}" "$(mac $wires 2)" "$(mac $wires 1)" "10.0.$4.2" "10.0.$4.1"
}
wires=0
router() { # VARIABLE
	ns_add "$1"
	in_ns "${!1}" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward
		echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
}

# A connection from one host to another, with data both ways. (FROM TO ADDR PORT [OPTION...])
talk() {
	must listen l "$2" "$3" "$4" || return
	must connected -- connect a "$1" "$3" "$4" "${@:5}" && must accept b l && must send a 3000 &&
		must recv b 3000 && must send b 5000 && must recv a 5000
	local status=$? name
	for name in a b l; do
		t close $name
	done
	return $status
}

# --- a firewall -----------------------------------------------------------------

traffic_start

# What it must do, whichever tool it was made with. (TOOL LAN WAN PORT)
firewall() {
	local tool=$1 lan=$2 wan=$3 port=$4
	check "$tool: a connection from inside" talk "$L" "$W" "$wan" 5000
	check "$tool: one from outside, to the open port" talk "$W" "$L" "$lan" 80
	check "$tool: none to another" must lost -- inject wan tcp "$wan,$port" "$lan,22" S seq=1
	check "$tool: no datagram that nobody asked for" must lost -- inject wan udp "$wan,53" "$lan,$port" len=10
	must udp a "$L" "$port" "$lan" && must udp b "$W" 53 "$wan"
	check "$tool: a question from inside" must sendto a "$wan" 53 10
	check "$tool: ... arrives" must take b
	check "$tool: ... and its answer" must reply b 20
	check "$tool: ... comes back" must 20 -- take a
	must sendto a "$wan" 54 10
	check "$tool: so does the error for another" must ECONNREFUSED -- error a
	must close a && must close b
	check "$tool: what can belong to no connection is dropped" \
		must lost -- inject lan tcp "$lan,$port" "$wan,80" SF seq=1
	check "$tool: ... even at the open port" must lost -- inject wan tcp "$wan,$port" "$lan,80" SF seq=1
}

router F
ns_add L W
wire "$L" "$F" lan 1
wire "$W" "$F" wan 2
check "without rules everything passes" must passed -- inject wan tcp 10.0.2.2,5000 10.0.1.2,22 S seq=1
check "a firewall in nft: loads" load "$F" $FIREWALL_NFT
firewall "nft ipv4" 10.0.1.2 10.0.2.2 6001
firewall "nft ipv6" fd00:1::2 fd00:2::2 6002
clear_rules "$F"
check "without them everything passes" must passed -- inject wan udp 10.0.2.2,5009 10.0.1.2,22 len=1
check "a firewall in iptables: loads" load "$F" $FIREWALL_IPTABLES
firewall "iptables" 10.0.1.2 10.0.2.2 6003
clear_rules "$F"

# --- NAT --------------------------------------------------------------------------

check "NAT in nft: loads" load "$F" $NAT_NFT
must udp a "$L" 6004 && must udp b "$W" 53 10.0.2.2
check "NAT: a question from inside" must sendto a 10.0.2.2 53 10
check "NAT: ... arrives" must take b
check "NAT: ... from the router's address" must 10.0.2.1,6004 -- peer b
check "NAT: ... and its answer" must reply b 20
check "NAT: ... comes back" must 20 -- take a
must close a && must close b
must listen l "$L" 10.0.1.2 80
check "NAT: the forwarded port is open" must connected -- connect a "$W" 10.0.2.1 8080
check "NAT: ... and leads inside" must accept b l
check "NAT: another one is not" must refused -- connect c "$W" 10.0.2.1 8081
for name in a b l; do
	must close $name
done
clear_rules "$F"

# --- tenants --------------------------------------------------------------------

traffic_end
traffic_start
router T
ns_add RED REDSERVER BLUE BLUESERVER
wire "$RED" "$T" red0 1
wire "$REDSERVER" "$T" red1 2
wire "$BLUE" "$T" blue0 1
wire "$BLUESERVER" "$T" blue1 2
for dev in blue0 blue1; do
	ip -n "$T" rule add iif $dev lookup 2
done
ip -n "$T" route add 10.0.1.0/24 dev blue0 table 2
ip -n "$T" route add 10.0.2.0/24 dev blue1 table 2

tenants() {
	must listen l "$REDSERVER" 10.0.2.2 80 && must listen m "$BLUESERVER" 10.0.2.2 80
	check "tenants: the first connects" must connected -- connect a "$RED" 10.0.2.2 80 sport=4000
	check "tenants: the second, with the same addresses and ports" \
		must connected -- connect b "$BLUE" 10.0.2.2 80 sport=4000
	check "tenants: each at its own server" must accept as l
	check "tenants: ... has a connection" must accept bs m
	must send a 100 && must recv as 100 && must send bs 100
	check "tenants: data find their way" must recv b 100
	check "tenants: ... and no other" must silence a
	check "tenants: one is in zone 1" entry "$T" tcp sport=4000 zone=1 ESTABLISHED
	check "tenants: ... one in zone 2" entry "$T" tcp sport=4000 zone=2 ESTABLISHED
	local name
	for name in a b as bs l m; do
		must close $name
	done
}
check "tenants in nft: loads" load "$T" $TENANTS_NFT
tenants
clear_rules "$T"
check "tenants in iptables: loads" load "$T" $TENANTS_IPTABLES
must "passed to blue1" -- inject blue0 udp 10.0.1.2,4001 10.0.2.2,53 len=10
must "passed to red1" -- inject red0 udp 10.0.1.2,4001 10.0.2.2,53 len=10
check "tenants in iptables: a zone for the interface" entry "$T" udp sport=4001 zone=2
check "tenants in iptables: ... for it alone" entry "$T" udp sport=4001 zone=0
clear_rules "$T"

# --- connmark -------------------------------------------------------------------

traffic_end
traffic_start
router U
ns_add SERVER HOST
wire "$SERVER" "$U" lan 1
wire "$HOST" "$U" wan1 4 eth1
wire "$HOST" "$U" wan2 3 eth2
# A host on the internet, which the router would answer by its first line.
ip -n "$HOST" addr add 192.0.2.1/32 dev lo
ip -n "$U" route add 192.0.2.0/24 via 10.0.4.2
in_ns "$U" nft -f - <<-'RULES'
	table ip lines {
		counter wan1 { }
		counter wan2 { }
		chain out {
			type filter hook postrouting priority 0
			oifname wan1 counter name wan1
			oifname wan2 counter name wan2
		}
	}
RULES
came_through() { # LINE
	local line found=''
	for line in wan1 wan2; do
		in_ns "$U" nft reset counter ip lines $line | grep -q "packets 0 " || found+=$line
	done
	same "answers through $found" "answers through $1"
}
asks_through() { # GATEWAY
	ip -n "$HOST" route replace 10.0.1.0/24 via "$1" src 192.0.2.1
	talk "$HOST" "$SERVER" 10.0.1.2 80
}
check "lines: asked through the second" asks_through 10.0.3.1
check "lines: ... the answer takes the first, without rules" came_through wan1
check "connmark in iptables: loads" load "$U" $CONNMARK
check "connmark: asked through the second" asks_through 10.0.3.1
check "connmark: ... so it is answered" came_through wan2
check "connmark: asked through the first" asks_through 10.0.4.1
check "connmark: ... so it is answered" came_through wan1
check "connmark: the mark stays with the connection" that "$(entries "$U" && printf '%s\n' "${LINES[@]}" | grep -c 'mark=2 ') == 1"
clear_rules "$U"

tap_finish
