// SPDX-License-Identifier: GPL-2.0

//! Sequence numbers.

/// A TCP sequence number, host byte order (RFC 9293, section 3.4).
///
/// The space is a circle of 2^32. Order is defined between numbers less than half the circle
/// apart; there is no `Ord`, because the relation is not transitive, and no `+`, because an
/// overflow must wrap, not panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct SeqNum(pub u32);

impl SeqNum {
    /// The number `octets` further on.
    #[inline]
    #[must_use]
    pub const fn add(self, octets: u32) -> Self {
        Self(self.0.wrapping_add(octets))
    }

    /// The number `octets` back.
    #[inline]
    #[must_use]
    pub const fn sub(self, octets: u32) -> Self {
        Self(self.0.wrapping_sub(octets))
    }

    /// The number that a sequence adjustment of `offset` octets was applied to.
    #[inline]
    #[must_use]
    pub const fn unadjusted(self, offset: i32) -> Self {
        Self(
            self.0
                .wrapping_sub(u32::from_ne_bytes(offset.to_ne_bytes())),
        )
    }

    /// Octets from `earlier` to `self`, going forward.
    #[inline]
    pub const fn since(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }

    /// `self < other`
    #[inline]
    pub const fn before(self, other: Self) -> bool {
        i32::from_ne_bytes(self.0.wrapping_sub(other.0).to_ne_bytes()) < 0
    }

    /// `self > other`
    #[inline]
    pub const fn after(self, other: Self) -> bool {
        other.before(self)
    }

    /// `self <= other`
    #[inline]
    pub const fn at_or_before(self, other: Self) -> bool {
        self.before(other.add(1))
    }

    /// `self >= other`
    #[inline]
    pub const fn at_or_after(self, other: Self) -> bool {
        self.after(other.sub(1))
    }

    /// The later of two numbers.
    #[inline]
    #[must_use]
    pub const fn max(self, other: Self) -> Self {
        if other.after(self) {
            other
        } else {
            self
        }
    }
}
