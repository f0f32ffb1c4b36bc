#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Packets that are not what they should be. What the tracker cannot make sense of
# is invalid: it is counted, it makes no entry and changes none, and it passes.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

tap_begin ip
need_tracker
setup_router

# What a packet does, in all: whether it comes out again, what is counted, and
# the entry of its flow. (DESCRIPTION WANTED c|s PACKET...)
packet() {
	check "$FAMILY $1" does "$2" "${@:3}"
}
does() { # WANTED c|s PACKET...
	must step "$2" "$R" "${@:3}" || return
	# shellcheck disable=SC2053 # wildcards are welcome
	[[ $ANSWER == $1 ]] && return
	diag "does '$ANSWER', should do '$1'"
	return 1
}
readonly INVALID='passed; invalid+1; no entry' ERROR='passed; icmp_error+1; no entry'
# IP itself has no use for it: it is dropped before the tracker, or after it.
readonly DROPPED='lost; no entry'
readonly SYN_SENT='passed; tcp SYN_SENT 120 *' NEW='passed; * [[]UNREPLIED]'

port=1
invalid() { packet "$1" "$INVALID" c "${@:2}"; }
dropped() { packet "$1" "$DROPPED" c "${@:2}"; }
tcp() { port=$((port + 1)) flow="tcp $X,$port $Y,80"; }
udp() { port=$((port + 1)) flow="udp $X,$port $Y,53"; }

# shellcheck disable=SC2086 # $flow is words, everywhere
tcp_headers() {
	local n flags
	for n in 0 1 3 4 8 12 13 19; do
		tcp
		invalid "tcp: $n bytes of a header" $flow S l4cut=$n
	done
	for n in 0 1 4; do
		tcp
		invalid "tcp: a header of $n words" $flow S doff=$n
	done
	for n in 6 15; do
		tcp
		invalid "tcp: a header of $n words in a packet of 5" $flow S doff=$n
	done
	tcp
	packet "tcp: a header of 15 words, all there" "$SYN_SENT" c $flow S doff=15 len=40
	tcp
	invalid "tcp: options announced, and cut" $flow S mss=1460 sackok wscale=7 l4cut=27
	tcp
	invalid "tcp: a wrong checksum" $flow S csum=bad
	tcp
	invalid "tcp: checksum zero" $flow S csum=zero
	for flags in - F FU FPU SF SR SFR SRA SFA SFRPAU FR FRA U P PU RU; do
		tcp
		invalid "tcp: flags '$flags'" $flow $flags seq=1
	done
	for flags in S SP SU SEC SPUEC; do
		tcp
		packet "tcp: flags '$flags' are a SYN" "$SYN_SENT" c $flow $flags seq=1
	done
}

# shellcheck disable=SC2086
tcp_options() {
	local options name
	# Of no length, longer than there is, unknown, cut, full of padding, too many.
	for options in 02000000 0201ffff 02ff05b4 0204 03 0300 0301 030f 0303ff 0303 04 0400 0403ff 0402 \
		08 0800 080a0000 080aff 05 0500 0502 0503ff 0505ffffff 050a000000000001 05ff 00000000 01010101 \
		fe fe00 fe01 feff fe04abcd 01010101010101010101010101010101010101010101010101010101010101010101010101010101 \
		0303070303060303ff 02040000020400010204ffff 13120000000000000000000000000000000000; do
		tcp
		packet "tcp: SYN with options $options" "$SYN_SENT" c $flow S seq=1 tcpopt=$options
	done
	# Selective acknowledgements, on a connection that has agreed to them.
	tcp
	local server="tcp $Y,80 $X,$port"
	must passed -- inject c $flow S seq=1000 win=8000 sackok
	must passed -- inject s $server SA seq=5000 ack=1001 win=8000 sackok
	must passed -- inject c $flow A seq=1001 ack=5001 win=8000
	for options in 05 0500 0501 0502 0503ff 0509ffffffffffffff 050a000000000000 050affffffffffffffff \
		0512ffffffff00000000ffffffff00000000 05ffffffffffffffffff 0101050a000003e9000003ea 01010501 \
		0101080a000000010000000205ff 05220000000000000000000000000000000000000000000000000000000000000000 \
		0101080a0000; do
		must step s "$R" $server A seq=5001 ack=1001 tcpopt=$options
		name=${ANSWER#passed; }
		check "$FAMILY tcp: ACK with options $options: the entry is there" \
			entry "$R" "$FAMILY" tcp sport=$port ESTABLISHED '[ASSURED]'
		detail "$FAMILY options / $options" "$name"
	done
}

# shellcheck disable=SC2086
udp_headers() {
	local n
	for n in 0 1 4 7; do
		udp
		invalid "udp: $n bytes of a header" $flow l4cut=$n
	done
	for n in 0 1 7; do
		udp
		invalid "udp: length $n" $flow len=10 ulen=$n
	done
	for n in 19 100 65535; do
		udp
		invalid "udp: length $n of 18" $flow len=10 ulen=$n
	done
	udp
	invalid "udp: a wrong checksum" $flow len=10 csum=bad
	udp
	packet "udp: no checksum" "$NEW" c $flow len=10 csum=zero
	udp
	packet "udp: port zero" "$NEW" c udp "$X,0" "$Y,0" len=10
	udp
	packet "udp: without data" "$NEW" c $flow
	udp
	packet "udp: padding behind the packet is not of it" "$NEW" c $flow len=4 pad=30
}

# shellcheck disable=SC2086
icmp_headers() {
	local request=8 n
	[[ $FAMILY == ipv4 ]] || request=128
	for n in 0 1 4 7; do
		packet "icmp: $n bytes of a header" "$ERROR" c icmp "$X" "$Y" $request 0 word=500,1 l4cut=$n
	done
	packet "icmp: a wrong checksum" "$ERROR" c icmp "$X" "$Y" $request 0 word=501,1 csum=bad
	packet "icmp: an error that quotes garbage" "$ERROR" \
		c icmp "$X" "$Y" $((FAMILY_IS_6 ? 1 : 3)) 0 data=ffffffffffffffffffffffffffffffffffffffffffffffffffffffff
	# The other family's protocol.
	packet "icmp: of the other family" "passed; invalid+1; no entry" \
		c ip "$X" "$Y" $((FAMILY_IS_6 ? 1 : 58)) data=8000000001f50001
}

# shellcheck disable=SC2086
ipv4_headers() {
	local n
	for n in 0 4; do
		udp
		dropped "ip: a header of $n words" $flow len=10 ihl=$n
	done
	udp
	dropped "ip: a header longer than the packet" $flow len=10 ihl=15
	udp
	dropped "ip: longer than the frame" $flow len=10 totlen=1000
	udp
	dropped "ip: shorter than its header" $flow len=10 totlen=19
	for n in 20 24 27; do
		udp
		invalid "ip: a length of $n cuts the udp header" $flow len=10 totlen=$n
	done
	udp
	dropped "ip: version 5" $flow version=5
	udp
	dropped "ip: a wrong checksum" $flow ipcsum=bad
	udp
	dropped "ip: no hops left" $flow ttl=1
	udp
	dropped "ip: beyond the last byte of a packet" $flow len=100 slice=:96 frag=65528
	udp
	packet "ip: options of no meaning" "$NEW" c $flow len=10 ipopt=01010101
	udp
	packet "ip: route to be recorded" "$NEW" c $flow len=10 ipopt=07070400000000
	udp
	dropped "ip: an option longer than the header" $flow len=10 ipopt=07ff0400
	udp
	dropped "ip: an option of no length" $flow len=10 ipopt=07000400
	udp
	dropped "ip: source route" $flow len=10 ipopt=83070400000000
	tcp
	packet "ip: the longest header" "$SYN_SENT" \
		c $flow S seq=1 ipopt=01010101010101010101010101010101010101010101010101010101010101010101010101010101
	packet "ip: a protocol without a byte" "$NEW" c ip "$X" "$Y" 200
	packet "ip: from a loopback address" "lost; *" c udp 127.0.0.1,9 "$Y,9" len=4
	packet "ip: from a multicast address" "lost; *" c udp 224.0.0.5,9 "$Y,9" len=4
}

# shellcheck disable=SC2086
ipv6_headers() {
	local n chain
	udp
	dropped "ip: longer than the frame" $flow len=10 totlen=1000
	udp
	invalid "ip: of no length" $flow len=10 totlen=0
	for n in 4 7; do
		udp
		invalid "ip: a length of $n cuts the udp header" $flow len=10 totlen=$n
	done
	udp
	dropped "ip: version 5" $flow version=5
	udp
	dropped "ip: no hops left" $flow ttl=1
	# Chains of extensions that lead to the header.
	for chain in hop:00010400000000 dst:00010400000000 rt:0000000000000000 \
		hop:00010400000000,dst:00010400000000,rt:00000000000000,dst:00010400000000 \
		dst:00010400000000,dst:00010400000000,dst:00010400000000,dst:00010400000000,dst:00010400000000; do
		udp
		# The routing header above has eight bytes, like the others.
		chain=${chain/rt:0000000000000000/rt:00040000000000}
		packet "ip: extensions ${chain//:*([0-9a-f])/}" "$NEW" c $flow len=10 ext=$chain
	done
	# Chains that do not.
	for chain in dst:ff010400000000 dst:02010400000000 dst:00010400000000,dst:7f010400000000 rt:ff040000000000; do
		udp
		invalid "ip: extension longer than the packet, $chain" $flow l4cut=1 ext=$chain
	done
	invalid "ip: half an extension" ip "$X" "$Y" 60 data=1100
	invalid "ip: one byte of an extension" ip "$X" "$Y" 60 data=11
	udp
	invalid "ip: an extension and nothing" $flow l4cut=0 ext=dst:00010400000000
	invalid "ip: no next header" ip "$X" "$Y" 59 len=10
	invalid "ip: extensions, then no next header" ip "$X" "$Y" 59 len=10 ext=dst:00010400000000
	tcp
	invalid "ip: extensions, then a cut header" $flow S l4cut=10 ext=dst:00010400000000
	packet "ip: encrypted" "$NEW" c ip "$X" "$Y" 50 len=20
	udp
	dropped "ip: hop by hop options longer than the packet" $flow l4cut=1 ext=hop:ff010400000000
	dropped "ip: a fragment header cut" ip "$X" "$Y" 44 data=1100
	invalid "ip: a piece of no multiple of eight bytes" udp "$X,99" "$Y,53" len=101 slice=:99 mf
	dropped "ip: a piece beyond the last byte" udp "$X,99" "$Y,53" len=96 slice=:96 frag=65528
	packet "ip: from a multicast address" "lost; *" c udp ff02::5,9 "$Y,9" len=4
	packet "ip: from a loopback address" "lost; *" c udp ::1,9 "$Y,9" len=4
}

# shellcheck disable=SC2086
without_checksums() {
	local request=8
	[[ $FAMILY == ipv4 ]] || request=128
	set_ct "$R" checksum 0
	tcp
	packet "checksum=0: tcp with a wrong one" "$SYN_SENT" c $flow S seq=1 csum=bad
	udp
	packet "checksum=0: udp with a wrong one" "$NEW" c $flow len=10 csum=bad
	packet "checksum=0: icmp with a wrong one" "$NEW" c icmp "$X" "$Y" $request 0 word=600,1 csum=bad
	tcp
	invalid "checksum=0: other faults still are faults" $flow S doff=4
	set_ct "$R" checksum 1
	tcp
	invalid "checksum=1: tcp with a wrong one" $flow S seq=1 csum=bad
}

# An entry is not changed by any of it.
# shellcheck disable=SC2086
bystander() {
	set_ct "$R" acct 1
	tcp
	local server="tcp $Y,80 $X,$port" mine=$port
	must passed -- inject c $flow S seq=1000 win=8000
	must passed -- inject s $server SA seq=5000 ack=1001 win=8000
	must passed -- inject c $flow A seq=1001 ack=5001 win=8000
	must inject c $flow RA seq=1001 ack=5001 csum=bad
	must inject c $flow RA seq=1001 ack=5001 doff=4
	must inject c $flow SR seq=1001 ack=5001
	must inject s $server R seq=5001 l4cut=16
	must inject s $server FRA seq=5001 ack=1001
	check "$FAMILY malformed packets do not touch the entry of their flow" \
		lives 432000 "$R" "$FAMILY" tcp sport=$mine ESTABLISHED
	check "$FAMILY ... and are not counted in it" \
		counted "2/$((2 * HEADER + 40))" "1/$((HEADER + 20))" "$R" "$FAMILY" tcp sport=$mine
	set_ct "$R" acct 0
}

random_bytes() {
	local seed line
	for seed in 1 2; do
		t mangle "$R" "$(scaled 120 60)" $seed "$X" "$Y"
		check "$FAMILY random bytes in packets, seed $seed, do no harm" \
			that "${#LINES[@]} == $(scaled 120 60)"
		for line in "${LINES[@]}"; do
			detail "$FAMILY random bytes $seed / ${line%%: *}" "${line#*: }"
		done
	done
}

shopt -s extglob
for family in 4 6; do
	use_family $family
	FAMILY_IS_6=$((family == 6))
	tcp_headers
	tcp_options
	udp_headers
	icmp_headers
	ipv${family}_headers
	without_checksums
	bystander
	random_bytes
done
tap_finish
