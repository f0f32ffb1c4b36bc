#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What rust_ct's netlink has beyond the C tracker's (libctown.py): why connections
# ended; what is found by zone and address, and what that costs.

# shellcheck source=selftests/lib.sh
source "$(dirname "$0")/lib.sh"

tap_begin nft
need_tracker
[[ $TRACKER == rust_ct ]] || skip_all "is about rust_ct"
ns_add R

own() { # COMMAND [ARGUMENT]...
	local line seen=0
	while IFS= read -r line; do
		case $line in
		"ok $1") seen=1 ;;
		"ok "*) pass "${line#ok }" ;;
		"not ok "*) fail "${line#not ok }" ;;
		*) diag "$line" ;;
		esac
	done < <(in_ns "$R" python3 "$SELFTESTS/libctown.py" "$@" 2>&1)
	check "$1: to its end" that "$seen"
}

was_max=$(</proc/sys/net/netfilter/nf_conntrack_max)
was_buckets=$(</proc/sys/net/netfilter/nf_conntrack_buckets)
limit() { # BUCKETS ENTRIES
	echo "$1" >/proc/sys/net/netfilter/nf_conntrack_buckets
	echo "$2" >/proc/sys/net/netfilter/nf_conntrack_max
}
at_end() {
	in_ns "$R" nft flush ruleset
	limit "$was_buckets" "$was_max"
}

ip_batch "$R" <<-LINES
	link add out type dummy
	link set out up
	addr add 10.7.9.1/24 dev out
LINES
in_ns "$R" nft -f - <<'RULES' || skip_all "nft does not take the rules"
	table ip t {
		chain post {
			type nat hook postrouting priority srcnat
			oifname "out" masquerade
		}
	}
RULES
in_ns "$R" sysctl -qw net.netfilter.nf_conntrack_events=1
own reasons out
limit 512 200
own full
limit "$was_buckets" "$was_max"

ns_add S
elsewhere=$(scaled 2000 200)
own_in() { # NS COMMAND [ARGUMENT]...
	local R=$1
	shift
	own "$@"
}
own_in "$S" fill "$elsewhere"
own index
own slow "$(scaled 3000 400)"
many=$(scaled 20000 2000)
limit "$was_buckets" 100000
own cost "$many"
limit "$was_buckets" "$was_max"
own_in "$S" still "$elsewhere"
tap_finish
