// SPDX-License-Identifier: GPL-2.0

//! TCP sequence numbers.

/// A TCP sequence number, host byte order (RFC 9293, section 3.4).
///
/// Arithmetic is modulo 2^32. Two numbers are ordered if they are less than 2^31 apart. There is no
/// `Ord`, because this order is not transitive, and no `+`, because an overflow wraps and does not
/// panic.
///
/// # Examples
///
/// ```
/// # use rust_ct_host::proto;
/// use proto::wire::seq::SeqNum;
///
/// // A segment of ten bytes across the end of the sequence space.
/// let seq = SeqNum(u32::MAX - 3);
/// let end = seq.add(10);
/// assert_eq!(end, SeqNum(6));
/// assert!(seq.before(end) && !seq.after(end));
/// assert_eq!(end.since(seq), 10);
/// assert_eq!(seq.max(end), end);
/// ```
///
/// Comparison by value does not compile:
///
/// ```compile_fail
/// # use rust_ct_host::proto;
/// use proto::wire::seq::SeqNum;
///
/// assert!(SeqNum(1) < SeqNum(2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct SeqNum(pub u32);

impl SeqNum {
    /// Returns the number `bytes` later.
    #[inline]
    #[must_use]
    pub const fn add(self, bytes: u32) -> Self {
        Self(self.0.wrapping_add(bytes))
    }

    /// Returns the number `bytes` earlier.
    #[inline]
    #[must_use]
    pub const fn sub(self, bytes: u32) -> Self {
        Self(self.0.wrapping_sub(bytes))
    }

    /// Returns the number before a sequence adjustment by `offset` bytes was applied.
    #[inline]
    #[must_use]
    pub const fn unadjusted(self, offset: i32) -> Self {
        Self(
            self.0
                .wrapping_sub(u32::from_ne_bytes(offset.to_ne_bytes())),
        )
    }

    /// Returns the number of bytes from `earlier` to `self`.
    #[inline]
    pub const fn since(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }

    /// Returns `self < other`.
    #[inline]
    pub const fn before(self, other: Self) -> bool {
        i32::from_ne_bytes(self.0.wrapping_sub(other.0).to_ne_bytes()) < 0
    }

    /// Returns `self > other`.
    #[inline]
    pub const fn after(self, other: Self) -> bool {
        other.before(self)
    }

    /// Returns `self <= other`.
    #[inline]
    pub const fn at_or_before(self, other: Self) -> bool {
        self.before(other.add(1))
    }

    /// Returns `self >= other`.
    #[inline]
    pub const fn at_or_after(self, other: Self) -> bool {
        self.after(other.sub(1))
    }

    /// Returns the later of two numbers.
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
