#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The kernel's helpers, and one of user space: each is loaded, given to a connection by
# a rule, shown packets of its protocol until it expects another connection, and
# unloaded. Arguments: the modules to try, if not all of them.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"
# shellcheck source=selftests/lib/libsteps.sh
source "$SELFTESTS/lib/libsteps.sh"
# shellcheck source=selftests/lib/libconsumers.sh
source "$SELFTESTS/lib/libconsumers.sh"

only=("$@")

tap_begin iptables-legacy od
need_tracker
setup_router
use_family 4
ip -n "$R" addr add 10.3.0.1/24 brd + dev toc

address() { printf '%02x%02x%02x%02x' ${1//./ }; }

assigns() { # HELPER PROTOCOL PORT [CHAIN]
	ipt "raw ${4:-PREROUTING} -p $2 --dport $3 -j CT --helper $1"
}

# Into a new TCP connection, what client and server say in turn. (PORT [c|s HEX]...)
tcp_talk() {
	local server="$Y,$1" client="$X,$port" seq=1001 ack=5001 size
	tcp_opens "$port" "$1" || return
	shift
	while (($#)); do
		size=$((${#2} / 2))
		if [[ $1 == c ]]; then
			must passed -- inject c tcp "$client" "$server" PA seq="$seq" ack="$ack" data="$2" || return
			seq=$((seq + size))
		else
			must passed -- inject s tcp "$server" "$client" PA seq="$ack" ack="$seq" data="$2" || return
			ack=$((ack + size))
		fi
		shift 2
	done
}

from_client() { must passed -- inject c udp "$X,$port" "$Y,$1" data="$2"; } # PORT HEX
from_server() { must passed -- inject s udp "$Y,$1" "$X,$port" data="$2"; }

expectation() { # WORD...
	local line
	must cat "$R" /proc/net/nf_conntrack_expect || return
	for line in "${LINES[@]}"; do
		! matches "$line" "$@" || return 0
	done
	diag "no expectation with '$*'; there are: ${LINES[*]}"
	return 1
}

# --- their protocols --------------------------------------------------------

ftp() {
	assigns ftp tcp 21 && tcp_talk 21 c "$(hex 'USER a\r\n')" c "$(hex 'PORT 10,0,1,9,7,208\r\n')" &&
		expectation proto=6 "src=$Y" "dst=$X" dport=2000 ftp
}

tftp() {
	assigns tftp udp 69 && from_client 69 "$(hex '\0\1name\0octet\0')" &&
		expectation proto=17 "src=$Y" "dst=$X" "dport=$port" tftp
}

irc() {
	assigns irc tcp 6667 &&
		tcp_talk 6667 c "$(hex 'PRIVMSG b :\001DCC SEND f 167772425 2001 1\001\r\n')" &&
		expectation proto=6 src=0.0.0.0 "dst=$X" dport=2001 irc
}

amanda() {
	assigns amanda udp 10080 && from_client 10080 00000000 &&
		from_server 10080 "$(hex 'Amanda 2.6 REP\nCONNECT DATA 2002 MESG 2003\n')" &&
		expectation proto=6 "dst=$Y" dport=2002 amanda && expectation proto=6 "dst=$Y" dport=2003 amanda
}

# Request number seven, and the answer: no error, port 2004.
sane() {
	assigns sane tcp 6566 && tcp_talk 6566 c 0000000700000000 s 00000000000007d4 &&
		expectation proto=6 "src=$X" "dst=$Y" dport=2004 sane
}

sip() {
	assigns sip udp 5060 &&
		from_client 5060 "$(hex "REGISTER sip:$Y SIP/2.0\r\nVia: SIP/2.0/UDP $X:$port\r\nCSeq: 1 REGISTER\r\nContact: <sip:a@$X:2005>\r\nExpires: 60\r\nContent-Length: 0\r\n\r\n")" &&
		expectation proto=17 "src=$Y" "dst=$X" dport=2005 PERMANENT,INACTIVE sip/signalling
}

# H.225: a gatekeeper confirms, and says where to register.
ras() {
	assigns RAS udp 1719 && from_client 1719 0000 &&
		from_server 1719 "04000001060008914a000400$(address "$Y")07d6" &&
		expectation proto=17 "src=$X" "dst=$Y" dport=2006 RAS
}

# A call's control connection: a session, an outgoing call with number 0x1111, which is
# 0x2222 to the server. (RFC 2637 section 2) Then data of the call, in GRE.
pptp() {
	local control=00011a2b3c4d
	assigns pptp tcp 1723 && tcp_talk 1723 \
		c "009c${control}000100000100$(zeros 142)" s "009c${control}0002000001000100$(zeros 140)" \
		c "00a8${control}000700001111$(zeros 154)" s "0020${control}00080000222211110100$(zeros 14)" &&
		expectation proto=47 "src=$X" "dst=$Y" srckey=0x1111 dstkey=0x2222 pptp &&
		expectation proto=47 "src=$Y" "dst=$X" srckey=0x2222 dstkey=0x1111 pptp &&
		must passed -- inject c ip "$X" "$Y" 47 data=3001880b0004222200000000ff030021 &&
		entry "$R" gre srckey=0x1111 dstkey=0x2222 '[UNREPLIED]' && no_expectations &&
		must passed -- inject s ip "$Y" "$X" 47 data=3001880b0004111100000000ff030021 &&
		entry "$R" gre srckey=0x1111 dstkey=0x2222 '![UNREPLIED]'
}

# What the router itself asks of all its neighbours: each of them may answer.
broadcast() { # HELPER PORT
	assigns "$1" udp "$2" OUTPUT && ipt "filter INPUT -m conntrack --ctstate RELATED" &&
		must udp asks "$R" "$port" && must sendto asks 10.3.0.255 "$2" 50 &&
		expectation proto=17 src=10.3.0.255 dst=10.3.0.1 "sport=$2" "dport=$port" PERMANENT "$1" &&
		must lost -- inject c udp "10.3.0.9,$2" "10.3.0.1,$port" len=20 && must 20 -- take asks &&
		ipt_hits filter 1
	local status=$?
	t close asks
	return "$status"
}

# It gets the first packet before there is an entry, and lets it go.
outside() {
	must queue outside "$R" 78 &&
		in_ns "$R" python3 "$SELFTESTS/lib/netlink.py" helper add ours 78 &&
		assigns ours udp 9 && must lost -- inject c udp "$X,$port" "$Y,9" len=10 &&
		no_entry "$R" udp "sport=$port" && must 38 -- verdict outside &&
		soon entry "$R" udp "sport=$port" '[UNREPLIED]'
	local status=$?
	t close outside
	clear_rules
	wait_for 5 in_ns "$R" python3 "$SELFTESTS/lib/netlink.py" helper del ours 78 2>/dev/null || return
	return "$status"
}

# --- all of them ------------------------------------------------------------

! grep -q "^nf_conntrack_netlink " /proc/modules || rmmod nf_conntrack_netlink
check "nobody holds the tracker yet" is_free

consumer nf_conntrack_ftp ftp
consumer nf_conntrack_tftp tftp
consumer nf_conntrack_irc irc
consumer nf_conntrack_amanda amanda
consumer nf_conntrack_sane sane
consumer nf_conntrack_sip sip
consumer nf_conntrack_h323 ras
consumer nf_conntrack_pptp pptp
consumer nf_conntrack_netbios_ns broadcast netbios-ns 137
consumer nf_conntrack_snmp broadcast snmp 161
check "their expectations went with them" no_expectations
consumer nfnetlink_cthelper outside

consumers_finish
