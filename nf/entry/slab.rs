// SPDX-License-Identifier: GPL-2.0

//! The slab cache of entries: type-stable under RCU.
//!
//! Each CPU keeps one object that was freed there, for the next entry: if rules refuse a packet,
//! its entry is freed before the next packet comes.
//!
//! C header: [`include/linux/slab.h`](srctree/include/linux/slab.h)

use core::{
    ffi::c_void,
    ptr::{
        null_mut,
        NonNull, //
    },
};

use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Full,
        Relaxed, //
    },
};

use crate::nf::{
    bindings,
    kernel::{
        log::pr_warn,
        net, //
    },
};

use super::object;

/// The cache. Null before [`ConnCache::create`] and after its drop.
static CACHE: Atomic<*mut bindings::kmem_cache> = Atomic::new(null_mut());

/// A free object, or null, for each CPU. Null itself while `CACHE` is null.
static SPARE: Atomic<*mut c_void> = Atomic::new(null_mut());

/// The first of the objects that cannot be linked, or null. Each begins with a pointer to the next.
static ASIDE: Atomic<*mut c_void> = Atomic::new(null_mut());

/// Whether a [`ConnCache`] was created since the module was loaded.
static MADE: Atomic<bool> = Atomic::new(false);

/// The number of objects that cannot be linked.
static ASIDE_NUMBER: Atomic<u32> = Atomic::new(0);

/// The limit of that number: some 16 MiB are lost.
const MOST_ASIDE: u32 = 1 << 16;

/// The number of objects that one connection may set aside: more than there are in a slab, so that
/// the next one comes from other memory.
const MOST_TRIES: u32 = 64;

/// Owner of the cache.
///
/// # Invariants
///
/// `CACHE` points to the cache, `SPARE` to a pointer for each CPU, and there is one value of this
/// type.
pub(crate) struct ConnCache(());

impl ConnCache {
    /// Creates the cache. May sleep.
    ///
    /// `EBUSY`: it was called before. `ENOMEM`: no memory.
    pub(crate) fn create() -> Result<Self> {
        if MADE.xchg(true, Full) {
            return Err(EBUSY);
        }
        let layout = object::choose_layout();
        // The low bits of `skb->_nfct`, a pointer to an entry, hold the packet's relation to it.
        let align = layout
            .align
            .max(bindings::RCT_NFCT_INFOMASK.wrapping_add(1));
        // SAFETY: Process context. CAST: a few hundred.
        let cache = unsafe {
            bindings::rct_conn_cache_create(
                layout.size as u32,
                align as u32,
                layout.free_link as u32,
            )
        };
        if cache.is_null() {
            return Err(ENOMEM);
        }
        // SAFETY: Process context.
        let spare = unsafe { bindings::rct_percpu_slot_alloc() };
        if spare.is_null() {
            // SAFETY: Created above.
            unsafe { bindings::kmem_cache_destroy(cache) };
            return Err(ENOMEM);
        }
        SPARE.store(spare, Relaxed);
        CACHE.store(cache, Relaxed);
        // INVARIANT: just created.
        Ok(Self(()))
    }
}

impl Drop for ConnCache {
    /// Destroys the cache. All entries are freed by now, or the kernel warns.
    fn drop(&mut self) {
        let (cache, spare) = (CACHE.load(Relaxed), SPARE.load(Relaxed));
        CACHE.store(null_mut(), Relaxed);
        SPARE.store(null_mut(), Relaxed);
        let mut from = 0;
        while let Some(cpu) = net::PossibleCpu::at_least(from) {
            // SAFETY: By the type invariants; nothing is allocated or freed any more.
            unsafe {
                let object = *bindings::rct_percpu_slot_of(spare, cpu.number());
                if !object.is_null() {
                    bindings::kmem_cache_free(cache, object);
                }
            }
            from = cpu.number().saturating_add(1);
        }
        let mut object = ASIDE.load(Relaxed);
        while !object.is_null() {
            // SAFETY: As above; it begins with a pointer to the next one.
            unsafe {
                let next = object.cast::<*mut c_void>().read();
                bindings::kmem_cache_free(cache, object);
                object = next;
            }
        }
        ASIDE.store(null_mut(), Relaxed);
        ASIDE_NUMBER.store(0, Relaxed);
        // SAFETY: As above.
        unsafe {
            bindings::rct_free_percpu(spare);
            bindings::kmem_cache_destroy(cache);
        }
    }
}

/// Returns whether this context is the only one on this CPU that can access a slot: bottom halves
/// are off, so that no other task and no softirq runs on it. (On PREEMPT_RT they do.) A hard
/// interrupt frees no packet that has an entry. Plain accesses do then; atomic ones may have to
/// turn interrupts off.
#[inline]
fn has_slot_alone() -> bool {
    // SAFETY: Both read the state of this context.
    unsafe {
        bindings::rct_assert_not_in_hardirq();
        cfg!(not(CONFIG_PREEMPT_RT)) && bindings::rct_in_softirq()
    }
}

/// Takes the spare object of this CPU; null: there is none.
///
/// # Safety
///
/// `slots` is that of a [`ConnCache`].
#[inline]
unsafe fn take_spare(slots: *mut c_void) -> *mut c_void {
    // SAFETY: By the safety requirements there is a slot for each CPU.
    unsafe {
        if !has_slot_alone() {
            return bindings::rct_percpu_xchg(slots, null_mut());
        }
        let object = bindings::rct_percpu_read(slots);
        bindings::rct_percpu_write(slots, null_mut());
        object
    }
}

/// Makes an object the spare one of this CPU. Returns whether there was none.
///
/// # Safety
///
/// `slots` is that of a [`ConnCache`], `object` is from its cache and not used any more.
#[inline]
unsafe fn put_spare(slots: *mut c_void, object: *mut c_void) -> bool {
    // SAFETY: By the safety requirements there is a slot for each CPU.
    unsafe {
        if !has_slot_alone() {
            return bindings::rct_percpu_cmpxchg(slots, null_mut(), object).is_null();
        }
        let is_empty = bindings::rct_percpu_read(slots).is_null();
        if is_empty {
            bindings::rct_percpu_write(slots, object);
        }
        is_empty
    }
}

/// Allocates an object, with the remains of a former entry in it. Does not sleep. [`None`]: no
/// memory.
#[inline]
pub(in crate::nf) fn allocate() -> Option<NonNull<bindings::nf_conn>> {
    let slots = SPARE.load(Relaxed);
    if slots.is_null() {
        return None;
    }
    // SAFETY: The slots are valid: their owner is dropped after all code that could call this.
    match NonNull::new(unsafe { take_spare(slots) }) {
        Some(spare) => Some(spare.cast()),
        None => allocate_more(),
    }
}

#[inline(never)]
fn allocate_more() -> Option<NonNull<bindings::nf_conn>> {
    allocate_with(bindings::gfp::ATOMIC)
}

/// As [`allocate`], for an object that does not become an entry and that [`free`] frees: accounted
/// to the process. May sleep.
pub(super) fn allocate_for_process() -> Option<NonNull<bindings::nf_conn>> {
    if CACHE.load(Relaxed).is_null() {
        return None;
    }
    allocate_with(bindings::gfp::KERNEL_ACCOUNT)
}

#[inline(always)]
fn allocate_with(flags: bindings::gfp_t) -> Option<NonNull<bindings::nf_conn>> {
    let cache = CACHE.load(Relaxed);
    for _ in 0..MOST_TRIES {
        // SAFETY: As above, for the cache.
        let memory = unsafe { bindings::rct_kmem_cache_alloc(cache, flags) };
        let conn = NonNull::new(memory.cast::<bindings::nf_conn>())?;
        if object::is_in_reach(conn.as_ptr().expose_provenance()) {
            return Some(conn);
        }
        // SAFETY: Just allocated; it was never linked.
        unsafe { set_aside(cache, memory)? };
    }
    None
}

/// Keeps an object that cannot be linked ([`object::is_in_reach`]). The cache would give a freed
/// one to this CPU's next connection, and again to the one after that.
///
/// [`None`]: there are [`MOST_ASIDE`] of them. The object was freed.
///
/// # Safety
///
/// `memory` is an object of `cache`, which is the cache of [`CACHE`]; nothing else accesses it.
#[cold]
unsafe fn set_aside(cache: *mut bindings::kmem_cache, memory: *mut c_void) -> Option<()> {
    let number = ASIDE_NUMBER.fetch_add(1, Relaxed);
    if number == 0 {
        pr_warn!(
            "memory was added far from the rest; to use it for connections, load rust_ct again\n"
        );
    }
    if number >= MOST_ASIDE {
        ASIDE_NUMBER.fetch_sub(1, Relaxed);
        // SAFETY: By the safety requirements.
        unsafe { bindings::kmem_cache_free(cache, memory) };
        return None;
    }
    let mut first = ASIDE.load(Relaxed);
    loop {
        // SAFETY: By the safety requirements; an object is larger than a pointer.
        unsafe { memory.cast::<*mut c_void>().write(first) };
        match ASIDE.cmpxchg(first, memory, Full) {
            Ok(_) => return Some(()),
            Err(other) => first = other,
        }
    }
}

/// Frees an object.
///
/// # Safety
///
/// `conn` came from [`allocate`] and is not used any more, except by readers under RCU.
#[inline]
pub(in crate::nf) unsafe fn release(conn: NonNull<bindings::nf_conn>) {
    // SAFETY: An object is in use, so the cache is valid, and with it the slots.
    if unsafe { put_spare(SPARE.load(Relaxed), conn.as_ptr().cast()) } {
        return;
    }
    // SAFETY: The caller's promise.
    unsafe { free(conn) };
}

/// Frees an object to the cache.
///
/// # Safety
///
/// As for [`release`].
pub(super) unsafe fn free(conn: NonNull<bindings::nf_conn>) {
    // SAFETY: An object is in use, so the cache is valid. The rest is the caller's promise.
    unsafe { bindings::kmem_cache_free(CACHE.load(Relaxed), conn.as_ptr().cast()) };
}

/// Returns the machine's memory in bytes.
pub(crate) fn total_memory() -> usize {
    // SAFETY: Reads a counter.
    unsafe { bindings::rct_totalram_bytes() }
}
