#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Several processors send packets at once: how often one finds a lock taken, has to search
# again, or loses a connection. Checks that each packet was what it should be to its
# connection, and that each connection had one entry.
#
#   cpus.sh GENERATORS PACKETS CONNECTIONS ROUNDS CPUS...
#     GENERATORS   the folder with packet_bench.ko, packet_bench_N.ko and contention.ko
#     PACKETS      sent by each processor, where connections are there already
#     CONNECTIONS  made by each processor, where they are not
#     CPUS         so many processors at work, one number after the other
#
# Prints for each round "race NAME CPUS PACKETS NUMBER=VALUE...", and then the places where a
# lock was found taken: "at NAME CPUS COUNT FUNCTION".
set -u
export LC_ALL=C

generators=$1 packets=$2 connections=$3 rounds=$4
shift 4
tracker=${RUST_CT_TRACKER:?}
most=$(printf '%s\n' "$@" | sort -n | tail -n 1)
status=0 next=0
proc=/proc/sys/net/netfilter
go=$(mktemp -u)

wrong() {
	echo "wrong: $*" >&2
	status=1
}

has_tracker() { [[ $tracker != none ]]; }
bench() { (($1 == 1)) && echo /proc/packet_bench || echo "/proc/packet_bench_$1"; } # CPU
order() { echo "${*:2}" >"$(bench "$1")" || wrong "processor $1: order '${*:2}'"; } # CPU WORD...
flush() { ! has_tracker || conntrack -F >/dev/null 2>&1; }

# Every processor that takes part obeys at the same time. They wait in a loop, which is quicker
# than to be woken one after the other. (CPUS WORD...)
together() {
	local cpu
	rm -f "$go"
	for ((cpu = 1; cpu <= $1; cpu++)); do
		(
			taskset -pc $((cpu - 1)) $BASHPID >/dev/null
			until [[ -e $go ]]; do :; done
			order "$cpu" "${@:2}"
		) &
	done
	sleep 0.3
	echo 1 >/proc/contention
	: >"$go"
	wait
}

# A field of the last results, summed over processors. (CPUS NAME)
sum() {
	local cpu total=0 value
	for ((cpu = 1; cpu <= $1; cpu++)); do
		value=$(sed -n "s/.*\b$2=\([0-9]*\).*/\1/p" "$(bench "$cpu")")
		total=$((total + value))
	done
	echo $total
}

# A statistic, summed over processors.
statistic() {
	has_tracker || {
		echo 0
		return
	}
	local name=$1 line value total=0
	while read -r value; do
		total=$((total + 16#$value))
	done < <(awk -v name="$name" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) at = i; next }
		{ print $at }' /proc/net/stat/nf_conntrack)
	echo $total
}
readonly STATISTICS=(search_restart clashres insert_failed drop)
declare -A was
before() {
	local name
	for name in "${STATISTICS[@]}"; do
		was[$name]=$(statistic "$name")
	done
}

# What the last order came to. (NAME CPUS PACKETS)
report() {
	local name=$1 cpus=$2 statistic line
	line="race $name $cpus $3 contention=$(sed -n 's/^total //p' /proc/contention)"
	for statistic in "${STATISTICS[@]}"; do
		line+=" $statistic=$(($(statistic "$statistic") - was[$statistic]))"
	done
	echo "$line lost=$(sum "$cpus" dropped)"
	sed -n "s/^at /at $name $cpus /p" /proc/contention
}

# How many entries there are now. (NAME COUNT)
entries() {
	has_tracker || return
	local is
	is=$(<$proc/nf_conntrack_count)
	((is == $2)) || wrong "$1: $is entries, should be $2"
}

# The numbers of connections that were not used before, for each processor its own or all the
# same ones; how many connections that is, into DISTINCT. (own|shared CPUS PROTOCOL FLOWS)
set_up() {
	local cpu
	for ((cpu = 1; cpu <= $2; cpu++)); do
		[[ $1 == own && $cpu != 1 ]] && next=$((next + $4))
		order "$cpu" setup ip "$3" "$4" $next
	done
	next=$((next + $4))
	[[ $1 == own ]] && DISTINCT=$(($2 * $4)) || DISTINCT=$4
}

# Packets of connections that are there. (NAME own|shared CPUS PROTOCOL FLOWS)
established() {
	local name=$1 cpus=$3 cpu
	set_up "$2" "$cpus" "$4" "$5"
	for ((cpu = 1; cpu <= cpus; cpu++)); do
		order "$cpu" open
		[[ $4 == tcp ]] || order "$cpu" answer
	done
	# A conversation is a stream only after two seconds.
	[[ $4 == tcp ]] || sleep 2.5
	for ((cpu = 1; cpu <= cpus; cpu++)); do
		order "$cpu" hit $(($5 * 3))
	done
	before
	together "$cpus" hit "$packets"
	report "$name" "$cpus" $((cpus * packets))
	entries "$name" $DISTINCT
	! has_tracker || (($(sum "$cpus" established) + $(sum "$cpus" reply) == cpus * packets)) ||
		wrong "$name: not all of $((cpus * packets)) packets were of their connection: $(cat "$(bench 1)")"
	flush
}

# New connections, up to confirmation. (NAME own|shared CPUS PROTOCOL)
begun() {
	local name=$1 cpus=$3 each=1 lost
	[[ $4 == udp ]] || each=3
	set_up "$2" "$cpus" "$4" "$connections"
	before
	together "$cpus" open
	report "$name" "$cpus" $((cpus * connections * each))
	lost=$(sum "$cpus" dropped)
	# With the C tracker, the processor that loses a race over a connection may lose the packet, and two
	# of them may choose the same port.
	if [[ $2 == own ]]; then
		[[ $tracker == stock && $name == nat-* ]] || ((!lost)) || wrong "$name: $lost lost"
		entries "$name" $((DISTINCT - lost))
	else
		entries "$name" $DISTINCT
	fi
	flush
}

translated() { # CPUS
	! has_tracker || nft -f - <<-RULES
		table ip nat {
			chain post {
				type nat hook postrouting priority srcnat
				snat to 192.0.2.1-192.0.2.8
			}
		}
	RULES
	begun nat-udp-new own "$1" udp
	! has_tracker || nft delete table ip nat
}

modprobe -a nf_defrag_ipv4 nf_defrag_ipv6 dummy
insmod "$generators/packet_bench.ko" || exit 1
for ((cpu = 2; cpu <= most; cpu++)); do
	insmod "$generators/packet_bench_$cpu.ko" || exit 1
done
# A jump in the breakpoint's place could not be unwound from.
echo 0 >/proc/sys/debug/kprobes-optimization
insmod "$generators/contention.ko" || exit 1
ip link add dummy0 type dummy
ip address add 10.0.0.1/8 dev dummy0
ip link set dummy0 up
ip link set lo up
if has_tracker; then
	echo $((4 * most * connections + 100000)) >$proc/nf_conntrack_max
	echo 65536 >$proc/nf_conntrack_buckets
	for timeout in udp_timeout udp_timeout_stream tcp_timeout_{syn_sent,syn_recv,last_ack,time_wait}; do
		echo 10000 >"$proc/nf_conntrack_$timeout"
	done
fi

for ((round = 0; round < rounds; round++)); do
	for cpus; do
		established udp-own own "$cpus" udp 1000
		established tcp-own own "$cpus" tcp 1000
		established udp-one shared "$cpus" udp 1
		established tcp-one shared "$cpus" tcp 1
		begun udp-new own "$cpus" udp
		begun tcp-new own "$cpus" tcp
		begun udp-new-same shared "$cpus" udp
		translated "$cpus"
	done
done
rmmod contention packet_bench
for ((cpu = 2; cpu <= most; cpu++)); do
	rmmod "packet_bench_$cpu"
done
exit $status
