// SPDX-License-Identifier: GPL-2.0

//! A set of ports that a sysctl changes while packets are looked up in it.

use core::ptr::null_mut;

use kernel::{
    prelude::*,
    sync::atomic::{
        Acquire,
        Atomic,
        Full,
        Relaxed, //
    },
};

use crate::{
    nf::bindings,
    proto::types::num::{
        u16_as_usize,
        u32_into_u16,
        usize_as_u64, //
    },
};

use super::rcu::Rcu;

/// The number of ports.
pub(crate) const PORTS: usize = 1 << 16;

/// A set of ports. Zeroed, it is empty, and ports cannot be added.
///
/// # Invariants
///
/// Null, or points to [`PORTS`] bits that belong to the set. They are freed no sooner than a grace
/// period after the pointer was replaced.
pub(crate) struct PortSet(Atomic<*mut usize>);

// SAFETY: The bytes of a null pointer are zero.
unsafe impl pin_init::Zeroable for PortSet {}

impl PortSet {
    /// Allocates the bits. May sleep.
    pub(crate) fn allocate(&self) -> Result {
        // SAFETY: Process context.
        let bits = unsafe { bindings::rct_kvzalloc(PORTS / 8) };
        if bits.is_null() {
            return Err(ENOMEM);
        }
        // INVARIANT: Just allocated.
        self.replace(bits.cast());
        Ok(())
    }

    /// Frees the bits, after a grace period: the set is empty from now on. May sleep.
    pub(crate) fn free(&self) {
        self.replace(null_mut());
    }

    fn replace(&self, new: *mut usize) {
        let former = self.0.xchg(new, Full);
        if !former.is_null() {
            // SAFETY: By the type invariants the bits were the set's; readers are in RCU sections.
            unsafe { bindings::rct_kvfree_rcu(former.cast()) };
        }
    }

    /// Returns whether a port is in the set.
    #[inline]
    pub(crate) fn contains(&self, port: u16, _rcu: Rcu<'_>) -> bool {
        const BITS: u16 = u32_into_u16::<{ usize::BITS }>();
        let bits = self.0.load(Acquire);
        if bits.is_null() {
            return false;
        }
        // SAFETY: In bounds by the type invariants, which also keep the bits during the section. A
        // sysctl may be writing the word.
        let word = unsafe { Atomic::from_ptr(bits.add(u16_as_usize(port / BITS))) };
        word.load(Relaxed) & 1 << (port % BITS) != 0
    }

    /// Returns the set's bits of the 64 ports from `64 * number` on, the first one lowest.
    #[inline]
    pub(crate) fn word(&self, number: u16, _rcu: Rcu<'_>) -> u64 {
        const _: () = assert!(usize::BITS == u64::BITS);
        let (bits, index) = (self.0.load(Acquire), u16_as_usize(number));
        if bits.is_null() || index >= PORTS / 64 {
            return 0;
        }
        // SAFETY: In bounds, as just checked; see `contains`.
        let word = unsafe { Atomic::from_ptr(bits.add(index)) };
        usize_as_u64(word.load(Relaxed))
    }

    /// Returns the pointer's address, for the kernel's handler of such sets.
    pub(in crate::nf) fn place(&self) -> *mut *mut usize {
        self.0.as_ptr()
    }
}
