// SPDX-License-Identifier: GPL-2.0

//! The Internet checksum (RFC 1071), mended after a change instead of summed up again
//! (RFC 1624).
//!
//! Words are added as memory holds them: the sum does not mind the order of bytes, as long as
//! it is put back the same way (RFC 1071, section 2).

/// By how much a one's complement sum grows when parts of what it covers are replaced.
///
/// It is added up in words of 32 bits, each of which counts as the two words that it consists of.
/// Good for a packet's header: more words fit than a packet has before it overflows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Delta(u64);

// Until `nat` uses the new name.
pub use Delta as Change;

impl Delta {
    /// Nothing was replaced.
    pub const NONE: Self = Self(0);

    /// Two octets, at an even offset, are replaced as well.
    #[inline]
    #[must_use]
    pub const fn replace(self, old: [u8; 2], new: [u8; 2]) -> Self {
        self.plus(!u16::from_ne_bytes(old))
            .plus(u16::from_ne_bytes(new))
    }

    /// Four octets, at an even offset, are replaced as well.
    #[inline]
    #[must_use]
    pub const fn replace4(self, old: [u8; 4], new: [u8; 4]) -> Self {
        #[allow(clippy::cast_lossless)] // `u64::from` is not const.
        let (less, more) = (
            !u32::from_ne_bytes(old) as u64,
            u32::from_ne_bytes(new) as u64,
        );
        Self(self.0.wrapping_add(less).wrapping_add(more))
    }

    /// An IPv6 address is replaced as well.
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

    /// Both changes together.
    #[inline]
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }

    #[inline]
    const fn plus(self, word: u16) -> Self {
        #[allow(clippy::cast_lossless)] // `u64::from` is not const.
        Self(self.0.wrapping_add(word as u64))
    }

    /// The checksum field that was `field`, if it is the complement of the sum.
    #[inline]
    pub const fn mend(self, field: [u8; 2]) -> [u8; 2] {
        let sum = self.plus(!u16::from_ne_bytes(field));
        (!sum.fold()).to_ne_bytes()
    }

    /// The checksum field that was `field`, if it is the sum of the pseudo-header alone, to
    /// which the device adds the rest.
    #[inline]
    pub const fn mend_partial(self, field: [u8; 2]) -> [u8; 2] {
        self.plus(u16::from_ne_bytes(field)).fold().to_ne_bytes()
    }

    /// The change in 16 bits, native order.
    #[inline]
    pub const fn fold(self) -> u16 {
        fold64(self.0)
    }
}

/// The sum of octets; a last odd one counts as if a zero followed.
pub fn sum(octets: &[u8]) -> u16 {
    let mut total = 0u64;
    for word in octets.chunks(2) {
        let word = match *word {
            [a, b] => [a, b],
            [a] => [a, 0],
            _ => [0, 0],
        };
        total = total.wrapping_add(u64::from(u16::from_ne_bytes(word)));
    }
    fold64(total)
}

/// The sum of a pseudo-header (RFC 9293, section 3.1; RFC 8200, section 8.1): what a device
/// wants to find in the field of the checksum that it computes. `len` in octets. An IPv4
/// address is one that ends in zeroes, which add nothing.
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

/// A sum in 16 bits. Only nothing but zeroes sums up to zero.
#[inline]
const fn fold64(total: u64) -> u16 {
    // The two halves added to each other, twice: the upper half of the sum gets the carry of the
    // lower one, which is the same sum, and loses its own, which is what one's complement adds.
    let [_, _, _, _, a, b, c, d] = total.wrapping_add(total.rotate_left(32)).to_le_bytes();
    let half = u32::from_le_bytes([a, b, c, d]);
    let [_, _, a, b] = half.wrapping_add(half.rotate_left(16)).to_le_bytes();
    u16::from_le_bytes([a, b])
}

/// The sum of two sums.
#[inline]
pub const fn add(a: u16, b: u16) -> u16 {
    Delta::NONE.plus(a).plus(b).fold()
}
