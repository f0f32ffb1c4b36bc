#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Translation of addresses and ports, by nft's and iptables's rules: what the other
# side sees, and that answers find their way back.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

tap_begin conntrack nft ping
need_tracker
setup_router
for ns in "$C" "$R" "$S"; do
	in_ns "$ns" sysctl -qw net.ipv4.conf.all.send_redirects=0 2>/dev/null
done
at_end() {
	local ns module
	for ns in "$C" "$R" "$S"; do
		in_ns "$ns" nft flush ruleset
	done
	for module in nft_masq nft_redir nft_nat nft_chain_nat nft_ct nf_nat_ftp nf_conntrack_ftp \
		xt_MASQUERADE xt_REDIRECT xt_NETMAP xt_nat iptable_nat ip6table_nat; do
		release_module $module
	done
	release_module nf_nat
} 2>/dev/null
release_module() { [[ ! -d /sys/module/$1 ]] || wait_for 5 modprobe -r "$1"; }

# Rules of the router, in one table: chains "pre", "out" and "post". (PRE OUT POST [MORE])
rules() {
	in_ns "$R" nft -f - <<-RULES
		table $NFT nat
		delete table $NFT nat
		table $NFT nat {
			${4:-}
			chain pre { type nat hook prerouting priority -100; $1 ; }
			chain out { type nat hook output priority -100; $2 ; }
			chain post { type nat hook postrouting priority 100; $3 ; }
		}
	RULES
}

# A port of its own for each flow, so that no entry of a former one is met.
port=10000
next_port() { port=$((port + 1)); }

# Where the server hears a datagram from, and that its answer comes back. (ADDRESS PORT [LISTENER])
udp_seen() {
	local listener=${3:-srv}
	next_port
	must udp cli "$C" $port "$CA" && must sendto cli "$1" "$2" 10 && must 10 -- take "$listener" &&
		must peer "$listener" || return
	SEEN=$ANSWER
	must reply "$listener" 11 && must 11 -- take cli && must peer cli && BACK=$ANSWER || return
	must close cli
}
udp_comes_from() { # EXPECTED ADDRESS PORT [LISTENER]
	udp_seen "${@:2}" && same "$SEEN" "${1//PORT/$port}" && same "$BACK" "$2,$3"
}

# The same for a connection, over which data go both ways. (EXPECTED ADDRESS PORT LISTENER SIZE)
tcp_comes_from() {
	must connected -- connect cli "$C" "$2" "$3" && must accept srv1 "$4" && must peer srv1 &&
		SEEN=$ANSWER || return
	must local cli && same "$SEEN" "${1//PORT/${ANSWER#*,}}" &&
		must peer cli && same "$ANSWER" "$2,$3" &&
		must bulk b cli srv1 "${5:-409600}" && must await b &&
		must bulk b srv1 cli "${5:-409600}" && must await b && must close cli && must close srv1
}

pings() { in_ns "$C" ping -q -c 2 -i 0.2 -W 5 "$1" | diag_if_lost; }
diag_if_lost() { grep -q ' 0% packet loss'; }

masquerade() {
	rules "" "" "oifname tos masquerade"
	check "$FAMILY masquerade: UDP keeps its port" udp_comes_from "$RY,PORT" "$SA" 53
	result "$FAMILY masquerade / udp" "${SEEN/$port/PORT} $BACK"
	check "$FAMILY ... the entry shows it" \
		entry "$R" "$FAMILY" udp "sport=$port" "dport=$port" "dst=$(shown "$RY")"
	check "$FAMILY masquerade: TCP" tcp_comes_from "$RY,PORT" "$SA" 80 lis 2000000
	check "$FAMILY masquerade: ping" pings "$SA"
	check "$FAMILY masquerade: TCP, with the sums computed before" unoffloaded
	# Two that look the same behind us.
	next_port
	ip -n "$C" addr add "$CB/$PREFIX" dev eth0 $NODAD
	check "$FAMILY masquerade: two from the same port get two" two_of_a_port
	ip -n "$C" addr del "$CB/$PREFIX" dev eth0
	rules "" "" "oifname tos masquerade random"
	check "$FAMILY masquerade random: works" udp_seen "$SA" 53
	rules "" "" "oifname tos meta l4proto udp masquerade to :7000-7003"
	check "$FAMILY masquerade to ports: one of these" udp_seen "$SA" 53
	check "$FAMILY ... indeed" that "${SEEN#*,} >= 7000 && ${SEEN#*,} <= 7003"
	result "$FAMILY masquerade / address" "${SEEN%,*}"
}

shown() { proc_addr "$1" && echo "$ADDR"; }

unoffloaded() {
	in_ns "$C" ethtool -K eth0 tx off >/dev/null && in_ns "$S" ethtool -K eth0 tx off >/dev/null
	tcp_comes_from "$RY,PORT" "$SA" 80 lis 400000
	local status=$?
	in_ns "$C" ethtool -K eth0 tx on >/dev/null && in_ns "$S" ethtool -K eth0 tx on >/dev/null
	return $status
}

two_of_a_port() {
	local first
	must udp cli "$C" $port "$CA" && must udp cli2 "$C" $port "$CB" &&
		must sendto cli "$SA" 53 10 && must take srv && must peer srv && first=$ANSWER &&
		must sendto cli2 "$SA" 53 10 && must take srv && must peer srv || return
	that "${first#*,} == $port && ${ANSWER#*,} != $port" && same "${ANSWER%,*}" "$RY" &&
		must reply srv 12 && must 12 -- take cli2 && must silence cli && must close cli && must close cli2
}

# A connection that goes on: while the router has a policy that blocks what it looks like behind
# it, its packets are lost.
policy_counts() {
	next_port
	must udp cli "$C" $port "$CA" && must sendto cli "$SA" 53 10 && must 10 -- take srv &&
		must peer srv && must reply srv 10 && must 10 -- take cli || return
	ip -n "$R" xfrm policy add src "$Y1" dst "$SA" dir out action block || return
	must sendto cli "$SA" 53 11 && sleep 0.5 && must silence srv
	local status=$?
	ip -n "$R" xfrm policy delete src "$Y1" dst "$SA" dir out
	((!status)) && must sendto cli "$SA" 53 12 && must 12 -- take srv && must close cli
}

snat() {
	rules "" "" "oifname tos snat to $Y1"
	check "$FAMILY snat: UDP" udp_comes_from "$Y1,PORT" "$SA" 53
	check "$FAMILY snat: TCP" tcp_comes_from "$Y1,PORT" "$SA" 80 lis
	check "$FAMILY snat: ping" pings "$SA"
	check "$FAMILY snat: IPsec's policies are asked about the new address" policy_counts
	rules "" "" "oifname tos udp dport 53 snat to $YB:6000-6001"
	check "$FAMILY snat to two ports: the first flow" udp_seen "$SA" 53
	local first=$SEEN
	check "$FAMILY ... the second gets the other one" udp_seen "$SA" 53
	check "$FAMILY ... indeed" \
		same "$(printf '%s\n' "$first" "$SEEN" | sort | tr '\n' ' ')" "$Y1,6000 $Y1,6001 "
	next_port
	check "$FAMILY ... there is none for a third, whose packet is lost" lost_to "$SA" 53
	check "$FAMILY ... but for one to another server" udp_seen "$SA" 54 srv54
	rules "" "" "oifname tos snat to $Y1-$Y3 persistent"
	check "$FAMILY snat persistent: the first" udp_seen "$SA" 53
	first=${SEEN%,*}
	check "$FAMILY ... the second has the same address" udp_seen "$SA" 54 srv54
	check "$FAMILY ... indeed" same "${SEEN%,*}" "$first"
	result "$FAMILY snat / persistent" "$first"
	rules "" "" "oifname tos snat to $Y1-$Y3"
	check "$FAMILY snat to a range" udp_seen "$SA" 53
	result "$FAMILY snat / range" "${SEEN%,*}"
	rules "" "" "oifname tos meta l4proto udp snat to $YB:1024-65535 fully-random"
	check "$FAMILY snat fully-random" udp_seen "$SA" 53
	check "$FAMILY ... another port" that "${SEEN#*,} != $port"
}

lost_to() { # ADDRESS PORT
	must udp cli "$C" $port "$CA" && must sendto cli "$1" "$2" 10 && sleep 0.5 && must silence srv &&
		must close cli
}

dnat() {
	rules "${IP} daddr $RX tcp dport 8080 dnat to $SB:80; ${IP} daddr $RX udp dport 5353 dnat to $SB:53" \
		"${IP} daddr $Y udp dport 53 dnat to $SA" ""
	check "$FAMILY dnat: TCP" tcp_comes_from "$CA,PORT" "$RX" 8080 lis
	check "$FAMILY dnat: UDP" udp_comes_from "$CA,PORT" "$RX" 5353
	result "$FAMILY dnat / udp" "${SEEN/$port/PORT} $BACK"
	check "$FAMILY dnat of what the router sends: goes elsewhere" from_the_router
	rules "${IP} daddr $RX tcp dport 8080 dnat to $SB:80" "" "oifname tos masquerade"
	check "$FAMILY dnat and masquerade" tcp_comes_from "$RY,PORT" "$RX" 8080 lis
	check "$FAMILY dnat: two that would look the same at the server" clash
	check "$FAMILY dnat: two packets of one flow at once, to two servers" both_at_once
	check "$FAMILY ... conntrack shows one entry" same "$SHOWN" 1
	rules "${IP} daddr $RX tcp dport 8091 dnat to $CX:91" "" "ct status dnat oifname toc masquerade"
	must listen own "$C" "$CA" 91
	check "$FAMILY hairpin: a client by its own outer address" tcp_comes_from "$RX,PORT" "$RX" 8091 own
	must close own
}

from_the_router() {
	next_port
	must udp cli "$R" $port "$RY" && must sendto cli "$Y" 53 10 && must 10 -- take srv &&
		must reply srv 11 && must 11 -- take cli && must peer cli && same "$ANSWER" "$Y,53" && must close cli
}

# One to the server itself, one to it by way of the router, both from one port.
clash() {
	next_port
	rules "${IP} daddr $RX udp dport 5353 dnat to $SB:53" "" ""
	must udp cli "$C" $port "$CA" && must sendto cli "$SA" 53 10 && must take srv && must peer srv &&
		same "$ANSWER" "$CA,$port" && must reply srv 10 && must take cli &&
		must sendto cli "$RX" 5353 10 && must take srv && must peer srv &&
		that "${ANSWER#*,} != $port" && must reply srv 12 && must 12 -- take cli && must peer cli &&
		same "$ANSWER" "$RX,5353" && must close cli
}

# Two packets of a flow, both on their way before either is confirmed. The second has an entry that
# lets its answer find its way back, for a second, and is not shown.
both_at_once() {
	next_port
	SHOWN=
	rules "${IP} daddr $RX udp dport 5353 dnat $NFT addr . port to numgen inc mod 2 map {
			0 : $SA . 53, 1 : $SA . 54 }" "" "" \
		"chain waiting { type filter hook forward priority 0; iifname toc meta l4proto udp queue num 5; }"
	must queue q "$R" 5 && must udp cli "$C" $port "$CA" && must sendto cli "$RX" 5353 10 && must hold q &&
		must sendto cli "$RX" 5353 11 && must hold q && grows 1 "$R" clashres both_go_on
	local status=$?
	t close q
	t close cli
	return $status
}
both_go_on() {
	must verdict q accept && must verdict q accept &&
		SHOWN=$(in_ns "$R" conntrack -L -p udp --sport $port 2>/dev/null | wc -l) &&
		must 10 -- take srv && must 11 -- take srv54
}

redirect() {
	rules "tcp dport 81 redirect to :8181; udp dport 81 redirect to :8181" \
		"udp dport 82 redirect to :8182" ""
	must listen here "$R" "$ANY" 8181
	must udp uhere "$R" 8181 "$ANY"
	check "$FAMILY redirect: TCP" tcp_comes_from "$CA,PORT" "$SA" 81 here
	check "$FAMILY ... the program that it came to can ask where it wanted to go" asks_for_origin
	check "$FAMILY redirect: UDP" redirected
	must udp local "$R" 8182 "$LOOP"
	check "$FAMILY redirect of what the router sends: to its loopback" redirected_locally
	must close here && must close uhere && must close local
}

redirected() {
	next_port
	must udp cli "$C" $port "$CA" && must sendto cli "$SA" 81 10 && must 10 -- take uhere && must peer uhere &&
		same "$ANSWER" "$CA,$port" && must close cli
}
asks_for_origin() {
	must connected -- connect cli "$C" "$SA" 81 && must accept srv1 here &&
		must "$SA,81" -- wanted srv1 || return
	# The client was not redirected.
	must "$SA,81" -- wanted cli || return
	must close cli && must close srv1
}
redirected_locally() {
	next_port
	must udp cli "$R" $port "$ANY" && must sendto cli "$SA" 82 10 && must 10 -- take local && must close cli
}

netmap() {
	local far=10.0.5.0/24 near=10.0.1.0/24 as=10.0.5.2
	[[ $FAMILY == ipv4 ]] || far=fd00:5::/64 near=fd00:1::/64 as=fd00:5::2
	rules "" "" "oifname tos snat ${IP} prefix to ${IP} saddr map { $near : $far }"
	check "$FAMILY netmap: one for one" udp_comes_from "$as,PORT" "$SA" 53
	result "$FAMILY netmap / udp" "${SEEN/$port/PORT}"
	check "$FAMILY netmap: TCP" tcp_comes_from "$as,PORT" "$SA" 80 lis
}

# Errors about a translated flow, made by hand: the client's own kernel looks into them.
errors() {
	local unreachable='3 3' flow
	[[ $FAMILY == ipv4 ]] || unreachable='1 4'
	rules "" "" "oifname tos meta l4proto udp masquerade to :7100"
	next_port
	must udp cli "$C" $port "$CA" && must sendto cli "$Y" 53 10
	flow="udp $RY,7100 $Y,53 len=10"
	# shellcheck disable=SC2086 # words on purpose
	must inject s icmp "$Y" "$RY" $unreachable inner $flow
	check "$FAMILY an error from the other side: the client hears of it" must ECONNREFUSED -- error cli
	# shellcheck disable=SC2086
	must inject s icmp "$SA" "$RY" $unreachable quote=$((HEADER + 8)) inner $flow
	check "$FAMILY ... from a router on the way, with a short quote" must ECONNREFUSED -- error cli
	must close cli
	rules "${IP} daddr $RX udp dport 5353 dnat to $SB:55" "" ""
	next_port
	must udp cli "$C" $port "$CA" && must sendto cli "$RX" 5353 10
	check "$FAMILY nobody there behind a dnat: the client hears of it" must ECONNREFUSED -- error cli
	must close cli
}

ftp() {
	local helper=nf_conntrack_ftp
	modprobe $helper && modprobe nf_nat_ftp || return
	rules "" "" "oifname tos masquerade" "
		ct helper h { type \"ftp\" protocol tcp; l3proto $NFT; }
		chain helpers { type filter hook prerouting priority -150; tcp dport 21 ct helper set \"h\"; }"
	must listen control "$S" "$ANY" 21
	must listen data "$C" "$CA" 40000
	must connected -- connect cli "$C" "$SA" 21 && must accept srv1 control
	check "$FAMILY FTP: the client's address is translated in what it says" announces
	check "$FAMILY FTP: what follows is in order, both ways" goes_on
	check "$FAMILY FTP: the server connects, and finds the client" comes_back
	must close cli && must close srv1 && must close control && must close data
}

data_port=0
announces() {
	local said heard port_bytes
	# The helper looks at the beginnings of lines that it saw the end of.
	must say cli "USER nobody" && must "USER nobody" -- hear srv1 || return
	if [[ $FAMILY == ipv4 ]]; then
		said="PORT ${CA//./,},156,64"
	else
		said="EPRT |2|$CA|40000|"
	fi
	must say cli "$said" && must hear srv1 || return
	heard=$ANSWER
	result "$FAMILY ftp / said" "$heard"
	if [[ $FAMILY == ipv4 ]]; then
		IFS=, read -ra port_bytes <<<"${heard#PORT }"
		same "${port_bytes[0]}.${port_bytes[1]}.${port_bytes[2]}.${port_bytes[3]}" "$RY" || return
		data_port=$((port_bytes[4] * 256 + port_bytes[5]))
	else
		IFS='|' read -ra port_bytes <<<"$heard"
		# The helper writes all eight groups.
		same "$(python3 -c 'import ipaddress, sys; print(ipaddress.ip_address(sys.argv[1]))' \
			"${port_bytes[2]}")" "$RY" || return
		data_port=${port_bytes[3]}
	fi
}
goes_on() {
	must say srv1 "200 fine" && must "200 fine" -- hear cli && must say cli "NOOP with some words" &&
		must "NOOP with some words" -- hear srv1 && must say srv1 "200 good" && must "200 good" -- hear cli
}
comes_back() {
	must connected -- connect dat "$S" "$RY" "$data_port" && must accept dat1 data && must bulk b dat dat1 204800 &&
		must await b && must close dat && must close dat1
}

gone() {
	local spare=10.0.2.77/24
	[[ $FAMILY == ipv4 ]] || spare=fd00:2::77/64
	rules "" "" "oifname tos masquerade"
	check "$FAMILY masquerade: a flow" udp_seen "$SA" 53
	ip -n "$R" addr add "$spare" dev tos $NODAD
	ip -n "$R" addr del "$spare" dev tos
	check "$FAMILY ... stays when another address goes" entry "$R" "$FAMILY" udp "sport=$port" "dport=$port"
	ip -n "$R" addr del "$RY/$PREFIX" dev tos
	check "$FAMILY ... goes with its address" soon no_entry "$R" "$FAMILY" udp "sport=$port" "dport=$port"
	ip -n "$R" addr add "$RY/$PREFIX" dev tos $NODAD
	check "$FAMILY masquerade: another flow" udp_seen "$SA" 53
	ip -n "$R" link set tos down
	check "$FAMILY ... goes with its device" soon no_entry "$R" "$FAMILY" udp "sport=$port" "dport=$port"
	ip -n "$R" link set tos up
	# What went with the device.
	ip -n "$R" -6 addr replace $RS6/64 dev tos nodad
	ip -n "$R" neigh replace $Y4 lladdr $MAC_S dev tos nud permanent
	ip -n "$R" neigh replace $Y6 lladdr $MAC_S dev tos nud permanent
	wait_for 5 in_ns "$R" ping -q -c 1 -W 1 "$SA"
	wait_for 5 in_ns "$R" ping -q -c 1 -W 1 $S6
}

iptables_rules() {
	local ipt=iptables-legacy to=$SA:80
	[[ $FAMILY == ipv4 ]] || ipt=ip6tables-legacy to=[$SA]:80
	in_ns "$R" nft flush ruleset
	command -v $ipt >/dev/null || return
	ipt() { in_ns "$R" $ipt -w -t nat "$@"; }
	check "$FAMILY $ipt: MASQUERADE" ipt -A POSTROUTING -o tos -j MASQUERADE
	check "$FAMILY ... works" udp_comes_from "$RY,PORT" "$SA" 53
	check "$FAMILY $ipt: DNAT" ipt -A PREROUTING -d "$RX" -p tcp --dport 8080 -j DNAT --to-destination "$to"
	check "$FAMILY ... works" tcp_comes_from "$RY,PORT" "$RX" 8080 lis
	ipt -F
	check "$FAMILY $ipt: SNAT" ipt -A POSTROUTING -o tos -j SNAT --to-source "$Y1"
	check "$FAMILY ... works" udp_comes_from "$Y1,PORT" "$SA" 53
	ipt -F
	check "$FAMILY $ipt: NETMAP" ipt -A POSTROUTING -o tos -j NETMAP --to "$NETMAP"
	check "$FAMILY ... works" udp_comes_from "$NETMAPPED,PORT" "$SA" 53
	ipt -F
	check "$FAMILY $ipt: REDIRECT" ipt -A PREROUTING -p udp --dport 81 -j REDIRECT --to-ports 8181
	must udp uhere "$R" 8181 "$ANY"
	check "$FAMILY ... works" redirected
	must close uhere
	ipt -F
}

# shellcheck disable=SC2034 # used by name
names() {
	NFT=ip IP=ip PREFIX=24 NODAD='' ANY=0.0.0.0 LOOP=127.0.0.1 CB=10.0.1.3
	Y1=10.0.2.21 Y3=10.0.2.23 NETMAP=10.0.5.0/24 NETMAPPED=10.0.5.2
	SB=$SA YB=$Y1 CX=$CA
	if [[ $FAMILY == ipv6 ]]; then
		NFT=ip6 IP=ip6 PREFIX=64 NODAD=nodad ANY=:: LOOP=::1 CB=fd00:1::3
		Y1=fd00:2::21 Y3=fd00:2::23 NETMAP=fd00:5::/64 NETMAPPED=fd00:5::2
		SB="[$SA]" YB="[$Y1]" CX="[$CA]"
	fi
	# So that the router answers for them.
	ip -n "$S" route replace "$Y1" via "$RY" dev eth0
	for far in 22 23; do
		ip -n "$S" route replace "${Y1%21}$far" via "$RY" dev eth0
	done
}

for family in 4 6; do
	use_family $family
	names
	must udp srv "$S" 53 "$SA"
	must udp srv54 "$S" 54 "$SA"
	must listen lis "$S" "$SA" 80
	masquerade
	snat
	dnat
	redirect
	netmap
	errors
	ftp
	iptables_rules
	gone
	must close srv && must close srv54 && must close lis
done
tap_finish
