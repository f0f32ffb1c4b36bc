// SPDX-License-Identifier: GPL-2.0

//! Bottom halves, and the spinlocks that packet paths take.
//!
//! Packets are handled in softirq context as well as in process context, so that every spinlock
//! here is taken with bottom halves off. The kernel crate's locks have everything but a backend for
//! that, which is [`SpinLockBhBackend`].
//!
//! # Examples
//!
//! A lock and the data that it guards:
//!
//! ```ignore
//! let mut list = self.list.lock(); // `list: SpinLockBh<List>`
//! list.push(element);
//! ```
//!
//! A caller that has bottom halves off, and says so by a token, saves the test:
//!
//! ```ignore
//! let bh = BhDisabled::new();
//! let first = locks.get(here).lock_with(&bh);
//! let second = locks.get(there).lock_nested_with(&bh);
//! ```
//!
//! A lock that C code has initialised:
//!
//! ```ignore
//! // SAFETY: Initialised with the entry, and in it as long as the borrow lasts.
//! let _guard = unsafe { from_raw(addr_of_mut!((*conn.raw()).lock)) }.lock();
//! ```
//!
//! C header: [`include/linux/spinlock.h`](srctree/include/linux/spinlock.h)

use kernel::{
    bindings as crate_bindings,
    prelude::*,
    sync::{
        lock::{
            spinlock::SpinLockBackend,
            Backend,
            Guard,
            Lock, //
        },
        LockClassKey,
        SpinLock,
        SpinLockGuard, //
    },
    types::NotThreadSafe, //
};

use crate::{
    nf::bindings,
    proto::types::num::u32_as_usize, //
};

/// Initialises memory in its place.
///
/// # Safety
///
/// `slot` is valid for writes, and does not move any more.
pub(super) unsafe fn initialise<T>(slot: *mut T, value: impl PinInit<T>) {
    // SAFETY: By the function's contract.
    #[cfg(rct_has_raw_init)]
    unsafe {
        pin_init::raw_init(slot, value);
    }
    // SAFETY: By the function's contract.
    #[cfg(not(rct_has_raw_init))]
    unsafe {
        value
            .__pinned_init(slot)
            .unwrap_or_else(|never| match never {});
    }
}

/// Keeps softirqs from running on this CPU, which also keeps the task on it.
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
        // INVARIANT: Just disabled.
        Self(NotThreadSafe)
    }
}

impl Drop for BhDisabled {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariants this undoes the call of `new`.
        unsafe { bindings::rct_local_bh_enable() };
    }
}

/// A spinlock that is held with bottom halves off, and the data that it guards.
///
/// Guards are dropped in the reverse order of locking, as scopes do it. In another order bottom
/// halves may be on again while a lock is held, and a softirq that wants it waits for ever: a CPU
/// hangs, but no two contexts use the data at once. (On kernels for one CPU, where a spinlock is no
/// more than bottom halves that are off, each guard keeps them off.)
pub(crate) type SpinLockBh<T> = Lock<T, SpinLockBhBackend>;

/// The guard of a [`SpinLockBh`].
pub(crate) type SpinLockBhGuard<'a, T> = Guard<'a, T, SpinLockBhBackend>;

/// The backend of [`SpinLockBh`]: `spin_lock_bh()`, or `spin_lock()` where bottom halves are off
/// already, as in nearly all hooks.
pub(crate) struct SpinLockBhBackend;

// SAFETY: `spinlock_t` ensures mutual exclusion, between contexts of one CPU because bottom halves
// are off while it is held. `relock` is the default one, which calls `lock`.
unsafe impl Backend for SpinLockBhBackend {
    type State = crate_bindings::spinlock_t;
    /// Whether taking the lock turned bottom halves off.
    type GuardState = bool;

    #[inline]
    unsafe fn init(
        ptr: *mut Self::State,
        name: *const c_char,
        key: *mut crate_bindings::lock_class_key,
    ) {
        // SAFETY: By the safety requirements, which are the same.
        unsafe { SpinLockBackend::init(ptr, name, key) }
    }

    #[inline]
    unsafe fn lock(ptr: *mut Self::State) -> bool {
        // Without SMP a lock that does not turn bottom halves off excludes nothing.
        // SAFETY: Reads a counter of this context.
        let outermost = cfg!(not(CONFIG_SMP)) || !unsafe { bindings::rct_in_softirq() };
        if outermost {
            // SAFETY: The lock is initialised, as the caller says.
            unsafe { bindings::rct_spin_lock_bh(ptr.cast()) };
        } else {
            // SAFETY: As above.
            let () = unsafe { SpinLockBackend::lock(ptr) };
        }
        outermost
    }

    #[inline]
    unsafe fn try_lock(ptr: *mut Self::State) -> Option<bool> {
        // SAFETY: The lock is initialised, as the caller says.
        unsafe { bindings::rct_spin_trylock_bh(ptr.cast()) }.then_some(true)
    }

    #[inline]
    unsafe fn unlock(ptr: *mut Self::State, &outermost: &bool) {
        if outermost {
            // SAFETY: The caller holds the lock, and took it with `spin_lock_bh()`.
            unsafe { bindings::rct_spin_unlock_bh(ptr.cast()) };
        } else {
            // SAFETY: The caller holds the lock, and took it with `spin_lock()`.
            unsafe { SpinLockBackend::unlock(ptr, &()) };
        }
    }

    #[inline]
    unsafe fn assert_is_held(ptr: *mut Self::State) {
        // SAFETY: The lock is initialised, as the caller says.
        unsafe { SpinLockBackend::assert_is_held(ptr) }
    }
}

/// Locking where bottom halves are known to be off.
pub(crate) trait LockWith<T: ?Sized> {
    /// Takes the lock.
    fn lock_with<'a>(&'a self, bh: &'a BhDisabled) -> SpinLockGuard<'a, T>;

    /// Takes the lock while another one of its class is held, which comes before it in the order of
    /// the class. In another order two CPUs may wait for each other for ever.
    fn lock_nested_with<'a>(&'a self, bh: &'a BhDisabled) -> SpinLockGuard<'a, T>;
}

/// Returns the same lock, for a context in which bottom halves are off.
#[inline]
fn as_plain<'a, T: ?Sized>(lock: &'a SpinLockBh<T>, _bh: &'a BhDisabled) -> &'a SpinLock<T> {
    // SAFETY: The two types are `repr(C)` with fields of the same types. While bottom halves are
    // off, `spin_lock()` excludes all that `spin_lock_bh()` does.
    unsafe { core::mem::transmute(lock) }
}

impl<T: ?Sized> LockWith<T> for SpinLockBh<T> {
    #[inline]
    fn lock_with<'a>(&'a self, bh: &'a BhDisabled) -> SpinLockGuard<'a, T> {
        as_plain(self, bh).lock()
    }

    #[inline]
    fn lock_nested_with<'a>(&'a self, bh: &'a BhDisabled) -> SpinLockGuard<'a, T> {
        // A `Lock` is `repr(C)`, and begins with its state.
        let state = core::ptr::from_ref(self).cast_mut().cast();
        // SAFETY: A `Lock` is initialised; bottom halves are off.
        unsafe { bindings::rct_spin_lock_nested(state) };
        // SAFETY: Just taken.
        unsafe { Guard::new(as_plain(self, bh), ()) }
    }
}

/// Returns a lock of C code's.
///
/// # Safety
///
/// `lock` points to an initialised lock, for all of `'a`.
#[inline]
pub(crate) unsafe fn from_raw<'a>(lock: *mut bindings::spinlock_t) -> &'a SpinLockBh<()> {
    // SAFETY: By the safety requirements; the two types are those of one C type.
    unsafe { Lock::from_raw(lock.cast()) }
}

/// Makes a lock usable that is inside of a C object. Its lockdep class is `class`.
///
/// # Safety
///
/// `lock` points to memory for a lock that is not shared yet.
#[inline]
pub(crate) unsafe fn init_raw(
    lock: *mut bindings::spinlock_t,
    name: &'static CStr,
    class: Pin<&'static LockClassKey>,
) {
    // SAFETY: By the safety requirements; name and class are static.
    unsafe { SpinLockBhBackend::init(lock.cast(), name.as_char_ptr(), class.as_ptr()) };
}

/// Data that has no bytes, but keeps its lock alone on a line of the cache.
#[repr(align(64))]
#[derive(Default)]
pub(crate) struct CacheLine;

/// An array of spinlocks of one lockdep class. They guard data of their own, or parts of a table
/// that are assigned to them by number.
///
/// # Invariants
///
/// There are `mask + 1` locks, a power of two; they do not move.
pub(crate) struct LockArray<T = ()> {
    locks: KVVec<SpinLockBh<T>>,
    mask: u32,
}

impl<T: Default> LockArray<T> {
    /// Makes `count` locks, rounded up to a power of two. May sleep.
    pub(crate) fn new(
        count: u32,
        name: &'static CStr,
        class: Pin<&'static LockClassKey>,
    ) -> Result<Self> {
        let count = count.checked_next_power_of_two().ok_or(ENOMEM)?;
        let mut locks = KVVec::with_capacity(u32_as_usize(count), GFP_KERNEL)?;
        for slot in locks
            .spare_capacity_mut()
            .iter_mut()
            .take(u32_as_usize(count))
        {
            // SAFETY: The slot is memory for a lock; the vector does not grow any more.
            unsafe { initialise(slot.as_mut_ptr(), Lock::new(T::default(), name, class)) };
        }
        // SAFETY: As many were initialised, and there is room for them.
        unsafe { locks.inc_len(u32_as_usize(count)) };
        // INVARIANT: As just made.
        Ok(Self {
            locks,
            mask: count.wrapping_sub(1),
        })
    }
}

impl<T> LockArray<T> {
    /// Returns the number of the lock at `index`, which wraps around. Locks are ordered by it.
    #[inline]
    pub(crate) fn number(&self, index: u32) -> u32 {
        index & self.mask
    }

    /// Returns the lock at `index`, which wraps around.
    #[inline]
    pub(crate) fn get(&self, index: u32) -> &SpinLockBh<T> {
        // SAFETY: In bounds by the type invariants.
        unsafe { self.locks.get_unchecked(u32_as_usize(self.number(index))) }
    }
}
