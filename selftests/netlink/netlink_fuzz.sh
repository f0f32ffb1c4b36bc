#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Netlink messages by chance (netlink_fuzz.py), of root, of root in a user namespace, and of the
# user nobody. (SECONDS [SEED]; without a seed another one each time, which is printed)

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

seconds=${1:-60} seed=${2:-}
tap_begin nft unshare
need_tracker
options=()
[[ $TRACKER != stock ]] || options+=(--stock)
: "${seed:=$RANDOM$RANDOM}"
setup_netlink
at_end() { in_ns "$R" nft flush ruleset; }
in_ns "$R" sysctl -qw net.netfilter.nf_conntrack_acct=1

fuzz() { # USER COMMAND...
	relay fuzz "$1: " "${@:2}" --seed "$seed" "${options[@]}"
}

# With a listener: events are made as well.
ns_exec "$R" python3 "$SELFTESTS/netlink/netlink_messages.py" listen >/dev/null 2>&1 &
listener=$!
readonly FUZZ=$SELFTESTS/netlink/netlink_fuzz.py
fuzz root in_ns "$R" python3 "$FUZZ" --queue --seconds $((seconds / 2))
fuzz "root of a user namespace" unshare --map-root-user --net python3 "$FUZZ" --seconds $((seconds / 4))
fuzz nobody in_ns "$R" python3 "$FUZZ" --nobody --seconds $((seconds / 4))
kill $listener && wait $listener 2>/dev/null
tap_finish
