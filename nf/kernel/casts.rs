// SPDX-License-Identifier: GPL-2.0

//! Lossless conversions between integers, also in constants. Not each kernel that the module can
//! be built for has those of `kernel::num::casts`.

macro_rules! casts {
    ($($name:ident: $from:ty => $into:ty;)*) => {
        $(
            #[doc = concat!("`", stringify!($from), "` to `", stringify!($into), "`.")]
            #[inline]
            pub(crate) const fn $name(value: $from) -> $into {
                const { assert!(size_of::<$into>() >= size_of::<$from>()) };
                value as $into
            }
        )*
    };
}

casts! {
    u8_as_usize: u8 => usize;
    u16_as_usize: u16 => usize;
    u32_as_usize: u32 => usize;
    u32_as_u64: u32 => u64;
    usize_as_u64: usize => u64;
}

macro_rules! constants {
    ($($name:ident: $from:ty => $into:ty;)*) => {
        $(
            #[doc = concat!("Converts a constant that fits into a `", stringify!($into), "`; one")]
            /// that does not, does not compile.
            pub(crate) const fn $name<const N: $from>() -> $into {
                const { assert!(N as u64 <= <$into>::MAX as u64) };
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
