#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Proves that no entry point of proto/ can panic: builds them as the kernel builds a module
# (optimised, overflow checked, panic = abort) and looks for references to panic functions.
# Prints the offending symbols, and the functions that refer to them.

set -eu
here=$(cd "$(dirname "$0")" && pwd)
: "${RUSTC:=rustc}"
out=${CARGO_TARGET_DIR:-${RUST_CT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rust_ct}/host-target}/no-panic
mkdir -p "$out"

bad=0
for level in 2 s; do
	object=$out/entries-$level.o
	"$RUSTC" --edition 2021 --crate-type lib --crate-name entries --emit "obj=$object" \
		-C opt-level=$level -C codegen-units=1 -C overflow-checks=on -C panic=abort \
		-C debug-assertions=off -C force-unwind-tables=no "$here/no-panic/entries.rs"
	entries=$(nm "$object" | grep -c ' T entry_')
	calls=$(nm -u "$object" | grep -E 'panic|fail|overflow' || :)
	if [ -n "$calls" ]; then
		bad=1
		echo "opt-level=$level: panics are reachable:"
		echo "$calls"
		objdump -dr --no-show-raw-insn "$object" |
			awk '/^[0-9a-f]+ </ { f = $2 } /R_.*(panic|fail|overflow)/ { print "  " f, $3 }' |
			sort | uniq -c
	else
		echo "opt-level=$level: $entries entry points, no panic"
	fi
done
exit $bad
