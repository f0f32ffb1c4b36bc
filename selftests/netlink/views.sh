#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What the tracker shows in /proc and lets be set there, to the letter: parsers and
# scripts have relied on it for twenty years. The expectations are what the C
# tracker of the same kernel shows.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

tap_begin
need_tracker
SYSCTL=/proc/sys/net/netfilter
save_table
at_end() { [[ ! -d $SYSCTL ]] || restore_table; }
setup_router

# --- parameters, by the C module's name --------------------------------------

# kube-proxy and tuning scripts read and write these; modprobe asks for "live".
[[ $TRACKER == rust_ct ]] || modprobe -a nf_nat nf_conntrack_netlink
folder=/sys/module/nf_conntrack
mode_of() { command stat -c '%a %u %g' "$folder/parameters/$1"; }
is_refused() { # ERROR COMMAND...
	local said
	if said=$("${@:2}" 2>&1); then
		diag "is not refused"
		return 1
	fi
	[[ $said == *"$1"* ]] || diag "refused by: $said"
	[[ $said == *"$1"* ]]
}
give() { (echo "$2" >"$folder/parameters/$1"); } # PARAMETER VALUE
shows() { same "$(<"$folder/parameters/$1")" "$2"; }
check "each module is in /sys/module" test -d $folder -a -d /sys/module/nf_nat -a -d /sys/module/nf_conntrack_netlink
for name in nf_conntrack nf_nat nf_conntrack_netlink; do
	check "... and live: $name" same "$(</sys/module/$name/initstate)" live
done
# A stub module, or the module itself, shows them; both may show more.
for parameter in "hashsize 600" "expect_hashsize 400" "acct 644" "tstamp 644"; do
	check "... with a parameter: $parameter" same "$(mode_of "${parameter% *}")" "${parameter#* } 0 0"
done
check "... and not enable_hooks" test ! -e $folder/parameters/enable_hooks
check "hashsize is that of the table" shows hashsize "$(<$SYSCTL/nf_conntrack_buckets)"
max_before=$(<$SYSCTL/nf_conntrack_max)
check "... it is written" give hashsize 4096
check "... and the table has it" same "$(<$SYSCTL/nf_conntrack_buckets)" 4096
check "... its limit stays" same "$(<$SYSCTL/nf_conntrack_max)" "$max_before"
check "... read again" shows hashsize 4096
for value in 0 -1 many 99999999999; do
	check "hashsize=$value is refused" refused give hashsize "$value" 2>/dev/null
done
check "... and nothing has changed" shows hashsize 4096
# Not in a mount namespace of its own, which would have another /sys.
elsewhere() { nsenter --net="/run/netns/$1" bash -c "echo $2 >$folder/parameters/hashsize"; }
check "hashsize from another network namespace is refused" is_refused "not supported" elsewhere "$R" 8192
# Of an unprivileged user, root in namespaces of its own.
as_tenant() { setpriv --reuid 65534 --regid 65534 --clear-groups unshare -Urn bash -c "$1"; }
if as_tenant true 2>/dev/null; then
	check "root of a user namespace cannot write it" \
		is_refused "Permission denied" as_tenant "echo 8192 >$folder/parameters/hashsize"
	check "... nor read it" is_refused "Permission denied" as_tenant "cat $folder/parameters/hashsize"
	check "... nor write acct" is_refused "Permission denied" as_tenant "echo 1 >$folder/parameters/acct"
	check "... but read it, as others may" as_tenant "grep -q '^[YN]$' $folder/parameters/acct"
else
	skip "root of a user namespace cannot write it" "no user namespaces"
fi
check "... and nothing has changed" shows hashsize 4096
for parameter in acct tstamp; do
	before=$(<$folder/parameters/$parameter)
	check "$parameter is off" same "$before" N
	check "... is written" give $parameter 1
	check "... and on" shows $parameter Y
	ns_add T
	setting=nf_conntrack_${parameter/tstamp/timestamp}
	check "... in a new namespace" same "$(in_ns "$T" cat $SYSCTL/$setting)" 1
	ip netns del "$T"
	check "... nothing but a switch is taken" refused give $parameter 7 2>/dev/null
	give $parameter 0
done
check "expect_hashsize is some number" that "$(<$folder/parameters/expect_hashsize) > 0"
restore_table

# --- settings ---------------------------------------------------------------

# Name, default in a new namespace, kind.
settings='
nf_conntrack_max                         -       limit
nf_conntrack_count                       0       count
nf_conntrack_buckets                     -       limit
nf_conntrack_checksum                    1       switch
nf_conntrack_log_invalid                 0       byte
nf_conntrack_acct                        0       switch
nf_conntrack_timestamp                   0       switch
nf_conntrack_generic_timeout             600     seconds
nf_conntrack_tcp_timeout_syn_sent        120     seconds
nf_conntrack_tcp_timeout_syn_recv        60      seconds
nf_conntrack_tcp_timeout_established     432000  seconds
nf_conntrack_tcp_timeout_fin_wait        120     seconds
nf_conntrack_tcp_timeout_close_wait      60      seconds
nf_conntrack_tcp_timeout_last_ack        30      seconds
nf_conntrack_tcp_timeout_time_wait       120     seconds
nf_conntrack_tcp_timeout_close           10      seconds
nf_conntrack_tcp_timeout_max_retrans     300     seconds
nf_conntrack_tcp_timeout_unacknowledged  300     seconds
nf_conntrack_tcp_loose                   1       switch
nf_conntrack_tcp_be_liberal              0       switch
nf_conntrack_tcp_ignore_invalid_rst      0       switch
nf_conntrack_tcp_max_retrans             3       byte
nf_conntrack_udp_timeout                 30      seconds
nf_conntrack_udp_timeout_stream          120     seconds
nf_conntrack_icmp_timeout                30      seconds
nf_conntrack_icmpv6_timeout              30      seconds
nf_conntrack_events                      2       three
nf_conntrack_expect_max                  -       limit
nf_conntrack_gre_timeout                 30      seconds
nf_conntrack_gre_timeout_stream          180     seconds
nf_conntrack_sctp_timeout_closed             10      seconds
nf_conntrack_sctp_timeout_cookie_wait        3       seconds
nf_conntrack_sctp_timeout_cookie_echoed      3       seconds
nf_conntrack_sctp_timeout_established        210     seconds
nf_conntrack_sctp_timeout_shutdown_sent      3       seconds
nf_conntrack_sctp_timeout_shutdown_recd      3       seconds
nf_conntrack_sctp_timeout_shutdown_ack_sent  3       seconds
nf_conntrack_sctp_timeout_heartbeat_sent     30      seconds
nf_flowtable_tcp_timeout                 30      seconds
nf_flowtable_udp_timeout                 30      seconds
'
[[ $TRACKER != rust_ct ]] || settings+='nf_conntrack_udp_unreplied_max 300 seconds'

value() { must cat "$1" "$SYSCTL/$2" && VALUE=${LINES[0]}; } # NS NAME

# A value that is taken, and shows. (NS NAME VALUE)
takes() {
	must write "$1" "$SYSCTL/$2" "$3" && value "$1" "$2" && same "$VALUE" "$3"
}
# One that is not, and changes nothing. (NS NAME VALUE [ERRNO])
leaves() {
	value "$1" "$2" || return
	local before=$VALUE
	if t write "$1" "$SYSCTL/$2" "$3"; then
		diag "'$3' was accepted, and made it '$(value "$1" "$2" && echo "$VALUE")'"
		return 1
	fi
	same "$ANSWER" "${4:-EINVAL}" && value "$1" "$2" && same "$VALUE" "$before"
}

# Everything about one setting. (NAME DEFAULT KIND)
setting() {
	local name=$1 default=$2 mode=644 good=() bad=()
	case $3 in
	switch) good=(0 1 "$default") bad=(2 -1 256 yes) ;;
	three) good=(0 1 2) bad=(3 -1 yes) ;;
	byte) good=(0 1 255 "$default") bad=(256 -1 yes) ;;
	seconds) good=(0 1 86400 2000000 "$default") bad=(99999999999 yes 1x) ;;
	limit) mode=444 bad=() ;;
	count) mode=444 ;;
	esac
	must "$mode" -- mode "$R" "$SYSCTL/$name" || return
	value "$R" "$name" || return
	[[ $default == - ]] || same "$VALUE" "$default" || return
	local text
	for text in "${good[@]}"; do
		takes "$R" "$name" "$text" || return
	done
	for text in "${bad[@]}"; do
		leaves "$R" "$name" "$text" || return
	done
	case $3 in
	limit)
		# Root of the first namespace sets it, for all of them.
		must 644 -- mode - "$SYSCTL/$name" && leaves "$R" "$name" 1000 EACCES || return
		value - "$name" && same "$VALUE" "$(value "$R" "$name" && echo "$VALUE")" || return
		local before=$VALUE
		leaves - "$name" 0 && leaves - "$name" many && leaves - "$name" 99999999999 || return
		takes - "$name" 65536 && value "$R" "$name" && same "$VALUE" 65536 && takes - "$name" "$before"
		;;
	count)
		must 444 -- mode - "$SYSCTL/$name" && leaves - "$name" 5 EACCES
		;;
	*)
		# The other namespaces do not notice.
		takes "$R" "$name" 0 && value "$S" "$name" && same "$VALUE" "$default" && takes "$R" "$name" "$default"
		;;
	esac
}

# --- settings of new namespaces -----------------------------------------------

# Settings and values that are none of the defaults.
others() {
	local name default kind
	while read -r name default kind; do
		case $kind in
		switch) echo "$name $((1 - default))" ;;
		three) echo "$name 1" ;;
		byte) echo "$name $((default + 4))" ;;
		seconds) echo "$name $((default + 7))" ;;
		esac
	done <<<"$settings"
	printf '%s 0\n' nf_nat_{thorough_search,reserve,avoid_local_ports,oldest_first}
}
# Runs "NAME VALUE" lines through the namespace of the caller.
readonly SET='while read -r name value; do echo $value >/proc/sys/net/netfilter/$name; done'
readonly DIFFER='while read -r name value; do
	[[ $(</proc/sys/net/netfilter/$name) == "$value" ]] || echo "$name"; done'
if [[ $TRACKER == rust_ct ]]; then
	inherit=/sys/module/rust_ct/parameters/inherit
	number=$(others | wc -l)
	before=$(others | while read -r name _; do echo "$name $(<$SYSCTL/$name)"; done)
	all() { same "$(others | unshare -n bash -c "$DIFFER" | wc -l)" "$1"; }
	all_below() { same "$(others | in_ns "$1" unshare -n bash -c "$DIFFER" | wc -l)" "$2"; }
	check "inherit: 0 at first" same "$(<$inherit)" 0
	others | bash -c "$SET"
	check "... the first namespace has other settings than the defaults" same "$(others | bash -c "$DIFFER")" ""
	check "... a new one has the defaults" all "$number"
	echo 1 >$inherit
	check "inherit=1: a new one has those of the first" all 0
	check "... also one that is made within another" all_below "$R" 0
	check "... those that exist keep theirs" same "$(others | in_ns "$R" bash -c "$DIFFER" | wc -l)" "$number"
	echo 3 >$inherit
	check "inherit=3: one that is made within another has that one's" all_below "$R" "$number"
	others | in_ns "$R" bash -c "$SET"
	bash -c "$SET" <<<"$before"
	check "... also what was set there" all_below "$R" 0
	check "... and in the first one has the first one's" all "$number"
	sed 's/$/ /' <<<"$before" | in_ns "$R" bash -c "$SET"
	echo 2 >$inherit
	check "inherit=2: the defaults" all "$number"
	check "... there is no inherit=4" refused bash -c "echo 4 >$inherit" 2>/dev/null
	echo 0 >$inherit
else
	skip "inherit" "not the C tracker's"
fi

# Those of nf_defrag_ipv6 stand beside them.
known=' nf_conntrack_frag6_timeout nf_conntrack_frag6_low_thresh nf_conntrack_frag6_high_thresh '
while read -r name default kind; do
	[[ -n $name ]] || continue
	known+="$name "
	check "$name: $kind, ${default/#-/by the size of the machine} at first" setting "$name" "$default" "$kind"
done <<<"$settings"
unknown=''
for path in "$SYSCTL"/nf_conntrack_* "$SYSCTL"/nf_flowtable_*; do
	[[ ! -e $path || $known == *" ${path##*/} "* ]] || unknown+=" ${path##*/}"
done
check "there are no other settings" same "$unknown" ""
check "nf_conntrack_max: -1 is refused" leaves - nf_conntrack_max -1
check "nf_conntrack_max: a number beyond int is refused" leaves - nf_conntrack_max 2147483648
check "nf_conntrack_max: the largest is taken" takes - nf_conntrack_max 2147483647
check "net.nf_conntrack_max is the same number" same "$(</proc/sys/net/nf_conntrack_max)" 2147483647
echo "$was_max" >$MAX
check "... and sets it" same "$(<$SYSCTL/nf_conntrack_max)" "$was_max"
check "... in the first namespace only" refused t cat "$R" /proc/sys/net/nf_conntrack_max
check "nf_conntrack_log_invalid: a protocol that somebody logs" takes "$R" nf_conntrack_log_invalid 6
must write - "$SYSCTL/nf_conntrack_acct" 1
ns_add N
check "a new namespace does not take over what is set in the first one" value "$N" nf_conntrack_acct
check "..." same "$VALUE" 0
must write - "$SYSCTL/nf_conntrack_acct" 0

# --- entries ----------------------------------------------------------------

# No machine is too slow to see them all to the end.
for name in udp_timeout icmp_timeout icmpv6_timeout generic_timeout tcp_timeout_syn_sent; do
	set_ct "$R" $name 600
done
must inject c udp $X4,1100 $Y4,53 len=10
must inject c tcp $X4,1101 $Y4,80 S seq=1 win=8000
must inject c icmp $X4 $Y4 8 0 word=77,1 len=8
must inject c ip $X4 $Y4 253 len=8
must inject c udp $X6,1102 $Y6,53 len=10
must inject c icmp $X6 $Y6 128 0 word=78,1 len=8
set_ct "$R" acct 1
must inject c udp $X4,1103 $Y4,53 len=10
must inject s udp $Y4,53 $X4,1103 len=20
set_ct "$R" timestamp 1
must inject c tcp $X4,1104 $Y4,80 S seq=1 win=8000
must inject s tcp $Y4,80 $X4,1104 SA seq=1 ack=2 win=8000
must inject c tcp $X4,1104 $Y4,80 A seq=2 ack=2 win=8000

x6=fd00:0001:0000:0000:0000:0000:0000:0009 y6=fd00:0002:0000:0000:0000:0000:0000:0009
v4="src=$X4 dst=$Y4" r4="src=$Y4 dst=$X4" v6="src=$x6 dst=$y6" r6="src=$y6 dst=$x6"
end=' zone=0 use=[12]'
lines=(
	"udp:ipv4     2 udp      17 [0-9]+ $v4 sport=1100 dport=53 \[UNREPLIED\] $r4 sport=53 dport=1100 mark=0$end"
	"tcp, one way:ipv4     2 tcp      6 [0-9]+ SYN_SENT $v4 sport=1101 dport=80 \[UNREPLIED\] $r4 sport=80 dport=1101 mark=0$end"
	"icmp:ipv4     2 icmp     1 [0-9]+ $v4 type=8 code=0 id=77 \[UNREPLIED\] $r4 type=0 code=0 id=77 mark=0$end"
	"a protocol without a name:ipv4     2 unknown  253 [0-9]+ $v4 \[UNREPLIED\] $r4 mark=0$end"
	"udp over ipv6:ipv6     10 udp      17 [0-9]+ $v6 sport=1102 dport=53 \[UNREPLIED\] $r6 sport=53 dport=1102 mark=0$end"
	"icmpv6:ipv6     10 icmpv6   58 [0-9]+ $v6 type=128 code=0 id=78 \[UNREPLIED\] $r6 type=129 code=0 id=78 mark=0$end"
	"udp, counted:ipv4     2 udp      17 [0-9]+ $v4 sport=1103 dport=53 packets=1 bytes=38 $r4 sport=53 dport=1103 packets=1 bytes=48 mark=0$end"
	"tcp, with its age:ipv4     2 tcp      6 [0-9]+ ESTABLISHED $v4 sport=1104 dport=80 packets=2 bytes=80 $r4 sport=80 dport=1104 packets=1 bytes=40 \[ASSURED\] mark=0${end/ use/ delta-time=[0-9]+ use}"
)
# Exactly one line is like that. (REGEX FILE)
one_line() {
	local line found=0
	must cat "$R" "$2" || return
	for line in "${LINES[@]}"; do
		[[ ! $line =~ ^$1$ ]] || found=$((found + 1))
	done
	((found == 1)) && return
	diag "$found lines are like '$1', of" "${LINES[@]}"
	return 1
}
for line in "${lines[@]}"; do
	check "/proc/net/nf_conntrack: ${line%%:*}" one_line "${line#*:}" /proc/net/nf_conntrack
done
check "... and no more than these" count_is "$R" ${#lines[@]}
check "... for root" must 440 -- mode "$R" /proc/net/nf_conntrack
check "... not to be written" refused t write "$R" /proc/net/nf_conntrack x
if [[ $TRACKER == rust_ct ]]; then
	more=(UNREPLIED SYN_SENT UNREPLIED UNREPLIED UNREPLIED UNREPLIED REPLIED ESTABLISHED)
	for i in "${!lines[@]}"; do
		check "/proc/net/rust_conntrack: ${lines[i]%%:*}" one_line \
			"${lines[i]#*:} state=${more[i]} expires=[0-9]+s id=[0-9]+" /proc/net/rust_conntrack
	done
	check "... for root" must 440 -- mode "$R" /proc/net/rust_conntrack
	same_seconds() {
		local i
		must cat "$R" /proc/net/nf_conntrack
		local classic=("${LINES[@]}")
		must cat "$R" /proc/net/rust_conntrack
		((${#LINES[@]} == ${#classic[@]})) || return
		for i in "${!classic[@]}"; do
			[[ ${LINES[i]} == "${classic[i]} "* ]] || return
			[[ ${LINES[i]} == *" expires=$(awk '{ print $5 }' <<<"${LINES[i]}")s "* ]] || return
		done
	}
	# The second may change in between.
	check "... each begins with the line of nf_conntrack, in the same order" wait_for 10 quiet same_seconds
	t cat "$R" /proc/net/rust_conntrack
	check "... with ids of their own" same "$(printf '%s\n' "${LINES[@]}" | grep -o ' id=[0-9]*$' | sort -u | wc -l)" ${#lines[@]}
	ids=$(printf '%s\n' "${LINES[@]}" | grep -o ' id=[0-9]*$')
	t cat "$R" /proc/net/rust_conntrack
	check "... that stay" same "$(printf '%s\n' "${LINES[@]}" | grep -o ' id=[0-9]*$')" "$ids"
else
	skip "/proc/net/rust_conntrack" "not the stock tracker's"
fi
check "the older name /proc/net/ip_conntrack is gone" refused t cat "$R" /proc/net/ip_conntrack

# --- statistics -------------------------------------------------------------

must cat "$R" /proc/net/stat/nf_conntrack
check "/proc/net/stat/nf_conntrack: the names" same "${LINES[0]}" "entries  clashres found new invalid ignore\
 delete chainlength insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete\
 search_restart"
h='[0-9a-f]{8}'
form="^0{6}08  $h $h 00000000 $h 00000000 00000000 $h $h $h $h $h $h  $h $h $h $h$"
wrong=$(printf '%s\n' "${LINES[@]:1}" | grep -cvE "$form")
check "... numbers of eight digits, the number of entries in each line" same "$wrong" 0
possible=$(</sys/devices/system/cpu/possible)
check "... a line for each processor" same $((${#LINES[@]} - 1)) $((${possible#*-} + 1))
check "... for everybody" must 444 -- mode "$R" /proc/net/stat/nf_conntrack

# --- ids --------------------------------------------------------------------

# Entries lie at multiples of this in memory.
size=$(awk '$1 == "nf_conntrack" { print $4 }' /proc/slabinfo)
ns_add ids
most=$(<$MAX)
echo 65536 >$MAX
relay ids "" in_ns "$ids" python3 "$SELFTESTS/lib/secrets.py" ids $((size & -size))
echo "$most" >$MAX
ns_del "$ids"

# --- readers that take their time -------------------------------------------

many=$(scaled 300 60)
set_ct "$R" acct 0
set_ct "$R" udp_timeout 600
must flood c "$many" $X4 $Y4 dport=7
total=$((many + ${#lines[@]}))
# Everything that is left; each entry stands in the text once.
rest_of() { # NAME LINES
	while t read "$1" 700 && ((ANSWER > 0)); do :; done
	[[ $ANSWER == 0 ]] || diag "$ANSWER"
	t text "$1"
	local tuples
	tuples=$(printf '%s\n' "${LINES[@]}" | grep -cE '^ipv[46] .* use=[0-9]+( state=.*)?$')
	same "$tuples" "$2" || return
	same "$(printf '%s\n' "${LINES[@]}" | sed -E 's/^(\S+ +\S+ \S+ +\S+) [0-9]+/\1/; s/ (delta-time|use|expires)=[0-9]+s?//g' |
		sort | uniq -d)" ""
}
files=(nf_conntrack)
[[ $TRACKER != rust_ct ]] || files+=(rust_conntrack)
for file in "${files[@]}"; do
	must open f "$R" /proc/net/$file
	check "$file: in pieces of 700 bytes" rest_of f $total
	must close f
	must open f "$R" /proc/net/$file
	must read f 1
	check "$file: no more than is asked for" same "$ANSWER" 1
	must read f 5000
	if [[ $TRACKER == rust_ct ]]; then
		for size in 1024 16384; do
			echo $size >$SYSCTL/nf_conntrack_buckets
			must read f 3000
		done
		check "$file: a reader in the midst of new sizes misses nothing" rest_of f $total
	else
		skip "$file: a reader in the midst of new sizes misses nothing" "the stock tracker's does"
	fi
	must close f
done
must open keep "$R" /proc/net/nf_conntrack
must read keep 1000
must open stats "$R" /proc/net/stat/nf_conntrack
must read stats 10
ip netns del "$R"
check "a reader that keeps a namespace goes on" rest_of keep $total
check "... in the statistics too" must read stats 4000
must close keep
must close stats
check "... and lets it go" true

if [[ $TRACKER == rust_ct && -n ${RUST_CT_VM:-} ]] && module=$(rust_ct_module); then
	ip link set lo up
	must udp u - 4000
	must sendto u 127.0.0.1 4000 10
	must open f - /proc/net/nf_conntrack
	must open g - /proc/net/rust_conntrack
	must open h - /proc/net/stat/nf_conntrack
	must open i - $SYSCTL/nf_conntrack_count
	must open j - /sys/module/nf_conntrack/parameters/hashsize
	must open k - /sys/module/nf_nat/initstate
	must read f 10
	must read h 10
	check "readers are no reason not to unload" rmmod rust_ct
	for name in f g h; do
		check "... they get no more: file $name" refused t read $name 100
		check "... but an error" same "$ANSWER" EIO
	done
	check "... a setting that is gone says so" refused t read i 100
	check "..." same "$ANSWER" ENOENT
	for name in j k; do
		check "... a file of the C module's name is gone too: file $name" refused t read $name 100
		check "..." same "$ANSWER" ENODEV
	done
	for name in f g h i j k; do
		must close $name
	done
	check "loaded again" insmod "$module"
	check "... there are the files" test -e /proc/net/rust_conntrack
else
	skip "readers are no reason not to unload" "rust_ct in the test machine only"
fi
tap_finish
