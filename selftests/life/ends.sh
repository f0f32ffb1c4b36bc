#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A listener that must not miss an end (NETLINK_BROADCAST_ERROR) and does not read: ends wait for
# it, in their order, and no other namespace notices (ends.py).

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

tap_begin
need_tracker
if [[ $TRACKER == stock ]]; then
	modprobe nf_conntrack_netlink || skip_all "no nf_conntrack_netlink module"
fi
ns_add A B
for ns in "$A" "$B"; do
	in_ns "$ns" sysctl -qw net.netfilter.nf_conntrack_events=1
done
was_events=$(sysctl -n net.netfilter.nf_conntrack_events)
at_end() {
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
ends teardown "$A" "$B"
tap_finish
