// SPDX-License-Identifier: GPL-2.0

//! The slab that expectations come from. C code knows it by its name in `/proc/slabinfo`.

use core::ptr::{
    null_mut,
    NonNull, //
};

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        rcu::rcu_barrier, //
    },
};

use crate::nf::bindings;

/// The cache. Null before [`ExpectCache::create`] and after its drop.
static CACHE: Atomic<*mut bindings::kmem_cache> = Atomic::new(null_mut());

/// The life of the cache.
///
/// # Invariants
///
/// The cache exists, and there is one value of this type.
pub(super) struct ExpectCache(());

impl ExpectCache {
    /// Makes the cache. May sleep. `EBUSY`: it exists. `ENOMEM`: no memory.
    pub(super) fn create() -> Result<Self> {
        if !CACHE.load(Relaxed).is_null() {
            return Err(EBUSY);
        }
        // SAFETY: Process context.
        let cache = unsafe { bindings::rct_expect_cache_create() };
        if cache.is_null() {
            return Err(ENOMEM);
        }
        CACHE.store(cache, Relaxed);
        // INVARIANT: just made.
        Ok(Self(()))
    }
}

impl Drop for ExpectCache {
    /// Waits until the last expectations are freed.
    fn drop(&mut self) {
        rcu_barrier();
        let cache = CACHE.load(Relaxed);
        CACHE.store(null_mut(), Relaxed);
        // SAFETY: By the type invariants; no expectation is left.
        unsafe { bindings::kmem_cache_destroy(cache) };
    }
}

/// Zeroed memory for an expectation. Atomic context.
pub(super) fn allocate() -> Option<NonNull<bindings::nf_conntrack_expect>> {
    let cache = CACHE.load(Relaxed);
    if cache.is_null() {
        return None;
    }
    // SAFETY: The cache is alive: its owner goes after all who could call this.
    let memory = unsafe { bindings::rct_kmem_cache_alloc(cache, bindings::RCT_GFP_ATOMIC as u32) };
    let memory = NonNull::new(memory)?.cast::<bindings::nf_conntrack_expect>();
    // SAFETY: As large as an expectation, for which all zeroes will do.
    unsafe { memory.write_bytes(0, 1) };
    Some(memory)
}

/// Gives memory back.
///
/// # Safety
///
/// `expectation` came from [`allocate`] and is not used any more.
pub(super) unsafe fn release(expectation: *mut bindings::nf_conntrack_expect) {
    // SAFETY: The caller's promise; an expectation is out, so the cache is alive.
    unsafe { bindings::kmem_cache_free(CACHE.load(Relaxed), expectation.cast()) };
}
