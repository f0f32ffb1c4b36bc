// SPDX-License-Identifier: GPL-2.0

//! The 32-bit clock of entry timeouts.

/// A point in time in jiffies: the low 32 bits of `jiffies`, as in `nf_conn::timeout`.
///
/// The clock wraps. Two points compare correctly while they lie less than 2^31 jiffies apart
/// (24 days at 1000 HZ), which the limit on timeouts (`INT_MAX` jiffies) guarantees for live
/// entries.
///
/// # Examples
///
/// ```
/// # use rust_ct_host::proto;
/// use proto::time::Jiffies32;
///
/// // A timeout of 20 jiffies, shortly before the clock wraps.
/// let now = Jiffies32(u32::MAX - 9);
/// let expires = now.add(20);
/// assert_eq!(expires.remaining(now), 20);
/// assert!(!expires.is_expired(now));
/// assert!(expires.is_expired(Jiffies32(10)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct Jiffies32(pub u32);

impl Jiffies32 {
    /// Returns the point `jiffies` later.
    #[inline]
    #[must_use]
    pub const fn add(self, jiffies: u32) -> Self {
        Self(self.0.wrapping_add(jiffies))
    }

    /// Returns the jiffies that passed from `earlier` to `self`.
    #[inline]
    pub const fn since(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }

    /// Returns whether `self` lies before `other`.
    #[inline]
    pub const fn before(self, other: Self) -> bool {
        self.signed_distance(other) < 0
    }

    /// Returns whether `self` lies after `other`.
    #[inline]
    pub const fn after(self, other: Self) -> bool {
        other.before(self)
    }

    /// Returns the jiffies from `now` to the deadline `self`; 0 once it has passed.
    #[inline]
    pub const fn remaining(self, now: Self) -> u32 {
        let left = self.signed_distance(now);
        if left > 0 {
            left.unsigned_abs()
        } else {
            0
        }
    }

    /// Returns whether the deadline `self` is reached at `now`.
    #[inline]
    pub const fn is_expired(self, now: Self) -> bool {
        self.signed_distance(now) <= 0
    }

    /// Returns `self - other` as a signed number of jiffies.
    #[inline]
    const fn signed_distance(self, other: Self) -> i32 {
        i32::from_ne_bytes(self.0.wrapping_sub(other.0).to_ne_bytes())
    }
}
