#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The netlink view: what "conntrack" and others in user space see of entries and
# expectations, how they change them, and what they are told of. Messages are
# compared to the byte, refusals by their error (netlink_messages.py).

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

tap_begin conntrack nft ping
need_tracker
setup_netlink

messages() { # COMMAND [ARGUMENT]...
	relay "$1" "" in_ns "$R" python3 "$SELFTESTS/netlink/netlink_messages.py" "$@"
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
		s/(tcp|udp|icmp|icmpv6|sctp|gre|unknown)( +[0-9]+) [0-9]+ /\1\2 T /; s/^[0-9]+ (l3proto)/T \1/
		s/<(start|stop|hour|min|sec|wday|day|month|year)>[0-9]+/<\1>/g
		s/<id>[0-9]+/<id>/; s/ id=[0-9]{5,}( |$)/ id= /; s/<timeout>[0-9]+/<timeout>/
		s/delta-time=[0-9]+/delta-time=/; s/<deltatime>[0-9]+/<deltatime>/
		s/\[(start|stop)=[^]]*\]/[\1]/g; s/portid=[0-9]+.*/portid/; s/\[[0-9.]+\][[:space:]]*//
		s/=[0-9]+ (invalid|insert|insert_failed|drop|early_drop|error|search_restart|clash_resolve|chaintoolong)/= \1/g
		s/chaintoolong=[0-9]+/chaintoolong=/' <<<"$3" | sort)
}

# What names a flow of each protocol, and what an entry of it needs beyond that.
declare -A flow=() needs=()
names=()
define() { # NAME NEEDS ARGUMENT...
	names+=("$1")
	needs[$1]=$2 flow[$1]=${*:3}
}
readonly V4="-s 10.7.0.1 -d 10.7.0.2" V6="-s fd07::1 -d fd07::2"
readonly SEEN="--state ESTABLISHED -u SEEN_REPLY,ASSURED"
readonly VTAGS="--state ESTABLISHED --orig-vtag 17 --reply-vtag 18"
define tcp "$SEEN -m 5" -p tcp $V4 --sport 1000 --dport 80
define "tcp, IPv6" "$SEEN" -p tcp $V6 --sport 1000 --dport 80
define udp "--src-nat 10.7.0.9:4000" -p udp $V4 --sport 1000 --dport 53 --zone 7
define "udp, IPv6" "" -p udp $V6 --sport 1000 --dport 53
define ping "" -p icmp $V4 --icmp-type 8 --icmp-code 0 --icmp-id 7
define "ping, IPv6" "" -p icmpv6 $V6 --icmpv6-type 128 --icmpv6-code 0 --icmpv6-id 7
define sctp "$VTAGS" -p sctp $V4 --sport 1000 --dport 80
define "sctp, IPv6" "$VTAGS" -p sctp $V6 --sport 1000 --dport 80
define gre "" -p gre $V4 --srckey 5 --dstkey 6
readonly OUTPUTS="extended id timestamp labels ktimestamp xml extended,id,timestamp,labels,ktimestamp"

the_tool() {
	local name what listeners=()
	in_ns "$R" sysctl -qw net.netfilter.nf_conntrack_acct=1 net.netfilter.nf_conntrack_timestamp=1
	for what in $OUTPUTS; do
		ns_exec "$R" conntrack -E -o "$what" >"$folder/events $what" 2>/dev/null &
		listeners+=($!)
	done
	ns_exec "$R" conntrack -E expect >"$folder/events of expectations" 2>/dev/null &
	listeners+=($!)
	wait_for 20 listening ${#listeners[@]}
	# shellcheck disable=SC2086 # words
	{
		for name in "${names[@]}"; do
			tool "insert $name" -I ${flow[$name]} -t 100000 ${needs[$name]}
		done
		tool "insert one again" -I ${flow[tcp]} -t 100000 --state ESTABLISHED
		in_ns "$R" python3 "$SELFTESTS/netlink/netlink_messages.py" make "protocol 99" >/dev/null
		check "conntrack: an entry of each protocol" \
			same "$(in_ns "$R" conntrack -C)" $((${#names[@]} + 1))
		for what in "" "-f ipv6" "-p tcp" "--zone 7" "-m 5" "-u ASSURED" "-u UNREPLIED" \
			"-s 10.7.0.1" "--src-nat" "-z"; do
			tool "list $what" -L $what
		done
		for what in $OUTPUTS; do
			tool "list -o $what" -L -o "$what"
		done
		for what in xml "${OUTPUTS##* }"; do
			tool "list -f ipv6 -o $what" -L -f ipv6 -o "$what"
			tool "get -o $what" -G ${flow[tcp]} -o "$what"
		done
		for name in "${names[@]}"; do
			tool "get $name" -G ${flow[$name]}
			tool "update $name" -U ${flow[$name]} -m 9
		done
		tool "list, updated" -L -o id,labels
		tool "get nothing" -G ${flow[tcp]} --zone 3
		tool "update the timeout" -U -p icmp -t 300
		tool "update what is not there" -U ${flow[tcp]} --zone 3 -t 300
		tool "count" -C
		tool "statistics" -S
		for name in tcp "tcp, IPv6" ping sctp gre; do
			tool "delete $name" -D ${flow[$name]}
		done
		tool "delete again" -D ${flow[tcp]}
		tool "delete by zone" -D --zone 7
		tool "list dying" -L dying
		tool "list unconfirmed" -L unconfirmed
		# conntrack 1.4.7 has no option for a helper.
		in_ns "$R" python3 "$SELFTESTS/netlink/netlink_messages.py" make helper >/dev/null
		what="--orig-src 10.7.0.1 --orig-dst 10.7.0.2 --tuple-src 10.7.0.2 --tuple-dst 10.7.0.1"
		what+=" --mask-src 255.255.255.255 --mask-dst 255.255.255.255 -p tcp"
		what+=" --orig-port-src 1000 --orig-port-dst 2000 --tuple-port-src 10 --tuple-port-dst 300"
		tool "expect" -I expect $what --mask-port-src 10 --mask-port-dst 300 -t 100
		tool "list expected" -L expect
		tool "flush expected" -F expect
		tool "count expected" -C expect
		tool "flush" -F
		tool "list, empty" -L
	}
	sleep 0.5
	kill "${listeners[@]}" && wait "${listeners[@]}" 2>/dev/null
	for what in "$folder"/events*; do
		show "${what##*/}" 0 "$(<"$what")"
		# Of expectations it makes none that either tracker takes.
		[[ $what == *expectations ]] || check "conntrack: -E has ${what##*/}" test -s "$what"
	done
}

# So many in the namespace have joined groups of netfilter's.
listening() {
	in_ns "$R" awk -v wanted="$1" '$2 == 12 && $4 !~ /^0+$/ { found++ } END { exit found < wanted }' \
		/proc/net/netlink
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

was=$(<$BUCKETS)
folder=$(mktemp -d)
at_end() {
	rm -rf "$folder"
	in_ns "$R" nft flush ruleset
}

messages answers "$(scaled 1 5)"
messages refused "$TRACKER" "$(scaled 1 16)"
messages queue
messages backlog
if [[ $TRACKER == rust_ct ]]; then
	resize_on_and_on &
	resizer=$!
	messages dumps "$(scaled 3000 300)"
	kill $resizer && wait $resizer 2>/dev/null
	resize "$was"
fi
the_tool
in_ns "$R" sysctl -qw net.netfilter.nf_conntrack_acct=1 net.netfilter.nf_conntrack_timestamp=1
messages traffic
tap_finish
