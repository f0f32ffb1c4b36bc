// SPDX-License-Identifier: GPL-2.0

//! Clocks.
//!
//! C header: [`include/linux/jiffies.h`](srctree/include/linux/jiffies.h)

use crate::{
    nf::bindings,
    proto::types::num::{
        u32_as_usize,
        usize_into_u32, //
    },
};

/// The number of jiffies in a second.
pub(crate) const HZ: u32 = usize_into_u32::<{ bindings::RCT_HZ }>();

/// Returns the jiffies counter. It wraps around.
#[inline]
pub(crate) fn jiffies() -> usize {
    // SAFETY: Reads a counter.
    unsafe { bindings::rct_jiffies() }
}

/// Returns the low 32 bits of [`jiffies`]: the clock of timeouts.
#[inline]
pub(crate) fn jiffies32() -> u32 {
    // CAST: the low 32 bits.
    jiffies() as u32
}

/// Returns the wall-clock time, in nanoseconds since the epoch.
pub(crate) fn real_ns() -> u64 {
    // SAFETY: Reads a clock.
    unsafe { bindings::rct_ktime_real_ns() }
}

/// Converts jiffies to nanoseconds.
pub(crate) fn jiffies_to_ns(jiffies: u32) -> u64 {
    // SAFETY: Pure arithmetic.
    unsafe { bindings::rct_jiffies_to_nsecs(u32_as_usize(jiffies)) }
}
