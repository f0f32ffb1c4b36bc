#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Netlink messages by chance (netlink_fuzz.py), of root, of root in a user namespace, and of
# nobody. (SECONDS [SEED]; without a seed another one each time, which is printed)

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

seconds=${1:-60} seed=${2:-}
tap_begin nft unshare
need_tracker
options=()
if [[ $TRACKER == stock ]]; then
	modprobe -a nf_conntrack_netlink nf_nat || skip_all "no nf_conntrack_netlink or nf_nat module"
	options+=(--stock)
fi
modprobe nf_conntrack_ftp || skip_all "no FTP helper"
: "${seed:=$RANDOM$RANDOM}"
ns_add R
at_end() { in_ns "$R" nft flush ruleset; }
# Labels are kept where a rule knows some.
in_ns "$R" nft -f - <<'RULES' || skip_all "nft does not take the rules"
	table inet t {
		chain c {
			type filter hook output priority 0
			ct label 5 counter
			udp dport 7103 queue num 5
		}
	}
RULES
in_ns "$R" sysctl -qw net.netfilter.nf_conntrack_events=1 net.netfilter.nf_conntrack_acct=1

fuzz() { # WHO COMMAND...
	relay fuzz "$1: " "${@:2}" --seed "$seed" "${options[@]}"
}

# Somebody listens: events are made as well.
ns_exec "$R" python3 "$SELFTESTS/netlink/netlink_messages.py" listen >/dev/null 2>&1 &
listener=$!
readonly FUZZ=$SELFTESTS/netlink/netlink_fuzz.py
fuzz root in_ns "$R" python3 "$FUZZ" --queue --seconds $((seconds / 2))
fuzz "root of a user namespace" unshare --map-root-user --net python3 "$FUZZ" --seconds $((seconds / 4))
fuzz nobody in_ns "$R" python3 "$FUZZ" --nobody --seconds $((seconds / 4))
kill $listener && wait $listener 2>/dev/null
tap_finish
