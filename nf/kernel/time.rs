// SPDX-License-Identifier: GPL-2.0

//! Clocks.
//!
//! C header: [`include/linux/jiffies.h`](srctree/include/linux/jiffies.h)

use crate::nf::bindings;

/// Jiffies in a second.
pub(crate) const HZ: u32 = bindings::RCT_HZ as u32;

/// The jiffies counter. Wraps around.
#[inline]
pub(crate) fn jiffies() -> usize {
    // SAFETY: Reads a counter.
    unsafe { bindings::rct_jiffies() }
}

/// The low 32 bits of [`jiffies`], the unit in which entries expire.
#[inline]
pub(crate) fn jiffies32() -> u32 {
    // CAST: the low bits are what is wanted.
    jiffies() as u32
}

/// Wall-clock time in nanoseconds since the epoch.
pub(crate) fn real_ns() -> u64 {
    // SAFETY: Reads a clock.
    unsafe { bindings::rct_ktime_real_ns() }
}

/// How many nanoseconds `jiffies` last.
pub(crate) fn jiffies_to_ns(jiffies: u32) -> u64 {
    // SAFETY: Pure arithmetic.
    unsafe { bindings::rct_jiffies_to_nsecs(jiffies as usize) }
}
