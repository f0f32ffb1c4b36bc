#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Runs a script once with each tracker, the kernel's own and rust_ct, and holds
# the results against each other, line by line:
#
#     compare.sh [--differences] SCRIPT [ARGUMENT]...
#
# SCRIPT is a path from here on (nat/nat.sh).
# No tracker may be in use: one is loaded and unloaded after the other. The
# script's lines "= KEY: VALUE" make up a table; lines "~ KEY: VALUE" are shown if
# they differ; --differences shows of the table, too, only what differs.
#
# A difference is a failure unless intended-differences.txt lists its key. That
# file has lines of the form
#     SCRIPT  KEY            # why
# in which KEY may have the shell's wildcards.

# shellcheck source=selftests/lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

brief=0
if [[ ${1:-} == --differences ]]; then
	brief=1
	shift
fi
script=${1:?which script}
shift

tap_begin modprobe insmod rmmod
[[ $(tracker_loaded) == none ]] || skip_all "a tracker is loaded: unload it first"
rust_ct_module >/dev/null || skip_all "no rust_ct.ko (RUST_CT_KO says where)"
modinfo nf_conntrack >/dev/null 2>&1 || skip_all "this kernel has no nf_conntrack.ko"

folder=$(mktemp -d)
at_end() { rm -rf "$folder"; }

run_with() { # TRACKER SCRIPT...
	local status=0
	if [[ $script != life/loaded_later.sh ]]; then
		load_tracker "$1" || return
	fi
	RUST_CT_TRACKER=$1 "$SELFTESTS/$script" "${@:2}" >"$folder/$1.log" 2>&1 || status=$?
	if [[ $(tracker_loaded) != none ]]; then
		[[ $1 == stock ]] && unload_users nf_conntrack || unload_users rust_ct
		unload_tracker "$1" || return
	fi
	grep '^[=~] ' "$folder/$1.log" >"$folder/$1" || status=1
	if ((status)); then
		grep -v '^ok\|^[=~] ' "$folder/$1.log" | sed 's/^/# /'
	fi
	return "$status"
}

for which in stock rust_ct; do
	check "$script runs with $which" run_with $which "$@"
done

is_intended() { # KEY
	local name pattern
	while read -r name pattern; do
		# shellcheck disable=SC2053 # wildcards are welcome
		[[ $name != "$script" || $1 != $pattern ]] || return 0
	done < <(sed 's/[[:space:]]*#.*//' "$SELFTESTS/intended-differences.txt" 2>/dev/null)
	return 1
}

declare -A stock=() rust=()
keys=()
read_results() { # FILE ARRAY
	local line key
	local -n array=$2
	while IFS= read -r line; do
		key=${line%%: *}
		if [[ ! -v array[$key] ]]; then
			array["$key"]=${line#*: }
		fi
		if [[ $2 == stock || ! -v stock[$key] ]]; then
			keys+=("$key")
		fi
	done <"$1"
}
read_results "$folder/stock" stock
read_results "$folder/rust_ct" rust

# Three columns, as wide as the group needs.
row() { printf "#   %-${wide[0]}s  %-${wide[1]}s  %-${wide[2]}s  %s\n" "$@"; }

widen() { # COLUMN TEXT
	((${#2} <= wide[$1])) || wide["$1"]=${#2}
}

# The lines of one group, "ITEM TAB STOCK TAB RUST TAB SIGN" each.
table() { # GROUP
	local line item a b sign wide=(20 20 7)
	((${#rows[@]})) || return 0
	for line in "${rows[@]}"; do
		IFS=$'\t' read -r item a b sign <<<"$line"
		widen 0 "$item"
		widen 1 "$a"
		widen 2 "$b"
	done
	diag ""
	row "$1" "C tracker" "rust_ct" ''
	row "${1//?/-}" "---------" "-------" ''
	for line in "${rows[@]}"; do
		IFS=$'\t' read -r item a b sign <<<"$line"
		row "$item" "$a" "$b" "$sign"
	done
	rows=()
}

differences=0 intended=0 equal=0 groups=() title='' rows=()
declare -A bad=() seen=()
for key in "${keys[@]}"; do
	item=${key#[=~] } kind=${key%% *}
	group=${item%% / *} item=${item#* / }
	a=${stock[$key]-(none)} b=${rust[$key]-(none)}
	if [[ ! -v seen[$group] ]]; then
		groups+=("$group")
		seen[$group]=1 bad[$group]=0
	fi
	sign="="
	if [[ $a == "$b" ]]; then
		equal=$((equal + 1))
		[[ $kind == '=' && $brief == 0 ]] || continue
	elif is_intended "${key#[=~] }"; then
		intended=$((intended + 1))
		sign="intended"
	else
		differences=$((differences + 1))
		bad[$group]=$((bad[$group] + 1))
		sign="DIFFERENT"
	fi
	if [[ $title != "$group" ]]; then
		table "$title"
		title=$group
	fi
	rows+=("$item"$'\t'"$a"$'\t'"$b"$'\t'"$sign")
done
table "$title"
diag ""

for group in "${groups[@]}"; do
	check "$group: the trackers agree" same "${bad[$group]} differences" "0 differences"
done
diag "$equal results are the same, $differences differ, $intended are listed as intended"
check "there was something to compare" that "$equal > 10"
tap_finish
