#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Tests of proto/ and nf/entry/intrusive/ on the host, as TAP. Needs a stable Rust toolchain; what needs more is skipped
# where that is missing.
#
#   RUST_CT_CACHE        where build results go (default: ~/.cache/rust_ct)
#   RUST_CT_KERNEL_SRC   a kernel source tree, to compare the TCP and SCTP trackers with the kernel's own
#   RUST_CT_FUZZ_SECONDS per fuzz target (default: 5)
#   RUST_CT_SEGMENTS     how many segments and packets to compare (default: 1000000)

# shellcheck disable=SC2317 # the functions are called by check()

set -u
cd "$(dirname "$0")" || exit 1
cache=${RUST_CT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rust_ct}
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$cache/host-target}"
mkdir -p "$CARGO_TARGET_DIR"
log=$CARGO_TARGET_DIR/run.log
number=0
failed=0

# report STATUS NAME: the status is that of the command whose output is in the log; 4 is a skip.
report()
{
	number=$((number + 1))
	case $1 in
	0) echo "ok $number - $2" ;;
	4) echo "ok $number - $2 # SKIP $(tail -n 1 "$log")" ;;
	*)
		failed=1
		echo "not ok $number - $2"
		sed 's/^/# /' "$log"
		;;
	esac
}

check()
{
	name=$1
	shift
	"$@" >"$log" 2>&1
	report $? "$name"
}

# Cargo, quiet but for failures.
tests()
{
	cargo test --quiet --locked "$@"
}

# The examples run, and every link in the docs leads somewhere.
docs()
{
	tests --doc && RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" \
		cargo doc --quiet --locked --no-deps --document-private-items
}

against_c()
{
	if [ -z "${RUST_CT_KERNEL_SRC:-}" ]; then
		echo "RUST_CT_KERNEL_SRC is not set"
		return 4
	fi
	if ! command -v "${CC:-cc}"; then
		echo "no C compiler"
		return 4
	fi
	against-c/build.sh "$RUST_CT_KERNEL_SRC" "$CARGO_TARGET_DIR/c-tracker" \
		"$CARGO_TARGET_DIR/c-sctp-tracker" || return 1
	RUST_CT_C_TRACKER=$CARGO_TARGET_DIR/c-tracker \
		RUST_CT_C_SCTP_TRACKER=$CARGO_TARGET_DIR/c-sctp-tracker \
		RUST_CT_SEGMENTS=${RUST_CT_SEGMENTS:-1000000} \
		tests --test against_c --test sctp_against_c
}

# The target's own runtime of the sanitizer comes with the compiler, but its flag is for nightly.
address_sanitizer()
{
	target=$("${RUSTC:-rustc}" -vV | sed -n 's/^host: //p')
	if ! ls "$("${RUSTC:-rustc}" --print target-libdir)"/librustc-*_rt.asan.a; then
		echo "the compiler comes without the address sanitizer"
		return 4
	fi
	# Loom switches stacks, which the sanitizer does not know. Most of the time goes into building
	# the dependencies.
	CARGO_PROFILE_TEST_OPT_LEVEL=0 CARGO_PROFILE_TEST_DEBUG=0 \
		RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address \
		tests --target "$target" --test intrusive -- --skip concurrent
}

miri()
{
	for toolchain in "" +nightly; do
		# shellcheck disable=SC2086 # no argument rather than an empty one
		if cargo $toolchain miri --version; then
			# The interpreter is slow: few cases, and not the tests that start programs.
			PROPTEST_CASES=4 MIRIFLAGS=-Zmiri-disable-isolation \
				cargo $toolchain miri test --quiet --locked --lib \
				--test tcp_states --test traces --test tcp_traces --test tuples_and_hashes \
				--test wire --test properties --test sctp --test gre --test nat || return 1
			# The layouts make pointers of addresses.
			PROPTEST_CASES=4 MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-permissive-provenance" \
				cargo $toolchain miri test --quiet --locked --test intrusive -- --skip concurrent
			return
		fi
	done
	echo "Miri is not installed"
	return 4
}

echo "TAP version 13"
echo "1..12"
check "cargo test: state tables" tests --test tcp_states
check "cargo test: SCTP and GRE" tests --test sctp --test gre
check "cargo test: traces" tests --test traces --test tcp_traces
check "cargo test: tuples, hashes, headers" tests --test tuples_and_hashes --test wire
check "cargo test: properties" tests --test properties
check "cargo test: NAT" tests --test nat --test nat_choice
check "cargo test: expectations, adoption" tests --test expectations --test adopt
check "cargo test: examples in the docs" docs
check "same as the kernel's TCP and SCTP trackers, packet by packet" against_c
check "bounded fuzzing" fuzz/fuzz.sh "${RUST_CT_FUZZ_SECONDS:-5}"
check "miri" miri
check "no panic in the object code" ./no-panic.sh
exit $failed
