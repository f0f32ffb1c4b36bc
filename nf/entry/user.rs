// SPDX-License-Identifier: GPL-2.0

//! Changes of an entry by user space.

use core::ptr::addr_of_mut;

use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};

use crate::nf::bindings;

use super::conn::Entry;

impl Entry {
    /// Sets the status bits of `on` and clears those of `off`, except those that only the kernel
    /// may change (`IPS_UNCHANGEABLE_MASK`).
    pub(crate) fn change_status(&self, on: u32, off: u32) {
        const OWN: u32 = bindings::ip_conntrack_status_IPS_UNCHANGEABLE_MASK;
        let word = self.status_word().as_ptr().cast();
        for bit in 0..bindings::ip_conntrack_status___IPS_MAX_BIT {
            let mask = 1_u32.wrapping_shl(bit) & !OWN;
            // SAFETY: The word is valid, and has that bit.
            unsafe {
                if on & mask != 0 {
                    bindings::rct_set_bit(bit, word);
                } else if off & mask != 0 {
                    bindings::rct_clear_bit(bit, word);
                }
            }
        }
    }

    /// Replaces the mark by what `new` returns for it.
    pub(crate) fn change_mark(&self, new: impl FnOnce(u32) -> u32) {
        // SAFETY: The field is valid, aligned, and only accessed atomically by all.
        let word = unsafe { Atomic::from_ptr(addr_of_mut!((*self.raw()).mark)) };
        let old = word.load(Relaxed);
        let new = new(old);
        if new != old {
            word.store(new, Relaxed);
        }
    }
}
