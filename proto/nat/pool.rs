// SPDX-License-Identifier: GPL-2.0

//! The marks of a crowded pool: which keys are known to be taken.
//!
//! A pool consists of all keys of one translated address towards one destination. A marked key
//! belonged to a connection after it was marked, and that connection clears the mark when it ends.
//! An unmarked key may be free; the connection table decides. So a missing mark costs one lookup,
//! and no mark stays for ever.

use core::sync::atomic::{AtomicU64, Ordering};

/// Number of words in a set, with one bit for each key.
pub const WORDS: usize = 1 << 10;

/// A set of keys that several CPUs read and change at the same time.
///
/// Each change is a full barrier. One CPU marks a key and then finds the connection with this key
/// in the table; that connection leaves the table and then clears the mark. The barriers guarantee
/// that it clears this mark.
#[derive(Clone, Copy)]
pub struct Keys<'a>(&'a [AtomicU64]);

impl<'a> Keys<'a> {
    /// Returns the set in `words`, normally [`WORDS`] of them. Keys beyond the last word cannot be
    /// marked.
    pub const fn new(words: &'a [AtomicU64]) -> Self {
        Self(words)
    }

    /// Returns the word and the bit of a key.
    fn bit_of(self, key: u16) -> Option<(&'a AtomicU64, u64)> {
        let word = self.0.get(usize::from(key >> 6))?;
        Some((word, 1 << (key & 63)))
    }

    /// Marks a key. Returns whether it was unmarked before.
    pub fn mark(self, key: u16) -> bool {
        self.bit_of(key)
            .is_some_and(|(word, bit)| word.fetch_or(bit, Ordering::SeqCst) & bit == 0)
    }

    /// Clears a mark. Returns whether the key was marked before.
    pub fn clear(self, key: u16) -> bool {
        self.bit_of(key)
            .is_some_and(|(word, bit)| word.fetch_and(!bit, Ordering::SeqCst) & bit != 0)
    }

    /// Returns the first key from `first` to `last` that is neither marked nor barred; see
    /// [`first_open`].
    pub fn unmarked(self, first: u16, last: u16, barred: impl Fn(u16) -> u64) -> Option<u16> {
        first_open(first, last, |number| {
            let marks = self.0.get(usize::from(number))?.load(Ordering::Relaxed);
            // Bars are asked for where a mark would not do.
            Some(if marks == u64::MAX {
                marks
            } else {
                marks | barred(number)
            })
        })
    }
}

/// Returns the first key from `first` to `last` whose bit is clear. `closed` returns the bits of
/// the 64 keys from 64 times its argument on; [`None`]: none of these and of the following keys is
/// open.
pub fn first_open(first: u16, last: u16, closed: impl Fn(u16) -> Option<u64>) -> Option<u16> {
    // Keys before `first` count as closed.
    let mut before = (1_u64 << (first & 63)).wrapping_sub(1);
    for number in first >> 6..=last >> 6 {
        let open = !(closed(number)? | before);
        if open != 0 {
            let key = (u32::from(number) << 6).wrapping_add(open.trailing_zeros());
            return u16::try_from(key).ok().filter(|&key| key <= last);
        }
        before = 0;
    }
    None
}
