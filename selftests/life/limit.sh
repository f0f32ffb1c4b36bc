#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A full table: entries that are not assured make room for new ones; where there
# are none, packets of new connections are dropped, and the log says so, now and
# then. Connections that are established live through it, and those that are over
# make room. (nf_conntrack_max holds
# for the whole machine: do not run this where that hurts.)

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

tap_begin
need_tracker
save_table
at_end() { restore_table; }

setup_router
# Some buckets are searched for an entry to drop (eight, where each connection is in two): there are
# some.
echo 512 >$BUCKETS

connections=5
must listen l "$S" $S4 80
for ((i = 0; i < connections; i++)); do
	must connected -- connect "c$i" "$C" $S4 80 "sport=$((20000 + i))"
	must accept "s$i" l
done
# UDP both ways, and again after two seconds: a stream. It has nothing to say after that.
set_ct "$R" udp_timeout_stream 600
both_ways() {
	must inject c udp $X4,30000 $Y4,53 len=10
	must inject s udp $Y4,53 $X4,30000 len=10
}
both_ways && sleep 2.2 && both_ways && both_ways
check "before: a UDP stream" entry "$R" udp sport=30000 '[ASSURED]'
count_entries "$R" '[ASSURED]'
assured=$COUNT
check "before: nothing but what is established" same "$assured" $((connections + 1))
check "before: the count is the same" count_is "$R" "$assured"

established() {
	local i
	count_entries "$R" tcp ESTABLISHED '[ASSURED]' dport=80
	same "$COUNT" $connections || return
	entry "$R" udp sport=30000 '[ASSURED]' || return
	for ((i = 0; i < connections; i++)); do
		must send "c$i" 100 && must recv "s$i" 100 || return
	done
}

# --- room is made -----------------------------------------------------------

# Seconds: longer than the flood takes, and no longer than one likes to wait.
set_ct "$R" udp_timeout "$(scaled 8 60)"
max=100 flows=$(scaled 2000 200)
# What processors have under way comes on top, for a moment.
slack=$(($(nproc) + 2))
echo $max >$MAX
stat "$R" drop && dropped=$VALUE
stat "$R" early_drop && early=$VALUE
highest=0 sent=0
while ((sent < flows)); do
	must flood c 50 $X4 $Y4 "first=$sent" dport=7000
	sent=$((sent + 50))
	get_ct "$R" count
	((VALUE <= highest)) || highest=$VALUE
done
check "the count gets to the limit, and stays there (highest: $highest)" \
	that "highest >= max - 5 && highest <= max + $slack"
stat "$R" drop && dropped=$((VALUE - dropped))
stat "$R" early_drop && early=$((VALUE - early))
diag "$flows new flows: $early entries dropped early, $dropped packets dropped"
check "entries are dropped early" that "early > (flows - max) / 2"
check "only one entry goes for a new one, or some that were together with it" \
	that "early + dropped <= flows + $slack"
# With 200 tuples in 512 buckets all of eight are empty in 4 of 100 cases, and so are, with 100, all
# of sixteen.
check "few new ones find none to drop, and are dropped themselves" that "dropped < flows / 10"
check "established connections stay, and go on" established
t cat "$R" /proc/net/nf_conntrack
check "no listing is longer than the limit" that "${#LINES[@]} <= max + $slack"

# The others are dropped for the ones that stay.
all_established() {
	count_entries "$R" '![ASSURED]'
	((COUNT == 0))
}
echo 1000 >$MAX
check "unanswered flows end in their own time" wait_for 45 quiet all_established

# The C tracker removes them too, and drops the packet.
if [[ $MODULE == rust_ct ]]; then
	set_ct "$R" udp_timeout 1
	must flood c 100 $X4 $Y4 dport=7003
	set_ct "$R" udp_timeout "$(scaled 8 60)"
	echo $((assured + 100)) >$MAX
	sleep 2.2
	stat "$R" drop && dropped=$VALUE
	stat "$R" early_drop && early=$VALUE
	must flood c 50 $X4 $Y4 dport=7004
	stat "$R" drop && dropped=$((VALUE - dropped))
	stat "$R" early_drop && early=$((VALUE - early))
	diag "50 new flows among 100 that have expired: $early dropped early, $dropped packets dropped"
	check "what has expired makes room before anything else" that "early + dropped <= 10"
	echo 1000 >$MAX
	check "... and the new ones end in their own time" wait_for 45 quiet all_established
fi

# --- no room ----------------------------------------------------------------

set_ct "$R" udp_timeout 30
echo "$assured" >$MAX
flows=$(scaled 500 60)
check "where nothing can be dropped, every packet of a new connection is" \
	grows "$flows" "$R" drop must flood c "$flows" $X4 $Y4 dport=7001
check "... no entry is dropped for it" count_is "$R" "$assured"
check "... established connections stay, and go on" established
netns=$(command stat -L -c %i "/run/netns/$R")
lines() { kernel_log | grep -c "nf_conntrack: table full$1, dropping packet"; }
check "... the log says so, and which namespace" that "$(lines " in netns $netns") >= 1"
# net_ratelimit() lets 10 lines through in 5 seconds.
check "... now and then" that "$(lines " in netns $netns") <= 10 + 2 * SECONDS"
check "... and not of the first namespace" same "$(lines '')" 0

# --- the first namespace ----------------------------------------------------

refusal() { # FIRST
	local i
	must udp "u$1" - 0 || return
	for ((i = 0; i < 3; i++)); do
		if ! t sendto "u$1" 127.0.0.1 $((40000 + i)) 10; then
			same "$ANSWER" EPERM
			return
		fi
	done
	diag "three new connections with a limit of 1"
	return 1
}
if [[ -n ${RUST_CT_VM:-} ]]; then
	ip link set lo up
	must listen k - 127.0.0.1 8080
	must connected -- connect d - 127.0.0.1 8080
	must accept e k
	count_entries - '[ASSURED]'
	check "the first namespace: a connection" that "COUNT >= 1"
	echo 1 >$MAX
	# The limit on messages is for all of them together.
	sleep 6
	check "the first namespace: a new one is refused to its sender" refusal 1
	check "... the log says so" that "$(lines '') >= 1 && $(lines '') <= 5"
	must send d 100
	check "... the connection goes on" must recv e 100
else
	skip "the first namespace" "cuts off whoever looks on; only in the test machine"
fi

# --- room again -------------------------------------------------------------

echo "$was_max" >$MAX
check "with the limit raised nothing is dropped" \
	grows 0 "$R" drop must flood c 50 $X4 $Y4 dport=7002
check "... and everything is tracked" count_is "$R" $((assured + 50))
check "... established connections stay, and go on" established

# --- a table full of closed connections -------------------------------------

# One request after the other; of each connection an entry stays, which is assured. The namespace
# has a small part of a large table.
requests() { # FIRST LAST
	local i
	for ((i = $1; i < $2; i++)); do
		must connected -- connect r "$C" $S4 80 "sport=$((30000 + i))" &&
			must accept q l && must close r && must eof q && must close q || return
	done
}
check "connections that were closed stay in the table" requests 0 20
count_entries "$R" tcp TIME_WAIT '[ASSURED]'
check "... and are assured" same "$COUNT" 20
set_table "$was_buckets" 100
stat "$R" drop && dropped=$VALUE
if [[ $MODULE == rust_ct ]]; then
	check "the table is full of them: all requests are answered" requests 20 300
else
	# It drops a closed one in the background, for later packets: some requests wait for a second.
	requests 20 300 >/dev/null
fi
stat "$R" drop && dropped=$((VALUE - dropped))
diag "280 connections, one after the other: $dropped packets dropped"
if [[ $MODULE == rust_ct ]]; then
	check "... for a new one a closed one goes at once" same "$dropped" 0
fi
get_ct "$R" count
check "... the limit holds" that "VALUE <= 100 + $slack"
check "... established connections stay, and go on" established

# --- a listener that does not read ------------------------------------------

# It must not miss an end: ends wait for it, and count (ends.py).
ready=$(mktemp)
# Not with the pipes to traffic.py, which ends when they have no writer any more.
python3 "$SELFTESTS/life/ends.py" deaf "$R" >"$ready" 2>&1 {traffic_in}>&- {traffic_out}<&- &
deaf=$!
at_end() {
	kill "$deaf" 2>/dev/null
	rm -f "$ready"
	restore_table
}
check "a listener" wait_for 10 grep -qx listening "$ready"
# Events are for who listens, as by default.
set_ct "$R" events 2
# So many entries in so few buckets that each search finds some to drop. With fewer a search fails now
# and then, and calls the collector, which ends all that can be dropped: then they count as well, but
# are no more in number.
most=1000 flows=$(scaled 3000 1500)
set_table 512 $most
stat "$R" drop && dropped=$VALUE
stat "$R" early_drop && early=$VALUE
highest=0 sent=0
while ((sent < flows)); do
	must flood c 50 $X4 $Y4 "first=$sent" dport=7005
	sent=$((sent + 50))
	get_ct "$R" count
	((VALUE <= highest)) || highest=$VALUE
done
check "ends that it is not told do not take the count past the limit (highest: $highest)" \
	that "highest >= most - 5 && highest <= most + $slack"
stat "$R" drop && dropped=$((VALUE - dropped))
stat "$R" early_drop && early=$((VALUE - early))
diag "$flows new flows: $early entries dropped early, $dropped packets dropped"
check "... but new connections are refused" that "dropped > (flows - most) / 2"
check "... established connections stay, and go on" established
tap_finish
