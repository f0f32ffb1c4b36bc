// SPDX-License-Identifier: GPL-2.0

//! The slab that connection entries come from: type-stable under RCU.
//!
//! C header: [`include/linux/slab.h`](srctree/include/linux/slab.h)

use core::ptr::{
    null_mut,
    NonNull, //
};

use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
};

use super::{
    bindings,
    links, //
};

/// The cache. Null before [`ConnCache::create`] and after its drop.
static CACHE: Atomic<*mut bindings::kmem_cache> = Atomic::new(null_mut());

/// The life of the cache.
///
/// # Invariants
///
/// `CACHE` points to the cache, and there is one value of this type.
pub(crate) struct ConnCache(());

impl ConnCache {
    /// Creates the cache. May sleep.
    pub(crate) fn create() -> Result<Self> {
        if !CACHE.load(Relaxed).is_null() {
            return Err(EBUSY);
        }
        // SAFETY: Process context. CAST: a few hundred.
        let cache = unsafe { bindings::rct_conn_cache_create(links::OBJECT_SIZE as u32) };
        if cache.is_null() {
            return Err(ENOMEM);
        }
        CACHE.store(cache, Relaxed);
        // INVARIANT: just created.
        Ok(Self(()))
    }
}

impl Drop for ConnCache {
    /// Every entry is back by now, or the kernel complains.
    fn drop(&mut self) {
        let cache = CACHE.load(Relaxed);
        CACHE.store(null_mut(), Relaxed);
        // SAFETY: By the type invariants; nobody allocates any more.
        unsafe { bindings::kmem_cache_destroy(cache) };
    }
}

/// Memory for an entry, with the remains of a former one in it. Atomic context.
#[inline]
pub(super) fn allocate() -> Option<NonNull<bindings::nf_conn>> {
    let cache = CACHE.load(Relaxed);
    if cache.is_null() {
        return None;
    }
    // SAFETY: The cache is alive: its owner goes after all who could call this.
    let memory = unsafe { bindings::rct_kmem_cache_alloc(cache, bindings::RCT_GFP_ATOMIC as u32) };
    NonNull::new(memory.cast())
}

/// Gives memory back.
///
/// # Safety
///
/// `conn` came from [`allocate`] and is not used any more, but by readers under RCU.
#[inline]
pub(super) unsafe fn release(conn: NonNull<bindings::nf_conn>) {
    // SAFETY: The caller's promise; an entry is out, so the cache is alive.
    unsafe { bindings::kmem_cache_free(CACHE.load(Relaxed), conn.as_ptr().cast()) };
}

/// The machine's memory in bytes.
pub(crate) fn total_memory() -> usize {
    // SAFETY: Reads a counter.
    unsafe { bindings::rct_totalram_bytes() }
}
