#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Fragments through a router: whatever comes in pieces is put together before the
# tracker looks at it, so that it is one packet of one entry, and goes out again.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

tap_begin ping
need_tracker
setup_router
for ns in "$C" "$R" "$S"; do
	set_ct "$ns" acct 1
done

# A piece, or the whole, that comes out again; one that is kept or thrown away.
c() { must passed -- inject c "$@"; }
kept() { must lost -- inject c "$@"; }

ping_of() { # SIZE
	in_ns "$C" ping -q -c 2 -i 0.1 -W 10 -s "$1" -e 1234 "$SA" >/dev/null
}

big_pings() {
	local size=4000 request=8
	[[ $FAMILY == ipv4 ]] || request=128
	check "$FAMILY ping of $size bytes is answered" ping_of $size
	local bytes=$((2 * (HEADER + 8 + size))) ns
	for ns in C R S; do
		check "$FAMILY ... one entry, of whole packets, in $ns" \
			counted "2/$bytes" "2/$bytes" "${!ns}" "$FAMILY" "$ICMP" type=$request id=1234
	done
}

big_datagrams() { # PORT
	local size whole=$((HEADER + 8)) sum=0 n=0
	must udp u "$S" "$1" "$SA" && must udp v "$C" "$1" "$CA"
	for size in 1473 3000 8000 60000; do
		must sendto v "$SA" "$1" $size
		check "$FAMILY udp: $size bytes arrive" must $size -- take u
		must reply u 10 && must take v
		n=$((n + 1)) sum=$((sum + size + whole))
	done
	check "$FAMILY udp: one entry, and whole datagrams are counted" \
		counted "$n/$sum" "$n/$((n * (whole + 10)))" "$R" "$FAMILY" udp "sport=$1" "dport=$1"
	check "$FAMILY udp: the same at the sender" \
		counted "$n/$sum" "$n/$((n * (whole + 10)))" "$C" "$FAMILY" udp "sport=$1" "dport=$1"
	check "$FAMILY udp: nothing was invalid" grows 0 "$R" invalid true
	must close u && must close v
}

# The pieces of one datagram of 2000 bytes: 1000 bytes with the UDP header, then
# the rest, of which the second thousand begins at 1000.
pieces() {
	local udp first rest
	stat "$R" invalid && local was=$VALUE
	use() { # PORT ID
		udp="udp $X,$1 $Y,53 len=1992 id=$2"
		first="$udp slice=:1000 mf" rest="$udp slice=1000: frag=1000"
	}
	# shellcheck disable=SC2086 # words on purpose
	one() { counted "$2" 0/0 "$R" "$FAMILY" udp sport="$1"; }
	local whole="1/$((HEADER + 2000))"

	use 700 70
	# shellcheck disable=SC2086
	{
		check "$FAMILY the first piece waits" kept $first
		check "$FAMILY ... no entry yet" no_entry "$R" "$FAMILY" udp sport=700
		check "$FAMILY the second one sets both free" c $rest
		check "$FAMILY ... one entry, one packet" one 700 "$whole"

		use 701 71
		check "$FAMILY the last piece first: it waits" kept $rest
		check "$FAMILY ... the first one sets both free" c $first
		check "$FAMILY ... one entry, one packet" one 701 "$whole"

		use 702 72
		kept $first
		check "$FAMILY the first piece twice" kept $first
		check "$FAMILY ... and then the other one" t inject c $rest
		diag "... $ANSWER"

		use 703 73
		kept $udp slice=:1000 mf
		check "$FAMILY pieces that overlap are thrown away" kept $udp slice=800: frag=800
		check "$FAMILY ... even if one more comes" kept $rest
		check "$FAMILY ... no entry" no_entry "$R" "$FAMILY" udp sport=703

		use 704 74
		kept $udp slice=:16 mf
		kept $udp slice=16:1000 frag=16 mf
		check "$FAMILY three pieces, a small one first" c $rest
		check "$FAMILY ... one entry, one packet" one 704 "$whole"

		use 705 75
		check "$FAMILY a hole remains: nothing passes" kept $first
		check "$FAMILY ... the end is not enough" kept $udp slice=1200: frag=1200
		check "$FAMILY ... no entry" no_entry "$R" "$FAMILY" udp sport=705
		check "$FAMILY ... until it is filled" c $udp slice=1000:1200 frag=1000 mf
		check "$FAMILY ... one entry, one packet" one 705 "$whole"

		stat "$R" invalid
		check "$FAMILY fragments are not counted as invalid" same "$VALUE" "$was"

		local tcp="tcp $X,706 $Y,80 S seq=1 win=8000 mss=1460 sackok wscale=7 id=76"
		if [[ $FAMILY == ipv4 ]]; then
			kept $tcp slice=:8 mf
			check "$FAMILY a TCP header in two pieces" c $tcp slice=8: frag=8
			check "$FAMILY ... makes SYN_SENT" entry "$R" "$FAMILY" tcp sport=706 SYN_SENT
		else
			# RFC 8200, 4.5: the first fragment has all of the headers.
			check "$FAMILY a TCP header in two pieces: the first is invalid" \
				grows 1 "$R" invalid c $tcp slice=:8 mf
			check "$FAMILY ... the second waits for nothing" kept $tcp slice=8: frag=8
			check "$FAMILY ... no entry" no_entry "$R" "$FAMILY" tcp sport=706
		fi
	}
	if [[ $FAMILY == ipv6 ]]; then
		check "ipv6 a fragment that is the whole" c udp "$X,707" "$Y,53" len=100 id=77 frag=0
		check "ipv6 ... one entry" one 707 "1/$((HEADER + 108))"
	fi
}

# A narrow link behind the router: it cuts again what it put together.
narrow_link() { # PORT
	ip -n "$R" link set tos mtu 1280
	ip -n "$S" link set eth0 mtu 1280
	must udp u "$S" "$1" "$SA" && must udp v "$C" "$1" "$CA"
	must sendto v "$SA" "$1" 5000
	if [[ $FAMILY == ipv6 ]]; then
		# Only the sender may choose smaller fragments.
		check "$FAMILY through a narrow link: too big, says the router" must EMSGSIZE -- error v
		must sendto v "$SA" "$1" 5000
	fi
	check "$FAMILY through a narrow link: 5000 bytes arrive" must 5000 -- take u
	must reply u 5000
	check "$FAMILY ... and come back" must 5000 -- take v
	local bytes=$((HEADER + 5008))
	check "$FAMILY ... one entry, one packet each way" \
		counted "1/$bytes" "1/$bytes" "$R" "$FAMILY" udp "sport=$1"
	ip -n "$R" link set tos mtu 1500
	ip -n "$S" link set eth0 mtu 1500
	must close u && must close v
}

for family in 4 6; do
	use_family $family
	big_pings
	big_datagrams 600
	pieces
	narrow_link 601
done
tap_finish
