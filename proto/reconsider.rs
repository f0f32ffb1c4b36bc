// SPDX-License-Identifier: GPL-2.0

//! The rules that decide when an unreplied connection is shown to NAT's rules again.
//!
//! # Examples
//!
//! ```
//! # use rust_ct_host::proto;
//! use proto::reconsider::{question, Asked, Question};
//!
//! // The rules have changed once since the entry was created.
//! assert_eq!(question(7, 8, false, false), Question::Everything);
//! // 30 s (of 100 jiffies each) after its creation the entry is shown to them, and no earlier.
//! let asked = Asked { created: 1000, last: None };
//! assert!(!asked.is_due(3999, 3000, 100));
//! assert!(asked.is_due(4000, 3000, 100));
//! ```

use super::types::{generation::Generation, num::u32_as_u64};

/// What is to be asked about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Nothing: no rule has changed since the connection was shown to the rules.
    Nothing,
    /// Whether there is a better source: the mapping has grown old without a reply.
    Source,
    /// Everything, as for a new connection.
    Everything,
}

/// Returns what is to be asked about an entry with the stamp `stamp`.
///
/// The entry has an [`early_stamp`] for a reason of its own if the rules have not changed: because
/// its mapping is old (`is_aged`), or because an ICMP error said that its destination is
/// unreachable (`is_unreachable`).
#[inline]
pub const fn question(
    stamp: Generation,
    current: Generation,
    is_aged: bool,
    is_unreachable: bool,
) -> Question {
    if stamp == current {
        Question::Nothing
    } else if is_aged && !is_unreachable && stamp == early_stamp(current) {
        Question::Source
    } else {
        Question::Everything
    }
}

/// Returns the stamp of an entry that is to be shown to the rules although they have not changed.
/// If they change before that happens, the stamp is two generations old.
#[inline]
pub const fn early_stamp(current: Generation) -> Generation {
    current.wrapping_sub(1)
}

/// What is remembered of a connection's replies: how many there were, and since when it has been
/// that many. Zeroed: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replies(u64);

impl Replies {
    /// Returns what [`Self::to_word`] has returned before, or nothing for 0.
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// Returns it as a word.
    pub const fn to_word(self) -> u64 {
        self.0
    }

    /// Takes notice of the number of replies at `now`, in jiffies; both wrap around. Returns since
    /// how many jiffies it has been that number: 0 if it is noticed for the first time.
    pub fn note(&mut self, number: u32, now: u32) -> u32 {
        let word = u32_as_u64(now) << u32::BITS | u32_as_u64(number);
        // CAST: The lower half is the number, the upper one the time.
        let (known, since) = (self.0 as u32, (self.0 >> u32::BITS) as u32);
        if self.0 != 0 && known == number {
            return now.wrapping_sub(since);
        }
        self.0 = word;
        0
    }
}

/// When a connection met the rules, in jiffies. The clock wraps around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The time of its first packet.
    pub created: usize,
    /// The last time at which it was shown to them again.
    pub last: Option<usize>,
}

impl Asked {
    /// Returns whether the connection may be shown to the rules again at `now`: after `after`
    /// jiffies, and at most once a second, which is `second` jiffies.
    #[inline]
    pub const fn is_due(&self, now: usize, after: usize, second: usize) -> bool {
        let pause = if after > second { after } else { second };
        let may_again = match self.last {
            None => true,
            Some(last) => now.wrapping_sub(last) >= pause,
        };
        may_again && now.wrapping_sub(self.created) >= after
    }
}
