#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What asking for some of many entries costs, and for how long it holds softirqs off: see
# netlink_requests.py. (ZONES PER_ZONE MODULE)

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../../lib/lib.sh"

tap_begin
need_tracker
if [[ $TRACKER == stock ]]; then
	modprobe nf_conntrack_netlink || skip_all "no nf_conntrack_netlink module"
fi
ns_add R
save_table
at_end() {
	restore_table
}
many=$(($1 * $2))
set_table $((many / 2)) $((many + 1000))
check "the costs" in_ns "$R" python3 "$SELFTESTS/bench/guest/netlink_requests.py" "$1" "$2"
if check "what measures how long softirqs wait is loaded" insmod "$3"; then
	check "how long softirqs wait" in_ns "$R" python3 "$SELFTESTS/bench/guest/netlink_requests.py" "$1" "$2" wait
	rmmod softirq_wait
fi
tap_finish
