# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
#
# What the fuzzers share: what goes on beside them (surroundings.py), and the end of it all.
# To be sourced behind lib.sh. (They set nf_conntrack_max for the whole machine.)

# Begins what goes on beside, with a table that takes so many entries. WATCHED is what a fuzzer's
# option --watch takes. (LIMIT NS...)
surround() {
	save_table
	set_table 1024 "$1"
	WATCHED=$(mktemp -d)
	# For a fuzzer without any rights, too.
	chmod 755 "$WATCHED"
	python3 "$SELFTESTS/lib/surroundings.py" beside "$WATCHED" "$@" >"$WATCHED/results" 2>&1 &
	surroundings=$!
	wait_for 20 test -e "$WATCHED/ready" || diag "$(<"$WATCHED/results")"
}

# Ends it, and says what came of it.
surround_end() {
	touch "$WATCHED/stop"
	wait "$surroundings" 2>/dev/null
	relay surroundings "beside: " cat "$WATCHED/results"
	rm -rf "$WATCHED"
	restore_table
}

# Runs a flood into a namespace beside a command. (NS COMMAND...)
flooded() {
	python3 "$SELFTESTS/lib/surroundings.py" flood "$1" &
	local pid=$!
	"${@:2}"
	kill $pid && wait $pid 2>/dev/null
}

# Namespaces go, then the tracker's users, then the tracker: with nothing left of it.
all_goes() {
	local ns left=("${namespaces[@]}")
	for ns in "${left[@]}"; do
		ns_del "$ns"
	done
	if [[ -z ${RUST_CT_VM:-} ]]; then
		skip "the tracker is unloaded" "others may use it"
		return
	fi
	gone() {
		try_to_unload_users "$MODULE"
		unload_tracker "$TRACKER" 2>/dev/null
	}
	check "the tracker is unloaded" wait_for 60 gone || {
		diag "$(grep -H . "/sys/module/$MODULE/refcnt"; lsmod | grep "$MODULE")"
		return
	}
	check "... with all entries" same "$(awk '$1 ~ /^nf_conntrack/' /proc/slabinfo)" ""
	check "... and loaded again" load_tracker "$TRACKER"
}
