// SPDX-License-Identifier: GPL-2.0

//! Which keys of a crowded pool are known to be taken.
//!
//! A pool is all keys of one translated address towards one destination. A key that is marked
//! belonged to somebody after it was marked, and whoever that is clears the mark when it ends.
//! A key that is not marked may be free: that is for the table of connections to say. So a mark
//! that is missing costs a question, and none stays for good.

use core::sync::atomic::{AtomicU64, Ordering};

/// Words of a set: a bit for each key.
pub const WORDS: usize = 1 << 10;

/// A set of keys that several CPUs read and change at the same time.
///
/// Each change is a full barrier: who marks a key and then finds its owner in a table can rely
/// on it that the owner, which leaves the table and then clears its mark, clears this one.
#[derive(Clone, Copy)]
pub struct Keys<'a>(&'a [AtomicU64]);

impl<'a> Keys<'a> {
    /// The set in `words`, of which there are [`WORDS`]. What is missing cannot be marked.
    pub const fn new(words: &'a [AtomicU64]) -> Self {
        Self(words)
    }

    fn place(self, key: u16) -> Option<(&'a AtomicU64, u64)> {
        let word = self.0.get(usize::from(key >> 6))?;
        Some((word, 1 << (key & 63)))
    }

    /// Marks a key. Says whether it was not marked before.
    pub fn mark(self, key: u16) -> bool {
        self.place(key)
            .is_some_and(|(word, bit)| word.fetch_or(bit, Ordering::SeqCst) & bit == 0)
    }

    /// Clears a mark. Says whether it was there.
    pub fn clear(self, key: u16) -> bool {
        self.place(key)
            .is_some_and(|(word, bit)| word.fetch_and(!bit, Ordering::SeqCst) & bit != 0)
    }

    /// The first key from `first` to `last` that is not marked.
    pub fn unmarked(self, first: u16, last: u16) -> Option<u16> {
        let (from, to) = (usize::from(first >> 6), usize::from(last >> 6));
        let mut base = u32::from(first) & !63;
        // What lies before `first` counts as marked.
        let mut before = (1_u64 << (first & 63)).wrapping_sub(1);
        for word in self.0.get(from..=to)? {
            let free = !(word.load(Ordering::Relaxed) | before);
            if free != 0 {
                let key = base.wrapping_add(free.trailing_zeros());
                return u16::try_from(key).ok().filter(|&key| key <= last);
            }
            before = 0;
            base = base.wrapping_add(64);
        }
        None
    }
}
