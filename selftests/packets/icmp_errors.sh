#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# ICMP errors belong to the connection that they quote: no entry is made of them,
# and they keep no entry alive. Those that quote no connection, or that do not go
# to the sender of what they quote, are counted as errors.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

tap_begin ping
need_tracker
setup_router
for ns in "$C" "$R" "$S"; do
	set_ct "$ns" acct 1
done

# None of those that matter here shall expire meanwhile.
for name in udp icmp icmpv6; do
	set_ct "$R" ${name}_timeout 600
done

# What a packet changes. (EXPECTATION c|s PACKET...), for which an expectation is
# "VERDICT; STATISTICS".
says() {
	local wanted=$1
	shift
	must step "$1" "$R" "${@:2}" || return
	# Not the entries.
	same "${ANSWER%; *}" "$wanted"
}
valid() { says passed "$@"; }
in_error() { says "passed; icmp_error+1" "$@"; }
invalid() { says "passed; invalid+1" "$@"; }

# How many entries, and what the flow at hand looks like.
unchanged() { # WORD...
	get_ct "$R" count && same "$VALUE" "$count" || return
	counted 1/$((HEADER + 8 + 10)) 0/0 "$R" "$FAMILY" udp sport=800 '[UNREPLIED]'
}

# shellcheck disable=SC2034 # used by name
names() {
	unreachable='3 3' exceeded='11 0' toobig='3 4 word=0,1400' problem='12 0' request=8
	unrouted=EHOSTUNREACH
	if [[ $FAMILY == ipv6 ]]; then
		unreachable='1 4' exceeded='3 0' toobig='2 0' problem='4 0' request=128
		unrouted=ENETUNREACH
	fi
}

crafted() {
	local name flow="udp $X,800 $Y,53 len=10" back="udp $Y,53 $X,800 len=10"
	# shellcheck disable=SC2086 # words on purpose, all of these
	{
		must passed -- inject c $flow
		get_ct "$R" count && count=$VALUE
		for name in unreachable exceeded toobig problem; do
			check "$FAMILY $name, from the server: valid" valid s icmp "$Y" "$X" ${!name} inner $flow
			check "$FAMILY $name, from a router on the way: valid" \
				valid s icmp "$SA" "$X" ${!name} inner $flow
			check "$FAMILY ... nothing else changes" unchanged
		done
		check "$FAMILY in the other direction, about an answer: valid" \
			valid c icmp "$X" "$Y" $unreachable inner $back
		check "$FAMILY a quote as far as the ports is enough" \
			valid s icmp "$Y" "$X" $unreachable quote=$((HEADER + 4)) inner $flow
		check "$FAMILY ... a part of them is not" \
			in_error s icmp "$Y" "$X" $unreachable quote=$((HEADER + 3)) inner $flow
		check "$FAMILY ... nor is a part of the address" \
			in_error s icmp "$Y" "$X" $unreachable quote=$((HEADER - 3)) inner $flow
		check "$FAMILY ... nor nothing" in_error s icmp "$Y" "$X" $unreachable
		check "$FAMILY about a flow that is not there" \
			in_error s icmp "$Y" "$X" $unreachable inner udp "$X,801" "$Y,53" len=10
		check "$FAMILY about another direction than it goes" \
			in_error s icmp "$Y" "$X" $unreachable inner $back
		check "$FAMILY to a host that is not concerned" \
			in_error s icmp "$Y" "$CA" $unreachable inner $flow
		check "$FAMILY with a wrong checksum" \
			in_error s icmp "$Y" "$X" $unreachable csum=bad inner $flow
		check "$FAMILY about an error" \
			in_error s icmp "$Y" "$X" $unreachable inner icmp "$Y" "$X" $unreachable inner $flow
		check "$FAMILY about a ping that was not sent" \
			in_error s icmp "$Y" "$X" $unreachable inner icmp "$X" "$Y" $request 0 word=9,1
		check "$FAMILY ... none of these changes anything" unchanged

		must passed -- inject c icmp "$X" "$Y" $request 0 word=9,1
		check "$FAMILY about a ping: valid" \
			valid s icmp "$Y" "$X" $unreachable inner icmp "$X" "$Y" $request 0 word=9,1
		must passed -- inject c ip "$X" "$Y" 253 len=20
		check "$FAMILY about protocol 253: valid" \
			valid s icmp "$Y" "$X" $unreachable inner ip "$X" "$Y" 253 len=20
		must passed -- inject c tcp "$X,802" "$Y,80" S seq=1
		check "$FAMILY about a SYN: valid" \
			valid s icmp "$Y" "$X" $unreachable inner tcp "$X,802" "$Y,80" S seq=1
		check "$FAMILY ... the entry is as before" \
			lives 120 "$R" "$FAMILY" tcp sport=802 SYN_SENT '[UNREPLIED]'
	}
}

# A client that has no room for the server's segments says so, in a connection whose sequence
# numbers a helper has shifted: the shift is for TCP alone. The C tracker shifts the MTU, too.
shifted() {
	[[ $TRACKER != stock ]] || modprobe nf_conntrack_netlink || return
	in_ns "$R" python3 "$SELFTESTS/lib/netlink.py" entry "$X" 820 "$Y" 80 shift 1000 || return
	must through c tcp "$X,820" "$Y,80" A seq=1001 ack=5001 && same "${ANSWER:8:8}" "$(printf %08x 2001)" &&
		must through c icmp "$X" "$Y" $toobig inner tcp "$Y,80" "$X,820" A seq=5001 ack=1001 len=100 || return
	if [[ $TRACKER == stock ]]; then
		same "${ANSWER:8:8}" "$(printf %08x 2400)"
	else
		same "${ANSWER:8:8}" "$(printf %08x 1400)" && same "${ANSWER:72:8}" "$(printf %08x 1001)"
	fi
}

# A redirect of a first hop router quotes what it redirects. Here it goes to the
# router itself, about a flow of its own.
redirects() {
	use_family 6
	local flow quote router=fe80::2
	# The target and the destination of the redirect.
	local about=fe8000000000000000000000000000aafd000002000000000000000000000009
	must udp r "$R" 810 "$RY" && must sendto r "$Y" 53 10
	must hex udp "$RY,810" "$Y,53" len=10 && flow=$ANSWER
	# The option: its type, its length in words of eight bytes, six bytes reserved.
	quote=0408000000000000$flow
	redirect() { # EXPECTATION DATA WORD...
		local wanted=$1 data=$2
		shift 2
		must step s "$R" icmp "$router" "$RY" 137 0 "data=$data" ttl=255 "$@"
		same "$ANSWER" "lost; ${wanted:+$wanted; }no entry"
	}
	check "ipv6 redirect of a flow: valid" redirect "" "$about$quote"
	check "ipv6 redirect from afar" redirect icmp_error+1 "$about$quote" ttl=254
	router=$SA
	check "ipv6 redirect from a global address" redirect icmp_error+1 "$about$quote"
	router=fe80::2
	check "ipv6 redirect without what it quotes" redirect icmp_error+1 "$about"
	check "ipv6 redirect with an option of no length" redirect icmp_error+1 "${about}0400000000000000"
	check "ipv6 redirect with another option first: not looked at" \
		redirect invalid+1 "${about}0201020304050607"
	check "ipv6 redirect cut short" redirect icmp_error+1 "${about:0:40}"
	check "ipv6 redirect with a cut quote" redirect icmp_error+1 "$about${quote:0:80}"
	must hex udp "$RY,811" "$Y,53" len=10 && flow=$ANSWER
	check "ipv6 redirect of a flow that is not there" redirect icmp_error+1 "${about}0408000000000000$flow"
	check "ipv6 redirect makes no entry" no_entry "$R" icmpv6 type=137
	check "ipv6 ... and changes none" entry "$R" ipv6 udp sport=810 dport=53 '[UNREPLIED]'
}

declare -A errors=()
# What kernels send on their own.
real() {
	must udp v "$C" 900 "$CA"
	for ns in C R S; do
		stat "${!ns}" icmp_error
		errors[$ns]=$VALUE
	done
	must sendto v "$SA" 901 10
	check "$FAMILY a port without anyone: the sender hears of it" must ECONNREFUSED -- error v
	check "$FAMILY ... its own tracker has the one entry" \
		counted 1/$((HEADER + 18)) 0/0 "$C" "$FAMILY" udp sport=900 dport=901 '[UNREPLIED]'
	check "$FAMILY ... and the router, too" \
		counted 1/$((HEADER + 18)) 0/0 "$R" "$FAMILY" udp sport=900 dport=901 '[UNREPLIED]'
	local far=10.0.9.9 prefix=10.0.9.0/24
	[[ $FAMILY == ipv4 ]] || far=fd00:9::9 prefix=fd00:9::/64
	ip -n "$R" route add unreachable $prefix
	must sendto v $far 902 10
	check "$FAMILY no route from the router: the sender hears of it" must "$unrouted" -- error v
	check "$FAMILY ... the packet was not let through: no entry there" \
		no_entry "$R" "$FAMILY" udp sport=900 dport=902

	check "$FAMILY too many hops: the router answers" hop_error
	ip -n "$R" link set tos mtu 1300
	must sendto v "$SA" 903 1400
	check "$FAMILY too big for the link: the sender hears of it" must EMSGSIZE -- error v
	check "$FAMILY ... no entry in the router" no_entry "$R" "$FAMILY" udp sport=900 dport=903
	must udp w "$S" 903 "$SA"
	must sendto v "$SA" 903 1400
	check "$FAMILY ... the next is sent in pieces, and tracked" must 1400 -- take w
	check "$FAMILY ... as one packet" counted 1/$((HEADER + 1408)) 0/0 "$R" "$FAMILY" udp dport=903
	ip -n "$R" link set tos mtu 1500
	for ns in C R S; do
		stat "${!ns}" icmp_error
		check "$FAMILY none of these is counted as wrong in $ns" same "$VALUE" "${errors[$ns]}"
	done
	must close v && must close w
}

hop_error() {
	in_ns "$C" ping -t 1 -c 1 -W 5 -e 903 "$SA" 2>&1 | grep -qi 'time to live\|hop limit\|ttl'
}

for family in 4 6; do
	use_family $family
	names
	crafted
	[[ $family != 4 ]] || check "$FAMILY in a connection with shifted numbers: unchanged" shifted
	real
done
redirects
tap_finish
