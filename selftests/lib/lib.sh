# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
#
# What the scripts of the selftests share: results in TAP, network namespaces,
# traffic (traffic.py) and views of the tracker. To be sourced; needs root.
#
# Two trackers can be under test, the kernel's nf_conntrack and rust_ct; a script
# looks at what both of them show in /proc and need not know which one it is.

set -u
# Pipes to a helper that has died are a failed test, not a dead script.
trap '' PIPE

SELFTESTS=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
export LC_ALL=C PYTHONDONTWRITEBYTECODE=1

KSFT_PASS=0 KSFT_FAIL=1 KSFT_SKIP=4

# A debug kernel takes a hundred times as long for a packet: fewer of them there.
: "${SELFTEST_SCALE:=$([[ ${RUST_CT_KERNEL:-} == *debug ]] && echo small || echo normal)}"
if [[ $SELFTEST_SCALE == small ]]; then
	export SELFTEST_WAIT=${SELFTEST_WAIT:-40}
else
	export SELFTEST_WAIT=${SELFTEST_WAIT:-10}
fi

# The number for this kernel. (NORMAL SMALL)
scaled() { [[ $SELFTEST_SCALE == small ]] && echo "$2" || echo "$1"; }

# --- results ----------------------------------------------------------------

tests=0 failures=0
began=$SECONDS

diag() {
	local line
	while IFS= read -r line; do
		printf '# %s\n' "$line"
	done <<<"$*"
}

pass() {
	tests=$((tests + 1))
	printf 'ok %d - %s\n' $tests "$1"
}

fail() {
	tests=$((tests + 1)) failures=$((failures + 1))
	printf 'not ok %d - %s\n' $tests "$1"
}

skip() { # DESCRIPTION REASON
	tests=$((tests + 1))
	printf 'ok %d - %s # SKIP %s\n' $tests "$1" "$2"
}

# One result: that of a command. (DESCRIPTION COMMAND...)
check() {
	local what=$1
	shift
	if "$@"; then
		pass "$what"
	else
		fail "$what"
		diag "failed: $*"
		return 1
	fi
}

# The command must fail.
refused() { ! "$@"; }

# Both words are the same. (IS SHOULD)
same() {
	[[ $1 == "$2" ]] && return
	diag "is '$1', should be '$2'"
	return 1
}

# An arithmetic expression is true.
that() {
	(($1)) && return
	diag "is not so: $1"
	return 1
}

skip_all() {
	echo "TAP version 13"
	echo "1..0 # SKIP $*"
	finished=1
	exit "$KSFT_SKIP"
}

tap_begin() { # [TOOL]...
	[[ $EUID == 0 ]] || skip_all "needs root"
	local tool
	for tool in ip python3 "$@"; do
		command -v "$tool" >/dev/null || skip_all "needs $tool"
	done
	echo "TAP version 13"
	log_mark="selftest ${0##*/} $$ $RANDOM"
	echo "$log_mark" >/dev/kmsg
	trap cleanup EXIT
	trap 'exit 1' INT TERM HUP
}

tap_finish() {
	check "the kernel log has no report" log_is_clean
	printf '1..%d\n' $tests
	diag "$((tests - failures)) of $tests passed, $((SECONDS - began)) s"
	finished=1
	((failures)) && exit "$KSFT_FAIL"
	exit "$KSFT_PASS"
}

# The kernel log since the start of the script.
kernel_log() { dmesg | sed "1,/$log_mark/d"; }

log_is_clean() {
	local found
	found=$(kernel_log | grep -E -f "$SELFTESTS/lib/kernel-reports.txt")
	# Not 2: a search that failed is no clean log.
	(($? != 1)) || return 0
	diag "$found"
	return 1
}

finished=0
cleanup() {
	local status=$?
	traffic_end
	if declare -F at_end >/dev/null; then
		at_end
	fi
	((!${#namespaces[@]})) || printf 'netns del %s\n' "${namespaces[@]}" | ip -force -batch - 2>/dev/null
	if ((!finished)); then
		echo "Bail out! $0 ended early"
		exit "$KSFT_FAIL"
	fi
	exit $status
}

# --- waiting ----------------------------------------------------------------

# Repeats a command until it succeeds. (SECONDS COMMAND...)
wait_for() {
	local end=$((SECONDS + $1 * $(scaled 1 4)))
	shift
	until "$@" >/dev/null; do
		if ((SECONDS > end)); then
			"$@"
			return
		fi
		sleep 0.1
	done
}

# --- which tracker ----------------------------------------------------------

tracker_loaded() {
	if [[ -e /proc/net/rust_conntrack ]]; then
		echo rust_ct
	elif [[ -e /proc/net/nf_conntrack || -d /proc/sys/net/netfilter && -e /proc/sys/net/nf_conntrack_max ]]; then
		echo stock
	else
		echo none
	fi
}

need_tracker() {
	TRACKER=$(tracker_loaded)
	[[ $TRACKER != none ]] || skip_all "no connection tracker is loaded"
	[[ -r /proc/net/nf_conntrack ]] || skip_all "no /proc/net/nf_conntrack"
	diag "tracker: $TRACKER, kernel $(uname -r)"
	[[ $TRACKER == rust_ct ]] && MODULE=rust_ct || MODULE=nf_conntrack
}

rust_ct_module() {
	local candidate
	for candidate in "${RUST_CT_KO:-}" /run/rust_ct/rust_ct.ko \
		"$SELFTESTS/../build/${RUST_CT_KERNEL:-debian}/rust_ct.ko" "$SELFTESTS/../rust_ct.ko"; do
		if [[ -n $candidate && -e $candidate ]]; then
			echo "$candidate"
			return
		fi
	done
	return 1
}

# Loads a tracker with its hooks active in every namespace. (rust_ct|stock [PARAMETER]...)
load_tracker() {
	local which=$1 module
	shift
	case $which in
	stock) modprobe nf_conntrack enable_hooks=1 "$@" ;;
	rust_ct)
		module=$(rust_ct_module) || return
		# Not a module in each kernel.
		modprobe -q nfnetlink
		modprobe -a nf_defrag_ipv4 nf_defrag_ipv6 && insmod "$module" "$@"
		;;
	esac
}

unload_tracker() { # rust_ct|stock
	case $1 in
	stock)
		if [[ -d /sys/module/nf_conntrack_netlink ]]; then
			rmmod nf_conntrack_netlink || return
		fi
		rmmod nf_conntrack
		;;
	rust_ct) rmmod rust_ct ;;
	esac
}

# Unloads the modules that live on another, and those on them. Rules go away in the
# background, and with them what they hold.
unload_users() { wait_for 10 try_to_unload_users "$1"; } # MODULE
try_to_unload_users() {
	local user
	for user in "/sys/module/$1/holders"/*; do
		[[ -e $user ]] || continue
		try_to_unload_users "${user##*/}" && rmmod "${user##*/}" 2>/dev/null || return
	done
}

# --- the table --------------------------------------------------------------

# Both are the machine's, and can be written in the first namespace alone.
readonly BUCKETS=/proc/sys/net/netfilter/nf_conntrack_buckets MAX=/proc/sys/net/nf_conntrack_max

# For a script that changes them: at its end restore_table puts them back.
save_table() {
	[[ -w $BUCKETS && -w $MAX ]] || skip_all "$BUCKETS cannot be written: not the first namespace?"
	was_buckets=$(<$BUCKETS) was_max=$(<$MAX)
}
restore_table() { set_table "$was_buckets" "$was_max"; }
set_table() { # BUCKETS MAX
	echo "$1" >$BUCKETS
	echo "$2" >$MAX
}

# From one hash function to the other, as fast as it goes, until hash_stands. (FILE: the parameter)
changer=
hash_changes() {
	python3 -c 'import sys
while True:
    for name in "jhash", "siphash":
        open(sys.argv[1], "w").write(name)' "$1" &
	changer=$!
}
hash_stands() {
	[[ -n $changer ]] || return 0
	kill "$changer"
	wait "$changer" 2>/dev/null
	changer=
}

# --- namespaces -------------------------------------------------------------

namespaces=()

# Several commands of "ip" in one program, each a line: where processors are emulated, a
# start takes longer than what it does. (NS)
ip_batch() { ip -n "$1" -batch -; }

# Sets each named variable to a new namespace with a running loopback device.
ns_add() { # VARIABLE...
	local variable name new=()
	for variable; do
		name=ct-${variable,,}-$$-$RANDOM
		new+=("$name")
		printf -v "$variable" %s "$name"
	done
	printf 'netns add %s\n' "${new[@]}" | ip -batch - || skip_all "cannot make a network namespace"
	namespaces+=("${new[@]}")
	for name in "${new[@]}"; do
		ip -n "$name" link set lo up
		# What the kernel answers to a packet must not depend on when it came.
		in_ns "$name" sh -c 'cd /proc/sys/net
			echo 0 >ipv4/icmp_ratelimit
			echo 0 >ipv6/icmp/ratelimit
			echo 1000000 >ipv4/icmp_msgs_per_sec
			echo 1000000 >ipv4/icmp_msgs_burst' 2>/dev/null
	done
}

ns_del() { # NS
	local ns left=()
	ip netns del "$1"
	for ns in "${namespaces[@]}"; do
		[[ $ns == "$1" ]] || left+=("$ns")
	done
	namespaces=("${left[@]}")
}

# Runs a command in a namespace. /proc/net and /proc/sys/net are those of it.
in_ns() { # NS COMMAND...
	local ns=$1
	shift
	nsenter --net="/run/netns/$ns" "$@"
}

# The same, in place of the shell: what stands before "&" is what a signal then meets.
ns_exec() { # NS COMMAND...
	local ns=$1
	shift
	exec nsenter --net="/run/netns/$ns" "$@"
}

# Runs a program that says "ok WHAT" and "not ok WHAT", and "ok END" at its end, as checks of this
# test. Lines for compare.sh are passed on; what else it says is in LINES, too.
# (END PREFIX COMMAND...)
relay() {
	local line seen=0
	LINES=()
	while IFS= read -r line; do
		case $line in
		"ok $1") seen=1 ;;
		"ok "*) pass "$2${line#ok }" ;;
		"not ok "*) fail "$2${line#not ok }" ;;
		[=~]" "*) printf '%s\n' "$line" ;;
		*)
			LINES+=("$line")
			diag "${line#\# }"
			;;
		esac
	done < <("${@:3}" 2>&1)
	check "$2$1: to its end" that "$seen"
}

# Namespace R for messages of ctnetlink: with events, the helper of FTP, a rule that knows a label
# (else there are none), and one that puts UDP to port 7103 into queue 5.
setup_netlink() {
	if [[ $TRACKER == stock ]]; then
		modprobe -a nf_conntrack_netlink nf_nat || skip_all "no nf_conntrack_netlink or nf_nat module"
	fi
	modprobe nf_conntrack_ftp || skip_all "no FTP helper"
	ns_add R
	in_ns "$R" nft -f - <<-'RULES' || skip_all "nft does not take the rules"
		table inet t {
			chain c {
				type filter hook output priority 0
				ct label 5 counter
				udp dport 7103 queue num 5
			}
		}
	RULES
	in_ns "$R" sysctl -qw net.netfilter.nf_conntrack_events=1
}

# Joins two namespaces: (NS DEV MAC V4/24 V6/64) twice.
join() {
	ip_batch "$1" <<-LINES
		link add $2 address $3 type veth peer name $7 netns $6 address $8
		link set $2 up
		addr add $4 dev $2
		addr add $5 dev $2 nodad
	LINES
	ip_batch "$6" <<-LINES
		link set $7 up
		addr add $9 dev $7
		addr add ${10} dev $7 nodad
	LINES
}

readonly MAC_C=02:00:00:00:01:02 MAC_RC=02:00:00:00:01:01
readonly MAC_S=02:00:00:00:02:02 MAC_RS=02:00:00:00:02:01
# Hosts: the client, the router's two sides, the server ...
readonly C4=10.0.1.2 RC4=10.0.1.1 RS4=10.0.2.1 S4=10.0.2.2
readonly C6=fd00:1::2 RC6=fd00:1::1 RS6=fd00:2::1 S6=fd00:2::2
# ... and two that no host has, so that no kernel answers: for packets of our own
# making ("inject") into the router, from the client's and from the server's side.
readonly X4=10.0.1.9 Y4=10.0.2.9 X6=fd00:1::9 Y6=fd00:2::9

# Namespaces C, R and S: a client, a router and a server, IPv4 and IPv6.
setup_router() {
	ns_add C R S
	join "$C" eth0 $MAC_C $C4/24 $C6/64 "$R" toc $MAC_RC $RC4/24 $RC6/64
	join "$S" eth0 $MAC_S $S4/24 $S6/64 "$R" tos $MAC_RS $RS4/24 $RS6/64
	in_ns "$R" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward
		echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
	ip_batch "$C" <<-LINES
		route add default via $RC4
		route add default via $RC6
	LINES
	ip_batch "$S" <<-LINES
		route add default via $RS4
		route add default via $RS6
	LINES
	ip_batch "$R" <<-LINES
		neigh add $X4 lladdr $MAC_C dev toc nud permanent
		neigh add $X6 lladdr $MAC_C dev toc nud permanent
		neigh add $Y4 lladdr $MAC_S dev tos nud permanent
		neigh add $Y6 lladdr $MAC_S dev tos nud permanent
	LINES
	traffic_start
	local name
	for name in C4 S4 X4 Y4 RC4 RS4 C6 S6 X6 Y6 RC6 RS6; do
		t name "${!name}" "${name%[46]}"
	done
	t side c "$C" eth0 $MAC_C $MAC_RC $C4 $RC4
	t side s "$S" eth0 $MAC_S $MAC_RS $S4 $RS4
}

# Sets X, Y, RX, RY, CA and SA to the addresses of one family, as in the names
# above, FAMILY and ICMP to how /proc calls it, and HEADER to the size of its
# header. (4|6)
use_family() {
	if [[ $1 == 4 ]]; then
		FAMILY=ipv4 ICMP=icmp HEADER=20
		X=$X4 Y=$Y4 CA=$C4 SA=$S4 RX=$RC4 RY=$RS4
	else
		FAMILY=ipv6 ICMP=icmpv6 HEADER=40
		X=$X6 Y=$Y6 CA=$C6 SA=$S6 RX=$RC6 RY=$RS6
	fi
}

# An address as /proc writes it, into ADDR.
proc_addr() { # ADDRESS
	local head tail parts part n
	ADDR=$1
	[[ $1 == *:* ]] || return 0
	IFS=: read -ra head <<<"${1%%::*}"
	IFS=: read -ra tail <<<"${1#*::}"
	[[ $1 == *::* ]] || tail=()
	parts=("${head[@]}")
	for ((n = ${#head[@]} + ${#tail[@]}; n < 8; n++)); do
		parts+=(0)
	done
	ADDR=
	for part in "${parts[@]}" "${tail[@]}"; do
		printf -v ADDR '%s:%04x' "$ADDR" "0x$part"
	done
	ADDR=${ADDR#:}
}

# --- traffic ----------------------------------------------------------------

traffic_start() {
	coproc TRAFFIC { exec python3 "$SELFTESTS/lib/traffic.py" serve; }
	# shellcheck disable=SC2153
	exec {traffic_in}>&"${TRAFFIC[1]}" {traffic_out}<&"${TRAFFIC[0]}"
	traffic_pid=$!
	# It ends when its input has no writer any more.
	local spare_in=${TRAFFIC[1]} spare_out=${TRAFFIC[0]}
	exec {spare_in}>&- {spare_out}<&-
}

traffic_end() {
	[[ -n ${traffic_pid:-} ]] || return 0
	exec {traffic_in}>&- {traffic_out}<&-
	wait "$traffic_pid" 2>/dev/null
	traffic_pid=
}

# One command to traffic.py. ANSWER is what follows "ok" or "error", LINES are
# the lines of data.
t() {
	local line
	ANSWER='' LINES=()
	echo "$*" >&"$traffic_in"
	while IFS= read -r line <&"$traffic_out"; do
		case $line in
		'| '*) LINES+=("${line#| }") ;;
		ok*)
			ANSWER=${line#ok}
			ANSWER=${ANSWER# }
			return 0
			;;
		*)
			ANSWER=${line#error }
			return 1
			;;
		esac
	done
	ANSWER="traffic.py has died"
	return 1
}

# A command that must work and, optionally, answer with given words.
# (COMMAND...) or (ANSWER -- COMMAND...)
must() {
	local wanted=
	if [[ ${2:-} == -- ]]; then
		wanted=$1
		shift 2
	fi
	if ! t "$@"; then
		diag "$*: error $ANSWER"
		return 1
	fi
	if [[ -n $wanted && $ANSWER != "$wanted" ]]; then
		diag "$*: '$ANSWER' and not '$wanted'"
		return 1
	fi
}

# --- views of the tracker ---------------------------------------------------

# The entries of a namespace, into LINES.
entries() { must cat "$1" /proc/net/nf_conntrack; }

# A line has all of these words, in any order; none of those after a "!".
matches() { # LINE WORD...
	local line=" $1 " word
	shift
	for word; do
		if [[ $word == !* ]]; then
			[[ $line != *" ${word#!} "* ]] || return
		else
			[[ $line == *" $word "* ]] || return
		fi
	done
}

# How many entries match, into COUNT; the last of them into ENTRY.
count_entries() { # NS WORD...
	local ns=$1 line
	shift
	COUNT=0 ENTRY=
	entries "$ns" || return
	for line in "${LINES[@]}"; do
		if matches "$line" "$@"; then
			COUNT=$((COUNT + 1)) ENTRY=$line
		fi
	done
}

# Those of a failed test: what shares a port or the like with what was looked for.
show_entries() { # NS WORD...
	local line word shown=0 words=()
	entries "$1"
	for word in "${@:2}"; do
		[[ $word != *=* ]] || words+=("$word")
	done
	((${#words[@]})) || words=("${2:-use=2}")
	for line in "${LINES[@]}"; do
		for word in "${words[@]}"; do
			if ((shown < 10)) && matches "$line" "$word"; then
				diag "  there is $line"
				shown=$((shown + 1))
				break
			fi
		done
	done
	((shown)) || diag "  there is none, among ${#LINES[@]} entries"
}

# Exactly one entry matches.
entry() { # NS WORD...
	count_entries "$@" && ((COUNT == 1)) && return
	show_entries "$@"
	return 1
}

no_entry() { # NS WORD...
	count_entries "$@" && ((COUNT == 0)) && return
	show_entries "$@"
	return 1
}

# Exactly one entry matches, and it looks like a regular expression, or does not.
like() { # REGEX NS WORD...
	entry "${@:2}" || return
	[[ " $ENTRY " =~ $1 ]] && return
	diag "'$ENTRY' is not like '$1'"
	return 1
}
unlike() { # REGEX NS WORD...
	entry "${@:2}" || return
	[[ ! " $ENTRY " =~ $1 ]] && return
	diag "'$ENTRY' is like '$1'"
	return 1
}

# The same, for what takes a moment.
quiet() { "$@" >/dev/null; }
soon() { wait_for 5 "$@"; }

# Seconds an entry has left, into LEFT: the fifth word of its line.
lifetime() { # NS WORD...
	local words
	entry "$@" || return
	read -ra words <<<"$ENTRY"
	LEFT=${words[4]}
}

# An entry's lifetime is what it was set to, up to the time that the test takes.
# (SECONDS NS WORD...)
lives() {
	local should=$1
	shift
	lifetime "$@" || return
	((LEFT <= should && LEFT >= should - $(scaled 8 25))) && return
	diag "has $LEFT s left, should be $should: $ENTRY"
	return 1
}

# Packets and bytes of both directions. (PACKETS/BYTES PACKETS/BYTES NS WORD...)
counted() {
	local original=$1 reply=$2
	shift 2
	entry "$@" || return
	[[ $ENTRY =~ packets=([0-9]+)\ bytes=([0-9]+)\ .*packets=([0-9]+)\ bytes=([0-9]+)\  ]] || {
		diag "no counters: $ENTRY"
		return 1
	}
	same "${BASH_REMATCH[1]}/${BASH_REMATCH[2]} ${BASH_REMATCH[3]}/${BASH_REMATCH[4]}" \
		"$original $reply"
}

set_ct() { must write "$1" "/proc/sys/net/netfilter/nf_conntrack_$2" "$3"; } # NS NAME VALUE

get_ct() { # NS NAME -> VALUE
	must cat "$1" "/proc/sys/net/netfilter/nf_conntrack_$2" || return
	VALUE=${LINES[0]}
}

# Whether the slab has memory for so many entries and no more, but for one that each processor may
# have in hand. Fails where it cannot be asked. (ENTRIES)
slab_has() {
	local slab=/sys/kernel/slab/nf_conntrack objects
	[[ -w $slab/shrink ]] || return
	echo 1 >$slab/shrink
	read -r objects _ <$slab/objects
	that "$objects >= $1 && $objects <= $1 + $(nproc)"
}
count_is() { # NS NUMBER
	get_ct "$1" count && same "$VALUE" "$2"
}

# A column of /proc/net/stat/nf_conntrack, summed over processors, into VALUE.
stat() { # NS NAME
	local i column=-1 line words
	must cat "$1" /proc/net/stat/nf_conntrack || return
	read -ra words <<<"${LINES[0]}"
	for i in "${!words[@]}"; do
		[[ ${words[i]} != "$2" ]] || column=$i
	done
	((column >= 0)) || {
		diag "no column $2"
		return 1
	}
	VALUE=0
	for line in "${LINES[@]:1}"; do
		read -ra words <<<"$line"
		VALUE=$((VALUE + 16#${words[column]}))
		# The number of entries stands in every line.
		[[ $2 != entries ]] || break
	done
}

# By how much a statistic grows while a command runs. (NUMBER NS NAME COMMAND...)
grows() {
	local by=$1 ns=$2 name=$3 before
	shift 3
	stat "$ns" "$name" || return
	before=$VALUE
	"$@" || return
	stat "$ns" "$name" && same "$((VALUE - before))" "$by"
}

# One line of what compare.sh holds against the other tracker's: "= " for the
# table, "~ " for what is only shown when it differs. A key is "GROUP / ITEM".
result() { printf '= %s: %s\n' "$1" "$2"; }   # KEY VALUE
detail() { printf '~ %s: %s\n' "$1" "$2"; }

# Removes every entry of a namespace, as far as that is possible without netlink:
# a limit of one, and a new flow, would not do it. Entries expire instead.
drain() { # NS
	count_is "$1" 0 >/dev/null && return
	wait_for "${2:-20}" count_is "$1" 0
}
