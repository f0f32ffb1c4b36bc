#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What scripts/test-deb runs inside a booted Debian: which tracker comes with which of rust_ct's
# packages, by rules, modprobe and apt. For its throw-away machines only.
#
# usage: guest.sh PART, where PART is one of the functions whose names begin with part_

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

readonly DEBS=/test/debs
said=$(mktemp)
export DEBIAN_FRONTEND=noninteractive

apt() { apt-get -qy --no-install-recommends "$@" >"$said" 2>&1 || refused diag "$(tail -n 15 "$said")"; }
told() { grep -q "$1" "$said"; }
is_installed() { [[ $(dpkg-query -W -f '${Status}' "$1" 2>/dev/null) == 'install ok installed' ]]; }
is_tracker() { [[ $(tracker_loaded) == "$1" ]] || refused diag "loaded is: $(tracker_loaded)"; }
in_list() { grep -q "^$1 " /proc/modules; }
only_c_tracker() { is_tracker stock && in_list nf_conntrack && ! in_list rust_ct; }
# With the modules of the C modules' names.
whole_rust_ct() {
	local name
	is_tracker rust_ct || return
	for name in nf_conntrack nf_nat nf_conntrack_netlink; do
		[[ -e /sys/module/rust_ct/holders/$name ]] || return
	done
}
comes_from() { [[ $(modinfo -n "$1") == "/lib/modules/$(uname -r)/updates/"$2* ]] || refused diag "$(modinfo -n "$1")"; }

# A router with masquerading between two hosts, and a connection of each kind through it. It asks for
# the tracker by its rules alone.
router() {
	ip netns add a && ip netns add b &&
		ip link add ra type veth peer name eth0 netns a && ip link add rb type veth peer name eth0 netns b &&
		ip addr add 10.0.1.1/24 dev ra && ip addr add 10.0.2.1/24 dev rb && ip link set ra up && ip link set rb up &&
		ip -n a addr add 10.0.1.2/24 dev eth0 && ip -n a link set eth0 up && ip -n a route add default via 10.0.1.1 &&
		ip -n b addr add 10.0.2.2/24 dev eth0 && ip -n b link set eth0 up &&
		sysctl -qw net.ipv4.ip_forward=1 && nft -f - <<-'RULES'
			table ip test {
				chain forward {
					type filter hook forward priority 0; policy drop
					ct state established,related counter accept
					iifname "ra" ct state new accept
				}
				chain postrouting { type nat hook postrouting priority 100; oifname "rb" masquerade; }
			}
		RULES
}
carries_traffic() {
	local server answer
	ip netns exec b socat TCP-LISTEN:80,reuseaddr,fork SYSTEM:'echo $SOCAT_PEERADDR' &
	server=$!
	ip netns exec a ping -q -c 2 -i 0.3 -W 5 10.0.2.2 >/dev/null || refused diag "no answer to ping"
	answer=$(ip netns exec a socat -t 120 -T 120 - TCP:10.0.2.2:80,retry=10,interval=0.5 </dev/null)
	kill $server
	conntrack -L -p tcp 2>/dev/null >"$said"
	[[ $answer == 10.0.2.1 ]] || refused diag "the server sees '$answer'" || return
	told 'src=10.0.1.2 dst=10.0.2.2 .*dport=80.* dst=10.0.2.1' || refused diag "$(<"$said")"
}
no_router() {
	nft flush ruleset
	ip netns delete a
	ip netns delete b
	ip link delete ra
	ip link delete rb
	true
} 2>/dev/null
# Whatever holds a tracker, then the tracker.
unload_all() {
	local module _
	no_router
	for _ in 1 2 3 4 5 6 7 8; do
		for module in nft_masq nft_nat nft_chain_nat nft_ct nf_conntrack_netlink nf_nat nf_conntrack rust_ct; do
			! in_list "$module" || rmmod "$module" 2>/dev/null
		done
		! in_list rust_ct && ! in_list nf_conntrack && return
		sleep 0.5
	done
	refused diag "$(grep -E '^(nf|rust)' /proc/modules)"
}

c_tracker_works() {
	check "a rule brings the C tracker" router
	check "... alone" only_c_tracker
	check "... with traffic and NAT" carries_traffic
	check "... it leaves" unload_all
	check "modprobe nf_conntrack brings it, too" modprobe nf_conntrack
	check "... alone" only_c_tracker
	check "... it leaves" unload_all
}
rust_ct_works() {
	check "modprobe rust_ct" modprobe rust_ct
	check "... with all names" whole_rust_ct
	check "... it leaves" unload_all
	check "a rule brings rust_ct" router
	check "... with all names" whole_rust_ct
	check "... with traffic and NAT" carries_traffic
	check "its version is that of the package" same "$(</sys/module/rust_ct/version)-1" "$1"
}
version_of() { dpkg-query -W -f '${Version}' "$1"; }
leaves_nothing() {
	local found
	found=$(find /etc /usr/lib/modprobe.d /usr/lib/udev /usr/lib/modules /usr/src /var/lib/dkms /usr/share/man \
		/usr/share/doc \( -name '*rust_ct*' -o -name 'rct_*' -o -name 'rust-ct*' \) 2>/dev/null)
	same "$found" ""
}

# Compiled modules, on a machine without a compiler; before and after them the C tracker.
part_modules() {
	local package
	package=rust-ct-modules-$(uname -r)
	check "there is no compiler" refused command -v gcc
	c_tracker_works
	check "apt install rust-ct-common, $package" apt install "$DEBS"/rust-ct-common_*.deb "$DEBS/$package"_*.deb
	rust_ct_works "$(version_of "$package")"
	check "apt remove, while it is loaded" apt remove "$package" rust-ct-common
	check "... says that it stays" told 'rust_ct stays loaded'
	check "... with its traffic" carries_traffic
	check "... it leaves" unload_all
	c_tracker_works
	check "apt purge" apt purge "$package" rust-ct-common
	check "... leaves nothing" leaves_nothing
	modprobe nf_conntrack
	check "apt install, while the C tracker is loaded" \
		apt install "$DEBS"/rust-ct-common_*.deb "$DEBS/$package"_*.deb
	check "... says so" told 'The C tracker is loaded'
	check "... which stays" only_c_tracker
	check "... and leaves" unload_all
	check "then rust_ct comes" modprobe nf_conntrack
	check "... with all names" whole_rust_ct
	# The settings alone: as on a kernel that has no such package.
	check "it leaves" unload_all
	check "apt remove the modules only" apt remove "$package"
	c_tracker_works
	check "... the kernel log tells of it" that "$(dmesg | grep -c 'rust_ct: could not be loaded') > 0"
}

# What DKMS has compiled.
part_dkms() {
	check "DKMS has it for this kernel" grep -q "rust_ct.*$(uname -r).*: installed" <(dkms status)
	check "modprobe takes DKMS's" comes_from rust_ct dkms/
	check "... and its modules of the C modules' names" comes_from rct_nf_conntrack dkms/
	rust_ct_works "$(version_of rust-ct-dkms)"
	check "they are signed with DKMS's key" same "$(modinfo -F signer rust_ct rct_nf_nat | sort -u)" \
		"DKMS module signing key"
	check "... it leaves" unload_all
}

# The same for a kernel that came later; then the package goes.
part_update() {
	check "this is the kernel that came later" that "$(dkms status rust_ct | grep -c ': installed') == 2"
	part_dkms
	check "a rule brings rust_ct" router
	check "apt remove, while it is loaded" apt remove rust-ct-dkms
	check "... says that it stays" told 'rust_ct stays loaded'
	check "... with its traffic" carries_traffic
	check "... DKMS has none any more" same "$(dkms status rust_ct)" ""
	check "... it leaves" unload_all
	c_tracker_works
	check "apt purge" apt purge rust-ct-dkms
	check "... leaves nothing" leaves_nothing
}

# A build that failed.
part_failed() {
	check "DKMS has none for this kernel" refused grep -q "rust_ct.*$(uname -r).*: installed" <(dkms status)
	check "rust_ct.conf is there" test -e /usr/lib/modprobe.d/rust_ct.conf
	c_tracker_works
	check "... the kernel log tells of it" that "$(dmesg | grep -c 'rust_ct: could not be loaded') > 0"
}

# Secure Boot: the kernel takes signed modules only.
is_locked_down() {
	mokutil --sb-state >"$said" 2>&1
	check "Secure Boot is on" told 'SecureBoot enabled'
	check "the kernel is locked down" grep -q '\[integrity\]' /sys/kernel/security/lockdown
}
# With DKMS's key enrolled.
part_secure() {
	local unsigned
	is_locked_down
	rust_ct_works "$(version_of rust-ct-dkms)"
	check "... it leaves" unload_all
	unsigned=$(mktemp -d)
	dpkg-deb -x "$DEBS/rust-ct-modules-$(uname -r)"_*.deb "$unsigned"
	modprobe -a nf_defrag_ipv4 nf_defrag_ipv6 nfnetlink
	check "a module without a signature is refused" \
		refused insmod "$unsigned/usr/lib/modules/$(uname -r)/updates/rust_ct.ko" 2>/dev/null
}
# Without it.
part_not_enrolled() {
	is_locked_down
	check "rust_ct is refused" refused modprobe rust_ct 2>/dev/null
	c_tracker_works
	check "... the kernel log tells of it" that "$(dmesg | grep -c 'rust_ct: could not be loaded') > 0"
}

tap_begin nft conntrack modprobe apt-get
[[ -e $DEBS ]] || skip_all "for a machine of scripts/test-deb only"
declare -F "part_$1" >/dev/null || skip_all "no part '$1'"
unload_all || skip_all "a tracker is loaded"
"part_$1"
tap_finish
