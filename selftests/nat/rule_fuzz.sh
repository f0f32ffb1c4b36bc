#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Rules by chance (rule_fuzz.py), by root of a user namespace, with packets that meet them; beside
# listeners that never read, namespaces that come and go, and a table at its limit (surroundings.py).
# (SECONDS [SEED]; without a seed another one each time, which is printed)

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"
# shellcheck source=selftests/lib/libfuzz.sh
source "$SELFTESTS/lib/libfuzz.sh"

seconds=${1:-60} seed=${2:-}
tap_begin nft unshare
need_tracker
if [[ $TRACKER == stock ]]; then
	modprobe -a nf_conntrack_netlink nf_nat || skip_all "no nf_conntrack_netlink or nf_nat module"
fi
: "${seed:=$RANDOM$RANDOM}"
# All that is asked for, beforehand: a program for each name by chance would take most of the time.
for module in nf_conntrack_{ftp,tftp,sip,irc,pptp,h323,amanda,netbios_ns,snmp,sane} \
	nf_nat_{ftp,tftp,sip,irc,pptp,h323,amanda} \
	nft_{chain_nat,compat,nat,masq,redir,ct,connlimit,synproxy,flow_offload,limit} \
	nft_reject{,_ipv4,_ipv6,_inet} \
	nf_flow_table nf_flow_table_inet nfnetlink_cttimeout nfnetlink_cthelper \
	xt_{nat,CT,NETMAP,REDIRECT,MASQUERADE,CONNSECMARK} \
	xt_{connmark,conntrack,connlimit,connbytes,helper,connlabel,state,cluster} \
	ipt_SYNPROXY ip6t_SYNPROXY veth; do
	modprobe -q $module
done
options=()
for module in {iptable,ip6table}_{nat,raw,mangle,filter}; do
	! modprobe -q $module || options=(--legacy)
done

# Root of a user namespace: a process that keeps it.
unshare --map-root-user --net sleep infinity &
tenant=$!
in_tenant() { nsenter --user --net --preserve-credentials --target $tenant "$@"; }
is_tenant() { [[ $(readlink /proc/$tenant/ns/net) != "$(readlink /proc/self/ns/net)" ]]; }
wait_for 10 is_tenant
readonly LOADER=/proc/sys/kernel/modprobe
loader=$(<$LOADER)
at_end() {
	echo "$loader" >$LOADER
	kill $tenant
} 2>/dev/null
in_tenant ip link set lo up

echo >$LOADER
surround 150 /proc/$tenant/ns/net
relay fuzz "" in_tenant python3 "$SELFTESTS/nat/rule_fuzz.py" --seed "$seed" --seconds "$seconds" --watch "$WATCHED" \
	"${options[@]}"
surround_end
echo "$loader" >$LOADER
kill $tenant && wait $tenant 2>/dev/null
at_end() { :; }
all_goes
tap_finish
