#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Listings, events, resizes, flushes, changes, traffic and the end of namespaces, all at once
# (netlink_races.py). (SECONDS)

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

tap_begin
need_tracker
[[ $TRACKER == rust_ct ]] || skip_all "a listing of the C tracker's is not to be relied on meanwhile"
ns_add R S
was=$(</sys/module/rust_ct/parameters/hashsize) was_max=$(<$MAX)
at_end() {
	echo "$was" >/sys/module/rust_ct/parameters/hashsize
	echo "$was_max" >$MAX
}
# More than there are different ones: in a full table those that are to last would give way.
echo 65536 >$MAX
in_ns "$R" sysctl -qw net.netfilter.nf_conntrack_events=1
relay races "" python3 "$SELFTESTS/netlink/netlink_races.py" "${1:-30}" "$(scaled 2000 200)" "$R" "$S"
# What ends must not stay.
ns_del "$R"
ns_del "$S"
if [[ -n ${RUST_CT_VM:-} ]]; then
	gone() { rmmod rust_ct 2>/dev/null; }
	check "the tracker is unloaded" wait_for 20 gone
	check "... with all entries" same "$(awk '$1 == "nf_conntrack"' /proc/slabinfo)" ""
	check "... and loaded again" load_tracker rust_ct
	at_end() { :; }
else
	skip "the tracker is unloaded" "others may use it"
fi
tap_finish
