#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A listener that must not miss an end (NETLINK_BROADCAST_ERROR) and does not read: ends wait for
# it, in their order; they count towards the limit; and no other namespace notices (ends.py).
# (nf_conntrack_max holds for the whole machine: do not run this where that hurts.)

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

tap_begin
need_tracker
if [[ $TRACKER == stock ]]; then
	modprobe nf_conntrack_netlink || skip_all "no nf_conntrack_netlink module"
fi
save_table
at_end() { restore_table; }
ns_add A B
for ns in "$A" "$B"; do
	in_ns "$ns" sysctl -qw net.netfilter.nf_conntrack_events=1
done
was_events=$(sysctl -n net.netfilter.nf_conntrack_events)
at_end() {
	restore_table
	sysctl -qw "net.netfilter.nf_conntrack_events=$was_events"
}
sysctl -qw net.netfilter.nf_conntrack_events=1

ends() { relay "$1" "$1: " python3 "$SELFTESTS/life/ends.py" "$@"; }

ends order "$A"
ends neighbours "$A" "$B"
if [[ -n ${RUST_CT_VM:-} ]]; then
	ends host "$A"
else
	skip "the first namespace" "its entries are flushed; only in the test machine"
fi
# With 200 tuples in 512 buckets ... (limit.sh)
set_table 512 1000
ends limit "$A" "$(scaled 20000 4000)" 1000
set_table 512 500
ends room "$B"
# The C tracker frees a chain of masters by a chain of calls, and the kernel panics.
if [[ $TRACKER == rust_ct ]]; then
	set_table 512 100000
	ends chain "$A" "$(scaled 3000 1000)" 100000
	set_table 512 500
	ends chain "$A" 1000 500
fi
restore_table
ends teardown "$A" "$B"
tap_finish
