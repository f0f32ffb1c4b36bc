#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Programs that people use, through NAT: curl to web and FTP servers, a resolver's two
# questions from one socket, tracepath, a table of services, a bridge with containers.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

tap_begin nft curl tracepath
need_tracker
setup_router
folder=$(mktemp -d)
at_end() {
	local ns
	for ns in "$C" "$R" "$S"; do
		in_ns "$ns" nft flush ruleset
	done
	kill "${servers[@]}"
	rm -rf "$folder"
	modprobe -r -a nft_masq nft_nat nft_chain_nat nft_numgen nft_ct nf_nat_ftp nf_conntrack_ftp
} 2>/dev/null
servers=()
head -c "$(scaled 2000000 200000)" /dev/urandom >"$folder/file"
sum=$(sha256sum <"$folder/file")

# A server in the background, without the pipes to traffic.py, which would not end with us.
# (NS COMMAND...)
server() {
	(
		exec {traffic_in}>&- {traffic_out}<&-
		exec nsenter --net="/run/netns/$1" "${@:2}"
	) >/dev/null 2>&1 &
	servers+=($!)
}
# Serves the folder. (NS ADDRESS PORT)
web() {
	server "$1" python3 -m http.server --bind "$2" --directory "$folder" "$3"
	wait_for 20 in_ns "$1" python3 -c 'import socket, sys
socket.create_connection((sys.argv[1], int(sys.argv[2])))' "$2" "$3" 2>/dev/null
}
host() { [[ $1 == *:* ]] && echo "[$1]" || echo "$1"; }
# Fetches the file, whole. (NS URL [OPTION]...)
fetch() {
	local ns=$1 url=$2
	shift 2
	same "$(in_ns "$ns" curl -sS --globoff --max-time "$(scaled 20 100)" "$@" "$url" | sha256sum)" "$sum"
}
# The router's NAT. (PREROUTING POSTROUTING [MORE])
rules() {
	in_ns "$R" nft -f - <<-RULES
		table inet nat
		delete table inet nat
		table inet nat {
			${3:-}
			chain pre { type nat hook prerouting priority dstnat; $1 ; }
			chain post { type nat hook postrouting priority srcnat; $2 ; }
		}
	RULES
}

behind_dnat() {
	web "$C" "$CA" 8000
	rules "iifname tos $NFT daddr $RY tcp dport 80 dnat $NFT to $(host "$CA"):8000" ""
	check "$FAMILY curl from outside to a server behind DNAT" fetch "$S" "http://$(host "$RY")/file"
	check "... the entry shows both" entry "$R" "$FAMILY" tcp dport=80 sport=8000
}

ftp_through_snat() {
	modprobe -a nf_conntrack_ftp nf_nat_ftp
	rules "" "oifname tos masquerade" "
		ct helper h$NFT { type \"ftp\" protocol tcp; l3proto $NFT; }
		chain helpers { type filter hook prerouting priority mangle; tcp dport 21 ct helper set \"h$NFT\"; }"
	must ftpd "ftpd$FAMILY" "$S" "$SA"
	local url
	url="ftp://$(host "$SA")/100000"
	check "$FAMILY curl fetches by FTP, passive" got_by_ftp "$url"
	check "$FAMILY curl fetches by FTP, active" got_by_ftp "$url" --ftp-port -
}
got_by_ftp() {
	local url=$1
	shift
	same "$(in_ns "$C" curl -sS --globoff --max-time "$(scaled 20 100)" "$@" "$url" | wc -c)" 100000
}

# As a resolver does: two questions at a time from one socket, by two threads.
questions() {
	rules "" "oifname tos masquerade"
	server "$S" python3 -c '
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 53))
while True:
    data, peer = s.recvfrom(100)
    s.sendto(data, peer)' "$SA"
	local sockets=/proc/net/udp
	[[ $FAMILY == ipv4 ]] || sockets+=6
	wait_for 20 in_ns "$S" grep -q ':0035 ' $sockets
	check "$FAMILY two threads ask from one socket, $1 times: every answer comes" answered "$1"
}
answered() { # TIMES
	local said ns
	said=$(in_ns "$C" python3 -c '
import socket, sys, threading
for number in range(int(sys.argv[2])):
    s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
    # Two threads at once that send from a socket without a port may send from port 0.
    s.bind(("", 0))
    s.settimeout(10)
    barrier = threading.Barrier(2)
    def ask(what):
        barrier.wait()
        s.sendto(what, (sys.argv[1], 53))
    threads = [threading.Thread(target=ask, args=(what,)) for what in (b"A", b"AAAA")]
    [t.start() for t in threads]
    answers = set()
    try:
        for _ in threads:
            answers.add(s.recvfrom(100)[0])
    except OSError as error:
        sys.exit("round %d, port %d, only %s came: %s" % (number, s.getsockname()[1], answers, error))
    [t.join() for t in threads]
    s.close()' "$SA" "$1" 2>&1) && return
	diag "$said"
	for ns in "$C" "$R" "$S"; do
		diag "$ns:" "$(in_ns "$ns" grep -h udp /proc/net/nf_conntrack | tail -n 5)"
	done
	return 1
}

# Two routers further on is a network with a smaller MTU.
path() {
	local far=10.0.3.2
	[[ $FAMILY == ipv4 ]] || far=fd00:3::2
	rules "" "oifname tos masquerade"
	if [[ $FAMILY == ipv4 ]]; then
		ns_add T
		join "$S" far 02:00:00:00:03:01 10.0.3.1/24 fd00:3::1/64 "$T" eth0 02:00:00:00:03:02 10.0.3.2/24 fd00:3::2/64
		ip -n "$S" link set far mtu 1400
		in_ns "$S" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward
			echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
		ip -n "$T" route add default via 10.0.3.1
		ip -n "$T" -6 route add default via fd00:3::1
		ip -n "$R" route add 10.0.3.0/24 via "$S4"
		ip -n "$R" -6 route add fd00:3::/64 via "$S6"
		web "$T" 10.0.3.2 80
		web "$T" fd00:3::2 80
	fi
	in_ns "$C" tracepath -n -m 5 "$far" >"$folder/path" 2>&1
	check "$FAMILY tracepath sees every router through SNAT" seen "$RX" "$SA" "$far"
	check "... and the MTU of the path" grep -q 'pmtu 1400' "$folder/path"
	check "$FAMILY curl across the smaller MTU" fetch "$C" "http://$(host "$far")/file"
}
seen() {
	local address
	for address; do
		grep -q " $address " "$folder/path" || {
			diag "$(<"$folder/path")"
			return 1
		}
	done
}

# A table of services: one address, three servers behind it.
services() {
	local vip=10.96.0.1 i backends=() each
	each=$(scaled 5 1)
	[[ $FAMILY == ipv4 ]] || vip=fd00:96::1
	for i in 1 2 3; do
		if [[ $FAMILY == ipv4 ]]; then
			backends+=("10.0.2.2$i")
			ip -n "$S" addr add "10.0.2.2$i/24" dev eth0
		else
			backends+=("fd00:2::2$i")
			ip -n "$S" -6 addr add "fd00:2::2$i/64" dev eth0 nodad
		fi
		mkdir -p "$folder/$i"
		echo "$i" >"$folder/name"
		cp "$folder/name" "$folder/$i/name"
		backend "${backends[i - 1]}" "$i"
	done
	serve "$vip" "${backends[@]}"
	answers "$vip" $((6 * each))
	check "$FAMILY $((6 * each)) connections to a service reach all of three servers" \
		same "$ANSWERED" "$((2 * each)) $((2 * each)) $((2 * each))"
	must listen "l$FAMILY" "$S" "${backends[2]}" 81
	must connected -- connect "c$FAMILY" "$C" "$vip" 81
	must accept "s$FAMILY" "l$FAMILY"
	serve "$vip" "${backends[@]:0:2}"
	answers "$vip" $((6 * each))
	check "... one of them is taken out: the others get all that is new" \
		same "$ANSWERED" "$((3 * each)) $((3 * each)) 0"
	check "... and what was open to it goes on" \
		must bulk "b$FAMILY" "c$FAMILY" "s$FAMILY" 400000
	check "..." must await "b$FAMILY"
}
backend() { # ADDRESS NUMBER
	server "$S" python3 -m http.server --bind "$1" --directory "$folder/$2" 8080
	wait_for 20 in_ns "$S" curl -s --globoff "http://$(host "$1"):8080/name" 2>/dev/null
}
# (VIP BACKEND...)
serve() {
	local vip=$1 map='' i=0 backend
	shift
	for backend; do
		map+="${map:+, }$i : $backend . 8080"
		i=$((i + 1))
	done
	rules "$NFT daddr $vip tcp dport 81 dnat $NFT to ${!#}
		$NFT daddr $vip tcp dport 80 dnat $NFT addr . port to numgen inc mod $# map { $map }" ""
}
answers() { # VIP COUNT -> ANSWERED
	local i
	for ((i = 0; i < $2; i++)); do
		in_ns "$C" curl -sS --globoff --max-time "$(scaled 10 60)" "http://$(host "$1")/name"
	done >"$folder/answers"
	ANSWERED="$(grep -c 1 "$folder/answers") $(grep -c 2 "$folder/answers") $(grep -c 3 "$folder/answers")"
}

# A bridge with a container on it, as engines make it.
container() {
	ns_add K
	ip -n "$R" link add docker0 type bridge
	ip -n "$R" link set docker0 up
	ip -n "$R" addr add 172.17.0.1/16 dev docker0
	ip link add veth0 netns "$R" type veth peer name eth0 netns "$K"
	ip -n "$R" link set veth0 master docker0 up
	ip -n "$K" link set eth0 up
	ip -n "$K" addr add 172.17.0.2/16 dev eth0
	ip -n "$K" route add default via 172.17.0.1
	web "$K" 172.17.0.2 80
	web "$S" "$S4" 8001
	rules "fib daddr type local tcp dport 8080 dnat ip to 172.17.0.2:80" \
		"ip saddr 172.17.0.0/16 oifname != docker0 masquerade; ip saddr 172.17.0.0/16 ip daddr 172.17.0.0/16 masquerade"
	check "a container on a bridge fetches from outside, masqueraded" fetch "$K" "http://$S4:8001/file"
	check "... its published port is reached from outside" fetch "$S" "http://$RS4:8080/file"
	check "... and from itself, under the host's address" fetch "$K" "http://$RS4:8080/file"
}

for version in 4 6; do
	use_family $version
	((version == 4)) && NFT=ip || NFT=ip6
	behind_dnat
	ftp_through_snat
	questions "$(scaled 200 20)"
	path
	services
done
use_family 4
NFT=ip
container
tap_finish
