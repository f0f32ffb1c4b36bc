#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Programs of others that speak ctnetlink: pyroute2, ulogd2, nfct, and the kernel tree's own
# client (tools/net/ynl). A program that is not installed is skipped. (conntrackd: conntrackd.sh.)

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

tap_begin conntrack
need_tracker
[[ $TRACKER == rust_ct ]] || modprobe -a nf_conntrack_netlink nf_nat
ns_add R
in_ns "$R" sysctl -qw net.netfilter.nf_conntrack_events=1 net.netfilter.nf_conntrack_acct=1
folder=$(mktemp -d)
at_end() {
	[[ -z ${daemon:-} ]] || kill "$daemon" 2>/dev/null
	in_ns "$R" iptables -t raw -F 2>/dev/null
	in_ns "$R" nfct del timeout slow 2>/dev/null
	in_ns "$R" nfct del helper rpc inet udp 2>/dev/null
	rm -rf "$folder"
}
traffic_start
datagram() { # PORT
	in_ns "$R" python3 -c "import socket; socket.socket(2, 2).sendto(b'x', ('127.0.0.1', $1))"
}
present() { in_ns "$R" conntrack -L 2>/dev/null | grep -q "dport=$1 "; } # PORT

# --- pyroute2 -----------------------------------------------------------------

if /usr/bin/python3 -c 'import pyroute2' 2>/dev/null; then
	in_ns "$R" /usr/bin/python3 - >"$folder/pyroute2" 2>&1 <<-'PYTHON'
		from socket import IPPROTO_UDP
		from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple, NFCTSocket

		nfct = NFCTSocket()
		one = NFCTAttrTuple(saddr="10.7.0.1", daddr="10.7.0.2", proto=IPPROTO_UDP, sport=1000, dport=2000)
		back = one.reverse()

		def marks():
		    return [part.get_attr("CTA_MARK") for part in nfct.dump()]

		nfct.entry("add", timeout=100, tuple_orig=one, tuple_reply=back, mark=7)
		print("made", marks())
		print("got", [part.get_attr("CTA_MARK") for part in nfct.entry("get", tuple_orig=one)])
		nfct.entry("set", tuple_orig=one, mark=9)
		print("changed", marks())
		print("filtered", len(list(nfct.dump(mark=9))), len(list(nfct.dump(mark=8))))
		print("counted", [part.get_attr("CTA_STATS_GLOBAL_ENTRIES") for part in nfct.count()])
		print("statistics", len(nfct.stat()) > 0)
		nfct.entry("del", tuple_orig=one)
		print("deleted", marks())
		nfct.entry("add", timeout=100, tuple_orig=one, tuple_reply=back)
		nfct.flush()
		print("flushed", marks())
	PYTHON
	pyroute2() { grep -qx "$1" "$folder/pyroute2"; }
	check "pyroute2 makes an entry" pyroute2 'made \[7\]'
	check "... gets it" pyroute2 'got \[7\]'
	check "... changes its mark" pyroute2 'changed \[9\]'
	check "... lists what has a mark" pyroute2 'filtered 1 0'
	check "... counts" pyroute2 'counted \[1\]'
	check "... reads statistics" pyroute2 'statistics True'
	check "... deletes it" pyroute2 'deleted \[\]'
	check "... flushes" pyroute2 'flushed \[\]' || diag "$(tail -5 "$folder/pyroute2")"
else
	skip "pyroute2" "not installed"
fi

# --- ulogd2 -------------------------------------------------------------------

if command -v ulogd >/dev/null; then
	program=$(command -v ulogd)
	plugins=$(dirname "$(find "${program%/sbin/*}/lib" -name ulogd_inpflow_NFCT.so | head -n 1)")
	{
		printf '[global]\nlogfile="%s/ulogd.log"\nloglevel=3\n' "$folder"
		for plugin in inpflow_NFCT filter_IP2STR filter_PRINTFLOW output_LOGEMU; do
			printf 'plugin="%s/ulogd_%s.so"\n' "$plugins" "$plugin"
		done
		printf 'stack=ct:NFCT,ip:IP2STR,print:PRINTFLOW,emu:LOGEMU\n'
		printf '[ct]\nhash_enable=0\nevent_mask=5\n[emu]\nfile="%s/flows"\nsync=1\n' "$folder"
	} >"$folder/ulogd.conf"
	ns_exec "$R" ulogd -c "$folder/ulogd.conf" >"$folder/ulogd.out" 2>&1 &
	daemon=$!
	joined() {
		in_ns "$R" awk '$2 == 12 && $4 !~ /^0+$/ { found = 1 } END { exit !found }' /proc/net/netlink
	}
	check "ulogd2 listens" wait_for 20 joined || diag "$(cat "$folder"/ulogd.*)"
	datagram 7201
	in_ns "$R" conntrack -D -p udp --dport 7201 >/dev/null 2>&1
	logged() { grep -q "$1" "$folder/flows"; }
	check "... logs a flow's beginning" wait_for 10 logged '\[NEW\] ORIG: SRC=127.0.0.1 .*DPT=7201'
	check "... and its end, with counters" wait_for 10 logged '\[DESTROY\] ORIG: .*DPT=7201 PKTS=1 BYTES=29' ||
		diag "$(cat "$folder/flows" "$folder/ulogd.log")"
	kill $daemon
	wait $daemon 2>/dev/null
	daemon=
else
	skip "ulogd2" "not installed"
fi

# --- nfct ---------------------------------------------------------------------

if command -v nfct >/dev/null && modprobe nfnetlink_cttimeout && modprobe nfnetlink_cthelper; then
	n() { in_ns "$R" nfct "$@"; }
	check "nfct makes a timeout policy" n add timeout slow inet udp unreplied 777 replied 888
	has() { # KIND REGEX
		n list "$1" 2>&1 | tr -d '\n' | grep -qi "$2" || {
			diag "$(n list "$1" 2>&1)"
			return 1
		}
	}
	check "... lists it" has timeout 'slow.*unreplied = 777'
	if in_ns "$R" iptables -t raw -A OUTPUT -p udp --dport 7202 -j CT --timeout slow; then
		datagram 7202
		check "... and a connection has it" lives 777 "$R" udp dport=7202
		in_ns "$R" iptables -t raw -F
	else
		skip "... and a connection has it" "iptables does not take the rule"
	fi
	in_ns "$R" conntrack -F 2>/dev/null
	check "... deletes it" n del timeout slow
	check "nfct makes a helper of user space" n add helper rpc inet udp
	check "... lists it" has helper 'rpc'
	check "... deletes it" n del helper rpc inet udp
else
	skip "nfct" "not installed, or modules are missing"
fi

# --- ynl ----------------------------------------------------------------------

tree=$(find "${RUST_CT_CACHE:-/nonexistent}/src" -maxdepth 1 -name 'linux-*' 2>/dev/null | head -n 1)
if [[ -e $tree/tools/net/ynl/pyynl/cli.py ]] && python3 -c 'import yaml' 2>/dev/null; then
	ynl() { # ARGUMENT...
		in_ns "$R" python3 "$tree/tools/net/ynl/pyynl/cli.py" --no-schema --output-json \
			--spec "$tree/Documentation/netlink/specs/conntrack.yaml" "$@"
	}
	datagram 7203
	ynl --dump get --json '{"nfgen-family": 2, "version": 0, "res-id": 0}' >"$folder/dump" 2>&1
	check "ynl lists the entry" grep -q '"proto-dst-port": 7203' "$folder/dump" || diag "$(tail -3 "$folder/dump")"
	ynl --dump get-stats --json '{}' >"$folder/stats" 2>&1
	check "... and statistics" grep -q '"insert"' "$folder/stats" || diag "$(tail -3 "$folder/stats")"
else
	skip "ynl" "no kernel source, or no python3-yaml"
fi
tap_finish
