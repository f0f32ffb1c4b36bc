# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154 # the variables are those of the including script
#
# What a guest is told, and how its run is judged. Included by scripts/vm and scripts/uml, behind
# lib.sh; works on their options (kernel, tracker, params, netlink, interactive, timeout, log,
# command, keep_loaded) and on the folder that both sides see (run).

# Leaves in that folder what the guest needs to know.
write_orders() {
	local module=${RUST_CT_KO:-$RCT_ROOT/build/$kernel/rust_ct.ko}
	if [[ $tracker == rust_ct ]]; then
		[[ -e $module ]] || die "no module at $module: run 'scripts/build-module $kernel'"
		cp "$module" "$run/rust_ct.ko"
	fi
	((interactive)) || printf '%q ' "${command[@]}" >"$run/command"
	{
		printf 'TRACKER=%q\nPARAMS=%q\nNETLINK=%q\n' "$tracker" "$params" "$netlink"
		printf 'KERNEL=%q\nINTERACTIVE=%q\n' "$kernel" "$interactive"
		printf 'KEEP_LOADED=%q\n' "$keep_loaded"
		printf 'NO_KMEMLEAK=%q\n' "${RUST_CT_NO_KMEMLEAK:-}"
		printf 'export RUST_CT_CACHE=%q\n' "$RCT_CACHE"
		printf 'export RUST_CT_VM=1 RUST_CT_KERNEL=%q RUST_CT_TRACKER=%q\n' "$kernel" "$tracker"
	} >"$run/settings"
	touch "$run"/{stdout,stderr,dmesg,console}
}

# Prints the part of the kernel log that the run answers for.
judged_log() {
	if grep -qF "$GUEST_MARK" "$run/dmesg"; then
		sed "1,/$GUEST_MARK/d" "$run/dmesg"
	fi
	# What a dying guest had no time to hand over is on its console alone.
	if [[ ! -e $run/status ]]; then
		tail -n 150 "$run/console" | tr -d '\r'
	fi
}

# Says what is wrong with the kernel log, or with the guest's end. Returns the command's status,
# or the one that tells that (scripts/vm --help).
judge() { # STATUS-OF-THE-GUEST
	local report status=0
	judged_log >"$run/judged"
	[[ -z $log ]] || cp "$run/judged" "$log"
	report=$(grep -nE -m 1 -f "$KERNEL_REPORTS" "$run/judged") || status=$?
	((status < 2)) || die "the kernel log cannot be searched for reports"
	report=${report%%:*}
	if [[ -n $report ]]; then
		say "--- the kernel log has a report:"
		tail -n "+$((report > 3 ? report - 3 : 1))" "$run/judged" | head -n 150 >&2
		say "---"
	fi
	if [[ ! -e $run/status ]]; then
		if (($1 == 124 || $1 == 137)); then
			say "${0##*/}: stopped after $timeout seconds"
			return 124
		fi
		say "${0##*/}: the guest died before the command was over"
		[[ -n $report ]] || tail -n 40 "$run/console" >&2
		return 98
	fi
	[[ -z $report ]] || return 99
	return "$(<"$run/status")"
}
