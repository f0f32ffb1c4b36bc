#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What NAT stands on goes while connections are being translated: rules, modules, the
# address, the device, the entries, the namespace. Each comes back, and NAT with it; no
# port is lost, and nothing stays behind.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

tap_begin nft conntrack tc
need_tracker
modprobe -q sch_netem || skip_all "no sch_netem module"
setup_router
dir=$(mktemp -d)
floods=()
readonly NAT_MODULES="nft_masq nft_nat nft_chain_nat"
at_end() {
	((!${#floods[@]})) || kill "${floods[@]}"
	in_ns "$R" nft flush ruleset
	# shellcheck disable=SC2086 # words
	wait_for 10 modprobe -r -a $NAT_MODULES
	rm -rf "$dir"
} 2>/dev/null

# New flows all the time, from a client that does not listen.
begin_flood() { # DPORT
	python3 "$SELFTESTS/lib/stress.py" flood "$C" eth0 $MAC_C $MAC_RC $X4 $Y4 "$1" \
		"$(scaled 50 5)" "$(scaled 0.02 0.1)" >"$dir/flood-$1" &
	floods+=($!)
	# Before it has begun, it does not know what to do about a signal.
	wait_for 30 quiet grep -qx flooding "$dir/flood-$1"
}
end_floods() {
	kill "${floods[@]}" 2>/dev/null
	wait "${floods[@]}"
	local status=$?
	floods=()
	return "$status"
}
rules() { # STATEMENT
	in_ns "$R" nft "table ip n { chain post { type nat hook postrouting priority srcnat; oifname tos $1; }; }"
}
no_rules() { in_ns "$R" nft delete table ip n; }
forget() { in_ns "$R" conntrack -F 2>/dev/null; }

# Flows get the router's address, or no more.
translated() { count_entries "$R" udp "src=$X4" "dst=$RS4" && ((COUNT > 0)); }
untranslated() { count_entries "$R" udp "src=$X4" "!dst=$RS4" && ((COUNT > 0)); }
none_translated() { count_entries "$R" udp "src=$X4" "dst=$RS4" && ((COUNT == 0)); }

# Something goes and comes back, N times. (N WHAT GOES GONE BACK)
comes_and_goes() {
	local round failed=''
	for ((round = 1; round <= $1; round++)); do
		"$3" || failed+=" $round:$3"
		wait_for 20 quiet "$4" || failed+=" $round:$4"
		"$5" || failed+=" $round:$5"
		wait_for 20 quiet translated || failed+=" $round:translated"
	done
	check "$1 times, $2" same "$failed" ""
}

rounds=$(scaled 6 3)
rules masquerade
begin_flood 5000
check "new flows are translated" wait_for 20 quiet translated

# --- rules, and the modules that they need ----------------------------------

rules_go() { no_rules && forget; }
rules_come() { rules masquerade && forget; }
comes_and_goes "$rounds" "rules are flushed and come back" rules_go untranslated rules_come

# A packet that has passed the router waits here, and its entry with it.
delay=$(scaled 300 1000)
tc -n "$R" qdisc add dev tos root netem delay "${delay}ms" limit 20000
# shellcheck disable=SC2086 # words
modules_go() { no_rules && wait_for 20 modprobe -r -a $NAT_MODULES 2>/dev/null && forget; }
comes_and_goes "$rounds" "NAT's modules go and come back, while packets wait with their entries" \
	modules_go untranslated rules_come
tc -n "$R" qdisc del dev tos root

# --- the address, and the device ----------------------------------------------

address_goes() { ip -n "$R" addr del $RS4/24 dev tos; }
address_comes() { ip -n "$R" addr add $RS4/24 dev tos; }
comes_and_goes "$rounds" "the address that flows were given goes, they with it, and comes back" \
	address_goes none_translated address_comes

link_goes() { ip -n "$R" link set tos down; }
link_comes() {
	ip_batch "$R" <<-LINES
		link set tos up
		neigh replace $Y4 lladdr $MAC_S dev tos nud permanent
	LINES
}
comes_and_goes "$rounds" "the device goes down, the flows end, and comes up" \
	link_goes none_translated link_comes

# --- entries ------------------------------------------------------------------

# So few ports that most flows get none, while entries go all the time.
no_rules
readonly PORTS=100
rules "udp dport 5000-6999 snat to $RS4:5000-$((5000 + PORTS - 1))"
begin_flood 6000
forgotten=0 until=$((SECONDS + $(scaled 10 40)))
while ((SECONDS < until)); do
	forget && forgotten=$((forgotten + 1))
done
check "two floods want $PORTS ports, while all entries are dropped again and again" that "$forgotten > 5"
check "... the floods end" end_floods
sent=0
for file in "$dir"/flood-*; do
	sent=$((sent + $(tail -n 1 "$file")))
done
check "... after $sent flows" that "$sent > 50"
each_has_a_port() { # DPORT
	forget && must flood c $PORTS $X4 $Y4 "dport=$1" && count_entries "$R" udp "dport=$1" "dst=$RS4" &&
		same "$COUNT" $PORTS
}
check "... no port is lost: as many new flows as there are ports have one" each_has_a_port 5000
check "... towards the other destination too" each_has_a_port 6000

# --- the namespace ------------------------------------------------------------

no_rules
rules masquerade
forget
begin_flood 5000
tc -n "$R" qdisc add dev tos root netem delay "$(scaled 3000 10000)ms" limit 20000
check "a router translates, and packets wait" wait_for 20 quiet translated
ns_del "$R"
check "... its namespace ends" refused test -e "/run/netns/$R"
check "... and the flood with its device" wait "${floods[@]}"
floods=()
traffic_end
ns_del "$C"
ns_del "$S"
if [[ $TRACKER == rust_ct && -n ${RUST_CT_VM:-} ]]; then
	gone() { unload_users rust_ct && rmmod rust_ct; }
	check "the tracker is unloaded" wait_for 20 gone
	check "... with all entries" same "$(awk '$1 == "nf_conntrack"' /proc/slabinfo)" ""
	load_tracker rust_ct
else
	skip "the tracker is unloaded" "others may use it"
fi
tap_finish
