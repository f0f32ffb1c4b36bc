#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The netlink view: what "conntrack" and others in user space see of entries and
# expectations, how they change them, and what they are told of. Messages are
# compared to the octet, refusals by their error (libctnetlink.py).

# shellcheck source=selftests/lib.sh
source "$(dirname "$0")/lib.sh"

tap_begin conntrack nft ping
need_tracker
if [[ $TRACKER == stock ]]; then
	modprobe -a nf_conntrack_netlink nf_nat || skip_all "no nf_conntrack_netlink or nf_nat module"
fi
modprobe nf_conntrack_ftp || skip_all "no FTP helper"
ns_add R
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
in_ns "$R" sysctl -qw net.netfilter.nf_conntrack_events=1

raw() { # COMMAND [ARGUMENT]...
	local line seen=0
	while IFS= read -r line; do
		case $line in
		"ok "*) pass "${line#ok }" ;;
		"not ok "*) fail "${line#not ok }" ;;
		*) printf '%s\n' "$line" ;;
		esac
		[[ $line != "ok $1" ]] || seen=1
	done < <(in_ns "$R" python3 "$SELFTESTS/libctnetlink.py" "$@" 2>&1)
	check "$1: to its end" that "$seen" || return
}

# The tool itself. (KEY ARGUMENT...)
tool() {
	local out status=0
	out=$(in_ns "$R" conntrack "${@:2}" 2>"$folder/errors") || status=$?
	show "$1" $status "$out"$'\n'"$(<"$folder/errors")"
}

# Its output, without what is by chance or by the clock, and sorted, since the order is that
# of a secret. (KEY STATUS TEXT)
show() {
	local line n=0
	detail "conntrack: $1 / status" "$2"
	while IFS= read -r line; do
		n=$((n + 1))
		detail "conntrack: $1 / $n" "$line"
	done < <(sed -E 's/^conntrack v[0-9.]+/conntrack/
		s/(tcp|udp|icmp|icmpv6|unknown)( +[0-9]+) [0-9]+ /\1\2 T /; s/^[0-9]+ (l3proto)/T \1/
		s/<id>[0-9]+/<id>/; s/ id=[0-9]{5,}( |$)/ id= /; s/<timeout>[0-9]+/<timeout>/
		s/delta-time=[0-9]+/delta-time=/; s/<deltatime>[0-9]+/<deltatime>/
		s/\[(start|stop)=[^]]*\]/[\1]/g; s/portid=[0-9]+.*/portid/; s/\[[0-9.]+\][[:space:]]*//
		s/=[0-9]+ (invalid|insert|insert_failed|drop|early_drop|error|search_restart|clash_resolve|chaintoolong)/= \1/g
		s/chaintoolong=[0-9]+/chaintoolong=/' <<<"$3" | sort)
}

the_tool() {
	local tcp="-p tcp -s 10.7.0.1 -d 10.7.0.2 --sport 1000 --dport 80" what listener
	local udp="-p udp -s 10.7.0.1 -d 10.7.0.2 --sport 1000 --dport 53"
	local udp6="-p udp -s fd07::1 -d fd07::2 --sport 1000 --dport 53"
	local ping="-p icmp -s 10.7.0.1 -d 10.7.0.2 --icmp-type 8 --icmp-code 0 --icmp-id 7"
	local ping6="-p icmpv6 -s fd07::1 -d fd07::2 --icmpv6-type 128 --icmpv6-code 0 --icmpv6-id 7"
	in_ns "$R" sysctl -qw net.netfilter.nf_conntrack_acct=1 net.netfilter.nf_conntrack_timestamp=1
	in_ns "$R" conntrack -E -o timestamp,extended,id >"$folder/events" 2>/dev/null &
	listener=$!
	wait_for 5 listening
	# shellcheck disable=SC2086 # words
	{
		tool "insert tcp" -I $tcp -t 100 --state ESTABLISHED -u SEEN_REPLY,ASSURED -m 5
		tool "insert it again" -I $tcp -t 100 --state ESTABLISHED
		tool "insert udp" -I $udp -t 100 --zone 7 --src-nat 10.7.0.9:4000
		tool "insert udp, IPv6" -I $udp6 -t 100 -l 5
		tool "insert ping" -I $ping -t 100
		tool "insert ping, IPv6" -I $ping6 -t 100
		for what in "" "-f ipv6" "-p tcp" "--zone 7" "-m 5" "-u ASSURED" "-u UNREPLIED" \
			"-o xml" "-o extended,id" "-o ktimestamp,labels" "-s 10.7.0.1" "--src-nat" "-z"; do
			tool "list $what" -L $what
		done
		tool "get" -G $tcp
		tool "get nothing" -G $tcp --zone 3
		tool "update the mark" -U $tcp -m 9
		tool "update the timeout" -U -p icmp -t 300
		tool "update what is not there" -U $udp -t 300
		tool "count" -C
		tool "statistics" -S
		tool "delete" -D $tcp
		tool "delete again" -D $tcp
		tool "delete by zone" -D --zone 7
		tool "list dying" -L dying
		tool "list unconfirmed" -L unconfirmed
		tool "insert with a helper" -I $tcp -t 100 --state ESTABLISHED -u SEEN_REPLY,ASSURED --helper ftp
		tool "expect" -I expect --orig-src 10.7.0.1 --orig-dst 10.7.0.2 --tuple-src 10.7.0.2 \
			--tuple-dst 10.7.0.1 --mask-src 255.255.255.255 --mask-dst 255.255.255.255 -p tcp \
			--orig-port-src 1000 --orig-port-dst 80 --tuple-port-src 10 --tuple-port-dst 300 \
			--mask-port-src 10 --mask-port-dst 300 -t 100
		tool "list expected" -L expect
		tool "flush expected" -F expect
		tool "count expected" -C expect
		tool "flush" -F
		tool "list, empty" -L
	}
	sleep 0.5
	kill $listener && wait $listener 2>/dev/null
	show "events" 0 "$(<"$folder/events")"
}

# Somebody in the namespace has joined a group of netfilter's.
listening() {
	in_ns "$R" awk '$2 == 12 && $4 !~ /^0+$/ { found = 1 } END { exit !found }' /proc/net/netlink
}

# A listing of the C tracker's is not to be relied on meanwhile.
resize() { echo "$1" >/sys/module/rust_ct/parameters/hashsize; }
resize_on_and_on() {
	while :; do
		resize 4096
		sleep 0.1
		resize 16384
		sleep 0.1
	done
}

was=$(</proc/sys/net/netfilter/nf_conntrack_buckets)
folder=$(mktemp -d)
at_end() {
	rm -rf "$folder"
	in_ns "$R" nft flush ruleset
}

raw answers "$(scaled 1 5)"
raw refused "$TRACKER" "$(scaled 1 16)"
raw queue
raw backlog
raw fuzz "$(scaled 3 10)"
if [[ $TRACKER == rust_ct ]]; then
	resize_on_and_on &
	resizer=$!
	raw dumps "$(scaled 3000 300)"
	kill $resizer && wait $resizer 2>/dev/null
	resize "$was"
fi
the_tool
in_ns "$R" sysctl -qw net.netfilter.nf_conntrack_acct=1 net.netfilter.nf_conntrack_timestamp=1
raw traffic
tap_finish
