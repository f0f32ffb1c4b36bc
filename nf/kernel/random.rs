// SPDX-License-Identifier: GPL-2.0

//! Random numbers.
//!
//! C header: [`include/linux/random.h`](srctree/include/linux/random.h)

use crate::nf::bindings;

/// Returns a uniformly distributed number less than `end`.
#[inline]
pub(crate) fn below(end: u32) -> u32 {
    // SAFETY: May be called in any context.
    unsafe { bindings::__get_random_u32_below(end) }
}

/// Returns 64 random bits.
#[inline]
pub(crate) fn word() -> u64 {
    // SAFETY: May be called in any context.
    unsafe { bindings::get_random_u64() }
}
