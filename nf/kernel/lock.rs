// SPDX-License-Identifier: GPL-2.0

//! Bottom halves and the spinlocks that packet paths take.
//!
//! Packets are handled in softirq context as well as in process context, so every
//! lock here is taken with bottom halves off.
//!
//! C header: [`include/linux/spinlock.h`](srctree/include/linux/spinlock.h)

use core::marker::PhantomData;

use kernel::types::NotThreadSafe;

use crate::nf::bindings;

/// Keeps softirqs from running on this CPU, which also keeps the task here.
///
/// # Invariants
///
/// `local_bh_disable()` was called by this context and not yet undone.
#[must_use = "bottom halves run again when the guard is dropped"]
pub(crate) struct BhDisabled(NotThreadSafe);

impl BhDisabled {
    /// Turns bottom halves off. Nests.
    #[inline]
    pub(crate) fn new() -> Self {
        // SAFETY: Never called in hard interrupt context.
        unsafe { bindings::rct_local_bh_disable() };
        // INVARIANT: just disabled.
        Self(NotThreadSafe)
    }
}

impl Drop for BhDisabled {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariants this undoes our own call.
        unsafe { bindings::rct_local_bh_enable() };
    }
}

/// One lock of a table's array of bucket locks; it guards chains, not data of its own.
#[repr(transparent)]
pub(crate) struct BucketLock(kernel::types::Opaque<bindings::spinlock_t>);

// SAFETY: A spinlock is made to be shared.
unsafe impl Sync for BucketLock {}
// SAFETY: A spinlock is not tied to a thread.
unsafe impl Send for BucketLock {}

impl BucketLock {
    /// Makes the lock usable. For the allocator of a lock array.
    ///
    /// # Safety
    ///
    /// `this` points to memory for one lock that nobody else uses yet.
    pub(crate) unsafe fn init(this: *mut Self) {
        // SAFETY: The caller's promise; the type is transparent.
        unsafe { bindings::rct_spin_lock_init_bucket(this.cast()) };
    }

    /// The same, of an array whose locks are taken before those of others.
    ///
    /// # Safety
    ///
    /// As for [`BucketLock::init`].
    pub(crate) unsafe fn init_outer(this: *mut Self) {
        // SAFETY: The caller's promise; the type is transparent.
        unsafe { bindings::rct_spin_lock_init_outer(this.cast()) };
    }

    /// Takes the lock.
    #[inline]
    pub(crate) fn lock<'bh>(&'bh self, _bh: &'bh BhDisabled) -> BucketGuard<'bh> {
        // SAFETY: Initialised with the array; bottom halves are off.
        unsafe { bindings::rct_spin_lock(self.0.get()) };
        // INVARIANT: just taken.
        BucketGuard {
            lock: self,
            context: PhantomData,
        }
    }

    /// Takes the lock while another bucket lock is held. The caller keeps to the
    /// order that the table states, or two CPUs wait for each other for ever.
    #[inline]
    pub(crate) fn lock_second<'bh>(&'bh self, _bh: &'bh BhDisabled) -> BucketGuard<'bh> {
        // SAFETY: Initialised with the array; bottom halves are off.
        unsafe { bindings::rct_spin_lock_nested(self.0.get()) };
        // INVARIANT: just taken.
        BucketGuard {
            lock: self,
            context: PhantomData,
        }
    }
}

/// A bucket lock that is held.
///
/// # Invariants
///
/// This context holds `lock`.
#[must_use = "the lock is given back when the guard is dropped"]
pub(crate) struct BucketGuard<'bh> {
    lock: &'bh BucketLock,
    context: PhantomData<NotThreadSafe>,
}

impl Drop for BucketGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariants the lock is held by this context.
        unsafe { bindings::rct_spin_unlock(self.lock.0.get()) };
    }
}
