#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Plays the stories of traces/ through a router: after each packet the entry with
# its state, its lifetime and its flags, and whether the packet was invalid.
# compare.sh also holds against the other tracker the counters, the statistics,
# and what netlink told of each connection.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"
# shellcheck source=selftests/lib/libsteps.sh
source "$SELFTESTS/lib/libsteps.sh"

tap_begin
need_tracker
setup_router
set_ct "$R" acct 1
# One segment of a story may be as long as a window.
for device in "$C eth0" "$S eth0" "$R toc" "$R tos"; do
	ip -n "${device% *}" link set "${device#* }" mtu 65535
done
record_events $C4 $C6

# Where time is slow, in one family.
for family in 4 $(scaled 6 ''); do
	use_family "$family"
	relay "$FAMILY stories" '' python3 "$SELFTESTS/lib/traces.py" "$R" "$X" "$Y" \
		"$C eth0 $MAC_C $MAC_RC $C4 $RC4" "$S eth0 $MAC_S $MAC_RS $S4 $RS4" \
		"$SELFTESTS"/traces/*.trace
done

show_statistics
show_events "$(scaled 500 250)"
check "the stories were there" that "$tests > $(scaled 1000 500)"
tap_finish
