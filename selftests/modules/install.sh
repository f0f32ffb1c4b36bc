#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# "make install" and "make uninstall", and what there is between them: rust_ct comes when the C
# tracker is asked for, and with it modules of the C modules' names, which programs find in
# /proc/modules and /sys/module. udev is told of them.
#
# Begins and ends with no tracker. Lays a small tree of modules over that of the running kernel:
# for throw-away machines.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

tap_begin nft insmod depmod modinfo
module=$(rust_ct_module) || skip_all "no rust_ct.ko (RUST_CT_KO says where)"
[[ -n ${RUST_CT_VM:-} ]] || skip_all "changes /lib/modules: in the test machine only"
[[ $(tracker_loaded) == none ]] || skip_all "a tracker is loaded: unload it first"
root=$SELFTESTS/..
built=$root/build/${RUST_CT_KERNEL:-debian}
[[ -e $built/stub/nf_conntrack.ko ]] || skip_all "no $built/stub/nf_conntrack.ko"
dir=$(mktemp -d)
tree=$dir/tree/lib/modules/$(uname -r)
conf=/etc/modprobe.d/rust_ct.conf
helpers=()
at_end() {
	((!${#helpers[@]})) || kill "${helpers[@]}" 2>/dev/null
	umount "/lib/modules/$(uname -r)"
	rm -rf "$dir"
} 2>/dev/null

# As few modules as it takes.
readonly C_MODULES=(nf_conntrack nf_nat nf_conntrack_netlink)
for name in "${C_MODULES[@]}" nf_defrag_ipv4 nf_defrag_ipv6 nfnetlink libcrc32c nf_tables nft_ct nft_nat nft_chain_nat; do
	file=$(modinfo -n "$name" 2>/dev/null) && [[ -e $file ]] || continue
	mkdir -p "$tree/kernel/net/netfilter"
	cp -L "$file" "$tree/kernel/net/netfilter/"
done
touch "$tree"/modules.{order,builtin}
[[ -e $tree/kernel/net/netfilter/nf_conntrack.ko ]] || skip_all "the C tracker is not a module here"
files() { (cd "$dir/tree" && find . -type f ! -name 'modules.*' | sort); }
install_it() { DESTDIR=$dir/tree "$root/scripts/install" "$@" >"$dir/said" 2>&1; }
was=$(files)
check "make install" install_it "$built/rust_ct.ko" || diag "$(<"$dir/said")"
mkdir -p "/lib/modules/$(uname -r)" && mount --bind "$tree" "/lib/modules/$(uname -r)" &&
	cp "$dir/tree/etc/modprobe.d/rust_ct.conf" $conf || skip_all "/lib/modules cannot be covered"
[[ ! -e /proc/sys/kernel/modprobe ]] || echo /sbin/modprobe >/proc/sys/kernel/modprobe
unset MODPROBE_OPTIONS

check "modinfo tells the version" same "$(modinfo -F version "$built/rust_ct.ko")" "$(<"$root/VERSION")"

# --- what comes ---------------------------------------------------------------

in_list() { grep -q "^$1 " /proc/modules; }
python3 "$SELFTESTS/lib/uevents.py" >>"$dir/events" &
helpers+=($!)
wait_for 10 grep -q listening "$dir/events"
told() { wait_for 10 grep -qx "$1 /module/$2 module" "$dir/events"; }
all_come() {
	local name
	for name in rust_ct "${C_MODULES[@]}"; do
		in_list "$name" && [[ $(<"/sys/module/$name/initstate") == live ]] || return
	done
	[[ $(tracker_loaded) == rust_ct ]]
}
all_go() { rmmod nf_conntrack_netlink nf_nat nf_conntrack rust_ct && none_there; }
none_there() {
	local name
	for name in rust_ct "${C_MODULES[@]}"; do
		! in_list "$name" && [[ ! -e /sys/module/$name ]] || return
	done
}
# The stub, not the C module.
is_stub() { [[ -e /sys/module/rust_ct/holders/$1 ]]; }
for name in rust_ct nf_conntrack nf_nat nf_conntrack_netlink nf_conntrack-2; do
	check "$name is asked for: all names come" modprobe "$name"
	check "... of rust_ct" all_come
	check "... and leave" all_go
done
check "udev is told of nf_conntrack" told add nf_conntrack
check "... and that it goes" told remove nf_conntrack
: >"$dir/events"
check "a module that was built against the C tracker" modprobe nft_ct
check "... brings rust_ct and the names" all_come
check "... they stand for rust_ct" is_stub nf_conntrack
modprobe -r nft_ct
check "... which stay when it goes" all_come
check "once more: nothing to do" modprobe nf_conntrack
check "... nor when all are asked for" modprobe -a "${C_MODULES[@]}" rust_ct

# --- parameters ---------------------------------------------------------------

folder=/sys/module/nf_conntrack/parameters
buckets=/proc/sys/net/netfilter/nf_conntrack_buckets
check "hashsize of the stub is that of the table" same "$(<$folder/hashsize)" "$(<$buckets)"
echo 4096 >$folder/hashsize
check "... is written" same "$(<$buckets)" 4096
check "... with errors" refused bash -c "echo many >$folder/hashsize" 2>/dev/null
echo 1 >$folder/acct
check "acct of the stub is that of rust_ct" same "$(</sys/module/rust_ct/parameters/acct)" Y
check "permissions are the C module's" same "$(cd $folder && command stat -c '%n %a' ./* | tr '\n' ' ')" \
	"./acct 644 ./expect_hashsize 400 ./hashsize 600 ./tstamp 644 "
check "all leave" all_go
echo "options nf_conntrack hashsize=2048 acct=1" >/etc/modprobe.d/zz-options.conf
check "options of nf_conntrack" modprobe nf_conntrack
check "... are rust_ct's" same "$(<$buckets) $(</proc/sys/net/netfilter/nf_conntrack_acct)" "2048 1"
check "all leave" all_go
rm /etc/modprobe.d/zz-options.conf

# Without the stubs rust_ct has the names itself; with its own names there is no room for stubs.
mkdir "$dir/aside"
mv "$tree/updates/rust_ct" "$dir/aside/"
depmod 2>/dev/null
: >"$dir/events"
check "without stubs: nf_conntrack is asked for" modprobe nf_conntrack
for name in "${C_MODULES[@]}"; do
	check "... udev is told of $name" told add "$name"
done
check "... rust_ct has the names itself" test -d /sys/module/nf_conntrack/parameters -a -d /sys/module/nf_nat
check "... and is alone" refused in_list nf_conntrack
check "... a stub is refused" refused insmod "$dir/aside/rust_ct/rct_nf_conntrack.ko" 2>/dev/null
check "it leaves" rmmod rust_ct
for name in "${C_MODULES[@]}"; do
	check "... udev is told of $name" told remove "$name"
done
mv "$dir/aside/rust_ct" "$tree/updates/"
depmod 2>/dev/null

# The way back: a kernel that does not take rust_ct.
mv "$tree/updates/rust_ct.ko" "$dir/aside/"
echo "no module" >"$tree/updates/rust_ct.ko"
check "where rust_ct cannot be loaded, the C tracker is" modprobe nf_conntrack 2>"$dir/said"
check "... alone" test "$(tracker_loaded)" == stock -a ! -e /sys/module/rust_ct
check "... modprobe says so" grep -q 'rust_ct: could not be loaded' "$dir/said"
check "... and takes it out again" modprobe -r nf_conntrack
check "... all of it" none_there
# As after a failed build for a new kernel: there is no such module at all.
rm "$tree/updates/rust_ct.ko"
mv "$tree/updates/rust_ct" "$dir/aside/"
depmod 2>/dev/null
for name in nf_conntrack nf_nat nf_conntrack_netlink nft_ct; do
	check "where rust_ct is not installed, $name brings the C tracker" modprobe "$name" 2>/dev/null
	check "... alone" test "$(tracker_loaded)" == stock -a ! -e /sys/module/rust_ct
	check "... and it leaves" modprobe -r "$name"
	[[ $name != nft_ct ]] || modprobe -qr nf_conntrack
	check "... all of it" none_there
done
mv "$dir/aside/rust_ct" "$dir/aside/rust_ct.ko" "$tree/updates/"
depmod 2>/dev/null

# --- udev's rule --------------------------------------------------------------

rules=$dir/tree/etc/udev/rules.d/60-rust_ct.rules
matches() { # KEY VALUE
	grep -v '^#' "$rules" | grep -q "$1==\"$2\""
}
check "the rule is for the event that came" \
	test "$(matches ACTION add && matches SUBSYSTEM module && matches KERNEL nf_conntrack && echo yes)" == yes
command=$(grep -v '^#' "$rules" | sed -n 's/.*RUN+="\([^"]*\)".*/\1/p')
if [[ -x ${command%% *} ]]; then
	mkdir -p /run/sysctl.d
	echo "net.netfilter.nf_conntrack_udp_timeout = 77" >/run/sysctl.d/99-ct.conf
	modprobe nf_conntrack
	# shellcheck disable=SC2086 # words
	check "its command" $command
	check "... applies settings of sysctl.d" same "$(</proc/sys/net/netfilter/nf_conntrack_udp_timeout)" 77
	all_go
	rm /run/sysctl.d/99-ct.conf
else
	skip "its command" "no systemd-sysctl"
fi

# --- make uninstall -----------------------------------------------------------

check "make uninstall" install_it --uninstall
check "... leaves what was there" same "$(files)" "$was"

# --- packages -----------------------------------------------------------------

package() { DESTDIR=$dir/package "$root/scripts/install" "$@" >"$dir/said" 2>&1; }
in_package() { (cd "$dir/package" && find . -type f -printf "%P\n" | LC_ALL=C sort | tr "\n" " "); }
check "a package of settings" package --settings
check "... is below /usr/lib" same "$(in_package)" \
	"usr/lib/modprobe.d/rust_ct.conf usr/lib/udev/rules.d/60-rust_ct.rules "
rm -r "$dir/package"
check "a package of modules" package --modules "$built/rust_ct.ko"
check "... is there, too" same "$(in_package)" \
	"$(printf "usr/lib/modules/$(uname -r)/updates/%s " rust_ct.ko rust_ct/rct_nf_{conntrack,conntrack_netlink,nat}.ko)"
tap_finish
