#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Stale mappings, side by side: a client asks a service from one port, five times a second, as a
# name server's client in a cluster does. Three hosts answer for the service; the one that the
# client has been given goes, and with it its rule. How long is it until answers come again, with
# each tracker and its default settings? (WAIT=SECONDS: how long that is waited for, 40.)

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

tap_begin modprobe insmod rmmod nft
[[ $(tracker_loaded) == none ]] || skip_all "a tracker is loaded: unload it first"
rust_ct_module >/dev/null || skip_all "no rust_ct.ko (RUST_CT_KO says where)"
modinfo nf_conntrack >/dev/null 2>&1 || skip_all "this kernel has no nf_conntrack.ko"
folder=$(mktemp -d)
helpers=()
at_end() {
	((!${#helpers[@]})) || kill "${helpers[@]}" 2>/dev/null
	rm -rf "$folder"
}
: "${WAIT:=40}"
readonly SERVICE=10.9.9.9 HOSTS=(10.0.2.2 10.0.2.3 10.0.2.4)

# The service: one of these hosts at random, as kube-proxy's rules say it.
serve_by() { # HOST...
	local elements='' number=0 host
	for host; do
		elements+="$number : $host, "
		number=$((number + 1))
	done
	in_ns "$R" nft -f - <<-RULES
		table ip service
		delete table ip service
		table ip service {
			chain c {
				type nat hook prerouting priority dstnat
				ip daddr $SERVICE udp dport 53 dnat to numgen random mod $number map { ${elements%, } }
			}
		}
	RULES
}

cat >"$folder/answer.py" <<'PYTHON'
import socket, sys
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.bind((sys.argv[1], 53))
while True:
    data, peer = one.recvfrom(100)
    one.sendto(sys.argv[1].encode(), peer)
PYTHON
# Writes the time and the host of each answer.
cat >"$folder/ask.py" <<'PYTHON'
import select, socket, sys, time
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.bind(("", 5353))
begin = time.monotonic()
while True:
    one.sendto(b"question", (sys.argv[1], 53))
    until = time.monotonic() + 0.2
    while (rest := until - time.monotonic()) > 0:
        if select.select([one], [], [], rest)[0]:
            try:
                print(time.clock_gettime_ns(time.CLOCK_REALTIME) // 1000000, one.recv(100).decode(), flush=True)
            except OSError:
                pass
PYTHON

begin_helper() { # NS COMMAND...
	ns_exec "$@" &
	helpers+=($!)
}
end_helpers() {
	kill "${helpers[@]}"
	wait "${helpers[@]}" 2>/dev/null
	helpers=()
} 2>/dev/null

# One run, whose result is in TOOK: the milliseconds from the change of the rule to the next answer.
# (TRACKER HOW, where HOW is one of: unheard, error, silent, asked)
run() {
	local tracker=$1 how=$2 host others=() one changed
	TOOK=never
	setup_router
	for host in "${HOSTS[@]:1}"; do
		ip -n "$S" addr add "$host/24" dev eth0
	done
	load_tracker "$tracker" || return
	if [[ $how == asked ]]; then
		set_ct "$R" acct 1
		must write "$R" /proc/sys/net/netfilter/nf_nat_reconsider 2 || return
	fi
	serve_by "${HOSTS[@]}"
	: >"$folder/answers"
	if [[ $how == unheard ]]; then
		# The host was gone before the client began.
		in_ns "$S" nft 'table ip t { chain c { type filter hook input priority 0; udp dport 53 drop; }; }'
	fi
	for host in "${HOSTS[@]}"; do
		begin_helper "$S" python3 "$folder/answer.py" "$host"
	done
	sleep "$(scaled 1 4)"
	begin_helper "$C" python3 "$folder/ask.py" $SERVICE >"$folder/answers"
	wait_for 10 entry "$R" udp dst=$SERVICE sport=5353 || return
	[[ $how == unheard ]] || wait_for 10 test -s "$folder/answers" || return
	# A stream, as it would be in a cluster.
	sleep 3
	entry "$R" udp dst=$SERVICE sport=5353 || return
	[[ $ENTRY =~ .*src=([0-9.]+) ]] && one=${BASH_REMATCH[1]}
	for host in "${HOSTS[@]}"; do
		[[ $host == "$one" ]] || others+=("$host")
	done
	case $how in
	error) ip -n "$R" route add unreachable "$one" ;;
	silent | asked) in_ns "$S" nft "table ip t { chain c { type filter hook input priority 0; ip daddr $one drop; }; }" ;;
	unheard) in_ns "$S" nft "table ip t
		delete table ip t
		table ip t { chain c { type filter hook input priority 0; ip daddr $one drop; }; }" ;;
	esac
	serve_by "${others[@]}"
	changed=$(date +%s%3N)
	for ((; SECONDS_LEFT > 0; SECONDS_LEFT--)); do
		sleep 1
		TOOK=$(awk -v changed="$changed" -v gone="$one" '$1 > changed && $2 != gone { print $1 - changed; exit }' "$folder/answers")
		[[ -z $TOOK ]] || break
	done
	TOOK=${TOOK:-never}
	end_helpers
	in_ns "$R" nft flush ruleset
	traffic_end
	for host in "$C" "$R" "$S"; do
		ns_del "$host"
	done
	wait_for 20 unload "$tracker"
}
unload() { # TRACKER
	modprobe -r -a nft_chain_nat nft_nat nft_numgen nf_nat 2>/dev/null
	unload_tracker "$1" 2>/dev/null
	[[ $(tracker_loaded) == none ]]
}

declare -A is what=(
	[unheard]="never had an answer"
	[error]="had answers; an ICMP error says that the host is gone"
	[silent]="had answers; the host is gone silently"
)
for how in unheard error silent; do
	for tracker in stock rust_ct; do
		SECONDS_LEFT=$WAIT
		check "$tracker: a client that ${what[$how]}" run $tracker $how
		is[$how,$tracker]=$TOOK
	done
done
# Two rounds of the collector, which are at most a minute apart.
SECONDS_LEFT=$((WAIT > 150 ? WAIT : 150))
check "rust_ct, nf_nat_reconsider=2: a client that ${what[silent]}" run rust_ct asked
is[asked]=$TOOK
row() { diag "$(printf '%-58s %-16s %-16s' "$@")"; }
row "milliseconds until answers come again; the client" "C tracker" "rust_ct"
for how in unheard error silent; do
	row "${what[$how]}" "${is[$how,stock]}" "${is[$how,rust_ct]}"
done
row "the same, nf_nat_reconsider=2 and nf_conntrack_acct=1" "-" "${is[asked]}"
for how in unheard error silent; do
	check "the C tracker does not heal: ${what[$how]}" same "${is[$how,stock]}" never
done
check "rust_ct heals in about half a minute: ${what[unheard]}" that "${is[unheard,rust_ct]//never/999999} < 35000"
check "rust_ct heals at once: ${what[error]}" that "${is[error,rust_ct]//never/999999} < 3000"
check "rust_ct heals, asked to: ${what[silent]}" that "${is[asked]//never/999999} < 150000"
tap_finish
