// SPDX-License-Identifier: GPL-2.0

//! Declarations that bindgen generates from `nf/bindings.h`.
//!
//! Only `nf`, `ct/abi` and `nat/abi` use them; the rest of the module uses the types that wrap
//! them.

#![allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    clippy::ptr_as_ptr,
    clippy::ref_as_ptr,
    clippy::cast_lossless,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    improper_ctypes,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    unused_imports,
    dead_code,
    // Older bindgen, newer rustc; and the reverse.
    unknown_lints,
    unnecessary_transmutes
)]

use pin_init::MaybeZeroable;

use kernel::ffi;

type __kernel_size_t = usize;
type __kernel_ssize_t = isize;
type __kernel_ptrdiff_t = isize;

include!("bindings_generated.rs");

/// Flags of an allocation.
pub(crate) mod gfp {
    // CAST: flags have 32 bits; the constants of the header are wider.

    /// Does not sleep.
    pub(crate) const ATOMIC: super::gfp_t = super::RCT_GFP_ATOMIC as super::gfp_t;
    /// May sleep.
    pub(crate) const KERNEL: super::gfp_t = super::RCT_GFP_KERNEL as super::gfp_t;
    /// May sleep; accounted to the process.
    pub(crate) const KERNEL_ACCOUNT: super::gfp_t = super::RCT_GFP_KERNEL_ACCOUNT as super::gfp_t;
}
