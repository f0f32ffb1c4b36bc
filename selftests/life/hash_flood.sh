#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A flood of connections that all belong into one chain of the table: the chain takes so
# many and no more, connections of others go on meanwhile, and soon the table has a new
# secret, under which the same connections are scattered like any others.
#
# Which ones share a chain is found out by looking: listings are in the table's order, so
# the first ones of very many connections share the first bucket of a small table. That
# works with any hash; an attacker who knew the secret could compute such connections.
#
# The stock tracker keeps its secret as long as it is loaded.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

tap_begin conntrack
need_tracker
save_table
AUTO=/sys/module/$MODULE/parameters/auto_resize
was_auto=$(cat "$AUTO" 2>/dev/null)
dir=$(mktemp -d)
others=

at_end() {
	[[ -z $others ]] || kill "$others" 2>/dev/null
	restore_table
	[[ -z $was_auto ]] || echo "$was_auto" >"$AUTO"
	rm -rf "$dir"
}

# The smallest table has 512 buckets. Of so many connections 156 belong into the first one,
# give or take 12, so that the first 100 are hardly ever fewer than its share.
readonly MANY=80000 CHOSEN=100 FLOODER=10.0.1.66
# A chain takes 50 tuples, and at most 30 more by chance; some of them are of others.
readonly LEAST=35 MOST=85
# What others open each tenth of a second. Few enough that no chain is long for their sake.
rate=$(scaled 30 10) lifetime=$(scaled 4 10) enough=$(scaled 360 250)

first_lines() { in_ns "$R" head -n "$1" /proc/net/nf_conntrack; } # COUNT
more_than() { get_ct "$R" count && ((VALUE > $1)); }              # COUNT

# How many of the flood have an entry, into COUNT; how many of those are among the first
# CHOSEN lines of a listing, into FIRST.
look() {
	count_entries "$R" udp src=$FLOODER
	FIRST=$(first_lines $CHOSEN | grep -c " src=$FLOODER .*UNREPLIED")
	diag "of the flood: $COUNT entries, $FIRST of them among the first $CHOSEN lines of ${#LINES[@]}"
}

# Each of the chosen connections sends one packet. How many were refused, into REFUSED; by
# the statistics, where a few of others may be among them, into COUNTED.
flood() {
	stat "$R" chainlength && COUNTED=-$VALUE
	# They live long, the others do not.
	kill -STOP "$others"
	set_ct "$R" udp_timeout 300
	python3 "$SELFTESTS/lib/stress.py" chosen "$C" eth0 $MAC_C $MAC_RC $C4 $RC4 $FLOODER $Y4 <"$dir/chosen" || return
	set_ct "$R" udp_timeout "$lifetime"
	kill -CONT "$others"
	stat "$R" chainlength && COUNTED=$((COUNTED + VALUE))
	wait_for 20 more_than $((CHOSEN + enough))
	look
	REFUSED=$((CHOSEN - COUNT))
	diag "refused: $REFUSED, chains too long: $COUNTED"
}

setup_router
echo 65536 >$BUCKETS
echo 131072 >$MAX

# --- which ones -------------------------------------------------------------

set_ct "$R" udp_timeout 300
must flood c $MANY $FLOODER $Y4 dport=7
first_lines $CHOSEN |
	sed -nE "s/.* src=$FLOODER dst=$Y4 sport=([0-9]+) dport=([0-9]+) .*UNREPLIED.*/\1 \2/p" >"$dir/chosen"
check "the first $CHOSEN of $MANY connections in the table's order" same "$(wc -l <"$dir/chosen")" $CHOSEN
in_ns "$R" conntrack -F 2>/dev/null
set_ct "$R" udp_timeout "$lifetime"
python3 "$SELFTESTS/lib/stress.py" flood "$C" eth0 $MAC_C $MAC_RC $X4 $Y4 7000 "$rate" 0.1 >/dev/null &
others=$!
echo 512 >$BUCKETS
# The collector, which looks after chains as well, comes once a minute where lives are long. A
# full table calls it; it sees that they are short now, and will come again soon.
wait_for 20 more_than $enough
echo $enough >$MAX
sleep 1
echo 65536 >$MAX
must listen l "$S" $S4 80
must connected -- connect old "$C" $S4 80
must accept dlo l
stat "$R" chainlength
check "up to here no chain was too long" same "$VALUE" 0

# --- the flood --------------------------------------------------------------

flood
check "all belong into one chain" that "FIRST > COUNT - 10 && COUNT > $LEAST"
check "... which takes no more than it should" that "COUNT < $MOST"
check "... and the statistics have the others" that "COUNTED >= REFUSED && COUNTED < REFUSED + 20"

goes_on() {
	must send old 100 && must recv dlo 100 && must send dlo 100 && must recv old 100
}
# By chance one may belong into that very chain.
new_ones() {
	local i failed=0
	for i in {0..9}; do
		if t connect "n$i" "$C" $S4 80 && [[ $ANSWER == connected ]]; then
			must accept "m$i" l && must close "n$i" && must close "m$i" || return
		else
			failed=$((failed + 1))
		fi
	done
	that "failed <= 1"
}
check "meanwhile a connection of others goes on" goes_on
check "... and new ones come" new_ones

# --- the new secret ---------------------------------------------------------

has_new_secret() { kernel_log | grep -q 'rust_ct: a chain was too long; the table has a new secret now'; }
if [[ $TRACKER == rust_ct ]]; then
	check "the table has a new secret within a minute" wait_for 75 has_new_secret
	flood
	check "the same flood: each connection has its entry" same "$COUNT" $CHOSEN
	check "... none was refused" same "$COUNTED" 0
	check "... and they are scattered over the table" that "FIRST < CHOSEN * 6 / 10"
	check "connections of others go on" goes_on
	check "... and new ones come" new_ones
	check "there is one new secret, not more" \
		same "$(kernel_log | grep -c 'the table has a new secret now')" 1
else
	skip "the table has a new secret within a minute" "the stock tracker keeps the one it has"
fi
tap_finish
