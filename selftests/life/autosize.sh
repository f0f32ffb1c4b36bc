#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The table grows with its entries and shrinks when they have gone; a size that was
# given by hand holds.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

tap_begin
need_tracker
AUTO=/sys/module/$MODULE/parameters/auto_resize
[[ -w $AUTO ]] || skip_all "this tracker's table never changes its size by itself"
save_table
was_auto=$(<"$AUTO")
at_end() {
	restore_table
	echo "$was_auto" >"$AUTO"
}

setup_router
echo 262144 >$MAX
set_ct "$R" udp_timeout 600

buckets() { same "$(<$BUCKETS)" "$1"; }
fewer_than() { that "$(<$BUCKETS) < $1"; }
more_than() { that "$(<$BUCKETS) > $1"; }
sent=0
# So many new connections, of ports of their own. (NUMBER)
new() {
	sent=$((sent + $1)) port=$((port + 1))
	must flood c "$1" $X4 $Y4 dport=$port
}
port=5000
# Each of them has one entry.
all_there() {
	count_entries "$R" udp "src=$X4"
	same "$COUNT" $sent
}

check "at first the table's size is its own affair" same "$was_auto" Y
echo 512 >$BUCKETS
check "a size is given" buckets 512
check "... so the table is to keep it" same "$(<"$AUTO")" N

# Far more than a table of that size takes by itself, and fewer than any chain refuses.
many=3000
check "$many connections" new $many
# The collector looks once a second at most.
sleep 3
check "... the table keeps the size that it was given" buckets 512
check "... with all of them in it" all_there

echo Y >"$AUTO"
# So many of them that some meet a long chain, and so few that they are all there when the collector
# looks: a table that grows amid a flood may have to grow again.
check "it may grow: 100 more" new 100
check "... and it grows" wait_for 20 quiet more_than $((many * 3 / 2))
check "... not more than it should" fewer_than $((many * 4))
check "... with all of them in it" all_there
check "... the log says so" grep -q 'rust_ct: the table has [0-9]* buckets now, it had 512' <(kernel_log)
grown=$(<$BUCKETS)
check "more of them, which it has room for" new 100
sleep 3
check "... and it stays as it is" buckets "$grown"
check "... with all of them in it" all_there

check "the connections go with their namespace" ns_del "$R"
# It keeps a size for a minute, and the collector rests for up to one.
check "... and it shrinks to the size that it was given" wait_for 150 quiet buckets 512
tap_finish
