#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Which tracker is loaded when one is asked for: rust_ct, for modules that were built
# against the C tracker, even while it is being loaded; the C one where rust_ct cannot
# be, and not in silence. Then modules that live on it are unloaded under traffic, with
# the connections that they made still there.
#
# Begins and ends with no tracker. Writes to /etc/modprobe.d: for throw-away machines.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"
# shellcheck source=selftests/lib/libconsumers.sh
source "$SELFTESTS/lib/libconsumers.sh"

tap_begin nft iptables-legacy tc insmod conntrack
module=$(rust_ct_module) || skip_all "no rust_ct.ko (RUST_CT_KO says where)"
[[ $(tracker_loaded) == none ]] || skip_all "a tracker is loaded: unload it first"
modprobe -qn nf_conntrack || skip_all "no nf_conntrack module"
modprobe -a nf_defrag_ipv4 nf_defrag_ipv6 || skip_all "no nf_defrag modules"
modprobe -q nfnetlink
MODULE=rust_ct
dir=$(mktemp -d)
conf=/etc/modprobe.d/rust_ct.conf
before=$([[ ! -e $conf ]] || cat "$conf")
helpers=()

at_end() {
	((!${#helpers[@]})) || kill "${helpers[@]}" 2>/dev/null
	if [[ -n $before ]]; then
		echo "$before" >$conf
	else
		rm -f $conf
	fi
	rm -rf "$dir"
}

# What "make install" makes of it, but for the place of the module. (COMMAND)
install_rust_ct() {
	grep -v '^install rust_ct ' "$SELFTESTS/../scripts/modprobe.d/rust_ct.conf" >$conf &&
		echo "install rust_ct $1" >>$conf
}
# As modprobe does, it accepts a module that another process has just loaded.
readonly LOAD="/sbin/insmod $module \$CMDLINE_OPTS || grep -qx live /sys/module/rust_ct/initstate"

# Not by /sys/module: rust_ct is there under the C modules' names, too.
is_loaded() { grep -q "^$1 " /proc/modules; }
only_rust_ct() { is_loaded rust_ct && ! is_loaded nf_conntrack; }

users_leave() {
	local holder
	for holder in "/sys/module/$MODULE/holders"/*; do
		[[ ! -e $holder ]] || unload_with_holders "${holder##*/}"
	done
	is_free
}
none_is_left() {
	clear_rules
	wait_for 20 users_leave && rmmod "$MODULE" && ! is_loaded rust_ct && ! is_loaded nf_conntrack
}

setup_router
use_family 4

# --- which one is loaded ----------------------------------------------------

install_rust_ct "$LOAD" || skip_all "$conf cannot be written"
rule_asks() { nft_rules "udp sport $port ct state new counter name n"; }
match_asks() { ipt "filter FORWARD -p udp --sport $port -m conntrack --ctstate NEW"; }
check "a module that was built against the C tracker is loaded" modprobe nft_ct
check "... and gets rust_ct" only_rust_ct
check "... they leave" none_is_left
check "a rule is made, and the kernel looks for what it needs" rule_asks
check "... and gets rust_ct" only_rust_ct
check "... the rule works" flow
check "... it has seen the packet" nft_hits 1
check "... they leave" none_is_left
check "the same with iptables" match_asks
check "... and gets rust_ct" only_rust_ct
check "... the rule works" flow
check "... it has seen the packet" ipt_hits filter 1
check "... they leave" none_is_left
check "the C tracker is asked for by name" modprobe nf_conntrack
check "... rust_ct comes" only_rust_ct
check "... and leaves" none_is_left
check "the tracker of IPv4 is asked for" modprobe nf_conntrack-2
check "... rust_ct comes" only_rust_ct
check "... and leaves" none_is_left

list_entries() { in_ns "$R" conntrack -L >/dev/null 2>&1; }
check "conntrack asks by netlink" list_entries
check "... and gets rust_ct" only_rust_ct
check "... it leaves" none_is_left
check "the C tracker's netlink view is asked for by name" modprobe nf_conntrack_netlink
check "... rust_ct comes" only_rust_ct
check "... without it" refused is_loaded nf_conntrack_netlink
check "... and leaves" none_is_left

# --- rust_ct cannot be loaded -----------------------------------------------

warnings() { kernel_log | grep -c 'rust_ct: could not be loaded'; }
install_rust_ct /bin/false
check "rust_ct could be loaded each time" same "$(warnings)" 0
MODULE=nf_conntrack
check "where rust_ct cannot be loaded, there is a tracker all the same" modprobe nft_ct 2>"$dir/said"
check "... the C one" is_loaded nf_conntrack
check "... modprobe says so" grep -q 'rust_ct: could not be loaded.*C tracker' "$dir/said"
check "... the kernel log too" same "$(warnings)" 1
check "... it works" rule_asks
check "... on a packet" flow
check "... that it has seen" nft_hits 1
check "... they leave" none_is_left
MODULE=rust_ct
install_rust_ct "$LOAD"

# --- all at once ------------------------------------------------------------

# New flows, that ask a TFTP server for files, and in each round a TCP transfer.
python3 "$SELFTESTS/lib/stress.py" flood "$C" eth0 $MAC_C $MAC_RC $X4 $Y4 69 \
	10 "$(scaled 0.05 0.3)" 0001610061000000 >"$dir/flood" &
helpers+=($!)
must listen l "$S" $S4 80
must connected -- connect a "$C" $S4 80
must accept b l
begin_transfer() { must bulk x a b "$(scaled 300000 30000)"; }

rounds=$(scaled 4 2) failed=
for ((round = 1; round <= rounds; round++)); do
	port=$((port + 1)) loaders=()
	begin_transfer
	used_nft+=("$R")
	for name in rust_ct nft_ct xt_conntrack nf_conntrack_tftp nf_conntrack; do
		modprobe "$name" 2>>"$dir/said" &
		loaders+=($!)
	done
	in_ns "$R" nft "table ip t { chain f { type filter hook forward priority 0; ct state new ct mark set 1; }; }" &
	loaders+=($!)
	for loader in "${loaders[@]}"; do
		wait "$loader" || failed+=" $round:$loader"
	done
	only_rust_ct || failed+=" $round:not-alone"
	flow && its_entry mark=1 || failed+=" $round:flow"
	none_is_left || failed+=" $round:unload"
	must await x || failed+=" $round:transfer"
done
check "$rounds times, six at once asked for rust_ct, under traffic" same "$failed" "" || diag "$(<"$dir/said")"
check "... and never got the C one" same "$(warnings)" 1

# --- unloading under traffic ------------------------------------------------

add_rules() {
	used_nft+=("$R")
	in_ns "$R" nft -f - <<-RULES &&
		table ip t {
			counter n { }
			flowtable ft { hook ingress priority 0; devices = { toc, tos }; }
			chain forward {
				type filter hook forward priority 0;
				ct state established ip protocol tcp flow add @ft
				ct state new ct mark set 5 counter name n
				udp dport 69 ct count over 5000 drop
			}
		}
	RULES
		ipt "raw PREROUTING -p udp --dport 69 -j CT --helper tftp --zone-orig 3" \
			"filter FORWARD -m helper --helper tftp -m connlabel --label 3 --set" \
			"mangle FORWARD -m connmark --mark 5 -j CONNMARK --save-mark" &&
		in_ns "$R" tc qdisc add dev tos clsact &&
		in_ns "$R" tc filter add dev tos egress protocol ip flower ip_proto udp action ct commit zone 7
}
some_flows() {
	local found
	found=$(in_ns "$R" nft list counter ip t n)
	[[ $found =~ packets\ ([0-9]+) ]] && ((BASH_REMATCH[1] > 20))
}
some_expectations() { must cat "$R" /proc/net/nf_conntrack_expect && ((${#LINES[@]} > 5)); }

modprobe rust_ct
rounds=$(scaled 3 2) failed=
for ((round = 1; round <= rounds; round++)); do
	begin_transfer
	add_rules || failed+=" $round:rules"
	wait_for 20 quiet some_flows || failed+=" $round:no-flows"
	wait_for 20 quiet some_expectations || failed+=" $round:no-expectations"
	in_ns "$R" tc qdisc del dev tos clsact
	clear_rules
	wait_for 20 users_leave || failed+=" $round:users: $(ls /sys/module/rust_ct/holders)"
	must await x || failed+=" $round:transfer"
done
check "$rounds times, all that rules had loaded was unloaded under traffic" same "$failed" ""
count_some() { get_ct "$R" count && that "VALUE > 20"; }
check "... the connections are still there" count_some
check "... what a helper expected went with it" no_expectations
check "rust_ct is unloaded under traffic" rmmod rust_ct
kill "${helpers[@]}"
wait "${helpers[@]}"
helpers=()
flows=$(tail -n 1 "$dir/flood")
check "... of $flows flows" that "${flows:-0} > 50"
check "... with all its entries" same "$(awk '$1 == "nf_conntrack"' /proc/slabinfo)" ""
tap_finish
