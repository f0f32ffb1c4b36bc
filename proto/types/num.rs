// SPDX-License-Identifier: GPL-2.0

//! Lossless conversions of integers, also in constants, where `From` is not available.
//!
//! (The `kernel` crate has such functions since Linux 7.3 only, and `proto` also compiles without
//! it.)

macro_rules! casts {
    ($($name:ident: $from:ty => $into:ty;)*) => {
        $(
            #[doc = concat!("Converts a `", stringify!($from), "` to a `", stringify!($into), "`.")]
            #[inline(always)]
            #[allow(clippy::cast_lossless)] // `From` is not for constants.
            pub const fn $name(number: $from) -> $into {
                const { assert!(size_of::<$into>() >= size_of::<$from>()) };
                // CAST: a type that is at least as wide, as asserted.
                number as $into
            }
        )*
    };
}

casts! {
    u8_as_usize: u8 => usize;
    u16_as_u32: u16 => u32;
    u16_as_u64: u16 => u64;
    u16_as_usize: u16 => usize;
    u32_as_u64: u32 => u64;
    u32_as_usize: u32 => usize;
    usize_as_u64: usize => u64;
}

macro_rules! constants {
    ($($name:ident: $from:ty => $into:ty;)*) => {
        $(
            #[doc = concat!("Converts a constant that fits into a `", stringify!($into), "`; one")]
            /// that does not, does not compile.
            pub const fn $name<const N: $from>() -> $into {
                const { assert!(N as u64 <= <$into>::MAX as u64) };
                // CAST: it fits, as asserted.
                N as $into
            }
        )*
    };
}

constants! {
    u32_into_u8: u32 => u8;
    u32_into_u16: u32 => u16;
    usize_into_u16: usize => u16;
    usize_into_u32: usize => u32;
}
