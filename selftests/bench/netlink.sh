#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What asking for some of many entries costs: see netlink.py. (ZONES PER_ZONE)

# shellcheck source=selftests/lib.sh
source "$(dirname "$0")/../lib.sh"

tap_begin
need_tracker
if [[ $TRACKER == stock ]]; then
	modprobe nf_conntrack_netlink || skip_all "no nf_conntrack_netlink module"
fi
ns_add R
was_max=$(</proc/sys/net/netfilter/nf_conntrack_max)
was_buckets=$(</proc/sys/net/netfilter/nf_conntrack_buckets)
at_end() {
	echo "$was_max" >/proc/sys/net/netfilter/nf_conntrack_max
	echo "$was_buckets" >/proc/sys/net/netfilter/nf_conntrack_buckets
}
many=$(($1 * $2))
echo $((many + 1000)) >/proc/sys/net/netfilter/nf_conntrack_max
echo $((many / 2)) >/proc/sys/net/netfilter/nf_conntrack_buckets
check "measured" in_ns "$R" python3 "$SELFTESTS/bench/netlink.py" "$@"
tap_finish
