#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Connections without an answer whose packets come on two processors at once while NAT's rules
# change: each ends up where the rules say, by one entry, and its packets are not lost meanwhile.
# (rust_ct only: the C tracker does not ask the rules again.)

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

tap_begin nft
need_tracker
[[ $TRACKER == rust_ct ]] || skip_all "the C tracker does not ask the rules again"
setup_router
folder=$(mktemp -d)
senders=()
at_end() {
	((!${#senders[@]})) || kill "${senders[@]}" 2>/dev/null
	rm -rf "$folder"
	in_ns "$R" nft flush ruleset 2>/dev/null
}

readonly SERVICE=10.9.9.9 A=$S4 B=10.0.2.3
ip -n "$S" addr add $B/24 dev eth0
# Nobody answers, not even with an error.
in_ns "$S" nft 'table ip t { chain c { type filter hook input priority 0; udp dport 5300 counter drop; }; }'
must write "$R" /proc/sys/net/netfilter/nf_nat_reconsider_after 0

flows=$(scaled 100 20) rounds=$(scaled 12 5)
dnat() { # HOST
	in_ns "$R" nft -f - <<-RULES
		table ip to
		delete table ip to
		table ip to { chain c { type nat hook prerouting priority -100; ip daddr $SERVICE dnat to $1; }; }
	RULES
}
# Two processes that send from the same sockets, each on a processor of its own where there are two.
cat >"$folder/send.py" <<'PYTHON'
import os, socket, sys
count, first, service = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
sockets = []
for port in range(first, first + count):
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.bind(("", port))
    one.connect((service, 5300))
    sockets.append(one)
processors = sorted(os.sched_getaffinity(0))
if os.fork():
    os.sched_setaffinity(0, processors[:1])
else:
    os.sched_setaffinity(0, processors[-1:])
print("sending", flush=True)
while os.getppid() != 1:
    for one in sockets:
        one.send(b"12345678")
PYTHON

lost() { # -> VALUE: packets that the tracker has dropped
	local sum=0 name
	for name in drop insert_failed early_drop; do
		stat "$R" $name || return
		sum=$((sum + VALUE))
	done
	VALUE=$sum
}
moved() { must cat "$R" /proc/sys/net/netfilter/nf_nat_moved && VALUE=${LINES[0]}; }
all_at() { # HOST
	count_entries "$R" udp "dst=$SERVICE" "src=$1" && same "$COUNT" "$flows"
}

dnat $A
lost
before=$VALUE
ns_exec "$C" python3 "$folder/send.py" "$flows" 6000 $SERVICE >"$folder/out" &
senders=($!)
check "two processes send from $flows sockets" wait_for 20 grep -q sending "$folder/out"
check "all connections go to the first host" wait_for 10 all_at $A
for ((round = 1; round <= rounds; round++)); do
	((round % 2)) && host=$B || host=$A
	# No connection is asked about more than once a second.
	sleep 1.1
	dnat $host
	if ! wait_for 10 all_at $host >/dev/null; then
		all_at $host
		break
	fi
done
check "after each of $rounds changes they go to the other" that "$round == $rounds + 1"
moved
check "... each was moved each time, once" same "$VALUE" $((flows * rounds))
kill "${senders[@]}"
wait "${senders[@]}" 2>/dev/null
senders=()
count_entries "$R" udp "dst=$SERVICE"
check "each connection has one entry" same "$COUNT" "$flows"
lost
check "no packet was dropped by the tracker" same $((VALUE - before)) 0
tap_finish
