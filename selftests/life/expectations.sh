#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Helpers: FTP and TFTP between a client and a server, through a router that lets in
# only what is established or related. Then what is expected: how many, how long,
# which flags.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"
# shellcheck source=selftests/lib/libsteps.sh
source "$SELFTESTS/lib/libsteps.sh"

tap_begin nft
need_tracker
setup_router
set_ct "$R" acct 1

# What the kernel logs of the packets that a helper refuses.
expect_max=$(cat /proc/sys/net/netfilter/nf_conntrack_expect_max)
at_end() { echo "$expect_max" >/proc/sys/net/netfilter/nf_conntrack_expect_max; }

# --- rules ------------------------------------------------------------------

# Dropped packets are counted of one family: in the other, a server may still repeat a
# SYN for a client that has given up. (HELPER-RULES)
firewall() {
	in_ns "$R" nft -f - <<-RULES
		table inet fw {
			ct helper ftp { type "ftp" protocol tcp; }
			ct helper tftp { type "tftp" protocol udp; }
			ct helper amanda { type "amanda" protocol udp; }
			ct helper sip { type "sip" protocol udp; }
			ct expectation later { protocol udp; dport 9876; timeout 2m; size 2; l3proto ip; }
			counter new { }
			counter related { }
			counter dropped { }
			chain assign {
				type filter hook prerouting priority filter
				$1
			}
			chain forward {
				type filter hook forward priority filter; policy drop
				ct state new counter name new
				ct state related counter name related
				ct state established,related accept
				iifname toc tcp dport 21 accept
				iifname toc udp dport { 53, 69, 5060, 10080 } accept
				meta nfproto $FAMILY counter name dropped
			}
		}
	RULES
}
no_firewall() { in_ns "$R" nft flush ruleset; }

# Packets that a rule has counted since the last time, into HITS. (COUNTER)
hits() { HITS=$(in_ns "$R" nft reset counter inet fw "$1" | sed -nE 's/.*packets ([0-9]+).*/\1/p'); }

# --- what is expected -------------------------------------------------------

# The lines of LINES without what is different each time, into SHOWN.
normalised() {
	SHOWN=$(printf '%s\n' "${LINES[@]:-none}" |
		sed -E 's/^([0-9]+) .*l3proto/l3proto/; s/dport=[0-9]{5}/dport=PORT/' | sort -u | paste -sd';')
}
expectations() {
	list_expectations
	normalised
}
# The one expectation has these words and, at its head, the seconds left. (SECONDS WORD...)
expects() {
	local left
	expected 1 || return
	matches "${LINES[0]}" "${@:2}" || {
		diag "'${LINES[0]}' has not all of: ${*:2}"
		return 1
	}
	left=${LINES[0]%% *}
	that "$left <= $1 && $left > $1 - $(scaled 8 25)"
}

# --- two kernels ------------------------------------------------------------

TRANSFERRED="3 names, got 20000 bytes, put 9000 bytes"

ftp() { # MODE
	group="$FAMILY ftp $1"
	hits related
	hits dropped
	check "$group: transfers" must "$TRANSFERRED" -- ftp "$C" "$R" "$SA" "$1"
	result "$group / transfer" "$ANSWER"
	normalised
	result "$group / expected" "$SHOWN"
	check "$group: each data connection was expected" same "${#LINES[@]} times" "3 times"
	hits related
	check "$group: ... and related" that "$HITS >= 3"
	hits dropped
	check "$group: nothing was dropped" same "$HITS" 0
	check "$group: nothing is expected any more" expected 0
}

tftp() { # get|put
	local said="got"
	[[ $1 == get ]] || said="put"
	group="$FAMILY tftp $1"
	hits related
	check "$group: transfer" must "$said 3000 bytes" -- tftp "$C" "$R" "$SA" "$CA" "$1" 3000
	result "$group / transfer" "$ANSWER"
	hits related
	check "$group: the server's own port was related" that "$HITS >= 1"
	check "$group: nothing is expected any more" expected 0
}

without_a_helper() {
	local patience
	patience=$(scaled 2 8)
	group="$FAMILY no helper"
	no_firewall
	firewall ''
	check "$group: passive data connections are dropped" refused must ftp "$C" "$R" "$SA" passive "$patience"
	check "$group: active ones, too" refused must ftp "$C" "$R" "$SA" active "$patience"
	check "$group: TFTP, too" refused must tftp "$C" "$R" "$SA" "$CA" get 3000 "$patience"
	hits dropped
	check "$group: ... by the last rule" that "$HITS >= 3"
	check "$group: nothing was expected" expected 0
	no_firewall
}

transfers() {
	local mode name
	firewall 'tcp dport 21 ct helper set "ftp"; udp dport 69 ct helper set "tftp"'
	must ftpd ftpd "$S" "$SA" && must tftpd tftpd "$S" "$SA"
	for mode in active passive eprt epsv; do
		[[ $FAMILY$mode != ipv6ep* ]] || continue
		ftp $mode
	done
	tftp get
	tftp put
	without_a_helper
	for name in ftpd tftpd; do
		must close $name
	done
}

# --- one packet at a time -----------------------------------------------------

port=7000
is_related() {
	hits related
	same "$HITS related" "1 related"
}
is_not_related() {
	hits related
	same "$HITS related" "0 related"
}

numbers_of_them() {
	firewall 'tcp dport 21 ct helper set "ftp"; tcp dport 21 ct mark set 5; udp dport 10080 ct helper set "amanda"'
	begin "one at a time"
	ftp_opened
	ftp_offers 2000
	check "$group: the offer" expects 300 proto=6 sport=0 dport=2000 ftp
	ftp_offers 2001
	check "$group: the next takes its place" expects 300 dport=2001
	ftp_offers 2001
	check "$group: the same again is one" expects 300 dport=2001
	step s tcp "$Y,20" "$X,2000" S seq=1
	check "$group: the first is expected no more" is_not_related
	step s tcp "$Y,20" "$X,2001" S seq=1
	check "$group: it is used" is_related
	check "$group: ... up" expected 0
	check "$group: the mark is that of its master" entry "$R" "$FAMILY" tcp dport=2001 mark=5
	step s tcp "$Y,21" "$X,2001" S seq=1

	begin "the same of two connections"
	ftp_opened
	ftp_offers 2002
	begin "the same of two connections, the other"
	ftp_opened
	ftp_offers 2002
	expectations
	result "$group / expected" "$SHOWN"
	step s tcp "$Y,20" "$X,2002" S seq=1
	step s tcp "$Y,21" "$X,2002" S seq=1
	expectations
	result "$group / left" "$SHOWN"

	begin "four of a class"
	step c udp "$X,$port" "$Y,10080" len=10
	step s udp "$Y,10080" "$X,$port" data="$(hex 'Amanda 2.6 REP\nCONNECT DATA 2010 MESG 2011 INDEX 2012\n')"
	expectations
	result "$group / three" "$SHOWN"
	step c udp "$X,$port" "$Y,10080" len=10
	step s udp "$Y,10080" "$X,$port" data="$(hex 'Amanda 2.6 REP\nCONNECT DATA 2013 MESG 2014\n')"
	check "$group: one more, and the oldest has gone" expected 4
	expectations
	result "$group / four" "$SHOWN"
	check "$group: ... which was this" refused grep -q dport=2010 <<<"${LINES[*]}"

	begin "the limit for all"
	echo 4 >/proc/sys/net/netfilter/nf_conntrack_expect_max
	ftp_opened
	ftp_offers 2003
	check "$group: the packet is dropped" went lost
	check "$group: nothing new is expected" expected 4
	check "$group: the log says so" grep -q "nf_conntrack: expectation table full" <(kernel_log)
	echo "$expect_max" >/proc/sys/net/netfilter/nf_conntrack_expect_max
	ftp_offers 2003
	check "$group: as soon as there is room, it passes" went passed
	check "$group: ... and is expected" expected 5
	no_firewall
}

# An expectation does not outlive its connection.
masters_end() {
	firewall 'tcp dport 21 ct helper set "ftp"'
	begin "its connection ends"
	local before
	list_expectations
	before=${#LINES[@]}
	ftp_opened
	ftp_offers 2100
	check "$group: expected" expected $((before + 1))
	set_ct "$R" tcp_timeout_close 1
	step c tcp "$X,$port" "$Y,21" R seq=$seq
	check "$group: the entry goes" soon quiet no_entry "$R" "$FAMILY" tcp "sport=$port"
	check "$group: ... and what it expected" expected "$before"
	set_ct "$R" tcp_timeout_close 10

	# The data connection holds its master.
	begin "its connection ends before the data connection"
	ftp_opened
	ftp_offers 2101
	step s tcp "$Y,20" "$X,2101" S seq=1
	step c tcp "$X,2101" "$Y,20" SA seq=1 ack=2
	set_ct "$R" tcp_timeout_close 1
	step c tcp "$X,$port" "$Y,21" R seq=$seq
	check "$group: its entry goes" soon quiet no_entry "$R" "$FAMILY" tcp "sport=$port"
	set_ct "$R" tcp_timeout_close 10
	step s tcp "$Y,20" "$X,2101" A seq=2 ack=2
	check "$group: the data connection goes on" entry "$R" "$FAMILY" tcp sport=20 dport=2101 ESTABLISHED
	no_firewall
}

# nft's own expectations, without a protocol.
ruled_expectation() {
	firewall 'udp dport 53 ct expectation set "later"'
	begin "expected by a rule"
	step c udp "$X,$port" "$Y,53" len=10
	check "$group: expected" expects 120 proto=17 sport=0 dport=9876
	hits related
	step s udp "$Y,4000" "$X,9876" len=10
	check "$group: it is related" is_related
	step s udp "$Y,4001" "$X,9876" len=10
	check "$group: once" is_not_related
	check "$group: the next was dropped" went lost
	no_firewall
}

# SIP: a phone that registers is called at the address that it gave, again and
# again, but not before the registrar has agreed.
sip_message() { # FIRST-LINE [EXPIRES]
	hex "$1\r\nVia: SIP/2.0/UDP $X:5060;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\n"
	hex "Call-ID: 1@$X\r\nCSeq: $CSEQ REGISTER\r\nContact: <sip:a@$X:5070>\r\nExpires: $2\r\nContent-Length: 0\r\n\r\n"
}
flags() {
	firewall 'udp dport 5060 ct helper set "sip"'
	begin "phone"
	CSEQ=1
	step c udp "$X,5060" "$Y,5060" data="$(sip_message "REGISTER sip:b SIP/2.0" 1000)"
	check "$group: expected, but not yet" expects 180 proto=17 dport=5070 PERMANENT,INACTIVE sip/signalling
	expectations
	result "$group / asked" "$SHOWN"
	hits related
	step s udp "$Y,5060" "$X,5070" len=10
	check "$group: a call before the answer is not related" is_not_related
	step s udp "$Y,5060" "$X,5060" data="$(sip_message "SIP/2.0 200 OK" 500)"
	check "$group: agreed, for a shorter time" expects 500 PERMANENT sip/signalling
	expectations
	result "$group / agreed" "$SHOWN"
	hits related
	step s udp "$Y,5060" "$X,5070" len=10
	check "$group: a call is related" is_related
	check "$group: ... and the next is expected" expects 500 PERMANENT sip/signalling
	step c udp "$X,5070" "$Y,5060" len=10
	CSEQ=2
	step c udp "$X,5060" "$Y,5060" data="$(sip_message "REGISTER sip:b SIP/2.0" 0)"
	step s udp "$Y,5060" "$X,5060" data="$(sip_message "SIP/2.0 200 OK" 0)"
	check "$group: it signs off" expected 0
	no_firewall
}

# Assigned is what a rule assigns, to connections that are new.
by_rule_alone() {
	begin "assigned too late"
	firewall ''
	ftp_opened
	no_firewall
	firewall 'tcp dport 21 ct helper set "ftp"'
	ftp_offers 2200
	check "$group: a connection that exists gets no helper" expected 0
	no_firewall
}

for family in 4 6; do
	use_family $family
	transfers
done
for family in 6 4; do
	use_family $family
	by_rule_alone
	masters_end
done
ruled_expectation
flags
numbers_of_them
# How many packets two kernels send is their affair.
show_statistics expect_
tap_finish
