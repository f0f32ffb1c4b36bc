#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The ports that NAT gives: the last free one is found, none is given twice, none that a
# socket uses; and where none is free, the log says so.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

tap_begin nft conntrack
need_tracker
[[ $TRACKER == rust_ct ]] || skip_all "the C engine has no such settings"
save_table
setup_router
at_end() {
	restore_table
	in_ns "$R" nft flush ruleset
	local module
	for module in nft_masq nft_nat nft_chain_nat nft_ct; do
		[[ ! -d /sys/module/$module ]] || wait_for 5 modprobe -r $module
	done
} 2>/dev/null

set_nat() { must write "$R" "/proc/sys/net/netfilter/nf_nat_$1" "$2"; } # NAME VALUE
get_nat() { # NAME -> VALUE
	must cat "$R" "/proc/sys/net/netfilter/nf_nat_$1" && VALUE=${LINES[0]}
}
# The named counter goes up by N while the command runs. (N NAME COMMAND...)
nat_counts() {
	local count=$1 name=$2 before
	shift 2
	get_nat "$name" && before=$VALUE && "$@" && get_nat "$name" &&
		that "$VALUE == $before + $count"
}

# What the router does to what leaves towards the server. (STATEMENT)
snat() {
	in_ns "$R" nft -f - <<-RULES
		table ip nat
		delete table ip nat
		table ip6 nat
		delete table ip6 nat
		table $NFT nat {
			chain post { type nat hook postrouting priority 100; oifname tos meta l4proto { tcp, udp } $1; }
		}
	RULES
}

# New flows to a port of their own, from as many ports. (COUNT)
dport=1000
burst() {
	dport=$((dport + 1))
	must flood c "$1" "$X" "$Y" dport=$dport ports=60000
}
# So many of them have an entry.
tracked() { same "$(count_of "$dport")" "$1"; }
count_of() { count_entries "$R" udp "dport=$1" && echo "$COUNT"; }
# Of which that many have one of the ports as their translated one. (COUNT PORT...)
have_port() {
	local wanted=$1 port found=0
	shift
	for port; do
		count_entries "$R" "sport=$dport" "dport=$port"
		found=$((found + COUNT))
	done
	that "found == wanted"
}

small_range() {
	snat "snat to $NAT:4000-4015"
	check "$FAMILY sixteen ports: sixteen connections" burst 16
	check "..." tracked 16
	check "... one more is dropped, and counted" nat_counts 3 exhausted burst_more 3
	check "... at once: nothing is lost when it is confirmed" tracked 16
	check "... and said in the log" logged "nf_nat: no port left at .* protocol 17, ports 4000-4015"
	check "... towards another port there are sixteen again" nat_counts 0 exhausted burst 16
	check "..." tracked 16

	set_nat thorough_search 0
	set_nat reserve 0
	burst 16
	stat "$R" insert_failed
	local before=$VALUE
	check "$FAMILY as the C engine: one more keeps a port that is taken" \
		nat_counts 0 exhausted burst_more 1
	stat "$R" insert_failed
	check "... and is lost when it is confirmed" that "VALUE == before + 1"
	set_nat thorough_search 1
	set_nat reserve 1
}
burst_more() { must flood c "$1" "$X" "$Y" dport=$dport first=59000; }
logged() {
	kernel_log | grep -q "$1"
}

# More flows than one list of tries could place: all of them get a port.
large_range() {
	local count
	count=$(scaled 20000 400)
	snat "snat to $NAT:20000-$((20000 + count - 1)) fully-random"
	stat "$R" insert_failed
	local before=$VALUE
	check "$FAMILY $count ports at random: as many connections" nat_counts 0 exhausted burst "$count"
	check "..." tracked "$count"
	check "... and not one more" nat_counts 2 exhausted burst_more 2
	stat "$R" insert_failed
	check "... none was lost when it was confirmed" that "VALUE == before"
	forget_all
}
forget_all() { in_ns "$R" conntrack -F 2>/dev/null; }

more_addresses() {
	snat "snat to $1:4000-4001"
	check "$FAMILY three addresses, two ports: six connections" burst 6
	check "..." tracked 6
	check "... and no seventh" nat_counts 1 exhausted burst_more 1
}

not_given() {
	snat "snat to $NAT:4000-4015"
	set_nat excluded_ports 4001,4003-4004
	must write "$R" /proc/sys/net/ipv4/ip_local_reserved_ports 4006
	check "$FAMILY excluded and reserved ports are not given" nat_counts 4 exhausted burst 16
	check "... all others are" tracked 12
	check "... only those" have_port 0 4001 4003 4004 4006
	set_nat avoid_local_ports 0
	check "... reserved ports are, if one wants" nat_counts 3 exhausted burst 16
	check "..." have_port 1 4001 4003 4004 4006
	set_nat avoid_local_ports 1
	set_nat excluded_ports ''
	must write "$R" /proc/sys/net/ipv4/ip_local_reserved_ports ''

	must udp here "$R" 4002 "$TO"
	must udp everywhere "$R" 4005 "$ANY"
	check "$FAMILY the ports of sockets are not given" nat_counts 2 exhausted burst 16
	check "... all others are" tracked 14
	check "... only those" have_port 0 4002 4005
	get_nat used_locally
	check "... that is counted" that "VALUE >= 2"
	snat "snat to $ELSE:4000-4015"
	check "... but at an address that is not ours, they are" nat_counts 0 exhausted burst 16
	must close here
	must close everywhere
}

tcp_sockets() {
	snat "snat to $NAT:4000-4003"
	must listen wanted "$S" "$SA" 80
	must listen other "$S" "$SA" 81
	must listen own "$R" "$TO" 4000
	# Connected elsewhere: the port is free towards port 80.
	must connected -- connect elsewhere "$R" "$SA" 81 sport=4001
	must connected -- connect there "$R" "$SA" 80 sport=4002
	bind_only "$R" "$TO" 4003
	check "$FAMILY TCP: one of four ports is nobody's" must connected -- connect a "$C" "$SA" 80
	check "... that of a socket which is connected elsewhere" \
		entry "$R" "$FAMILY" tcp ESTABLISHED "sport=80" "dport=4001"
	check "... listening, connected and bound sockets keep theirs" \
		nat_counts 1 exhausted t inject c tcp "$X,3999" "$SA,80" S seq=1
	kill $bound
	local name
	for name in a own elsewhere there wanted other; do
		must close $name
	done
}
bind_only() { # NS ADDRESS PORT -> bound
	coproc BOUND { in_ns "$1" python3 -c '
import socket, sys, time
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
s.bind((sys.argv[1], int(sys.argv[2])))
print("bound", flush=True)
time.sleep(1000)' "$2" "$3"; }
	bound=$BOUND_PID
	read -r _ <&"${BOUND[0]}"
}

own_socket() {
	snat masquerade
	must udp srv "$S" 53 "$SA"
	must udp own "$R" 4321 "$ANY"
	must sendto own "$SA" 53 10
	must 10 -- take srv
	check "$FAMILY a socket of this machine keeps its port when it is masqueraded" peer_is srv "$TO,4321"
	must udp client "$C" 4321 "$CA"
	must sendto client "$SA" 53 10
	must 10 -- take srv
	must peer srv
	check "... which nobody else gets" that "${ANSWER#*,} != 4321"
	must close client
	must close own
	must close srv
}
peer_is() { must peer "$1" && same "$ANSWER" "$2"; }

# A connection that is opened and closed. The new one of the next number lies behind it. (NUMBER)
over() {
	local client=$((2000 + $1)) seq=$(($1 * 1000)) server=500 near far
	t inject c tcp "$X,$client" "$Y,82" S seq=$seq || return
	count_entries "$R" "$FAMILY" tcp "sport=$client" SYN_SENT && that "COUNT == 1" || return
	PORT=${ENTRY##* sport=82 dport=} PORT=${PORT%% *}
	near="$X,$client" far="$TO,$PORT"
	t inject s tcp "$Y,82" "$far" SA seq=$server ack=$((seq + 1)) || return
	t inject c tcp "$near" "$Y,82" A seq=$((seq + 1)) ack=$((server + 1)) || return
	t inject c tcp "$near" "$Y,82" FA seq=$((seq + 1)) ack=$((server + 1)) || return
	t inject s tcp "$Y,82" "$far" FA seq=$((server + 1)) ack=$((seq + 2)) || return
	t inject c tcp "$near" "$Y,82" A seq=$((seq + 2)) ack=$((server + 2)) || return
	entry "$R" "$FAMILY" tcp "sport=$client" TIME_WAIT
}

giving_way() {
	local oldest newest
	snat "snat to $NAT:4000-4001"
	check "$FAMILY a connection is over" over 1
	oldest=$PORT
	sleep 1.1
	check "... another one, too" over 2
	newest=$PORT
	check "... a new one takes the place of one of them" \
		nat_counts 1 gave_way t inject c tcp "$X,3000" "$Y,82" S seq=9000
	check "... the older" entry "$R" "$FAMILY" tcp SYN_SENT sport=3000 "dport=$oldest"
	check "... the other one is still remembered" \
		entry "$R" "$FAMILY" tcp TIME_WAIT sport=2002 "dport=$newest"
	check "... but not one whose numbers lie before theirs" \
		nat_counts 1 exhausted t inject c tcp "$X,3001" "$Y,82" S seq=1
}

# All processors at once. (PORT [FLAG])
race() {
	local each=8 processors ports
	processors=$(nproc)
	ports=$(scaled $((100000 / each / processors)) 40)
	local flows=$((ports * each * processors))
	snat "snat to $NAT:4000-$((4000 + each * processors - 1)) ${2:-}"
	forget_all
	stat "$R" insert_failed
	local before=$VALUE
	check "$processors processors, $((each * processors)) ports, $flows choices${2:+, $2}: none too few" \
		nat_counts 0 exhausted python3 "$SELFTESTS/lib/stress.py" together "$C" eth0 $MAC_C $MAC_RC \
		"$X4" "$Y4" "$1" "$ports" $each
	check "... each has its own" soon count_is "$R" $flows
	stat "$R" insert_failed
	check "... none is lost when it is confirmed" that "VALUE == before"
}

# Room for all of them, in chains of normal length.
set_table "$(scaled 262144 8192)" 400000
# No entry is to expire while others come.
set_ct "$R" udp_timeout 600
for version in 4 6; do
	use_family $version
	TO=$RY NAT=$RY ELSE=10.0.2.77 ANY=0.0.0.0 NFT=ip
	more=10.0.2.70-10.0.2.72
	if ((version == 6)); then
		NAT="[$RY]" ELSE='[fd00:2::77]' ANY=:: NFT=ip6
		more='[fd00:2::70]-[fd00:2::72]'
	fi
	small_range
	large_range
	more_addresses "$more"
	not_given
	tcp_sockets
	own_socket
	giving_way
done
use_family 4
NFT=ip NAT=$RY
race 2000
race 20000 fully-random
tap_finish
