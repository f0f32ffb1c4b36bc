// SPDX-License-Identifier: GPL-2.0

//! Lossless conversions of integers for `const` functions, where `From` is not available.
//!
//! For `proto`, which also compiles without the kernel. The rest of the module has those of the
//! `kernel` crate (`kernel::num::casts`).

/// Converts without loss.
#[inline(always)]
#[allow(clippy::cast_lossless)] // `u32::from` is not const.
pub const fn u16_as_u32(number: u16) -> u32 {
    // CAST: a wider type.
    number as u32
}

/// Converts without loss.
#[inline(always)]
#[allow(clippy::cast_lossless)] // `u64::from` is not const.
pub const fn u16_as_u64(number: u16) -> u64 {
    // CAST: a wider type.
    number as u64
}

/// Converts without loss.
#[inline(always)]
#[allow(clippy::cast_lossless)] // `u64::from` is not const.
pub const fn u32_as_u64(number: u32) -> u64 {
    // CAST: a wider type.
    number as u64
}

/// Converts without loss.
#[inline(always)]
pub const fn u32_as_usize(number: u32) -> usize {
    const { assert!(usize::BITS >= u32::BITS) };
    // CAST: a type that is at least as wide, as asserted.
    number as usize
}
