// SPDX-License-Identifier: GPL-2.0

//! The mask of an expectation's tuple.

use core::mem::{align_of, offset_of, size_of};

use super::{family::Family, tuple::Tuple};

/// The mask of an expectation: the bits of a tuple's source that are compared.
///
/// Layout twin of `struct nf_conntrack_tuple_mask`.
///
/// # Examples
///
/// ```
/// # use rust_ct_host::proto;
/// use proto::types::{family::Family, mask::TupleMask};
///
/// // An IPv4 host, any port.
/// let mask = TupleMask::of_source(Family::Ipv4.to_u16(), true, false);
/// assert_eq!(mask.src[..4], [0xff; 4]);
/// assert_eq!((&mask.src[4..], mask.src_key), (&[0; 12][..], [0; 2]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(4))]
pub struct TupleMask {
    /// Bits of the source address.
    pub src: [u8; 16],
    /// Bits of the source port, or of the key in its place.
    pub src_key: [u8; 2],
    /// Padding of the C type; zero.
    pub unused: [u8; 2],
}

const _: () = {
    assert!(size_of::<TupleMask>() == 20);
    assert!(align_of::<TupleMask>() == 4);
    assert!(offset_of!(TupleMask, src_key) == 16);
};

impl TupleMask {
    /// Returns the mask with these bits of the source.
    #[inline]
    pub const fn new(src: [u8; 16], src_key: [u8; 2]) -> Self {
        Self {
            src,
            src_key,
            unused: [0; 2],
        }
    }

    /// Returns the mask of a source: all bits of the address of family `l3num`, or none, and all
    /// bits of the key, or none.
    pub const fn of_source(l3num: u16, address: bool, key: bool) -> Self {
        let src = match (address, Family::from_number(l3num)) {
            (false, _) => [0; 16],
            (true, Some(Family::Ipv4)) => {
                const ONES: u8 = u8::MAX;
                [ONES, ONES, ONES, ONES, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
            }
            (true, _) => [u8::MAX; 16],
        };
        Self::new(src, if key { [u8::MAX; 2] } else { [0; 2] })
    }

    /// Returns the bits that are set in both masks.
    #[must_use]
    pub const fn and(&self, other: &Self) -> Self {
        let src = u128::from_ne_bytes(self.src) & u128::from_ne_bytes(other.src);
        let key = u16::from_ne_bytes(self.src_key) & u16::from_ne_bytes(other.src_key);
        Self::new(src.to_ne_bytes(), key.to_ne_bytes())
    }

    /// Returns whether the sources of two tuples are equal in the masked bits.
    #[inline]
    pub const fn agrees(&self, a: &Tuple, b: &Tuple) -> bool {
        let address = (u128::from_ne_bytes(a.src) ^ u128::from_ne_bytes(b.src))
            & u128::from_ne_bytes(self.src);
        let key = (u16::from_ne_bytes(a.src_key) ^ u16::from_ne_bytes(b.src_key))
            & u16::from_ne_bytes(self.src_key);
        address == 0 && key == 0
    }

    /// Returns whether both masks have the same bits of the source; padding is not compared.
    pub const fn has_bits_of(&self, other: &Self) -> bool {
        u128::from_ne_bytes(self.src) == u128::from_ne_bytes(other.src)
            && u16::from_ne_bytes(self.src_key) == u16::from_ne_bytes(other.src_key)
    }
}
