// SPDX-License-Identifier: GPL-2.0

//! Sequence number adjustment.
//!
//! A helper that rewrites addresses in a TCP stream may make the stream longer or shorter. From
//! that position on, sender and receiver count differently, and the sequence numbers of every
//! segment are adjusted.

use core::mem::size_of;

use super::wire::seq::SeqNum;

/// The adjustment of one direction. Layout twin of `struct nf_ct_seqadj`.
///
/// # Examples
///
/// ```
/// # use rust_ct_host::proto;
/// use proto::{seqadj::Shift, wire::seq::SeqNum};
///
/// // A helper replaces an address at 1000 by one that is three bytes longer.
/// let mut shift = Shift::default();
/// shift.add(SeqNum(1000), 3);
/// assert_eq!(shift.apply(SeqNum(1000)), SeqNum(1000));
/// assert_eq!(shift.apply(SeqNum(1020)), SeqNum(1023));
/// assert_eq!(shift.undo(SeqNum(1023)), SeqNum(1020));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Shift {
    /// Position of the last change in the sender's sequence space (`correction_pos`).
    pub position: SeqNum,
    /// Offset of bytes up to that position (`offset_before`).
    pub before: i32,
    /// Offset of bytes after that position (`offset_after`).
    pub after: i32,
}

const _: () = assert!(size_of::<Shift>() == 12);

impl Shift {
    /// Returns the offset at `seq`, a number in the sender's sequence space.
    #[inline]
    pub const fn at(&self, seq: SeqNum) -> i32 {
        if seq.after(self.position) {
            self.after
        } else {
            self.before
        }
    }

    /// Converts `seq` from the receiver's sequence space to the sender's.
    #[inline]
    pub const fn undo(&self, seq: SeqNum) -> SeqNum {
        let before = seq.sub(bits(self.before));
        let by = if before.after(self.position) {
            self.after
        } else {
            self.before
        };
        seq.sub(bits(by))
    }

    /// Converts `seq` from the sender's sequence space to the receiver's.
    #[inline]
    pub const fn apply(&self, seq: SeqNum) -> SeqNum {
        seq.add(bits(self.at(seq)))
    }

    /// Adds `by` to the offset of the bytes after `seq`.
    ///
    /// A retransmission of the segment that was changed last changes nothing.
    pub const fn add(&mut self, seq: SeqNum, by: i32) {
        if self.before == self.after || self.position.before(seq) {
            self.position = seq;
            self.before = self.after;
            self.after = self.after.wrapping_add(by);
        }
    }
}

/// Returns the two's complement of a signed number, for wrapping arithmetic.
#[inline]
const fn bits(by: i32) -> u32 {
    u32::from_ne_bytes(by.to_ne_bytes())
}
