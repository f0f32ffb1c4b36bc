// SPDX-License-Identifier: GPL-2.0

//! Data that packet paths and others change, under a spinlock that keeps bottom halves off.
//!
//! (The kernel crate's own spinlock leaves them on.)

use core::cell::UnsafeCell;

use kernel::types::Opaque;

use crate::nf::bindings;

/// Data of `T`, and its lock.
///
/// # Invariants
///
/// `data` is accessed by the holder of `lock` only.
pub(crate) struct BhLock<T> {
    lock: Opaque<bindings::spinlock_t>,
    data: UnsafeCell<T>,
}

// SAFETY: By the type invariants one at a time has access.
unsafe impl<T: Send> Sync for BhLock<T> {}

impl<T> BhLock<T> {
    /// Data that still has to be [made usable](Self::init).
    pub(crate) const fn new(data: T) -> Self {
        // INVARIANT: Nobody has access yet.
        Self {
            lock: Opaque::zeroed(),
            data: UnsafeCell::new(data),
        }
    }

    /// Makes the lock usable; once, before anybody uses it.
    pub(crate) fn init(&'static self) {
        // SAFETY: Nobody else uses the lock yet.
        unsafe { bindings::rct_spin_lock_init_data(self.lock.get()) };
    }

    /// Runs `f` with the lock held.
    #[inline]
    pub(crate) fn locked<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: Initialised when the module was loaded.
        unsafe { bindings::rct_spin_lock_bh(self.lock.get()) };
        // SAFETY: By the type invariants nobody else has access while the lock is held.
        let result = f(unsafe { &mut *self.data.get() });
        // SAFETY: Taken above.
        unsafe { bindings::rct_spin_unlock_bh(self.lock.get()) };
        result
    }
}
