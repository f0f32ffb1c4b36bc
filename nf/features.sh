#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Finds out what the headers of the kernel at hand have, by compiling a few lines for each
# question. nf/compat.h is made of the answers, and the crate's cfg(rct_...).
#
#   features.sh FOLDER COMPILER FLAG...
#
# writes FOLDER/features_generated.h and FOLDER/features_generated.cfg. RUST_PROBE is the command
# that compiles a crate against the kernel's.

set -eu
folder=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# try NAME CODE: leaves a file NAME if the code compiles.
try()
{
	name=$1 code=$2
	shift 2
	printf '%s\n' "$code" >"$work/$name.c"
	if "$@" -w -fsyntax-only "$work/$name.c" >"$work/$name.log" 2>&1; then
		touch "$work/$name"
	fi
}

# The same for Rust.
try_rust()
{
	printf '#![no_std]\n%s\n' "$2" >"$work/$1.rs"
	if sh -c "$RUST_PROBE --cap-lints allow --emit=metadata -o '$work/$1.rmeta' '$work/$1.rs'" \
		>"$work/$1.log" 2>&1; then
		touch "$work/$1"
	fi
}

helper='#include <net/netfilter/nf_conntrack_helper.h>'
expect='#include <net/netfilter/nf_conntrack_expect.h>'
hook='#include <linux/netfilter.h>'

# The questions. First two with known answers: else a wrong flag would answer all of them.
try answers "$helper
int probe(struct nf_conntrack_helper *h) { return h->name[0]; }" "$@" &
try refuses "$helper
int probe(struct nf_conntrack_helper *h) { return h->no_such_member; }" "$@" &
# Until 7.2: helpers are told apart by a tuple, with a port, and named after it.
try helper_tuple "$helper
int probe(struct nf_conntrack_helper *h) { return h->tuple.src.l3num; }" "$@" &
# Since 7.3.
try expect_event_mask "$expect
int probe(struct nf_conntrack_expect *e) { return e->event_mask; }" "$@" &
try hook_op_nat "$hook
int probe(void) { return NF_HOOK_OP_NAT; }" "$@" &
try nat_lookup_hook_priv "$hook
int probe(void) { return sizeof(struct nf_nat_lookup_hook_priv); }" "$@" &
# The crates: some functions have other names in older ones.
try_rust rust_answers 'use pin_init::PinInit;' &
try_rust raw_init 'use pin_init::raw_init;' &
wait

if [ ! -e "$work/answers" ] || [ -e "$work/refuses" ]; then
	echo "rust_ct: the kernel's headers cannot be compiled:" >&2
	cat "$work/answers.log" >&2
	exit 1
fi
if [ ! -e "$work/rust_answers" ]; then
	echo "rust_ct: nothing can be compiled against the kernel's crates:" >&2
	cat "$work/rust_answers.log" >&2
	exit 1
fi
{
	echo "/* Made by nf/features.sh. */"
	for name in helper_tuple expect_event_mask hook_op_nat nat_lookup_hook_priv; do
		[ ! -e "$work/$name" ] ||
			echo "#define RCT_HAS_$(echo "$name" | tr '[:lower:]' '[:upper:]')"
	done
} >"$folder/features_generated.h.new"
{
	for name in helper_tuple raw_init; do
		[ ! -e "$work/$name" ] || echo "--cfg=rct_has_$name"
	done
} >"$folder/features_generated.cfg.new"
mv "$folder/features_generated.cfg.new" "$folder/features_generated.cfg"
mv "$folder/features_generated.h.new" "$folder/features_generated.h"
