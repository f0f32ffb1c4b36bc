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

use crate::nf::{
    bindings,
    kernel::log::pr_warn, //
};

/// The cache. Null before [`ExpectCache::create`].
static CACHE: Atomic<*mut bindings::kmem_cache> = Atomic::new(null_mut());

/// The number of expectations that are allocated, or are being; [`CLOSED`] is added where there are
/// to be no more.
static ALLOCATED: Atomic<u32> = Atomic::new(CLOSED);

/// More than there can be.
const CLOSED: u32 = 1 << 31;

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
        ALLOCATED.fetch_sub(CLOSED, Full);
        // INVARIANT: Just made.
        Ok(Self(()))
    }
}

impl Drop for ExpectCache {
    /// Waits until the expectations that were dropped are freed, and destroys the cache. If there
    /// still are some, the cache leaks.
    fn drop(&mut self) {
        ALLOCATED.fetch_add(CLOSED, Full);
        rcu_barrier();
        if ALLOCATED.load(Relaxed) != CLOSED {
            pr_warn!("there are expectations without a tracker; their memory is lost\n");
            return;
        }
        // SAFETY: By the type invariants; no expectation is left, and there will be none.
        unsafe { bindings::kmem_cache_destroy(CACHE.load(Relaxed)) };
    }
}

/// Allocates zeroed memory for an expectation. Atomic context. [`None`]: no memory, or no cache.
pub(super) fn allocate() -> Option<NonNull<bindings::nf_conntrack_expect>> {
    let memory = if ALLOCATED.fetch_add(1, Full) < CLOSED {
        // SAFETY: The cache exists: it is not destroyed while this counts.
        unsafe { bindings::rct_kmem_cache_alloc(CACHE.load(Relaxed), bindings::gfp::ATOMIC) }
    } else {
        null_mut()
    };
    let Some(memory) = NonNull::new(memory) else {
        ALLOCATED.fetch_sub(1, Full);
        return None;
    };
    let memory = memory.cast::<bindings::nf_conntrack_expect>();
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
    ALLOCATED.fetch_sub(1, Full);
}
