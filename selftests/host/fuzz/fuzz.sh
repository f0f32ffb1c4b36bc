#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Fuzzes every target for a while, guided by coverage, with a stable compiler: libFuzzer needs only
# LLVM's coverage pass, not the sanitizers that cargo-fuzz asks a nightly compiler for.
# Usage: fuzz.sh [SECONDS_PER_TARGET]. Corpora and findings are kept in the cache directory.
# Exit status 4: cannot be built here.

set -eu
here=$(cd "$(dirname "$0")" && pwd)
seconds=${1:-10}
cache=${RUST_CT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rust_ct}
target=${CARGO_TARGET_DIR:-$cache/host-target}/fuzz
triple=$(rustc -vV | sed -n 's/^host: //p')

if ! command -v "${CXX:-c++}" >/dev/null; then
	echo "no C++ compiler for libFuzzer"
	exit 4
fi
# With --target, the flags do not reach build scripts.
RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing" \
	cargo build --quiet --locked --release --target "$triple" --target-dir "$target" \
	--manifest-path "$here/Cargo.toml"

for name in tracker legal_peers parsers; do
	corpus=$cache/fuzz/$name
	mkdir -p "$corpus"
	echo "$name: $seconds s"
	"$target/$triple/release/$name" -max_total_time="$seconds" -timeout=10 -max_len=4096 \
		-artifact_prefix="$cache/fuzz/$name-" -print_final_stats=1 "$corpus" \
		>"$cache/fuzz/$name.log" 2>&1 || {
		tail -n 40 "$cache/fuzz/$name.log"
		exit 1
	}
	grep -E '^stat::(number_of_executed_units|average_exec)' "$cache/fuzz/$name.log" || :
	grep -E ' cov: ' "$cache/fuzz/$name.log" | tail -n 1
done
