#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Netlink messages by chance (netlink_fuzz.py), of root, of root in a user namespace, and of the
# user nobody; beside listeners that never read, namespaces that come and go, and a table at its
# limit (surroundings.py). (SECONDS [SEED]; without a seed another one each time, which is printed)

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"
# shellcheck source=selftests/lib/libfuzz.sh
source "$SELFTESTS/lib/libfuzz.sh"

seconds=${1:-60} seed=${2:-}
tap_begin nft unshare
need_tracker
options=()
[[ $TRACKER != stock ]] || options+=(--stock)
: "${seed:=$RANDOM$RANDOM}"
setup_netlink
in_ns "$R" sysctl -qw net.netfilter.nf_conntrack_acct=1

# Root of a user namespace: a process that keeps it.
unshare --map-root-user --net sleep infinity &
tenant=$!
in_tenant() { nsenter --user --net --preserve-credentials --target $tenant "$@"; }
is_tenant() { [[ $(readlink /proc/$tenant/ns/net) != "$(readlink /proc/self/ns/net)" ]]; }
wait_for 10 is_tenant

# With a listener that reads, too.
ns_exec "$R" python3 "$SELFTESTS/netlink/netlink_messages.py" listen >/dev/null 2>&1 &
listener=$!
at_end() {
	kill $listener $tenant
	in_ns "$R" nft flush ruleset
} 2>/dev/null

fuzz() { # WHO SHARE COMMAND...
	relay fuzz "$1: " "${@:3}" --seed "$seed" --seconds $((seconds * $2 / 8)) --watch "$WATCHED" "${options[@]}"
}

readonly FUZZ=$SELFTESTS/netlink/netlink_fuzz.py
surround 200 "$R" /proc/$tenant/ns/net
fuzz root 3 in_ns "$R" python3 "$FUZZ" --queue
fuzz "root, with a full table" 1 flooded "$R" in_ns "$R" python3 "$FUZZ" --full
fuzz "root of a user namespace" 2 in_tenant python3 "$FUZZ"
fuzz nobody 2 in_ns "$R" python3 "$FUZZ" --nobody
surround_end
in_ns "$R" nft flush ruleset
kill $listener $tenant && wait $listener $tenant 2>/dev/null
at_end() { :; }
all_goes
tap_finish
