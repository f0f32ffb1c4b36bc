# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
#
# Rules of nft and iptables; and for scripts that load the kernel's own modules that
# live on a tracker, use each of them once, and unload it again. To be sourced after
# lib.sh.
#
# On an emulated processor a program takes half a second to start. So rules are set,
# counted and cleared with one program each, and nothing is cleared that was not used.

# --- rules ------------------------------------------------------------------

used_nft=() used_tables=()

remember_table() { # NS TABLE
	[[ " ${used_tables[*]} " == *" $1/$2 "* ]] || used_tables+=("$1/$2")
}

# Rules from standard input.
nft_load() {
	[[ " ${used_nft[*]} " == *" $R "* ]] || used_nft+=("$R")
	in_ns "$R" nft -f -
}

# A table with a counter "n", a chain before tracking is over and one in between.
# (FORWARD-RULES [PREROUTING-RULES [MORE]])
nft_rules() {
	nft_load <<-RULES
		table ip t {
			counter n { }
			${3:-}
			chain before { type filter hook prerouting priority -300; ${2:-} ; }
			chain forward { type filter hook forward priority 0; $1 ; }
		}
	RULES
}

# A chain for both families. (HOOK-AND-PRIORITY RULE...)
nft_chain() {
	nft_load <<-RULES
		table inet rules {
			chain ${1// /_} {
				type filter hook $1
				$(printf '%s\n' "${@:2}")
			}
		}
	RULES
}

nft_hits() { # NUMBER [NS FAMILY]
	local found
	found=$(in_ns "${2:-$R}" nft list counter "${3:-ip}" t n)
	[[ $found =~ packets\ ([0-9]+) ]] && same "${BASH_REMATCH[1]}" "$1"
}

# The tool of the family at hand.
ipt_command() { # NS save|restore ARGUMENT...
	local tool=iptables
	[[ $FAMILY == ipv4 ]] || tool=ip6tables
	in_ns "$1" "$tool-legacy-$2" "${@:3}"
}

# Appends rules, each "TABLE CHAIN REST". (NS RULE...)
ipt_in() {
	local ns=$1 rule text=
	shift
	for rule; do
		remember_table "$ns" "${rule%% *}"
		text+="*${rule%% *}"$'\n'"-A ${rule#* }"$'\nCOMMIT\n'
	done
	ipt_command "$ns" restore -w -n <<<"$text"
}
ipt() { ipt_in "$R" "$@"; }

# How many packets the rules of a table have seen, in order. (NS TABLE NUMBER...)
ipt_hits_in() {
	local found=() line
	while IFS= read -r line; do
		[[ ! $line =~ ^\[([0-9]+):[0-9]+\]\ -A ]] || found+=("${BASH_REMATCH[1]}")
	done < <(ipt_command "$1" save -c -t "$2")
	same "${found[*]}" "${*:3}"
}
ipt_hits() { ipt_hits_in "$R" "$@"; }

clear_rules() {
	local ns tables table
	for ns in "${used_nft[@]}"; do
		in_ns "$ns" nft flush ruleset
	done
	for ns in "${namespaces[@]}"; do
		tables=
		for table in "${used_tables[@]}"; do
			[[ $table != "$ns"/* ]] || tables+="*${table#*/}"$'\nCOMMIT\n'
		done
		[[ -z $tables ]] || ipt_command "$ns" restore -w <<<"$tables"
	done
	used_nft=() used_tables=()
}

# --- loading and unloading --------------------------------------------------

references() { REFERENCES=$(</sys/module/"$MODULE"/refcnt); }

is_pinned() {
	references && that "$REFERENCES > 0" && refused t rmmod "$MODULE" && same "$ANSWER" EAGAIN
}

is_free() { references && ((REFERENCES == 0)); }

unload_with_holders() { # MODULE
	local holder
	for holder in /sys/module/"$1"/holders/*; do
		[[ ! -e $holder ]] || unload_with_holders "${holder##*/}"
	done
	t rmmod "$1"
}

# Rules go away in the background, and with them what they hold.
is_released() { # CONSUMER
	local holder
	[[ ! -d /sys/module/$1 ]] || unload_with_holders "$1"
	for holder in /sys/module/"$MODULE"/holders/*; do
		[[ ! -e $holder ]] || unload_with_holders "${holder##*/}"
	done
	[[ ! -d /sys/module/$1 ]] && is_free && return
	echo "# $1: tracker has $REFERENCES references: $(ls "/sys/module/$MODULE/holders")"
	return 1
}

# A module that imports from the tracker, and what it is used for, each "--" a thing.
# (MODULE COMMAND... [-- COMMAND...]...)
consumer() { consume is_pinned "$@"; }

# One that uses the tracker through its hooks alone.
neighbour() { consume true "$@"; }

consume() { # PINNED MODULE COMMAND... [-- COMMAND...]...
	local pinned=$1 module=$2 command=() said word
	shift 2
	((!${#only[@]})) || [[ " ${only[*]} " == *" $module "* ]] || return 0
	if ! said=$(modprobe "$module" 2>&1); then
		if [[ $said == *"not found in directory"* ]]; then
			skip "$module" "not in this kernel"
		else
			fail "$module: loads"
			diag "$said"
		fi
		return
	fi
	check "$module: while it is there, the tracker cannot go" "$pinned"
	for word in "$@" --; do
		if [[ $word != -- ]]; then
			command+=("$word")
			continue
		fi
		port=$((port + 1))
		[[ ${command[0]} != in_bridge ]] || word=${command[1]}
		[[ $word != -- ]] || word=${command[0]}
		check "$module: ${word//_/ }" "${command[@]}"
		clear_rules
		command=()
	done
	check "$module: gone, and the tracker is free" wait_for 10 is_released "${module//-/_}"
}

# What follows the last consumer.
consumers_finish() {
	check "after them the tracker can be unloaded" unload_tracker "$TRACKER"
	check "... and loaded again" load_tracker "$TRACKER"
	port=$((port + 1))
	check "... a packet passes" flow
	check "... and makes an entry" its_entry '[UNREPLIED]'
	tap_finish
}

# --- one packet -------------------------------------------------------------

port=20000

flow() { must passed -- inject c udp "$X,$port" "$Y,9" len=10; }
answer() { must passed -- inject s udp "$Y,9" "$X,$port" len=10; }
no_expectations() { must cat "$R" /proc/net/nf_conntrack_expect && same "${LINES[*]}" ""; }
its_entry() { entry "$R" udp "sport=$port" "$@"; }

# Opens a TCP connection. (CLIENT-PORT SERVER-PORT)
tcp_opens() {
	must passed -- inject c tcp "$X,$1" "$Y,$2" S seq=1000 mss=1460 &&
		must passed -- inject s tcp "$Y,$2" "$X,$1" SA seq=5000 ack=1001 mss=1460 &&
		must passed -- inject c tcp "$X,$1" "$Y,$2" A seq=1001 ack=5001
}
