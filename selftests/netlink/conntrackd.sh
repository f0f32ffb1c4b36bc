#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Two routers that share one address on either side, and what they know of connections
# (conntrackd, FTFW). The first one goes; the second takes over, and connections go on
# that were translated by the first.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

tap_begin conntrackd nft conntrack
need_tracker
[[ $TRACKER == rust_ct ]] || modprobe nf_conntrack_netlink
use_family 4
ns_add C S A B X
folder=$(mktemp -d)
daemons=()
at_end() {
	kill "${daemons[@]}" 2>/dev/null
	wait "${daemons[@]}" 2>/dev/null
	rm -rf "$folder"
}

# C and the routers are on one bridge, S and the routers on another; the routers have a
# link of their own.
ip -n "$X" link add lan type bridge
ip -n "$X" link add wan type bridge
ip -n "$X" link set lan up
ip -n "$X" link set wan up
plug() { # BRIDGE NS DEVICE ADDRESS
	ip link add "$3" netns "$2" type veth peer name "$1-$3$5" netns "$X"
	ip -n "$X" link set "$1-$3$5" master "$1" up
	ip -n "$2" link set "$3" up
	ip -n "$2" addr add "$4" dev "$3"
}
plug lan "$C" eth0 10.1.0.2/24 c
plug wan "$S" eth0 10.2.0.2/24 s
for side in A B; do
	ns=${!side} n=$([[ $side == A ]] && echo 11 || echo 12)
	plug lan "$ns" lan 10.1.0.$n/24 $side
	plug wan "$ns" wan 10.2.0.$n/24 $side
	in_ns "$ns" sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0 \
		net.ipv4.conf.lan.send_redirects=0
	# New connections come from inside; what has none is dropped.
	in_ns "$ns" nft -f - <<-'RULES'
		table ip t {
			chain forward {
				type filter hook forward priority 0; policy drop
				ct state established accept
				iifname "lan" tcp flags & (syn | ack) == syn ct state new accept
			}
			chain post {
				type nat hook postrouting priority srcnat
				oifname "wan" snat to 10.2.0.254
			}
		}
	RULES
done
ip link add sync netns "$A" type veth peer name sync netns "$B"
ip -n "$A" addr add 10.3.0.11/24 dev sync
ip -n "$B" addr add 10.3.0.12/24 dev sync
ip -n "$A" link set sync up
ip -n "$B" link set sync up
ip -n "$C" route add default via 10.1.0.254
ip -n "$S" route add default via 10.2.0.254

has_the_address() { # NS
	ip -n "$1" addr add 10.1.0.254/24 dev lan
	ip -n "$1" addr add 10.2.0.254/24 dev wan
	ip -n "$C" neigh flush dev eth0
	ip -n "$S" neigh flush dev eth0
}
has_the_address "$A"

configure() { # NAME OWN OTHER
	cat >"$folder/$1.conf" <<-CONF
		Sync {
			Mode FTFW { }
			UDP {
				IPv4_address 10.3.0.$2
				IPv4_Destination_Address 10.3.0.$3
				Port 3780
				Interface sync
				Checksum on
			}
			Options { TCPWindowTracking Off }
		}
		General {
			HashSize 1024
			HashLimit 10000
			LogFile $folder/$1.log
			LockFile $folder/$1.lock
			UNIX { Path $folder/$1.ctl }
			NetlinkBufferSize 2097152
			Filter From Userspace {
				Protocol Accept { TCP }
				Address Ignore { IPv4_address 127.0.0.1 }
			}
		}
	CONF
}
daemon() { # NAME [ARGUMENT]...: a command to it
	in_ns "${!1}" conntrackd -C "$folder/$1.conf" "${@:2}" 2>&1
}
configure A 11 12
configure B 12 11
for side in A B; do
	ns_exec "${!side}" conntrackd -C "$folder/$side.conf" >"$folder/$side.out" 2>&1 &
	daemons+=($!)
done
answers() { daemon "$1" -s >/dev/null; }
check "the first one's daemon answers" wait_for 10 answers A || diag "$(cat "$folder"/A.*)"
check "the second one's too" wait_for 10 answers B || diag "$(cat "$folder"/B.*)"

traffic_start
must listen l "$S" 10.2.0.2 80
must listen m "$S" 10.2.0.2 81
knows() { daemon "$1" "$2" | grep -q "ESTABLISHED.*dport=$3 "; }
check "a connection is opened" must connected -- connect a "$C" 10.2.0.2 80
must accept b l
check "... and another" must connected -- connect c "$C" 10.2.0.2 81
must accept d m
talk() { # FROM TO
	must send "$1" 1000 && must recv "$2" 1000
}
check "they are used" talk a b && talk d c
peer() { must peer "$1" && echo "$ANSWER"; }
from=$(peer b)
check "the first one's daemon knows them" wait_for 10 knows A -i 80
check "... the second one's too" wait_for 10 knows B -e 81
check "the second one has no entry" no_entry "$B" tcp dport=80

# The end of the first one.
ip -n "$A" link set lan down
ip -n "$A" link set wan down
ip -n "$A" link set sync down
has_the_address "$B"
check "the second one makes the entries" quiet daemon B -c
check "... translated" soon entry "$B" tcp ESTABLISHED dport=80 dst=10.2.0.254 '[ASSURED]'
check "the first connection goes on" talk a b
check "... in the other direction" talk b a
check "... and the second" talk d c
check "... from the same address" same "$(peer b)" "$from"
check "a new one can be opened" must connected -- connect e "$C" 10.2.0.2 80
tap_finish
