#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The kernel's own modules that live on a connection tracker, but for the helpers
# (see helpers.sh): each is loaded, used by its own tool, and unloaded; while it is
# there, the tracker cannot go. Arguments: the modules to try, if not all of them.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"
# shellcheck source=selftests/lib/libconsumers.sh
source "$SELFTESTS/lib/libconsumers.sh"

only=("$@")

tap_begin nft iptables-legacy tc ipvsadm ping
need_tracker
setup_router
use_family 4
ns_add P B Q
join "$P" eth0 02:00:00:00:09:01 10.9.0.1/24 fd00:9::1/64 "$B" top 02:00:00:00:09:11 10.9.9.1/32 fd00:9:1::1/128
join "$Q" eth0 02:00:00:00:09:02 10.9.0.2/24 fd00:9::2/64 "$B" toq 02:00:00:00:09:12 10.9.9.2/32 fd00:9:2::1/128
ip -n "$P" neigh add 10.9.0.2 lladdr 02:00:00:00:09:02 dev eth0 nud permanent

# --- nft --------------------------------------------------------------------

sees_the_state() {
	nft_rules "udp sport $port ct state new counter name n" && flow && nft_hits 1 &&
		its_entry '[UNREPLIED]' && answer && nft_hits 1
}

# One connection at a time: the second is refused, the first goes on.
limited() {
	tcp_opens "$port" 80 && must lost -- inject c tcp "$X,$((port + 10000))" "$Y,80" S seq=1000 &&
		no_entry "$R" tcp "sport=$((port + 10000))" &&
		soon must passed -- inject c tcp "$X,$port" "$Y,80" PA seq=1001 ack=5001 len=10
}

limits_connections() { nft_rules "tcp dport 80 ct count over 1 drop" && limited; }

hands_a_flow_to_the_fast_path() {
	nft_rules "udp dport 9 ct state established flow add @ft; udp sport 9 ct state established flow add @ft" "" \
		"flowtable ft { hook ingress priority 0; devices = { toc, tos }; }" &&
		flow && answer && its_entry '[OFFLOAD]' && flow && answer && its_listing_has_a_timeout
}

# The C tracker's listing of an offloaded entry has no timeout, though its events do.
its_listing_has_a_timeout() {
	local listing number=1
	[[ $TRACKER == rust_ct ]] || number=0
	listing=$(in_ns "$R" conntrack -L -p udp --sport "$port" -o xml 2>/dev/null) || return
	[[ $listing == *"<sport>$port</sport>"* ]] || return
	same "$(grep -oE '<timeout>[0-9]+</timeout>' <<<"$listing" | wc -l)" $number
}

answers_for_the_server() {
	nft_rules "tcp dport 80 ct state untracked synproxy mss 1460 wscale 7 sack-perm" "tcp dport 80 notrack" &&
		must lost -- inject c tcp "$X,$port" "$Y,80" S mss=1460 || return
	must cat "$R" /proc/net/stat/synproxy || return
	local line words seen=0
	for line in "${LINES[@]:1}"; do
		read -ra words <<<"$line"
		seen=$((seen + 16#${words[1]}))
	done
	same "$seen" 1
}

rejects() {
	nft_rules "udp sport $port ct state new counter name n reject" &&
		must lost -- inject c udp "$X,$port" "$Y,9" len=10 && nft_hits 1 && no_entry "$R" udp "sport=$port"
}

# A rule answers a segment with a reset, and marks the connection as closing: the lifetime is that of
# its policy, and stays if it is fixed. (nf_ct_set_closing)
resets_by_the_policy() {
	nft_rules "tcp dport 80 tcp flags psh reject with tcp reset" "" \
		"ct timeout slow { protocol tcp; l3proto ip; policy = { close : 500 }; }
		chain later { type filter hook prerouting priority 0; tcp sport $port ct timeout set \"slow\" ; }" &&
		tcp_opens "$port" 80 &&
		must lost -- inject c tcp "$X,$port" "$Y,80" PA seq=1001 ack=5001 len=10 &&
		lives 500 "$R" tcp "sport=$port" CLOSE
}

keeps_a_fixed_timeout() {
	[[ $TRACKER != stock ]] || modprobe nf_conntrack_netlink || return
	nft_rules "tcp dport 80 reject with tcp reset" && must events told "$R" || return
	in_ns "$R" python3 "$SELFTESTS/lib/netlink.py" entry "$X" "$port" "$Y" 80 timeout 900 &&
		must lost -- inject c tcp "$X,$port" "$Y,80" PA seq=1001 ack=5001 len=10 &&
		lives 900 "$R" tcp "sport=$port" CLOSE
	local status=$?
	# No event tells of the state, between those of its begin and end.
	must "DESTROY=1 NEW=1" -- told told || status=1
	[[ $TRACKER != stock ]] || rmmod nf_conntrack_netlink || return
	return "$status"
}

logs_and_goes_on() {
	nft_rules "udp sport $port log group 7 counter name n" && flow && nft_hits 1
}

# The entry comes when the packet goes on.
waits_for_a_verdict() {
	must queue takes "$R" 77 && nft_rules "udp sport $port queue num 77" &&
		must lost -- inject c udp "$X,$port" "$Y,9" len=10 && no_entry "$R" udp "sport=$port" &&
		must 38 -- verdict takes && soon its_entry '[UNREPLIED]'
	local status=$?
	t close takes
	return "$status"
}

# --- iptables ---------------------------------------------------------------

# The packets of a whole flow, seen by one rule. (NUMBER MATCH...)
counts() {
	ipt "filter FORWARD -p udp --sport $port ${*:2}" && flow && flow && ipt_hits filter "$1"
}

sets_a_zone() {
	ipt "raw PREROUTING -p udp --sport $port -j CT --zone 5" && flow && its_entry zone=5
}

leaves_a_packet_alone() {
	ipt "raw PREROUTING -p udp --sport $port -j CT --notrack" && flow && no_entry "$R" udp "sport=$port"
}

sets_and_sees_a_mark() {
	ipt "mangle PREROUTING -p udp --sport $port -j CONNMARK --set-mark 7" \
		"filter FORWARD -m connmark --mark 7" && flow && its_entry mark=7 && ipt_hits filter 1
}

saves_the_security_mark() {
	ipt "mangle FORWARD -p udp --sport $port -j CONNSECMARK --save" && flow && ipt_hits mangle 1
}

sets_a_label() {
	ipt "filter FORWARD -p udp --sport $port -m connlabel --label 3 --set" \
		"filter FORWARD -m connlabel --label 3" "filter FORWARD -m connlabel --label 4" &&
		flow && ipt_hits filter 1 1 0
}

limits_connections_too() {
	ipt "filter FORWARD -p tcp --dport 80 -m connlimit --connlimit-above 1 --connlimit-mask 32 -j DROP" &&
		limited
}

gives_each_flow_to_one_node() {
	local cluster="filter FORWARD -p udp --sport $port -m cluster --cluster-total-nodes 2 --cluster-hash-seed 1"
	ipt "$cluster --cluster-local-node 1" "$cluster --cluster-local-node 2" && flow || return
	ipt_hits filter 1 0 >/dev/null || ipt_hits filter 0 1
}

# The first datagram of a TFTP transfer: what comes back is another flow.
knows_the_helper_of_the_master() {
	ipt "raw PREROUTING -p udp --dport 69 -j CT --helper tftp" "filter FORWARD -m helper --helper tftp" &&
		must passed -- inject c udp "$X,$port" "$Y,69" data=00016e616d65006f6374657400 &&
		must passed -- inject s udp "$Y,1900" "$X,$port" len=10 && ipt_hits filter 1
}

follows_a_timeout_policy() {
	in_ns "$R" python3 "$SELFTESTS/lib/netlink.py" timeout add slow 555 &&
		ipt "raw PREROUTING -p udp --sport $port -j CT --timeout slow" &&
		flow && lives 555 "$R" udp "sport=$port"
	local status=$?
	clear_rules
	in_ns "$R" python3 "$SELFTESTS/lib/netlink.py" timeout del slow - || return
	return "$status"
}

# --- traffic control, load balancers, switches ------------------------------

with_tc() { # ACTION... -- COMMAND...
	local action=() status
	while [[ $1 != -- ]]; do
		action+=("$1")
		shift
	done
	in_ns "$R" tc qdisc add dev toc clsact &&
		in_ns "$R" tc filter add dev toc ingress protocol ip flower ip_proto udp action "${action[@]}" &&
		"${@:2}"
	status=$?
	in_ns "$R" tc qdisc del dev toc clsact || return
	return "$status"
}

flow_with() { flow && its_entry "$@"; }
commits_to_a_zone() { with_tc ct commit zone 9 mark 3 -- flow_with zone=9 mark=3; }

# The mark of the connection on its second packet. (ACTION...)
restores_the_mark() {
	nft_rules "udp sport $port ct mark set 11" "udp sport $port meta mark 11 counter name n" && flow &&
		nft_hits 0 && with_tc "$@" -- flow && nft_hits 1
}

balances() {
	must write "$R" /proc/sys/net/ipv4/vs/conntrack 1 &&
		in_ns "$R" ipvsadm -R <<-SERVICE || return
			-A -u $RX:99 -s rr
			-a -u $RX:99 -r $SA:7 -m
		SERVICE
	must udp server "$S" 7 && must udp client "$C" "$port" && must sendto client "$RX" 99 10 &&
		must 10 -- take server && must reply server 20 && must 20 -- take client &&
		its_entry "dst=$RX" dport=99 "src=$SA" sport=7 '![UNREPLIED]'
	local status=$?
	t close server
	t close client
	in_ns "$R" ipvsadm -C || return
	return "$status"
}

in_bridge() { # COMMAND...
	ip -n "$B" -batch - <<-BRIDGE && "$@"
		link add br0 type bridge
		link set top master br0
		link set toq master br0
		link set br0 up
	BRIDGE
	local status=$?
	ip -n "$B" link del br0
	return "$status"
}

bridged_ping() { in_ns "$P" ping -q -c 1 -W 10 10.9.0.2 >/dev/null; }

tracks_in_a_bridge() {
	used_nft+=("$B")
	in_ns "$B" nft -f - <<-RULES
		table bridge t {
			counter n { }
			chain forward { type filter hook forward priority 0; ct state established counter name n; }
		}
	RULES
	bridged_ping && nft_hits 1 "$B" bridge && entry "$B" icmp src=10.9.0.1 type=0
}

shows_bridged_packets_to_iptables() {
	ip -n "$B" link set br0 type bridge nf_call_iptables 1 &&
		ipt_in "$B" "filter FORWARD -m conntrack --ctstate ESTABLISHED" &&
		bridged_ping && ipt_hits_in "$B" filter 1
}

switches_and_tracks() {
	in_ns "$B" python3 "$SELFTESTS/lib/netlink.py" ovs add dp0 top toq 12 8 || return
	must udp server "$Q" "$port" && must udp client "$P" "$port" &&
		must sendto client 10.9.0.2 "$port" 10 && must 10 -- take server &&
		entry "$B" udp "dport=$port" zone=12 mark=8
	local status=$?
	t close server
	t close client
	in_ns "$B" python3 "$SELFTESTS/lib/netlink.py" ovs del dp0 - - - - || return
	return "$status"
}

# --- all of them ------------------------------------------------------------

! grep -q "^nf_conntrack_netlink " /proc/modules || rmmod nf_conntrack_netlink
check "nobody holds the tracker yet" is_free

consumer nft_ct sees_the_state
consumer nft_connlimit limits_connections
consumer nft_flow_offload hands_a_flow_to_the_fast_path
consumer nft_synproxy answers_for_the_server
neighbour nft_reject_ipv4 rejects -- resets_by_the_policy -- keeps_a_fixed_timeout
neighbour nfnetlink_queue waits_for_a_verdict
neighbour nfnetlink_log logs_and_goes_on

consumer xt_conntrack counts 2 -m conntrack --ctstate NEW
consumer xt_state counts 2 -m state --state NEW
consumer xt_CT sets_a_zone -- leaves_a_packet_alone
consumer xt_connmark sets_and_sees_a_mark
consumer xt_CONNSECMARK saves_the_security_mark
consumer xt_connbytes counts 1 \
	-m connbytes --connbytes 2: --connbytes-dir original --connbytes-mode packets
consumer xt_connlabel sets_a_label
consumer xt_connlimit limits_connections_too
consumer xt_cluster gives_each_flow_to_one_node
consumer xt_helper knows_the_helper_of_the_master
consumer nfnetlink_cttimeout follows_a_timeout_policy

consumer act_ct commits_to_a_zone
consumer act_connmark restores_the_mark connmark pipe
consumer act_ctinfo restores_the_mark ctinfo cpmark 0xffffffff pipe
consumer ip_vs balances
consumer nf_conntrack_bridge in_bridge tracks_in_a_bridge
neighbour br_netfilter in_bridge shows_bridged_packets_to_iptables
consumer openvswitch switches_and_tracks

consumers_finish
