#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Zones: two tenants with the same addresses behind one router. By interface, by
# direction, by packet mark; what is not tracked at all; helpers within a zone; and
# packets that wait in a queue while they carry a zone and nothing else.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"
# shellcheck source=selftests/lib/libconsumers.sh
source "$SELFTESTS/lib/libconsumers.sh"
# shellcheck source=selftests/lib/libsteps.sh
source "$SELFTESTS/lib/libsteps.sh"

tap_begin nft iptables-legacy ip6tables-legacy
need_tracker
setup_router
set_ct "$R" acct 1
set_lifetimes {udp,icmp,icmpv6}_timeout udp_timeout_stream tcp_timeout_{syn_sent,syn_recv,close}
# A packet whose reply tuple is another entry's, too, is lost as with the C tracker: what rust_ct
# does otherwise is in nat/nat_clashes.sh.
[[ $TRACKER != rust_ct ]] || must write "$R" /proc/sys/net/netfilter/nf_nat_resolve_clashes 0

# The second tenant: another client and server with the addresses of the first.
readonly MAC_D=02:00:00:00:03:02 MAC_RD=02:00:00:00:03:01
readonly MAC_T=02:00:00:00:04:02 MAC_RT=02:00:00:00:04:01
ns_add D T
join "$D" eth0 $MAC_D $C4/24 $C6/64 "$R" tod $MAC_RD $RC4/24 $RC6/64
join "$T" eth0 $MAC_T $S4/24 $S6/64 "$R" tot $MAC_RT $RS4/24 $RS6/64
for family in 4 6; do
	use_family $family
	near=10.0.1.0/24 far=10.0.2.0/24
	[[ $family == 4 ]] || near=fd00:1::/64 far=fd00:2::/64
	ip -$family -n "$R" -batch - <<-LINES
		rule add iif tod lookup 2
		rule add iif tot lookup 2
		route add $near dev tod table 2
		route add $far dev tot table 2
		neigh replace $X lladdr $MAC_D dev tod nud permanent
		neigh replace $CA lladdr $MAC_D dev tod nud permanent
		neigh replace $Y lladdr $MAC_T dev tot nud permanent
		neigh replace $SA lladdr $MAC_T dev tot nud permanent
	LINES
	ip_batch "$D" <<-LINES
		route add default via $RX
		neigh replace $RX lladdr $MAC_RD dev eth0 nud permanent
	LINES
	ip_batch "$T" <<-LINES
		route add default via $RY
		neigh replace $RY lladdr $MAC_RT dev eth0 nud permanent
	LINES
done
t side d "$D" eth0 $MAC_D $MAC_RD $C4 $RC4
t side t "$T" eth0 $MAC_T $MAC_RT $S4 $RS4

# --- rules ------------------------------------------------------------------

# Rules of nft, each an argument.
before_tracking() { nft_chain "prerouting priority raw" "$@"; }
forward() { nft_chain "forward priority filter" "$@"; }

# How rules see the packets, in either tool's groups.
readonly SEEN="new established related invalid untracked"
watch() {
	nft_load <<-RULES
		table inet watch {
			$(printf 'counter %s { }\n' $SEEN zone2 zone3original zone3reply)
			chain pre {
				type filter hook prerouting priority 0
				ip saddr != { $X4, $Y4 } accept
				ip6 saddr != { $X6, $Y6 } accept
				$(for state in $SEEN; do echo "ct state $state counter name $state"; done)
				ct zone 2 counter name zone2
				ct original zone 3 counter name zone3original
				ct reply zone 3 counter name zone3reply
			}
		}
	RULES
}
# What it counted since the last time, into WATCHED: "NAME=PACKETS ...".
watched() {
	local word name='' before='' counters
	counters=$(in_ns "$R" nft reset counters table inet watch)
	WATCHED=
	for word in $counters; do
		[[ $before != counter ]] || name=$word
		[[ $before != packets || $word == 0 ]] || WATCHED+=" $name=$word"
		before=$word
	done
	WATCHED=${WATCHED# }
}

# Packets that come in by an interface belong to a zone. (ZONE original|reply|both DEV...)
zone_of() {
	local -A option=([both]='' [original]=-orig [reply]=-reply)
	local dev add=before_tracking rules=()
	[[ $TOOL == nft ]] || add=ipt
	for dev in "${@:3}"; do
		[[ $TOOL == nft ]] && rules+=("iifname $dev ct ${2/both/} zone set $1") ||
			rules+=("raw PREROUTING -i $dev -j CT --zone${option[$2]} $1")
	done
	$add "${rules[@]}"
}

# Only clients open connections.
stateful_firewall() {
	local opens="filter FORWARD -m conntrack --ctstate NEW -j ACCEPT"
	if [[ $TOOL == iptables ]]; then
		ipt "filter FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT" \
			"$opens -i toc" "$opens -i tod" "filter FORWARD -j DROP"
	else
		forward "ct state established,related accept" "iifname { toc, tod } ct state new accept" drop
	fi
}

# --- steps ------------------------------------------------------------------

port=10000
asks() { step "$1" udp "$X,$port" "$Y,53" len=10; }    # c|d
answers() { step "$1" udp "$Y,53" "$X,$port" len=20; } # s|t

# The last step's verdict, with the entries of this group. (VERDICT NUMBER WORD...)
went_with() {
	went "$1" && count_entries "$R" "$FAMILY" "sport=$port" "${@:3}" &&
		same "$COUNT entries" "$2 entries"
}
is() { check "$group: $1" went_with "${@:2}"; }

seen() {
	watched
	result "$group / seen by rules" "${WATCHED:-nothing}"
}

tenants() {
	local name
	begin "tenants of the same addresses"
	zone_of 2 both tod tot && stateful_firewall && watch
	must listen l "$S" "$SA" 80 && must listen m "$T" "$SA" 80
	check "$group: the first connects" must connected -- connect a "$C" "$SA" 80 "sport=$port"
	check "$group: the second connects with the same ports" must connected -- connect b "$D" "$SA" 80 "sport=$port"
	must accept as l && must accept bs m
	must send a 100 && must recv as 100 && must send b 200 && must recv bs 200
	check "$group: ... each to its own server" must silence as
	check "$group: two entries, one without a zone" entry "$R" "$FAMILY" tcp "sport=$port" zone=0 ESTABLISHED
	check "$group: ... and one in zone 2" entry "$R" "$FAMILY" tcp "sport=$port" zone=2 ESTABLISHED
	must abort a && must reset as
	check "$group: one ends" entry "$R" "$FAMILY" tcp "sport=$port" zone=0 CLOSE
	check "$group: ... the other goes on" must send b 10
	must recv bs 10
	check "$group: ... and its entry" entry "$R" "$FAMILY" tcp "sport=$port" zone=2 ESTABLISHED
	t summary "$R" "$FAMILY" tcp "sport=$port"
	# How many bare ACKs two kernels send is their affair.
	result "$group / entries" "$(sed -E 's| [0-9]+/[0-9]+||g' <<<"${LINES[*]}")"
	for name in as bs b l m; do
		must close $name
	done
	watched

	begin "answers do not cross"
	asks c
	is "the first asks" "passed to s" 1 zone=0 '[UNREPLIED]'
	answers t
	is "the second's server cannot answer" lost 1
	answers s
	is "its own can" "passed to c" 1 zone=0 '![UNREPLIED]'
	asks d
	is "the second asks the same" "passed to t" 1 zone=2 '[UNREPLIED]'
	answers t
	is "... and is answered" "passed to d" 1 zone=2 '![UNREPLIED]'
	asks d
	seen
	clear_rules
}

five_tuple() {
	local request=8 reply=0 unreachable=3 code=3
	[[ $FAMILY == ipv4 ]] || request=128 reply=129 unreachable=1 code=4
	begin "one five-tuple, two connections"
	zone_of 2 both tod tot && watch
	step c tcp "$X,$port" "$Y,80" S seq=1000 win=8000
	step d tcp "$X,$port" "$Y,80" S seq=7000 win=8000
	step s tcp "$Y,80" "$X,$port" SA seq=5000 ack=1001 win=8000
	step t tcp "$Y,80" "$X,$port" SA seq=9000 ack=7001 win=8000
	step c tcp "$X,$port" "$Y,80" A seq=1001 ack=5001 win=8000
	step d tcp "$X,$port" "$Y,80" A seq=7001 ack=9001 win=8000
	is "states of their own" "passed to t" 2 ESTABLISHED
	step c tcp "$X,$port" "$Y,80" A seq=7001 ack=9001 win=8000
	step s tcp "$Y,80" "$X,$port" R seq=9001 win=0
	step s tcp "$Y,80" "$X,$port" R seq=5001 win=0
	is "one is reset" "passed to c" 1 CLOSE zone=0
	step c icmp "$X" "$Y" $request 0 word=$port,1
	step d icmp "$X" "$Y" $request 0 word=$port,1
	step t icmp "$Y" "$X" $reply 0 word=$port,1
	seen
	clear_rules

	# An entry keeps the zone that it was made in; without the rule it is not found.
	begin "the rule comes and goes"
	asks d
	zone_of 2 both tod tot
	asks d
	answers t
	clear_rules
	answers t
	is "two entries" "passed to d" 2 '![UNREPLIED]'

	# Errors find what they are about in their own zone.
	begin "errors"
	zone_of 2 both tod tot && watch
	asks d
	step s icmp "$Y" "$X" "$unreachable" "$code" inner udp "$X,$port" "$Y,53" len=10
	step t icmp "$Y" "$X" "$unreachable" "$code" inner udp "$X,$port" "$Y,53" len=10
	seen
	clear_rules
}

directions() { # DIRECTION DEV...
	begin "$1 direction, ${*:2}"
	zone_of 3 "$1" "${@:2}" && watch
	asks d
	is "new" "passed to t" 1
	answers t
	asks c
	answers s
	asks d
	answers t
	asks c
	seen
	clear_rules
}

by_mark() {
	begin "zone from the mark"
	watch
	if [[ $TOOL == iptables ]]; then
		ipt "raw PREROUTING -i tod -j MARK --set-mark 0x10002" \
			"raw PREROUTING -i tot -j MARK --set-mark 2" \
			"raw PREROUTING -i tos -j MARK --set-mark 0x30000" \
			"raw PREROUTING -p udp -j CT --zone mark" \
			"raw PREROUTING -p tcp -j CT --zone-orig mark"
	else
		before_tracking "iifname tod meta mark set 0x10002" \
			"iifname tot meta mark set 2" \
			"iifname tos meta mark set 0x30000" \
			"meta l4proto udp ct zone set meta mark map { 2 : 2, 0x10002 : 2, 0x30000 : 0 }" \
			"meta l4proto tcp ct original zone set meta mark map { 2 : 2, 0x10002 : 2 }"
	fi
	asks c
	is "no mark, no zone" "passed to s" 1 zone=0
	asks d
	is "the lower half of the mark" "passed to t" 1 zone=2
	answers t
	answers s
	is "of either side" "passed to c" 2 '![UNREPLIED]'
	step d tcp "$X,$port" "$Y,80" S seq=7000 win=8000
	is "in one direction" "passed to t" 1 tcp zone-orig=2
	step t tcp "$Y,80" "$X,$port" SA seq=9000 ack=7001 win=8000
	step c tcp "$X,$port" "$Y,81" S seq=7000 win=8000
	seen
	clear_rules
}

untracked() {
	local request=8
	[[ $FAMILY == ipv4 ]] || request=128
	begin "not tracked"
	watch
	if [[ $TOOL == iptables ]]; then
		ipt "raw PREROUTING -p udp --dport 53 -j CT --notrack" \
			"raw PREROUTING -p tcp --dport 80 -j NOTRACK" \
			"raw OUTPUT -p udp --dport 99 -j CT --notrack" \
			"filter FORWARD -m conntrack --ctstate UNTRACKED"
	else
		before_tracking "udp dport 53 notrack" "tcp dport 80 notrack"
		nft_chain "output priority raw" "udp dport 99 notrack"
	fi
	asks c
	is "no entry" "passed to s" 0
	answers s
	is "its answer is new" "passed to c" 1 "src=$(proc_addr "$Y" && echo "$ADDR")" sport=53
	step c tcp "$X,$port" "$Y,80" S seq=1000 win=8000
	step c tcp "$X,$port" "$Y,80" R seq=1000
	step s icmp "$Y" "$X" 3 1 inner udp "$X,$port" "$Y,53" len=10
	step c icmp "$X" "$Y" $request 0 word=$port,1
	# An entry that is there does not change that.
	step c udp "$X,$port" "$Y,54" len=10
	is "others are tracked" "passed to s" 1 '[UNREPLIED]' dport=54
	must udp u "$R" "$port" "$RX"
	must sendto u "$X" 99 10
	check "$group: the router's own, too" no_entry "$R" "$FAMILY" dport=99
	must sendto u "$X" 98 10
	check "$group: ... but for these" entry "$R" "$FAMILY" "sport=$port" dport=98
	must close u
	[[ $TOOL != iptables ]] || check "$group: iptables has seen three" ipt_hits filter 3
	if [[ $FAMILY == ipv6 ]]; then
		step c icmp "$X" "$RX" 135 0 ttl=255 data="$(printf 'fd000001%016x%08x' 0 1)"
		step c icmp "$X" "$RX" 136 0 ttl=255 data="$(printf 'fd000001%016x%08x' 0 9)"
	fi
	seen
	clear_rules
}

# --- helpers ----------------------------------------------------------------

# Zone 2 for the second tenant, and helpers for both.
assign_helpers() {
	if [[ $TOOL == iptables ]]; then
		ipt "raw PREROUTING -i toc -p tcp --dport 21 -j CT --helper ftp" \
			"raw PREROUTING -i tod -p tcp --dport 21 -j CT --zone 2 --helper ftp" \
			"raw PREROUTING -i toc -p udp --dport 69 -j CT --helper tftp" \
			"raw PREROUTING -i tod -p udp --dport 69 -j CT --zone 2 --helper tftp" &&
			zone_of 2 both tod tot
		return
	fi
	zone_of 2 both tod tot && nft_load <<-'RULES'
		table inet rules {
			ct helper ftp { type "ftp" protocol tcp; }
			ct helper tftp { type "tftp" protocol udp; }
			chain assign {
				type filter hook prerouting priority filter
				tcp dport 21 ct helper set "ftp"
				udp dport 69 ct helper set "tftp"
			}
		}
	RULES
}

# A client's offer to be called at a port. (CLIENT SERVER)
ftp_talk() {
	data=$((port + 10000))
	ftp_opened "$@"
	ftp_offers $data
}

helpers() {
	begin "FTP in a zone"
	assign_helpers && watch
	ftp_talk d t
	check "$group: the data connection is expected" expected 1
	show_expectations "expected"
	watched
	step s tcp "$Y,20" "$X,$data" S seq=1
	watched
	check "$group: in the other zone it is new" same "$WATCHED" "new=1"
	check "$group: ... and still expected" expected 1
	step t tcp "$Y,20" "$X,$data" S seq=1
	watched
	check "$group: in its own it is related" same "$WATCHED" "related=1 zone2=1"
	check "$group: ... and was expected once" expected 0

	begin "FTP in both zones"
	ftp_talk c s
	ftp_talk d t
	check "$group: the same is expected twice" expected 2
	show_expectations "expected"
	watched
	step t tcp "$Y,1020" "$X,$data" S seq=1
	step s tcp "$Y,1020" "$X,$data" S seq=1
	watched
	check "$group: each has its own" same "$WATCHED" "related=2 zone2=1"

	begin "TFTP in a zone"
	step d udp "$X,$port" "$Y,69" data="$(hex '\0\1name\0octet\0')"
	show_expectations "expected"
	watched
	step s udp "$Y,1900" "$X,$port" len=10
	step t udp "$Y,1901" "$X,$port" len=10
	watched
	check "$group: the answer is related in its zone" same "$WATCHED" "new=1 related=1 zone2=1"
	step d udp "$X,$port" "$Y,1901" len=4
	seen
	clear_rules
}

# --- packets that wait --------------------------------------------------------

# Packets of the second tenant wait in a queue, before tracking, with their zone.
# (nft: port 53 has zone 2, others zone 3)
queue_with_zone() {
	if [[ $TOOL == iptables ]]; then
		ipt "raw PREROUTING -i tod -p udp --dport 53 -j CT --zone 2" \
			"raw PREROUTING -i tod -p udp -j CT --zone 3" \
			"raw PREROUTING -i tod -p udp -j NFQUEUE --queue-num 5"
	else
		before_tracking "iifname tod udp dport 53 ct zone set 2" \
			"iifname tod udp dport != 53 ct zone set 3" \
			"iifname tod meta l4proto udp queue num 5"
	fi
}

# A packet that a rule queues.
waits() { asks d && must hold q; }

queues() {
	begin "waiting with a zone"
	queue_with_zone
	must queue q "$R" 5
	asks d
	is "it waits, and makes no entry" lost 0
	check "$group: it is in the queue" must hold q
	step d udp "$X,$port" "$Y,54" len=10
	must hold q
	must verdict q accept
	check "$group: it goes on in its zone" entry "$R" "$FAMILY" "sport=$port" dport=53 zone=2
	must verdict q accept
	check "$group: ... and so does the next" entry "$R" "$FAMILY" "sport=$port" dport=54 zone=3
	shown "entry" udp "sport=$port"

	begin "dropped while it waits"
	waits
	must verdict q drop
	check "$group: no entry" no_entry "$R" "$FAMILY" udp "sport=$port"

	begin "its rule goes while it waits"
	waits
	step d udp "$X,$port" "$Y,54" len=10
	must hold q
	clear_rules
	# nft's hook goes with the rule, and what was queued there; iptables' stays.
	t verdict q accept
	result "$group / verdict" "${ANSWER:-taken}"
	count_entries "$R" "$FAMILY" udp "sport=$port"
	result "$group / entries" "$COUNT ${ENTRY##* mark=0}"
	t verdict q drop
	result "$group / another verdict" "${ANSWER:-taken}"

	begin "the queue goes"
	queue_with_zone
	waits
	must close q
	asks d
	is "nobody takes it" lost 0
	clear_rules

	# Behind tracking: the packet has an entry that is in no table yet.
	begin "waiting with an entry"
	zone_of 2 both tod tot
	if [[ $TOOL == iptables ]]; then
		ipt "filter FORWARD -i tod -p udp -m length --length $((HEADER + 18)) -j NFQUEUE --queue-num 6"
	else
		forward "iifname tod udp length 18 queue num 6"
	fi
	must queue q "$R" 6
	waits
	step d udp "$X,$port" "$Y,53" len=11
	is "another packet is faster" "passed to t" 1 zone=2
	must verdict q accept
	check "$group: one entry for both" entry "$R" "$FAMILY" udp "sport=$port" zone=2
	shown "entry" udp "sport=$port"
	waits
	must verdict q accept
	must close q
	clear_rules
}

# The module goes while packets wait that hold a template, and nothing else does.
unload_under_queue() {
	begin "unloading while packets wait"
	queue_with_zone
	must queue q "$R" 5
	waits
	step d udp "$X,$port" "$Y,54" len=10
	must hold q
	clear_rules
	check "$group: the rules' modules go" unload_users $MODULE
	check "$group: the tracker goes" unload_tracker "$TRACKER"
	t verdict q accept
	result "$group / verdict" "${ANSWER:-taken}"
	check "$group: ... and comes back" load_tracker "$TRACKER"
	must close q
	asks d
	is "a packet makes an entry" "passed to t" 1 '[UNREPLIED]'
}

# Where time is slow, each thing once.
all=$(scaled 1 0)
for TOOL in iptables nft; do
	use_family 4
	tenants
	for direction in original reply; do
		directions $direction tod tot
		if [[ $TOOL == nft ]] && ((all)); then
			directions $direction tod
			directions $direction tot
		fi
	done
	by_mark
	untracked
	((!all)) || helpers
	queues
done
five_tuple
use_family 6
helpers
TOOL=iptables
by_mark
((!all)) || untracked
((!all)) || five_tuple
show_statistics
use_family 4
unload_under_queue
tap_finish
