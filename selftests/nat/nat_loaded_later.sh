#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A connection that is older than the tracker, and a rule that maps another one onto its
# port: what becomes of the two, with each tracker, and what was on the wire.
#
# A server listens on 127.0.0.1:8080, and a client is connected to it from port 40000, idle.
# Then the tracker is loaded, with the rule
#     iptables -t nat -A POSTROUTING -p tcp -d 127.0.0.1 --dport 8080
#         -j SNAT --to-source 127.0.0.1:40000
# and a second client connects, from port 50000.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

tap_begin modprobe insmod rmmod iptables nft tcpdump
[[ $(tracker_loaded) == none ]] || skip_all "a tracker is loaded: unload it first"
rust_ct_module >/dev/null || skip_all "no rust_ct.ko (RUST_CT_KO says where)"
modinfo nf_conntrack >/dev/null 2>&1 || skip_all "this kernel has no nf_conntrack.ko"
folder=$(mktemp -d)
at_end() { rm -rf "$folder"; }

traffic_start

# What each column is of: NAME TRACKER PARAMETER...
readonly COLUMNS=("C tracker|stock" "rust_ct|rust_ct" "adopt_sockets=0|rust_ct adopt_sockets=0")

# Prints what is on the wire, one segment a line, without what differs from run to run.
on_the_wire() {
	sed -nE 's/.*127\.0\.0\.1\.([0-9]+) > 127\.0\.0\.1\.([0-9]+): Flags \[([^]]*)\].* length ([0-9]+).*/\1 > \2 [\3] \4/p' \
		"$1"
}

# One run: leaves FIRST, SECOND and RANGE (what became of the connections), EXHAUSTED, and the
# capture in FILE. (FILE TRACKER [PARAMETER]...)
run() {
	local file=$1 tracker=$2 dumper
	shift 2
	FIRST='' SECOND='' RANGE='' EXHAUSTED=0
	ns_add H
	must listen l "$H" 127.0.0.1 8080 && must connected -- connect a "$H" 127.0.0.1 8080 sport=40000 &&
		must accept s l || return
	load_tracker "$tracker" "$@" || return
	in_ns "$H" iptables -t nat -A POSTROUTING -p tcp -d 127.0.0.1 --dport 8080 \
		-j SNAT --to-source 127.0.0.1:40000 || return
	ns_exec "$H" tcpdump -n -l -i lo tcp port 8080 >"$file.raw" 2>"$file.err" &
	dumper=$!
	wait_for 10 grep -q listening "$file.err"
	t connect b "$H" 127.0.0.1 8080 sport=50000 nowait
	sleep "$(scaled 2.5 6)"
	SECOND=pending
	grep -q '8080 > 127.0.0.1.50000.*\[S\.\]' "$file.raw" && SECOND=connected
	# Does the first one still work?
	if t send a 100 && t recv s 100 && t send s 100 && t recv a 100; then
		FIRST=alive
	else
		FIRST=dead
	fi
	[[ ! -e /proc/sys/net/netfilter/nf_nat_exhausted ]] ||
		EXHAUSTED=$(in_ns "$H" cat /proc/sys/net/netfilter/nf_nat_exhausted)
	sleep 0.5
	kill $dumper
	wait $dumper 2>/dev/null
	on_the_wire "$file.raw" >"$file"
	t abort b
	# With a choice of ports there is one for the second client.
	in_ns "$H" iptables -t nat -F
	in_ns "$H" iptables -t nat -A POSTROUTING -p tcp -d 127.0.0.1 --dport 8080 \
		-j SNAT --to-source 127.0.0.1:40000-40003 || return
	t connect d "$H" 127.0.0.1 8080 sport=50001
	RANGE=$ANSWER
	local name
	for name in a s d l; do
		t close $name
	done
	in_ns "$H" nft flush ruleset
	ns_del "$H"
	# With the rules gone their modules are not in use any more.
	wait_for 20 unload "$tracker"
}

unload() { # TRACKER
	modprobe -r -a xt_nat nft_compat nft_chain_nat nft_nat nf_nat 2>/dev/null
	unload_tracker "$1" 2>/dev/null
	[[ $(tracker_loaded) == none ]]
}

number=0
declare -A is
for column in "${COLUMNS[@]}"; do
	name=${column%%|*}
	read -ra how <<<"${column#*|}"
	check "with $name" run "$folder/$number" "${how[@]}"
	is[$number,first]=$FIRST is[$number,second]=$SECOND
	is[$number,range]=$RANGE is[$number,exhausted]=$EXHAUSTED
	number=$((number + 1))
done

row() { diag "$(printf '%-22s %-24s %-24s %-24s' "$@")"; }
row "" "${COLUMNS[@]%%|*}"
row "first connection" "${is[0,first]}" "${is[1,first]}" "${is[2,first]}"
row "second, one port" "${is[0,second]}" "${is[1,second]}" "${is[2,second]}"
row "... refused, counted" - "${is[1,exhausted]}" "${is[2,exhausted]}"
row "second, four ports" "${is[0,range]}" "${is[1,range]}" "${is[2,range]}"
row "on the wire" "" "" ""
lines=$(cat "$folder"/[012] | wc -l)
for ((line = 1; line <= lines; line++)); do
	cells=()
	for column in 0 1 2; do
		cells+=("$(sed -n "${line}p" "$folder/$column" 2>/dev/null)")
	done
	[[ -z ${cells[*]// /} ]] || row "" "${cells[@]}"
done

check "the C tracker's NAT takes over the port of a connection that it does not know" \
	same "${is[0,first]}" dead
for column in 1 2; do
	name=${COLUMNS[column]%%|*}
	check "$name: the first connection lives" same "${is[$column,first]}" alive
	check "$name: the second one is refused" same "${is[$column,second]}" pending
	check "$name: ... and counted" that "${is[$column,exhausted]} > 0"
	check "$name: with a choice of ports it is connected" same "${is[$column,range]}" connected
done
tap_finish
