#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Connections that are older than rust_ct: it makes entries of their sockets, in the
# right direction, at once, and what is under way goes on. (What becomes of those
# that only pass by, on a router, is for loaded_later.sh.)
#
#   adopt.sh [CONNECTIONS]    so many where there are to be many (3000); 50000, of 100,000
#                             sockets, take 2 GB of memory

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

many=${1:-$(scaled 3000 300)}
[[ $many =~ ^[0-9]+$ ]] && ((many > 0 && many <= 60000)) ||
	skip_all "'$many' is no number of connections from 1 to 60000"
tap_begin insmod rmmod nft
module=$(rust_ct_module) || skip_all "no rust_ct.ko (RUST_CT_KO says where)"
was=$(tracker_loaded)
[[ $was != stock ]] || skip_all "the C tracker is loaded: unload it first"
if [[ $was == rust_ct ]]; then
	rmmod rust_ct || skip_all "rust_ct is in use"
fi
modprobe -a nf_defrag_ipv4 nf_defrag_ipv6 || skip_all "no nf_defrag modules"
at_end() {
	[[ ! -d /sys/module/rust_ct ]] || unload
	[[ $was != rust_ct ]] || insmod "$module"
}

mark_number=0
# shellcheck disable=SC2119,SC2120 # "check" passes them on
load() { # [PARAMETER]...
	mark_number=$((mark_number + 1))
	mark="$log_mark load $mark_number."
	echo "$mark" >/dev/kmsg
	insmod "$module" "$@"
}
unload() { unload_users rust_ct && rmmod rust_ct; }
# What the kernel's log says since it was loaded. (REGEX)
log_says() { kernel_log | sed "0,/$mark/d" | grep -oE "rust_ct: $1"; }

# The port of a connection's client, into PORT. (NAME)
port_of() { must local "$1" && PORT=${ANSWER#*,}; }

# One entry in a namespace, from CLIENT,PORT to SERVER,PORT.
# (NS SECONDS CLIENT PORT SERVER PORT WORD...)
from_to() {
	local ns=$1 seconds=$2 client server
	proc_addr "$3" && client=$ADDR
	proc_addr "$5" && server=$ADDR
	like "src=$client dst=$server sport=$4 dport=$6 .*src=$server dst=$client" \
		"$ns" "src=$client" "dst=$server" "sport=$4" "dport=$6" "${@:7}" || return
	[[ $seconds == - ]] || left "$seconds" "$ns" "src=$client" "dst=$server" "sport=$4" "dport=$6"
}
# An entry lives for so long from a time on that lies between the first connection and now.
# (SECONDS NS WORD...)
left() {
	local least=$(($1 - 2 - (SECONDS - first)))
	lifetime "${@:2}" || return
	that "LEFT <= $1 && LEFT >= $least"
}
# The same on both hosts, for established TCP. (SECONDS CLIENT PORT SERVER PORT)
both_know() {
	local ns
	for ns in "$C" "$S"; do
		from_to "$ns" "$@" tcp ESTABLISHED '[ASSURED]' || return
	done
}
adopted() { # NS NUMBER WORD...
	local line n=0
	must cat "$1" /proc/net/rust_conntrack || return
	for line in "${LINES[@]}"; do
		if matches "$line" '[ADOPTED]' "${@:3}"; then
			n=$((n + 1))
		fi
	done
	same "$n" "$2"
}
pair() { # NAME ADDRESS PORT [OPTION]...
	must connected -- connect "c$1" "$C" "$2" "$3" "${@:4}" && must accept "s$1" "l$3"
}
both_ways() { # NAME
	must send "c$1" 1000 && must recv "s$1" 1000 && must send "s$1" 1000 && must recv "c$1" 1000
}

# --- without a tracker ------------------------------------------------------

setup_router
first=$SECONDS
established="v4 bound4 v6 bound6 dual mapped alone alone6 lo lo6"
prepare() {
	must listen l80 "$S" $S4 80 && must listen l86 "$S" $S6 86 && must listen l81 "$S" :: 81 || return
	must listen l82 "$S" $S4 82 && must listen l87 "$S" $S6 87 || return
	must listen l88 "$S" 127.0.0.1 88 && must listen l89 "$S" ::1 89 || return
	pair v4 $S4 80 && pair bound4 $S4 80 sport=100 && pair v6 $S6 86 && pair bound6 $S6 86 sport=100 || return
	# A socket of IPv6 with addresses of IPv4, at the server, at the client.
	pair dual $S4 81 && pair mapped ::ffff:$S4 80 || return
	# The listener is gone.
	pair alone $S4 82 && pair alone6 $S6 87 && must close l82 && must close l87 || return
	must connected -- connect clo "$S" 127.0.0.1 88 && must accept slo l88 || return
	must connected -- connect clo6 "$S" ::1 89 && must accept slo6 l89 || return
	# In the middle of closing.
	pair half $S4 80 && must shut chalf && must eof shalf || return
	pair over $S4 80 && must shut cover && must eof sover && must close sover && must eof cover || return
	port_of cover && over=$PORT && must close cover || return
	# In the middle of opening. The answer to an address without a host is lost.
	ip -n "$R" neigh replace $X4 lladdr 02:00:00:00:09:09 dev toc nud permanent
	must pending -- connect csyn "$C" $Y4 80 nowait || return
	t inject c tcp $X4,7000 $S4,80 S seq=1000 win=8000 wscale=7 sackok
	# A closed window, with more behind it.
	pair full $S4 80 rcvbuf=4096 || return
	t bulk full sfull cfull "$BULK"
	must bulk down sv4 cv4 "$BULK" && must bulk up cv6 sv6 "$BULK" || return
	# UDP: a client, one that has heard of the server, a server with a socket for its client.
	must udp u "$S" 53 $S4 && must udp uone "$C" 0 && must attach uone $S4 53 || return
	must udp utwo "$C" 2000 && must attach utwo $S4 53 || return
	must send utwo 10 && must take u && must reply u 10 && must take utwo || return
	must udp userver "$S" 54 $S4 && must udp uclient "$C" 0 && must attach uclient $S4 54 || return
	port_of uclient && uclient=$PORT && must attach userver $C4 "$PORT" || return
	must udp u6 "$C" 0 :: && must attach u6 $S6 53
}
BULK=$(($(scaled 16 1) * 1000000 / 4096 * 4096))
check "connections are opened without a tracker" prepare
declare -A port
for name in $established half full; do
	port_of "c$name" && port[$name]=$PORT
done
for name in uone u6; do
	port_of "$name" && port[$name]=$PORT
done

# --- at once ----------------------------------------------------------------

check "rust_ct is loaded" load
diag "$(log_says 'adopted.*')"

# Those that live for seconds first.
check "UDP, nothing heard" from_to "$C" 30 $C4 "${port[uone]}" $S4 53 udp '[UNREPLIED]'
check "UDP, nothing heard, IPv6" from_to "$C" 30 $C6 "${port[u6]}" $S6 53 udp '[UNREPLIED]'
check "half closed, at who closed" from_to "$C" 60 $C4 "${port[half]}" $S4 80 tcp CLOSE_WAIT '[ASSURED]'
check "half closed, at the other" from_to "$S" 60 $C4 "${port[half]}" $S4 80 tcp CLOSE_WAIT '[ASSURED]'
check "a SYN that was answered" like "src=$X4 dst=$S4 sport=7000 dport=80" \
	"$S" tcp SYN_RECV src=$X4 '!'[UNREPLIED] '!'[ASSURED]
# No machine is too slow for what comes to that one later.
still_half() {
	set_ct "$C" tcp_timeout_close_wait 1000 && set_ct "$S" tcp_timeout_close_wait 1000 || return
	must send shalf 1000 && must recv chalf 1000
}
check "half closed: data the other way" still_half

ipv4_known() { both_know "${3:-432000}" $C4 "${port[$1]}" $S4 "$2"; }
ipv6_known() { both_know "${3:-432000}" $C6 "${port[$1]}" $S6 "$2"; }
check "an IPv4 connection, in the middle of a transfer" ipv4_known v4 80 -
check "... of a client that asked for its port" ipv4_known bound4 80
check "an IPv6 connection, in the middle of a transfer" ipv6_known v6 86 -
check "... of a client that asked for its port" ipv6_known bound6 86
check "IPv4 at a server that speaks IPv6 too" ipv4_known dual 81
check "IPv4 at a client that speaks IPv6 too" ipv4_known mapped 80
check "IPv4, nobody listens any more" ipv4_known alone 82
check "IPv6, nobody listens any more" ipv6_known alone6 87
check "within the machine: one entry" \
	from_to "$S" 432000 127.0.0.1 "${port[lo]}" 127.0.0.1 88 tcp ESTABLISHED '[ASSURED]'
check "within the machine, IPv6: one entry" \
	from_to "$S" 432000 ::1 "${port[lo6]}" ::1 89 tcp ESTABLISHED '[ASSURED]'

check "TIME_WAIT" from_to "$C" 120 $C4 "$over" $S4 80 tcp TIME_WAIT '[ASSURED]'
check "a SYN without an answer" entry "$C" tcp SYN_SENT dst=$Y4 '[UNREPLIED]'

check "UDP, answered" from_to "$C" 120 $C4 2000 $S4 53 udp '[ASSURED]' '!'[UNREPLIED]
check "UDP, a server's socket for one client" from_to "$S" 120 $C4 "$uclient" $S4 54 udp '[ASSURED]'
check "UDP, a socket without a peer: no entry" no_entry "$S" dport=53

check "who was idle is marked" adopted "$C" 1 sport=100 dport=80
check "... in both namespaces" adopted "$S" 1 sport=100 dport=80
no_mark() { must cat "$C" /proc/net/nf_conntrack && [[ ${LINES[*]} != *ADOPTED* ]]; }
check "... but in /proc/net/nf_conntrack" no_mark
check "the router has no sockets, and adopted nothing" adopted "$R" 0

# --- and on -----------------------------------------------------------------

modprobe nf_log_syslog
echo 1 >/proc/sys/net/netfilter/nf_log_all_netns
for ns in "$C" "$S"; do
	set_ct "$ns" tcp_be_liberal 0
	set_ct "$ns" log_invalid 255
done
none_invalid() {
	local ns
	for ns in "$C" "$S"; do
		stat "$ns" invalid && same "$VALUE" 0 && continue
		diag "$(kernel_log | grep nf_ct_proto)"
		return 1
	done
}
check "a transfer to the client goes on" must await down
check "a transfer to the server goes on" must await up
check "a transfer through a closed window goes on" must await full
for name in $established; do
	check "data both ways: $name" both_ways "$name"
done
check "UDP: to the client" must sendto u $C4 2000 10
check "..." must take utwo
check "a client of UDP that had heard nothing: an answer" must send uone 10
check "..." must take u
check "..." must reply u 10
check "..." must take uone
check "no packet was INVALID" none_invalid
check "still one entry each" ipv4_known v4 80
check "..." ipv6_known v6 86
check "..." ipv4_known mapped 80

closes() {
	must close cbound4 && must eof sbound4 && must close sbound4 || return
	soon entry "$C" tcp TIME_WAIT sport=100 dport=80 && soon entry "$S" tcp TIME_WAIT sport=100 dport=80
}
check "a connection is closed" closes
check "one that was half closed is closed" must close shalf
check "..." must eof chalf
check "..." soon entry "$C" tcp TIME_WAIT "sport=${port[half]}"
check "one is reset" must abort calone
check "..." must reset salone
check "..." soon entry "$S" tcp CLOSE "sport=${port[alone]}"
check "no packet was INVALID" none_invalid

new_one() {
	pair new $S4 80 && port_of cnew && both_know 432000 $C4 "$PORT" $S4 80 && both_ways new || return
	adopted "$C" 0 "sport=$PORT"
}
check "a new connection is as new ones are" new_one
check "a new namespace has nothing to adopt" ns_add N
check "unloaded" unload

# --- with other parameters --------------------------------------------------

check "adopt_sockets=0" load adopt_sockets=0
check "... nothing is adopted" refused log_says 'adopted.*'
check "... an idle connection has no entry" no_entry "$C" dport=81
check "... it appears with its next packet" both_ways dual
check "... " entry "$C" tcp ESTABLISHED dport=81
check "... without a mark" adopted "$C" 0
check "unloaded" unload

check "enable_hooks=0" load enable_hooks=0
check "... nothing is tracked yet" count_is "$C" 0
rules() { # NS
	in_ns "$1" nft add table ip t && in_ns "$1" nft add chain ip t c '{ type filter hook input priority 0; }' &&
		in_ns "$1" nft add rule ip t c ct state established accept
}
check "... a rule for IPv4 wants to know" rules "$C"
check "... and knows what was there" from_to "$C" - $C4 "${port[dual]}" $S4 81 tcp ESTABLISHED
check "... of its family" no_entry "$C" ipv6
check "... and its namespace" count_is "$S" 0
check "... the rule goes" in_ns "$C" nft delete table ip t
# Rules that come and go: the tables of sockets are walked eight times a minute, and no more. That may
# be at the end of one minute and the beginning of another.
for ((i = 1; i < 20; i++)); do
	# A rule goes in the background.
	sleep "$(scaled 0.2 1)"
	pair "later$i" $S4 81 && port_of "clater$i"
	in_ns "$C" nft 'table ip t { chain c { type filter hook input priority 0; ct state new accept; }; }'
	no_entry "$C" "sport=$PORT" >/dev/null && break
	in_ns "$C" nft delete table ip t
done
check "... what was opened between rules is known at once, up to $((i - 1)) times" that "i >= 2 && i < 20"
check "... then with its next packet" both_ways "later$i"
check "... of its socket" adopted "$C" 1 "sport=$PORT" ESTABLISHED
while ((i > 0)); do
	must abort "clater$i" && must close "slater$i"
	i=$((i - 1))
done
check "... the rule goes again" in_ns "$C" nft delete table ip t
# What listeners are told when an entry of a packet gives way to one of a socket.
ns_add N
relay replaced "" in_ns "$N" python3 "$SELFTESTS/netlink/netlink_own.py" replaced
check "unloaded" unload

# --- out of order -----------------------------------------------------------

# Sockets with segments that arrived before others. While softirqs put these in order, they are read
# under their locks: the kernels with checkers report if not.
if modprobe sch_netem 2>/dev/null && command -v tc >/dev/null; then
	for device in toc tos; do
		tc -n "$R" qdisc add dev $device root netem delay 1ms reorder 50% 50% limit 20000
	done
	for name in 1 2 3; do
		pair "mixed$name" $S4 80 && must bulk "mixed$name" "smixed$name" "cmixed$name" $((BULK / 65536 * 4096))
	done
	loads=$(scaled 6 3) failed=''
	for ((i = 1; i <= loads; i++)); do
		load || failed+=" $i:load"
		unload || failed+=" $i:unload"
	done
	check "$loads times loaded while segments arrive out of order" same "$failed" ""
	check "... and once more" load
	for device in toc tos; do
		tc -n "$R" qdisc del dev $device root
	done
	for name in 1 2 3; do
		check "... transfer $name goes on" must await "mixed$name"
		must close "cmixed$name" && must close "smixed$name"
	done
	check "unloaded" unload
else
	skip "out of order" "no tc or sch_netem"
fi

# --- many -------------------------------------------------------------------

# All of them are from one address to one port.
in_ns "$S" sh -c 'echo 1024 65535 >/proc/sys/net/ipv4/ip_local_port_range'
for name in $established half full; do
	[[ $name == lo* || $name == bound4 || $name == alone ]] || must close "c$name"
done
must crowd crowd "$S" 127.0.0.1 90 "$many" || fail "$many connections are opened"
# A transfer all the while.
must listen l91 "$S" $S4 91
pair bulk $S4 91
must bulk bulk cbulk sbulk "$BULK"
start=${EPOCHREALTIME/./}
check "loaded, with $((2 * many)) sockets" load
took=$(((${EPOCHREALTIME/./} - start) / 1000))
set_ct "$S" log_invalid 255
diag "$(log_says 'adopted.*'); loading took $took ms"
check "... in bounded time" that "took < $(scaled 15000 60000)"
# As "adopted" and "count_entries" do, for so many lines.
read -r marked all < <(in_ns "$S" awk '
	/ tcp .* ESTABLISHED .* dport=90 / { all++; marked += /\[ADOPTED\]/ }
	END { print marked + 0, all + 0 }' /proc/net/rust_conntrack)
check "... each connection has an entry" same "$marked" "$many"
check "... and not two" same "$all" "$many"
check "... a transfer goes on" must await bulk
check "... no packet was INVALID" none_invalid
check "unloaded" unload

# Room for 512 * 8 entries in a namespace.
few=$(scaled 5000 300)
((few > many)) || few=$many
if ((few > 4096)); then
	((few == many)) || must crowd more "$S" 127.0.0.1 92 $((few - many)) || fail "$few connections are opened"
	check "loaded, with room for fewer" load hashsize=512
	diag "$(log_says '.*sockets.*')"
	get_ct "$S" count
	check "... the table is full" that "VALUE > 4000 && VALUE <= 4096"
	check "... the log says so" log_says 'table full: no room for the connections of [0-9]+ sockets'
	check "unloaded" unload
	((few == many)) || must disperse more
fi
must disperse crowd
tap_finish
