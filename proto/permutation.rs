// SPDX-License-Identifier: GPL-2.0

//! A keyed permutation: numbers in an order that is as good as random.

/// The number of rounds of [`Permutation::at`].
pub const ROUNDS: usize = 4;

/// A permutation of the numbers below a limit, chosen by a key.
///
/// A round is an exclusive or with a part of the key, a multiplication by an odd part of it, and an
/// exclusive or of the upper half of the bits to the lower one. Each of the three can be undone, so
/// no two indices have the same image.
///
/// The order is hidden from a reader that sees parts of it. This is not a cipher.
#[derive(Clone, Copy)]
pub struct Permutation {
    limit: u32,
    /// One less than the power of two at or above the limit.
    mask: u32,
    /// Half the number of bits of `mask`; not 0.
    half: u32,
    key: [u64; ROUNDS],
}

impl Permutation {
    /// Chooses a permutation of the numbers below `limit`.
    pub const fn new(limit: u32, key: [u64; ROUNDS]) -> Self {
        let bits = match limit.saturating_sub(1).checked_ilog2() {
            Some(top) => top.wrapping_add(1),
            None => 1,
        };
        Self {
            limit,
            mask: u32::MAX >> 32_u32.wrapping_sub(bits),
            half: bits.div_ceil(2),
            key,
        }
    }

    /// Returns the limit.
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// Returns the last index. The indices from 0 on have all numbers below the limit, each once,
    /// and [`None`] in between.
    pub const fn last(&self) -> u32 {
        self.mask
    }

    /// Returns the number at an index.
    #[inline]
    pub fn at(&self, index: u32) -> Option<u32> {
        let mix = |number: u32, key: u64| {
            let [a, b, c, d, e, f, g, h] = key.to_le_bytes();
            let [plus, times] = [[a, b, c, d], [e, f, g, h]].map(u32::from_le_bytes);
            let number = (number ^ plus).wrapping_mul(times | 1) & self.mask;
            number ^ number.wrapping_shr(self.half)
        };
        let number = self.key.iter().fold(index, |number, &key| mix(number, key));
        (number < self.limit).then_some(number)
    }
}
