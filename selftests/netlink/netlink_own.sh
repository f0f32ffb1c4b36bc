#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What rust_ct's netlink has beyond the C tracker's (netlink_own.py): why connections
# ended; what is found by zone and address, and what that costs.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"
# shellcheck source=selftests/lib/libsteps.sh
source "$SELFTESTS/lib/libsteps.sh"

tap_begin nft iptables-legacy ipvsadm
need_tracker
[[ $TRACKER == rust_ct ]] || skip_all "is about rust_ct"
ns_add R

# Which reasons were told.
declare -A told=()

own() { # COMMAND [ARGUMENT]...
	local line
	relay "$1" "" in_ns "$R" python3 "$SELFTESTS/netlink/netlink_own.py" "$@"
	for line in "${LINES[@]}"; do
		[[ $line != "told "* ]] || told["${line#told }"]=1
	done
}

save_table
folder=$(mktemp -d)
listener=
at_end() {
	[[ -z $listener ]] || kill "$listener"
	rm -rf "$folder"
	in_ns "$R" nft flush ruleset
	in_ns "$R" iptables-legacy -w -t raw -F
	in_ns "$R" ipvsadm -C
	restore_table
} 2>/dev/null

ip_batch "$R" <<-LINES
	link add out type dummy
	link set out up
	addr add 10.7.9.1/24 dev out
	link add other type dummy
	link set other up
	addr add 10.7.10.1/24 dev other
	addr add 10.7.8.1/32 dev lo
LINES
in_ns "$R" nft -f - <<'RULES' || skip_all "nft does not take the rules"
	table ip t {
		chain post {
			type nat hook postrouting priority srcnat
			oifname { "out", "other" } masquerade
		}
	}
RULES
in_ns "$R" sysctl -qw net.netfilter.nf_conntrack_events=1
own reasons out other
set_table 512 200
own full
restore_table

ns_add S
elsewhere=$(scaled 2000 200)
own_in() { # NS COMMAND [ARGUMENT]...
	local R=$1
	shift
	own "$@"
}
own_in "$S" fill "$elsewhere"
own index
own slow "$(scaled 2000 400)"
many=$(scaled 40000 2000)
set_table "$was_buckets" 100000
own cost "$many"
restore_table
own_in "$S" still "$elsewhere"

# --- why connections end that a router forwards ---------------------------------

setup_router
use_family 4
# Not with the pipes to traffic.py, which ends when they have no writer any more.
ns_exec "$R" python3 "$SELFTESTS/netlink/netlink_own.py" ends >"$folder/ends" 2>&1 {traffic_in}>&- {traffic_out}<&- &
listener=$!
wait_for 10 grep -qx listening "$folder/ends"
# An event of a connection of this protocol had the reason. (REASON PROTOCOL)
tells() {
	if wait_for 10 grep -qx "$1 $2" "$folder/ends"; then
		told[$1]=1
		return
	fi
	diag "told was: $(<"$folder/ends")"
	return 1
}
readonly TCP=6 UDP=17 GRE=47

# One port for all; a connection in TIME_WAIT has it.
gives_way() {
	in_ns "$R" nft -f - <<-RULES || return
		table ip t {
			chain post { type nat hook postrouting priority srcnat; tcp dport 82 snat to $RY:4000; }
		}
	RULES
	local c="c tcp $X,2001 $Y,82" s="s tcp $Y,82 $RY,4000" packet
	for packet in "$c S seq=1000" "$s SA seq=500 ack=1001" "$c A seq=1001 ack=501" \
		"$c FA seq=1001 ack=501" "$s FA seq=501 ack=1002" "$c A seq=1002 ack=502"; do
		# shellcheck disable=SC2086 # words
		t inject $packet || return
	done
	t inject c tcp "$X,3000" "$Y,82" S seq=9000 && tells 6 $TCP
}
check "a port is wanted by a new connection: gave way" gives_way

# The rule that translates a connection without an answer is replaced.
is_moved() {
	local host
	must write "$R" /proc/sys/net/netfilter/nf_nat_reconsider_after 0 || return
	for host in "$SA" "$Y"; do
		in_ns "$R" nft -f - <<-RULES || return
			table ip moved
			delete table ip moved
			table ip moved { chain c { type nat hook prerouting priority dstnat; udp dport 83 dnat to $host; }; }
		RULES
		t inject c udp "$X,3001" "$RX,83" len=10
	done
	tells 12 $UDP
	in_ns "$R" nft delete table ip moved
}
check "NAT's rules give another answer: reconsidered" is_moved

hangs_up() {
	in_ns "$R" iptables-legacy -w -t raw -A PREROUTING -p tcp --dport 1723 -j CT --helper pptp || return
	begin pptp
	pptp_calls >/dev/null
	step c gre "$X" "$Y" call=0x22 seq=1 len=20 >/dev/null
	entry "$R" gre srckey=0x11 dstkey=0x22 || return
	pptp_hangs_up >/dev/null
	tells 10 $GRE
}
check "a call's control connection hangs up: the one that it belonged to has ended" hangs_up

# IPVS drops a connection's entry with its own.
is_balanced() {
	must write "$R" /proc/sys/net/ipv4/vs/conntrack 1 &&
		in_ns "$R" ipvsadm --set 0 0 1 &&
		in_ns "$R" ipvsadm -R <<-SERVICE || return
			-A -u $RX:99 -s rr
			-a -u $RX:99 -r $SA:7 -m
		SERVICE
	must udp server "$S" 7 && must udp client "$C" 5555 && must sendto client "$RX" 99 10 &&
		must 10 -- take server && tells 11 $UDP
}
if modprobe -q ip_vs; then
	check "IPVS forgets a connection: another module wanted it" is_balanced
else
	skip "IPVS forgets a connection: another module wanted it" "no ip_vs"
	told[11]=1
fi

# The fifth is for adopt.sh, which can load the tracker.
missing=
for number in $(sed -n '/^| 1 | its time was over/,/^$/p' "$SELFTESTS/../docs/views-and-netlink.md" | grep -oE '^\| [0-9]+ \|' | tr -d '| '); do
	[[ -v told[$number] || $number == 5 ]] || missing+=" $number"
	documented=$number
done
check "each reason of the documentation was told" same "$missing" ""
check "... of which there are some" that "${documented:-0} > 5 && ${#told[@]} >= 10"
tap_finish
