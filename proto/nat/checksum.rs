// SPDX-License-Identifier: GPL-2.0

//! The Internet checksum (RFC 1071), and its incremental update (RFC 1624).
//!
//! Words are added in native byte order: the sum does not depend on the byte order, if it is stored
//! the same way (RFC 1071, section 2).

use crate::proto::types::num::{u16_as_u64, u32_as_u64};

/// The difference of a one's complement sum after a part of the data is replaced.
///
/// It is accumulated in 64 bits, from words of 32 bits, and folded at the end. It cannot overflow
/// in the headers of one packet: that takes 2^32 words.
///
/// # Examples
///
/// ```
/// # use rust_ct_host::proto;
/// use proto::nat::checksum::{sum, Delta};
///
/// // The checksum of a header is updated after two of its bytes change.
/// let mut header = [0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
/// let field = (!sum(&header)).to_ne_bytes();
/// header[2..4].copy_from_slice(&[0, 60]);
/// let updated = Delta::NONE.replace([0, 40], [0, 60]).update(field);
/// assert_eq!(updated, (!sum(&header)).to_ne_bytes());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Delta(u64);

impl Delta {
    /// No difference.
    pub const NONE: Self = Self(0);

    /// Adds the replacement of two bytes at an even offset.
    #[inline]
    #[must_use]
    pub const fn replace(self, old: [u8; 2], new: [u8; 2]) -> Self {
        self.plus(!u16::from_ne_bytes(old))
            .plus(u16::from_ne_bytes(new))
    }

    /// Adds the replacement of four bytes at an even offset.
    #[inline]
    #[must_use]
    pub const fn replace4(self, old: [u8; 4], new: [u8; 4]) -> Self {
        let less = u32_as_u64(!u32::from_ne_bytes(old));
        let more = u32_as_u64(u32::from_ne_bytes(new));
        Self(self.0.wrapping_add(less).wrapping_add(more))
    }

    /// Adds the replacement of an IPv6 address at an even offset.
    #[inline]
    #[must_use]
    pub const fn replace16(self, old: &[u8; 16], new: &[u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *old;
        let [q, r, s, t, u, v, w, x, y, z, aa, bb, cc, dd, ee, ff] = *new;
        self.replace4([a, b, c, d], [q, r, s, t])
            .replace4([e, f, g, h], [u, v, w, x])
            .replace4([i, j, k, l], [y, z, aa, bb])
            .replace4([m, n, o, p], [cc, dd, ee, ff])
    }

    /// Returns the sum of both differences.
    #[inline]
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }

    #[inline]
    const fn plus(self, word: u16) -> Self {
        Self(self.0.wrapping_add(u16_as_u64(word)))
    }

    /// Returns the new value of a checksum field that was `field` and holds the complement of the
    /// sum (RFC 1624, equation 3).
    #[inline]
    pub const fn update(self, field: [u8; 2]) -> [u8; 2] {
        let sum = self.plus(!u16::from_ne_bytes(field));
        (!sum.fold()).to_ne_bytes()
    }

    /// Returns the new value of a checksum field that was `field` and holds the sum of the
    /// pseudo-header, to which the device adds the rest (`CHECKSUM_PARTIAL`).
    #[inline]
    pub const fn update_partial(self, field: [u8; 2]) -> [u8; 2] {
        self.plus(u16::from_ne_bytes(field)).fold().to_ne_bytes()
    }

    /// Returns the difference in 16 bits, native byte order.
    #[inline]
    pub const fn fold(self) -> u16 {
        fold64(self.0)
    }
}

/// Returns the one's complement sum of bytes. An odd last byte is padded with zero.
pub fn sum(bytes: &[u8]) -> u16 {
    let mut total = 0u64;
    for word in bytes.chunks(2) {
        let word = match *word {
            [a, b] => [a, b],
            [a] => [a, 0],
            _ => [0, 0],
        };
        total = total.wrapping_add(u64::from(u16::from_ne_bytes(word)));
    }
    fold64(total)
}

/// Returns the sum of a pseudo-header (RFC 9293, section 3.1; RFC 8200, section 8.1), which a
/// device expects in the checksum field that it computes. `len` is in bytes. An IPv4 address ends
/// in zeroes, which add nothing.
pub fn pseudo_header(source: &[u8; 16], destination: &[u8; 16], protocol: u8, len: u32) -> [u8; 2] {
    let mut total = u64::from(sum(source)).wrapping_add(u64::from(sum(destination)));
    for word in [
        [0, protocol],
        [len.to_be_bytes()[0], len.to_be_bytes()[1]],
        [len.to_be_bytes()[2], len.to_be_bytes()[3]],
    ] {
        total = total.wrapping_add(u64::from(u16::from_ne_bytes(word)));
    }
    fold64(total).to_ne_bytes()
}

/// Returns the 64-bit one's complement sum folded to 16 bits. The result is zero only if the sum
/// is.
#[inline]
const fn fold64(total: u64) -> u16 {
    // Adds the two halves, once for 64 bits and once for 32. The rotation makes the upper half of
    // the result the sum of both halves plus the carry of the lower half: the end-around carry of
    // one's complement.
    let [_, _, _, _, a, b, c, d] = total.wrapping_add(total.rotate_left(32)).to_le_bytes();
    let half = u32::from_le_bytes([a, b, c, d]);
    let [_, _, a, b] = half.wrapping_add(half.rotate_left(16)).to_le_bytes();
    u16::from_le_bytes([a, b])
}

/// Returns the one's complement sum of two sums.
#[inline]
pub const fn add(a: u16, b: u16) -> u16 {
    Delta::NONE.plus(a).plus(b).fold()
}
