// SPDX-License-Identifier: GPL-2.0

//! Why an entry ends: a number in its status word, beyond what netlink shows of that.

use kernel::sync::atomic::{
    Full,
    Relaxed, //
};

use super::conn::{
    Conn,
    StatusBit, //
};

/// The number's place.
const SHIFT: u32 = StatusBit::Adopted as u32 + 1;
const MASK: usize = 0xf;

const _: () = assert!(SHIFT + MASK.count_ones() <= usize::BITS);

impl Conn {
    /// Says that the entry is dying, and why: a number below 16. Says whether this call did it:
    /// of several that try at the same time, one does.
    pub(crate) fn doom(&self, why: u8) -> bool {
        let dying = 1 << StatusBit::Dying as u32;
        let word = self.status_word();
        let mut old = word.load(Relaxed);
        while old & dying == 0 {
            let new = old | dying | (usize::from(why) & MASK) << SHIFT;
            match word.cmpxchg(old, new, Full) {
                Ok(_) => return true,
                Err(other) => old = other,
            }
        }
        false
    }

    /// Why it is dying; 0: it is not, or nobody said.
    pub(crate) fn doomed_for(&self) -> u8 {
        // CAST: four bits.
        (self.status_word().load(Relaxed) >> SHIFT & MASK) as u8
    }
}
