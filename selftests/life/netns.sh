#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Network namespaces come and go under traffic: each has its own entries and sees
# no others; with one that ends go its entries, those included that packets in a
# queue hold. Nothing stays behind.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

tap_begin tc
need_tracker
modprobe -q sch_netem || skip_all "no sch_netem module"
setup_router
dir=$(mktemp -d)
helpers=()
at_end() {
	((!${#helpers[@]})) || kill "${helpers[@]}" 2>/dev/null
	rm -rf "$dir"
}
helper() { # NAME ARGUMENT...
	python3 "$SELFTESTS/lib/stress.py" "${@:2}" >"$dir/$1" &
	helpers+=($!)
}

# --- two at the same time ---------------------------------------------------

ns_add A B
for ns in "$A" "$B"; do
	ip -n "$ns" link add dummy0 type dummy
	ip -n "$ns" addr add 10.9.9.1/24 dev dummy0
	ip -n "$ns" link set dummy0 up
done
# The same tuple in both: two entries.
must udp a "$A" 4000 && must sendto a 10.9.9.9 4001 10
must udp b "$B" 4000 && must sendto b 10.9.9.9 4001 10 && must sendto b 10.9.9.9 4001 10
must sendto b 10.9.9.9 4002 10
check "a namespace sees its own entries" entry "$A" udp sport=4000 dport=4001
check "... and has no others" count_is "$A" 1
check "another one has its own, of the same tuple" entry "$B" udp sport=4000 dport=4001
check "... and one more" count_is "$B" 2
t cat - /proc/net/nf_conntrack
found=0
for line in "${LINES[@]}"; do
	! matches "$line" src=10.9.9.1 || found=$((found + 1))
done
check "the first namespace sees neither" same $found 0
stat "$A" entries
check "each has its own number of entries" same "$VALUE" 1
set_ct "$A" udp_timeout 77
check "each has its own settings" must cat "$B" /proc/sys/net/netfilter/nf_conntrack_udp_timeout
check "... of which the other one knows nothing" same "${LINES[0]}" 30
ns_del "$A"
check "one ends: the other one keeps its entries" count_is "$B" 2
ns_del "$B"

# --- slab -------------------------------------------------------------------

slab=/sys/kernel/slab/nf_conntrack
# As many as these namespaces count.
objects_are_those_of() { # NS...
	local ns sum=0
	for ns; do
		get_ct "$ns" count || return
		sum=$((sum + VALUE))
	done
	slab_has $sum
}

# --- many, one after the other, under traffic -------------------------------

# What goes on all the time, through a router of its own.
must listen l "$S" $S4 80
must connected -- connect c "$C" $S4 80
must accept s l
set_ct "$R" udp_timeout 600
must flood c 100 $X4 $Y4 dport=5000
check "before: a router with entries" count_is "$R" 101

# A namespace that sends datagrams, each of a new flow, into a queue that holds
# them, and another one behind that.
born() { # ROUND
	A=ct-a-$$-$1 B=ct-b-$$-$1
	ip netns add "$A" && ip netns add "$B" || return
	namespaces+=("$A" "$B")
	ip link add toq netns "$A" address 02:00:00:00:0a:01 \
		type veth peer name fromq netns "$B" address 02:00:00:00:0b:01
	ip -n "$A" addr add 10.8.0.1/24 dev toq && ip -n "$B" addr add 10.8.0.2/24 dev fromq
	ip -n "$A" link set toq up && ip -n "$B" link set fromq up
	ip -n "$A" neigh add 10.8.0.2 lladdr 02:00:00:00:0b:01 dev toq nud permanent
	ip -n "$A" neigh add 10.8.0.9 lladdr 02:00:00:00:0b:01 dev toq nud permanent
	tc -n "$A" qdisc add dev toq root netem delay "${delay}ms" limit 10000
}
send_datagrams() { # NS COUNT
	in_ns "$1" python3 - "$2" <<-'END'
		import socket, sys
		for i in range(int(sys.argv[1])):
		    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		    s.sendto(b"x", ("10.8.0.2" if i % 2 else "10.8.0.9", 5000 + i))
	END
}
entry_from_outside() { count_entries "$A" src=10.8.0.77 && ((COUNT > 0)); }
waiting() { tc -n "$1" -s qdisc show dev toq | sed -n 's/.* backlog [0-9A-Za-z]*b \([0-9]*\)p.*/\1/p' | head -n 1; }

rounds=$(scaled 6 2) flows=$(scaled 200 20) delay=$(scaled 3000 20000)
problems='' held=0
must bulk x c s "$(scaled 8000000 100000)"
for ((round = 1; round <= rounds; round++)); do
	born $round || problems+=" $round:not-made"
	helper flood flood "$B" fromq 02:00:00:00:0b:01 02:00:00:00:0a:01 10.8.0.77 10.8.0.1 6000 20 0.05
	send_datagrams "$A" "$flows"
	count_entries "$A" src=10.8.0.1 '!src=10.8.0.77'
	((COUNT == flows)) || problems+=" $round:$COUNT-entries"
	count_entries "$A" src=10.0.1.9
	((COUNT == 0)) || problems+=" $round:foreign"
	((held += $(waiting "$A")))
	wait_for 20 quiet entry_from_outside || problems+=" $round:no-flood"
	# The flood goes on until it loses its device, and the second namespace with it.
	ns_del "$A"
	ns_del "$B"
	wait "${helpers[@]}" || problems+=" $round:flood-$?"
	helpers=()
done
check "$rounds times: two namespaces, entries of their own, and their end" same "$problems" ""
check "... with packets in a queue that held entries ($held)" that "held >= rounds"
check "a transfer through another namespace meanwhile is complete" must await x
check "... whose entries are all there" count_is "$R" 101
entries "$R"
check "... and listed" same ${#LINES[@]} 101
if [[ -w $slab/shrink && -n ${RUST_CT_VM:-} ]]; then
	# The end of a namespace is work for the background, which waits for the packets, and for its devices.
	check "every entry of those that ended is free" \
		wait_for $((delay / 1000 + 60)) objects_are_those_of - "$C" "$R" "$S"
else
	skip "every entry of those that ended is free" "there are others, or no $slab"
fi

# --- the end of a router that is busy ---------------------------------------

helper flood flood "$C" eth0 $MAC_C $MAC_RC $X4 $Y4 7000 "$(scaled 200 20)" 0.05
tc -n "$R" qdisc add dev tos root netem delay "${delay}ms" limit 10000
busy() { get_ct "$R" count && ((VALUE > 101)); }
check "a router under traffic" wait_for 20 quiet busy
# The connection's sockets cannot say good-bye without the router, and keep their namespaces
# until they give up: let that be soon.
for ns in "$C" "$S"; do
	in_ns "$ns" sysctl -qw net.ipv4.tcp_orphan_retries=1
done
ns_del "$R"
check "... ends" refused test -e "/run/netns/$R"
ns_del "$S"
kill "${helpers[@]}" 2>/dev/null
wait "${helpers[@]}"
helpers=()
# Its sockets keep their namespaces.
traffic_end
ns_del "$C"
only_mine() { slab_has "$(</proc/sys/net/netfilter/nf_conntrack_count)"; }
if [[ -w $slab/shrink && -n ${RUST_CT_VM:-} ]]; then
	check "with the last namespace goes the last entry" wait_for $((delay / 1000 + 20)) only_mine
else
	skip "with the last namespace goes the last entry" "there are others, or no $slab"
fi
tap_finish
