#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Connections of this machine's sockets whose entries go while they go on, with rules that want
# each new connection to begin with a SYN: rust_ct asks the socket, and they go on. With the C
# tracker, and where the socket cannot be asked, the rule drops their segments.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

tap_begin nft
need_tracker
setup_router
[[ $TRACKER != stock ]] || modprobe nf_conntrack_netlink || skip_all "no nf_conntrack_netlink"

# Of the host's chains, each counts what it drops. (NS HOOK...)
strict() {
	local ns=$1 hook
	shift
	for hook; do
		echo "table inet strict { chain $hook { type filter hook $hook priority 0;
			ct state new tcp flags & (syn | ack) != syn counter drop; }; }"
	done | in_ns "$ns" nft -f -
}
dropped() { # NS HOOK -> VALUE
	VALUE=$(in_ns "$1" nft list chain inet strict "$2" | sed -n 's/.* counter packets \([0-9]*\) .*/\1/p')
}
drops() { # NS HOOK
	dropped "$@" && that "$VALUE > 0"
}
drops_none() { # NS HOOK
	dropped "$@" && same "$VALUE" 0
}
# As "conntrack -F".
forget() { # NS
	in_ns "$1" python3 "$SELFTESTS/lib/netlink.py" flush && count_is "$1" 0
}
pair() { # NAME ADDRESS PORT [OPTION]...
	must connected -- connect "c$1" "$C" "$2" "$3" "${@:4}" && must accept "s$1" "l$3"
}
# An entry of a socket, from the client to the server. (NS WORD...)
asked() {
	entry "$1" tcp "src=$CA" "dst=$SA" "${@:2}" ESTABLISHED '[ASSURED]' || return
	must cat "$1" /proc/net/rust_conntrack || return
	local line
	for line in "${LINES[@]}"; do
		! matches "$line" "${@:2}" '[ADOPTED]' || return 0
	done
	diag "no mark: ${LINES[*]}"
	return 1
}

for family in 4 6; do
	use_family $family
	proc_addr "$CA" && CA=$ADDR
	strict "$S" input
	strict "$C" output
	must listen l80 "$S" "$([[ $family == 4 ]] && echo $S4 || echo $S6)" 80
	target=$([[ $family == 4 ]] && echo $S4 || echo $S6)
	proc_addr "$SA" && SA=$ADDR

	pair in "$target" 80 sport=$((1000 + family))
	forget "$S"
	must send cin 1000
	if [[ $TRACKER == stock ]]; then
		check "$FAMILY a segment for a socket: dropped" wait_for 5 drops "$S" input
	else
		check "$FAMILY a segment for a socket: it arrives" must recv sin 1000
		check "$FAMILY ... the socket was asked" asked "$S" sport=$((1000 + family))
		check "$FAMILY ... nothing was dropped" drops_none "$S" input
		forget "$S"
		must send sin 1000 && must recv cin 1000
		check "$FAMILY the next one leaves: the socket was asked" asked "$S" sport=$((1000 + family))
	fi

	pair out "$target" 80 sport=$((2000 + family))
	forget "$C"
	must send cout 1000
	if [[ $TRACKER == stock ]]; then
		check "$FAMILY a segment from a socket: dropped" wait_for 5 drops "$C" output
	else
		check "$FAMILY a segment from a socket: it arrives" must recv sout 1000
		check "$FAMILY ... the socket was asked" asked "$C" sport=$((2000 + family))
		check "$FAMILY ... nothing was dropped" drops_none "$C" output
	fi

	if [[ $TRACKER == rust_ct ]]; then
		pair bye "$target" 80 sport=$((3000 + family))
		must shut cbye && must eof sbye
		forget "$S"
		must passed -- inject c tcp "$CA,$((3000 + family))" "$SA,80" A seq=1 ack=1 csum=bad
		check "$FAMILY a segment with a wrong checksum: the socket is not asked" count_is "$S" 0
		must send sbye 1000 && must recv cbye 1000
		check "$FAMILY half closed: the socket was asked" entry "$S" tcp CLOSE_WAIT sport=$((3000 + family))
		forget "$S"
		must close sbye && must eof cbye
		check "$FAMILY the FIN of the other half: nothing was dropped" drops_none "$S" input

		# Segments without a socket are what they are without this, and cost a bounded number of lookups.
		must passed -- inject c tcp "$X,1" "$Y,80" A seq=1 ack=1
		check "$FAMILY a segment that passes by begins a connection" entry "$R" "$FAMILY" tcp sport=1 ESTABLISHED '[UNREPLIED]'
	fi
	for ns in "$C" "$S"; do
		in_ns "$ns" nft flush ruleset
	done
	for name in in out; do
		must abort c$name
	done
	must close l80
done

if [[ $TRACKER == rust_ct ]]; then
	use_family 4
	switch=/sys/module/rust_ct/parameters/adopt_sockets
	must listen l81 "$S" $S4 81
	# Which address and port such a connection had, the rules decide once more.
	strict "$C" output
	in_ns "$C" nft 'table ip t { chain c { type nat hook postrouting priority 100; }; }'
	pair nat $S4 81
	forget "$C"
	must send cnat 1000
	check "with a NAT chain, a segment that leaves is left to the rules" wait_for 5 drops "$C" output
	in_ns "$C" nft delete table ip t
	check "without one, the socket is asked" must recv snat 1000
	in_ns "$C" nft flush ruleset

	strict "$S" input
	pair off $S4 81
	echo 0 >$switch
	forget "$S"
	must send coff 1000
	check "adopt_sockets=0: the segment is dropped" wait_for 5 drops "$S" input
	echo 1 >$switch
	check "adopt_sockets=1: it arrives" must recv soff 1000
fi
tap_finish
