#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Floods of connections that share chains of the table. Two ways to choose such connections are
# tried: by the order of listings, or of the ends that a listener is told, from which the secret of the
# hash could be computed, and by zones, where no secret is needed if zones are hashed badly. Then chains become too long all the same, as
# the table is made too small: a chain takes so many connections and no more, and as soon as the mean
# length says that this was no chance, the table's hash becomes siphash, until the administrator takes
# jhash back.
#
# The stock tracker's hash is siphash, with a secret that it keeps as long as it is loaded.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

tap_begin conntrack
need_tracker
save_table
AUTO=/sys/module/$MODULE/parameters/auto_resize HASH=/sys/module/$MODULE/parameters/hash
was_auto=$(cat "$AUTO" 2>/dev/null) was_hash=$(cat "$HASH" 2>/dev/null)

at_end() {
	hash_stands
	restore_table
	[[ -z $was_auto ]] || echo "$was_auto" >"$AUTO"
	[[ -z $was_hash ]] || echo "$was_hash" >"$HASH"
}

secrets() { relay "$1" "" in_ns "$R" python3 "$SELFTESTS/lib/secrets.py" "$@"; } # COMMAND [ARGUMENT]...
log_has() { kernel_log | grep -qF "rust_ct: $1"; }                               # TEXT

setup_router
echo 65536 >$BUCKETS
echo 131072 >$MAX
set_ct "$R" udp_timeout 300

# --- what a listing tells ---------------------------------------------------

if [[ $TRACKER == rust_ct ]]; then
	secrets order netlink /proc/net/nf_conntrack /proc/net/rust_conntrack
else
	skip "the order of a listing" "that of siphash, from which nothing can be computed"
fi

# --- what the ends of connections tell --------------------------------------

if [[ $TRACKER == rust_ct ]]; then
	# Some connections to each bucket.
	echo 512 >$BUCKETS
	relay ends "" python3 "$SELFTESTS/lib/secrets.py" ends "$R" "$S"
	echo 65536 >$BUCKETS
else
	skip "the order of ends" "that of siphash, from which nothing can be computed"
fi

# --- zones ------------------------------------------------------------------

secrets zones
stat "$R" chainlength
check "no chain was too long" same "$VALUE" 0

# --- chains that are too long -----------------------------------------------

# The smallest table has 512 buckets.
readonly CHAINS=512 MANY=50000
must listen l "$S" $S4 80
must connected -- connect old "$C" $S4 80
must accept dlo l
goes_on() {
	must send old 100 && must recv dlo 100 && must send dlo 100 && must recv old 100
}
# The collector looks after the hash as well, once a minute where lives are long. A full table that
# has no room to make calls it. It waits for a minute then.
call_collector() {
	echo 1 >$MAX
	must flood c 1 $X4 $Y4 dport=9
	sleep 1
	echo 131072 >$MAX
}
check "a connection of others" goes_on
echo $CHAINS >$BUCKETS
call_collector
must flood c $MANY $X4 $Y4 dport=7
get_ct "$R" count
stat_before=$VALUE
stat "$R" chainlength
diag "$stat_before entries of $MANY, chains too long: $VALUE"
check "a chain takes 50 entries at least, 80 at most" \
	that "stat_before > 50 * CHAINS && stat_before < 80 * CHAINS"
check "... the statistics have the others" that "VALUE >= MANY - stat_before"
check "meanwhile a connection of others goes on" goes_on
check "the flood ends" in_ns "$R" conntrack -F
check "... a connection of others goes on" goes_on

# --- the keyed hash ---------------------------------------------------------

# Packets of as many connections find the entries of these, and the listing has each once. (COUNT)
all_there() {
	entries "$R"
	same "$(printf '%s\n' "${LINES[@]}" | grep -c ' dport=11 ')" "$1" || return
	must flood c "$1" $X4 $Y4 dport=11 && entries "$R"
	same "$(printf '%s\n' "${LINES[@]}" | grep -c ' dport=11 ')" "$1"
}
if [[ $TRACKER == rust_ct ]]; then
	hash_is() { same "$(<"$HASH")" "$1"; }
	few=$(scaled 2000 300)
	check "the hash is jhash" hash_is jhash
	call_collector
	check "chains were too long: now it is siphash" wait_for 90 hash_is siphash
	check "... the log tells" log_has "a chain was too long; the table's hash is siphash with a new secret now"
	check "... a connection of others goes on" goes_on
	call_collector
	check "... it stays siphash" hash_is siphash
	must flood c "$few" $X4 $Y4 dport=11
	check "... connections are found" all_there "$few"

	check "the administrator takes jhash back" eval 'echo jhash >$HASH && hash_is jhash'
	check "... the log tells" log_has "the table's hash is jhash now"
	check "... connections are found" all_there "$few"
	check "another name is refused" refused eval 'echo md5 2>/dev/null >$HASH'
	check "... and changes nothing" hash_is jhash
	check "a new size keeps the hash" eval 'echo siphash >$HASH && echo 2048 >$BUCKETS && hash_is siphash'
	check "... connections are found" all_there "$few"

	# Again and again, as fast as it goes.
	hash_changes "$HASH"
	check "while the hash changes all the time, a connection goes on" goes_on
	check "... others are found, each once" all_there "$few"
	hash_stands
	check "all is as before" all_there "$few"
	check "... in the table too" count_is "$R" $((few + 1))
else
	skip "the keyed hash" "the stock tracker has no other"
fi
tap_finish
