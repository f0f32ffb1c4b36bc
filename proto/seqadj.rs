// SPDX-License-Identifier: GPL-2.0

//! Sequence numbers that a helper has moved.
//!
//! A helper that rewrites addresses in a TCP stream may make it longer or shorter. From that
//! place on, the numbers of the two peers differ, and every segment is shifted.

use core::mem::size_of;

use super::wire::seq::SeqNum;

/// The shift of one way. Layout twin of `struct nf_ct_seqadj`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Shift {
    /// The sequence number, as its sender counts, of the last change.
    pub position: SeqNum,
    /// How far octets before that are moved.
    pub before: i32,
    /// How far octets behind that are moved.
    pub after: i32,
}

const _: () = assert!(size_of::<Shift>() == 12);

impl Shift {
    /// How far the octet that its sender calls `seq` is moved.
    #[inline]
    pub const fn at(&self, seq: SeqNum) -> i32 {
        if seq.after(self.position) {
            self.after
        } else {
            self.before
        }
    }

    /// What its sender calls the octet that the receiver calls `seq`.
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

    /// The octet that its sender calls `seq`, as the receiver calls it.
    #[inline]
    pub const fn apply(&self, seq: SeqNum) -> SeqNum {
        seq.add(bits(self.at(seq)))
    }

    /// The octets behind `seq` have been moved by `by` more.
    ///
    /// A repetition of the segment that was changed last moves nothing again.
    pub const fn add(&mut self, seq: SeqNum, by: i32) {
        if self.before == self.after || self.position.before(seq) {
            self.position = seq;
            self.before = self.after;
            self.after = self.after.wrapping_add(by);
        }
    }
}

/// The bits of a signed number, for arithmetic that wraps.
#[inline]
const fn bits(by: i32) -> u32 {
    u32::from_ne_bytes(by.to_ne_bytes())
}
