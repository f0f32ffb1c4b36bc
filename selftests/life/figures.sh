#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The figures of /proc/net/stat/rust_conntrack and /proc/net/rust_conntrack.prom: each cause counts
# once and nothing else does; created less ended is what there is; the text is what Prometheus reads.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

tap_begin nft python3
need_tracker
[[ $TRACKER == rust_ct ]] || skip_all "rust_ct only"
save_table
folder=$(mktemp -d)
at_end() {
	restore_table
	rm -rf "$folder"
}
setup_router
readonly PROM=/proc/net/rust_conntrack.prom NAMES=/proc/net/stat/rust_conntrack

declare -A NOW BEFORE
figures() { # NS -> NOW[NAME]
	local line
	NOW=()
	must cat "$1" $NAMES || return
	for line in "${LINES[@]}"; do
		NOW[${line% *}]=${line##* }
	done
}
# The sum of the figures with this beginning. (PREFIX) -> SUM
sum_of() {
	local name
	SUM=0
	for name in "${!NOW[@]}"; do
		[[ $name != "$1"* ]] || SUM=$((SUM + NOW[$name]))
	done
}
# What has grown of refused and invalid packets since BEFORE: "NAME+N ..." -> GROWN
grown() {
	local name grown=()
	figures "$R"
	for name in "${!NOW[@]}"; do
		case $name in
		invalid_* | refused_*) ;;
		*) continue ;;
		esac
		((NOW[$name] == BEFORE[$name])) || grown+=("$name+$((NOW[$name] - BEFORE[$name]))")
	done
	GROWN=$(printf '%s\n' "${grown[@]}" | sort | tr '\n' ' ')
	GROWN=${GROWN% }
}
remember() {
	local name
	figures "$R"
	for name in "${!NOW[@]}"; do
		BEFORE[$name]=${NOW[$name]}
	done
}
# A packet, and all that it adds to the causes. (WANTED c|s PACKET...)
cause() {
	remember
	check "$1: ${*:3}" causes "$@"
}
causes() {
	must step "$2" "$R" "${@:3}" && grown && same "$GROWN" "$1"
}

# --- INVALID ----------------------------------------------------------------

port=1
tcp() { port=$((port + 1)) flow="tcp $X,$port $Y,80" back="tcp $Y,80 $X,$port"; }
# shellcheck disable=SC2086 # $flow and $back are words
invalid_packets() {
	tcp
	cause invalid_tcp_short+1 c $flow S l4cut=12
	tcp
	cause invalid_tcp_length+1 c $flow S doff=15
	tcp
	cause invalid_tcp_checksum+1 c $flow S csum=bad
	tcp
	cause invalid_tcp_flags+1 c $flow SF
	tcp
	cause invalid_tcp_not_syn+1 c $flow SA seq=1 ack=1
	cause invalid_udp_short+1 c udp "$X,7" "$Y,53" l4cut=4
	cause invalid_udp_length+1 c udp "$X,7" "$Y,53" len=10 ulen=100
	cause invalid_udp_checksum+1 c udp "$X,7" "$Y,53" len=10 csum=bad
	cause "" c udp "$X,7" "$Y,53" len=10

	# A connection, and what does not belong to it.
	tcp
	must passed -- inject c $flow S seq=1000 win=8000
	must passed -- inject s $back SA seq=5000 ack=1001 win=8000
	must passed -- inject c $flow A seq=1001 ack=5001 win=8000
	cause "" c $flow PA seq=1001 ack=5001 win=8000 len=10
	cause invalid_tcp_seq_over+1 c $flow A seq=500000000 ack=5001 win=8000
	cause invalid_tcp_ack_over+1 c $flow A seq=1011 ack=900000 win=8000
	cause invalid_tcp_rst+1 s $back R seq=1
}
# shellcheck disable=SC2086
invalid_icmp() {
	cause invalid_icmp_checksum+1 c icmp "$X" "$Y" 8 0 word=501,1 csum=bad
	cause invalid_icmp_short+1 c icmp "$X" "$Y" 8 0 word=501,1 l4cut=4
	cause invalid_icmp_unknown+1 c icmp "$X" "$Y" 3 0 data=ffffffffffffffffffffffffffffffffffffffffffffffffffffffff
	cause invalid_icmp_not_request+1 c icmp "$X" "$Y" 0 0 word=501,1
	cause invalid_icmp_type+1 c icmp "$X" "$Y" 99 0
	cause invalid_icmp_family+1 c ip "$X" "$Y" 58 data=8000000001f50001
}
use_family 6
invalid_packets
cause invalid_icmpv6_checksum+1 c icmp "$X" "$Y" 128 0 word=501,1 csum=bad
use_family 4
invalid_packets
invalid_icmp

stat "$R" invalid && invalid=$VALUE
stat "$R" icmp_error && errors=$VALUE
figures "$R"
sum_of invalid_
check "the causes of INVALID packets are all of them" same "$SUM" $((invalid + errors))

# --- refused ----------------------------------------------------------------

in_ns "$R" nft -f - <<-EOF
	table ip figures {
		chain post {
			type nat hook postrouting priority srcnat
			ip daddr $Y udp dport 9000 snat to $Y:4000-4001
		}
	}
EOF
cause "" c udp "$X,1" "$Y,9000" len=4
cause "" c udp "$X,2" "$Y,9000" len=4
cause refused_no_port+1 c udp "$X,3" "$Y,9000" len=4
figures "$R"
check "... which is NAT's figure, too" same "${NOW[nat_exhausted]}" 1
in_ns "$R" nft delete table ip figures

# --- what there is ----------------------------------------------------------

adds_up() {
	figures "$R"
	sum_of created_
	local created=$SUM
	sum_of ended_
	get_ct "$R" count
	that "$created - SUM == VALUE"
}
check "created less ended is what there is" adds_up
must flood c 50 "$X" "$Y" dport=6000
check "... with more" adds_up
in_ns "$R" conntrack -D -p udp --dport 6000 >/dev/null 2>&1
check "... after some were deleted" adds_up
figures "$R"
check "... each for that reason" that "NOW[ended_deleted] + NOW[ended_flushed] >= 50"
in_ns "$R" conntrack -F >/dev/null 2>&1
check "... after a flush" adds_up

# --- by state ---------------------------------------------------------------

# A round may be a minute away.
set_ct "$R" udp_timeout 300
tcp
# shellcheck disable=SC2086
must passed -- inject c $flow S seq=1000 win=8000
must flood c 20 "$X" "$Y" dport=6001
counted_by_state() {
	figures "$R"
	same "${NOW[state_entries_tcp_SYN_SENT]} ${NOW[state_entries_udp_unreplied]}" "1 20"
}
check "the collector's next round has the entries by state" wait_for 75 counted_by_state

# --- the text ---------------------------------------------------------------

must cat "$R" $PROM
printf '%s\n' "${LINES[@]}" >"$folder/prom"
check "a namespace's file is what Prometheus reads" python3 "$SELFTESTS/lib/prometheus.py" "$folder/prom"
netns=$(in_ns "$R" stat -Lc %i /proc/self/ns/net)
check "... with its own figures alone" same "$(grep -o 'netns="[0-9]*"' "$folder/prom" | sort -u)" "netns=\"$netns\""
cat $PROM >"$folder/prom"
check "the first namespace's file is, too" python3 "$SELFTESTS/lib/prometheus.py" "$folder/prom"
check "... and has the other's figures" grep -q "^rust_conntrack_entries{netns=\"$netns\"} [1-9]" "$folder/prom"

# --- Debian's node_exporter --------------------------------------------------------

scraped() { curl -s --max-time 5 http://127.0.0.1:9100/metrics >"$folder/scraped"; }
if command -v prometheus-node-exporter >/dev/null; then
	ip link set lo up
	mkdir "$folder/textfile"
	ln -s $PROM "$folder/textfile/"
	prometheus-node-exporter --collector.disable-defaults --collector.textfile \
		--collector.textfile.directory="$folder/textfile" --web.listen-address=127.0.0.1:9100 2>"$folder/exporter.log" &
	exporter=$!
	check "node_exporter answers" wait_for 20 scraped
	check "... without an error" grep -q '^node_textfile_scrape_error 0$' "$folder/scraped"
	check "... with the figures" grep -q "^rust_conntrack_entries{netns=\"$netns\"} [1-9]" "$folder/scraped"
	kill $exporter
else
	skip "node_exporter reads the file" "no prometheus-node-exporter"
fi
tap_finish
