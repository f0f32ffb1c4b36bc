// SPDX-License-Identifier: GPL-2.0

//! A set of ports that a sysctl sets, and packet paths look into.

use core::ptr::null_mut;

use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Full,
        Relaxed, //
    }, //
};

use crate::nf::bindings;

/// How many ports there are.
pub(crate) const PORTS: usize = 1 << 16;

/// The set; zeroed: nothing is in it, and nothing can be put in.
///
/// # Invariants
///
/// Null, or points to [`PORTS`] bits that belong to the set.
pub(crate) struct PortSet(Atomic<*mut usize>);

// SAFETY: The number of null is zero.
unsafe impl pin_init::Zeroable for PortSet {}

impl PortSet {
    /// Makes room for ports. May sleep.
    pub(crate) fn allocate(&self) -> Result {
        // SAFETY: Process context.
        let bits = unsafe { bindings::rct_kvzalloc(PORTS / 8) };
        if bits.is_null() {
            return Err(ENOMEM);
        }
        // INVARIANT: just allocated.
        self.swap(bits.cast());
        Ok(())
    }

    /// Frees the room: nobody looks into the set any more.
    pub(crate) fn free(&self) {
        self.swap(null_mut());
    }

    fn swap(&self, new: *mut usize) {
        // SAFETY: By the type invariants; null is fine.
        unsafe { bindings::kvfree(self.0.xchg(new, Full).cast()) };
    }

    /// Whether a port is in the set.
    #[inline]
    pub(crate) fn contains(&self, port: u16) -> bool {
        let bits = self.0.load(Relaxed);
        if bits.is_null() {
            return false;
        }
        let (word, bit) = (
            usize::from(port) / usize::BITS as usize,
            u32::from(port) % usize::BITS,
        );
        // SAFETY: In bounds by the type invariants. A sysctl may be writing the word.
        let word = unsafe { Atomic::from_ptr(bits.add(word)) };
        word.load(Relaxed) & 1 << bit != 0
    }

    /// Where the pointer is, for the kernel's handler of such sets.
    pub(in crate::nf) fn place(&self) -> *mut *mut usize {
        self.0.as_ptr()
    }
}
