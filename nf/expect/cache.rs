// SPDX-License-Identifier: GPL-2.0

//! The slab cache that expectations are allocated from, `nf_conntrack_expect` in
//! `/proc/slabinfo`.

use core::ptr::{
    null_mut,
    NonNull, //
};

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        rcu::rcu_barrier, //
    },
};

use crate::nf::bindings;

/// The cache. Null before [`ExpectCache::create`] and after its drop.
static CACHE: Atomic<*mut bindings::kmem_cache> = Atomic::new(null_mut());

/// Whether an [`ExpectCache`] was created since the module was loaded.
static MADE: Atomic<bool> = Atomic::new(false);

/// Owns the cache.
///
/// # Invariants
///
/// The cache exists, and there is one value of this type.
pub(super) struct ExpectCache(());

impl ExpectCache {
    /// Creates the cache. May sleep. `EBUSY`: it was called before. `ENOMEM`: no memory.
    pub(super) fn create() -> Result<Self> {
        if MADE.xchg(true, Full) {
            return Err(EBUSY);
        }
        // SAFETY: Process context.
        let cache = unsafe { bindings::rct_expect_cache_create() };
        if cache.is_null() {
            return Err(ENOMEM);
        }
        CACHE.store(cache, Relaxed);
        // INVARIANT: Just made.
        Ok(Self(()))
    }
}

impl Drop for ExpectCache {
    /// Waits until the last expectations are freed, and destroys the cache.
    fn drop(&mut self) {
        rcu_barrier();
        let cache = CACHE.load(Relaxed);
        CACHE.store(null_mut(), Relaxed);
        // SAFETY: By the type invariants; no expectation is left.
        unsafe { bindings::kmem_cache_destroy(cache) };
    }
}

/// Allocates zeroed memory for an expectation. Atomic context. [`None`]: no memory.
pub(super) fn allocate() -> Option<NonNull<bindings::nf_conntrack_expect>> {
    let cache = CACHE.load(Relaxed);
    if cache.is_null() {
        return None;
    }
    // CAST: flags are a `u32`, which the header's constant widens.
    let gfp = bindings::RCT_GFP_ATOMIC as u32;
    // SAFETY: The cache exists: its owner is dropped after the last entry and the last user of
    // exported functions are gone, and expectations are allocated for these alone.
    let memory = unsafe { bindings::rct_kmem_cache_alloc(cache, gfp) };
    let memory = NonNull::new(memory)?.cast::<bindings::nf_conntrack_expect>();
    // SAFETY: As large as an expectation, for which all zeroes will do.
    unsafe { memory.write_bytes(0, 1) };
    Some(memory)
}

/// Frees the memory of an expectation.
///
/// # Safety
///
/// `expectation` came from [`allocate`] and is not used any more.
pub(super) unsafe fn free(expectation: *mut bindings::nf_conntrack_expect) {
    // SAFETY: By the function's contract; an expectation is allocated, so the cache exists.
    unsafe { bindings::kmem_cache_free(CACHE.load(Relaxed), expectation.cast()) };
}
