#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Runs the packet generator's scenarios with the tracker that is loaded, or none, and checks
# that each packet was what it should be to its connection, and that each connection had its
# entry. Prints for each scenario what one packet (or connection) took, in thousandths of a
# nanosecond: "cost NAME MEDIAN MEAN"; then "memory BYTES" for one connection, and
# "sample NAME COUNT FUNCTION".
#
# packets.sh GENERATOR PACKETS CONNECTIONS FLOWS SAMPLE [SCENARIO...]
#   PACKETS      measured in scenarios of packets
#   CONNECTIONS  measured in scenarios of connections, and in the table where a packet has none
#   FLOWS        in the scenarios with many
#   SAMPLE       1: find out by samples where the time goes, too; 2: to the instruction
#
# Where instructions are not what is counted, once is not enough: BENCH_ROUNDS=N measures each
# scenario so often, with fresh connections where they are used up ("cost" is printed each
# time). BENCH_TURNS=TERMINAL lets others that do the same have every other round: before each
# one "turn NAME" is written there, and a line is waited for.
set -u
export LC_ALL=C

generator=$1 packets=$2 connections=$3 many=$4 sample=$5
shift 5
wanted=" $* "
bench=/proc/packet_bench
tracker=${RUST_CT_TRACKER:?}
buckets=/proc/sys/net/netfilter/nf_conntrack_buckets
rounds=${BENCH_ROUNDS:-1} turns=${BENCH_TURNS:-}
status=0

wrong() {
	echo "wrong: $*" >&2
	status=1
}

is_wanted() { [[ $wanted == "  " || $wanted == *" $1 "* ]]; }

has_tracker() { [[ $tracker != none ]]; }

turn() { # NAME
	[[ -n $turns ]] || return 0
	echo "turn $1" >"$turns"
	read -r <"$turns"
}

order() { echo "$*" >$bench || wrong "order '$*'"; }

# A field of the last result.
field() { sed -n "s/.*\b$1=\([0-9]*\).*/\1/p" $bench; }

# What became of the packets of the last order. Without a tracker nothing does. (FIELD=COUNT...)
expect() { # NAME FIELD=COUNT...
	local name=$1 is word
	shift
	is=$(grep turns= $bench)
	for word in dropped=0 "$@"; do
		has_tracker || [[ $word == dropped=0 ]] || continue
		[[ " $is " == *" $word "* ]] || wrong "$name: not $word, but $is"
	done
}

# Entries there are now. (NAME COUNT)
entries() {
	has_tracker || return
	local is
	is=$(</proc/sys/net/netfilter/nf_conntrack_count)
	((is == $2)) || wrong "$1: $is entries, should be $2"
}

flush() {
	! has_tracker || conntrack -F >/dev/null 2>&1
}

# The order, its cost, and where it was spent. Orders that change connections are sampled the
# next time, with others. (NAME ORDER...)
cost() {
	local name=$1
	shift
	order "$@"
	echo "cost $name $(field median) $(field mean)"
}

sample() { # NAME ORDER...
	local name=$1
	shift
	((sample)) || return
	if ((rounds > 1)) && [[ $# == 2 ]]; then
		# A sample takes longer then.
		set -- "$1" $(($2 * 10))
	fi
	order "$@" sample
	awk -v name="$name" -v keep=$((sample > 1)) '
		$1 == "at" { sub(keep ? "/0x.*" : "[+]0x.*", "", $2); count[$2]++ }
		END { for (f in count) print "sample", name, count[f], f }' $bench
}

# The table that each tracker has by default on this machine, or for so many connections if they
# are more: one bucket for each with the C one, and with rust_ct what it grows to itself.
usual_size() { # CONNECTIONS
	has_tracker || return 0
	if [[ $tracker == rust_ct ]]; then
		echo "$default" >$buckets
		echo Y >/sys/module/rust_ct/parameters/auto_resize
	else
		echo $(($1 > default ? $1 : default)) >$buckets
	fi
}
# For that it may need some seconds.
settle() {
	[[ $tracker != rust_ct ]] || sleep 3
}

# One hot connection, or many in random order. With one it is another one each round: how long it
# takes depends on where in memory its entry is. (NAME FAMILY PROTOCOL FLOWS)
established() {
	is_wanted "$1" || return
	local round flows=$(($4 == 1 ? rounds : $4))
	turn "$1"
	usual_size "$flows"
	order setup "$2" "$3" "$flows"
	order open
	[[ $3 == tcp ]] || {
		order answer
		# A conversation is a stream only after two seconds.
		sleep 2.5
	}
	settle
	order hit $((flows * 3 > 2000 ? flows * 3 : 2000))
	entries "$1" "$flows"
	for ((round = 0; round < rounds; round++)); do
		turn "$1"
		(($4 > 1)) || order among "$round" 1
		((rounds == 1)) || order hit $((packets / 2))
		cost "$1" hit "$packets"
		expect "$1" new=0 none=0 related=0
		! has_tracker || (($(field established) + $(field reply) == packets)) || wrong "$1: $(cat $bench)"
	done
	sample "$1" hit "$packets"
	flush
}

# From the first packet to confirmation, and, with TCP, to the end. (NAME FAMILY PROTOCOL)
begun() {
	is_wanted "$1" || return
	local round
	for ((round = 0; round < rounds; round++)); do
		turn "$1"
		((round)) || usual_size "$connections"
		order setup "$2" "$3" "$connections"
		cost "$1" open
		if [[ $3 == tcp ]]; then
			expect "$1" new="$connections" established="$connections" reply="$connections" none=0
		else
			expect "$1" new="$connections" none=0
		fi
		entries "$1" "$connections"
		if [[ $3 == tcp ]]; then
			cost "$1-close" close
			expect "$1-close" new=0 established=$((connections * 2)) reply="$connections" none=0
		fi
		flush
	done
	((sample)) || return
	order setup "$2" "$3" "$connections"
	sample "$1" open
	[[ $3 != tcp ]] || sample "$1-close" close
	flush
}

# Later packets of connections without a reply. (NAME)
unreplied() {
	is_wanted "$1" || return
	local round
	turn "$1"
	usual_size "$connections"
	order setup ip udp "$connections"
	order open
	settle
	for ((round = 0; round < rounds; round++)); do
		turn "$1"
		cost "$1" open
		expect "$1" new="$connections" none=0
		entries "$1" "$connections"
	done
	flush
}

# The same, after NAT's rules have changed: rust_ct asks them again with each packet. (NAME)
reconsidered() {
	is_wanted "$1" || return
	local settings=/proc/sys/net/netfilter/nf_nat before=0 round
	[[ $tracker != rust_ct ]] || echo 0 >${settings}_reconsider_after
	turn "$1"
	usual_size "$connections"
	order setup ip udp "$connections"
	order open
	settle
	for ((round = 0; round < rounds; round++)); do
		! has_tracker || nft add chain ip nat "new$round"
		[[ $tracker != rust_ct ]] || before=$(<${settings}_reconsidered)
		cost "$1" open
		expect "$1" new="$connections" none=0
		[[ $tracker != rust_ct ]] || (($(<${settings}_reconsidered) - before == connections)) ||
			wrong "$1: $(($(<${settings}_reconsidered) - before)) were asked about"
		entries "$1" "$connections"
		sleep 1.1
	done
	flush
	[[ $tracker != rust_ct ]] || echo 30 >${settings}_reconsider_after
}

# First packets that are refused, with so many connections in the table.
refused() { # NAME PROTOCOL ORDER FLOWS
	is_wanted "$1" || return
	local round
	turn "$1"
	usual_size "$4"
	order setup ip udp "$4"
	order open
	settle
	order setup ip "$2" 1
	for ((round = 0; round < rounds; round++)); do
		turn "$1"
		((rounds == 1)) || order "$3" $((packets / 2))
		cost "$1" "$3" "$packets"
		[[ $3 == stray ]] && expect "$1" none="$packets" || expect "$1" new="$packets" none=0
		entries "$1" "$4"
	done
	sample "$1" "$3" "$packets"
	flush
}

# A lookup alone.
looked_up() { # NAME ORDER MISSED FLOWS
	is_wanted "$1" && has_tracker || return
	local round
	turn "$1"
	usual_size "$4"
	order setup ip udp "$4"
	order open
	settle
	for ((round = 0; round < rounds; round++)); do
		turn "$1"
		((rounds == 1)) || order "$2" $((packets / 2))
		cost "$1" "$2" "$packets"
		expect "$1" missed="$3"
	done
	sample "$1" "$2" "$packets"
	flush
}

# Memory of one connection: of its entry and whatever hangs on it, and its share of the table and
# of rust_ct's lists. To be run while nothing is in the caches.
memory() {
	is_wanted memory && has_tracker || return
	local before all head=8 lists=0
	# nf/entry/chain.rs, with memory of less than 512 GiB; ct/table/index.rs: two bytes for each connection
	# that was allowed when the module was loaded
	[[ $tracker != rust_ct ]] || head=4 lists=$((allowed * 2))
	turn memory
	order setup ip udp "$many"
	if [[ $tracker == rust_ct ]]; then
		# The largest that its table would grow to, beforehand: it might be counted as slab.
		echo $((many * 2)) >$buckets
	else
		usual_size "$many"
	fi
	before=$(slab)
	order open
	entries memory "$many"
	all=$((($(slab) - before) * 1024 + $(<$buckets) * head + lists))
	echo "memory $(((all + many / 2) / many))"
	flush
}

# Entries end by themselves: what kernel workers need for one.
expired() {
	is_wanted "$1" && has_tracker || return
	local before _
	turn "$1"
	usual_size "$connections"
	sleep 5
	echo 3 >/proc/sys/net/netfilter/nf_conntrack_udp_timeout
	order setup ip udp "$connections"
	order open
	order workers
	before=$(field workers)
	for _ in {1..400}; do
		sleep 1
		(($(</proc/sys/net/netfilter/nf_conntrack_count))) || break
	done
	entries "$1" 0
	order workers
	echo "cost $1 $((($(field workers) - before) * 1000 / connections)) 0"
	echo 10000 >/proc/sys/net/netfilter/nf_conntrack_udp_timeout
}

# What a watch saw: the longest that packets and real-time tasks had to wait, in nanoseconds,
# and how many packets waited long.
lateness() { # NAME
	echo "late $1 $(field latest) $(field latest_task) $(field late)"
}

# Packets come in between while the table gets another size, and while it does not.
resized() { # NAME
	is_wanted "$1" && has_tracker || return
	local round
	turn "$1"
	echo "$many" >$buckets
	order setup ip udp "$many"
	order open
	order answer
	sleep 2.5
	order hit $((many * 3))
	for ((round = 0; round < rounds; round++)); do
		turn "$1"
		order watch 32
		order spin 500
		order watched
		echo "cost $1-without $(field median) $(field mean)"
		lateness "$1-without"
		order watch 32
		echo $((round % 2 ? many : many * 2)) >$buckets
		order watched
		echo "cost $1 $(field median) $(field mean)"
		lateness "$1"
		expect "$1" new=0 none=0 related=0
		entries "$1" "$many"
	done
	flush
}

# So many entries end at once, and how long other work waits is watched.
collected() { # NAME
	is_wanted "$1" && has_tracker || return
	local _
	turn "$1"
	usual_size "$many"
	echo 5 >/proc/sys/net/netfilter/nf_conntrack_udp_timeout
	order setup ip udp "$many"
	order open
	order watch 0
	for _ in {1..400}; do
		sleep 1
		(($(</proc/sys/net/netfilter/nf_conntrack_count))) || break
	done
	order watched
	lateness "$1"
	entries "$1" 0
	echo 10000 >/proc/sys/net/netfilter/nf_conntrack_udp_timeout
}

# What the counters of one connection say.
counted() {
	is_wanted "$1" || return
	local round sum
	turn "$1"
	usual_size 1
	! has_tracker || echo 1 >/proc/sys/net/netfilter/nf_conntrack_acct
	order setup ip udp 1
	order open
	order answer
	sleep 2.5
	order hit 1000
	for ((round = 0; round < rounds; round++)); do
		turn "$1"
		cost "$1" hit "$packets"
	done
	if has_tracker; then
		sum=$(grep -o 'packets=[0-9]*' /proc/net/nf_conntrack | awk -F= '{ n += $2 } END { print n }')
		((sum == packets * rounds + 1002)) || wrong "$1: counted $sum"
		echo 0 >/proc/sys/net/netfilter/nf_conntrack_acct
	fi
	flush
}

translated() {
	! has_tracker || nft -f - <<-RULES
		table ip nat {
			chain post {
				type nat hook postrouting priority srcnat
				snat to 192.0.2.1
			}
		}
	RULES
	established nat-udp-hot ip udp 1
	established nat-tcp-hot ip tcp 1
	((rounds == 1)) || established nat-udp-many ip udp "$connections"
	unreplied nat-udp-unreplied
	reconsidered nat-udp-asked
	begun nat-udp-new ip udp
	begun nat-tcp-new ip tcp
	! has_tracker || nft delete table ip nat
}

slab() { awk '/^Slab:/ { print $2 }' /proc/meminfo; }

# A statistic of each processor, in hexadecimal.
statistic() {
	awk -v name="$1" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) at = i; next }
		{ printf " %s", $at }' /proc/net/stat/nf_conntrack
}

modprobe -a nf_defrag_ipv4 nf_defrag_ipv6 dummy
insmod "$generator" || exit 1
ip link add dummy0 type dummy
ip address add 10.0.0.1/8 dev dummy0
ip address add fd00::1/16 dev dummy0 nodad
ip link set dummy0 up
ip link set lo up
if has_tracker; then
	allowed=$(</proc/sys/net/netfilter/nf_conntrack_max) default=$(<$buckets)
	echo $((2 * (many > connections ? many : connections) + 100000)) >/proc/sys/net/netfilter/nf_conntrack_max
	# An idle guest's time flies.
	for timeout in udp_timeout udp_timeout_stream tcp_timeout_{syn_sent,syn_recv,last_ack,time_wait}; do
		echo 10000 >/proc/sys/net/netfilter/nf_conntrack_$timeout
	done
fi
sleep 3

memory
established udp-hot ip udp 1
established tcp-hot ip tcp 1
established udp6-hot ip6 udp 1
established tcp6-hot ip6 tcp 1
established udp-1k ip udp 1000
established udp-many ip udp "$many"
established tcp-many ip tcp "$many"
counted udp-counted
refused udp-miss udp miss "$connections"
refused tcp-miss tcp miss "$connections"
refused stray tcp stray "$connections"
looked_up lookup lookup 0 "$connections"
looked_up lookup-miss lookup_miss "$packets" "$connections"
established udp-100k ip udp 100000
refused udp-miss-1k udp miss 1000
refused udp-miss-100k udp miss 100000
# What caches and time tell apart.
if ((rounds > 1)); then
	refused udp-miss-many udp miss "$many"
	looked_up lookup-many lookup 0 "$many"
	looked_up lookup-miss-many lookup_miss "$packets" "$many"
fi
resized resize
unreplied udp-unreplied
begun udp-new ip udp
begun tcp-new ip tcp
begun udp6-new ip6 udp
expired expiry
((rounds == 1)) || collected collect
translated

if has_tracker; then
	for name in insert_failed drop early_drop; do
		[[ $(statistic $name) =~ ^[\ 0]*$ ]] || wrong "$name:$(statistic $name)"
	done
fi
rmmod packet_bench
exit $status
