// SPDX-License-Identifier: GPL-2.0

//! Locks that initialise themselves, in statics and in memory that starts zeroed.
//!
//! The kernel crate's [`global_lock!`](kernel::sync::global_lock) leaves the initialisation to an
//! `unsafe` call in the module's `init`. A [`StaticLock`] does it the first time that it is taken,
//! so that code without `unsafe` can declare one beside the data that it guards.

use core::{
    cell::UnsafeCell,
    mem::MaybeUninit,
    pin::Pin,
    ptr::addr_of_mut, //
};

use kernel::{
    static_lock_class,
    str::CStr,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
        lock::{
            mutex::MutexBackend,
            Backend,
            Guard,
            Lock, //
        },
        LockClassKey, //
    },
    types::Opaque, //
};

use crate::nf::bindings;

use super::lock::{
    self,
    SpinLockBhBackend,
    SpinLockBhGuard, //
};

/// A mutex in a static, and the data that it guards.
///
/// # Examples
///
/// ```ignore
/// static USERS: StaticMutex<u32> = StaticMutex::new(c"USERS", || 0);
///
/// fn add_user() -> u32 {
///     let mut users = USERS.lock();
///     *users = users.saturating_add(1);
///     *users
/// }
/// ```
///
/// Data of a type that only the module of the lock can make is a capability: its methods need no
/// other proof that the lock is held.
///
/// ```ignore
/// pub(crate) static WRITER: StaticMutex<Writer> = StaticMutex::new(c"WRITER", || Writer(()));
///
/// pub(crate) struct Writer(());
///
/// impl Writer {
///     /// Changes what [`WRITER`] guards.
///     pub(crate) fn insert(&mut self, ..) { .. }
/// }
///
/// WRITER.lock().insert(..);
/// ```
pub(crate) type StaticMutex<T> = StaticLock<T, MutexBackend>;

/// A spinlock in a static, which is held with bottom halves off, and the data that it guards.
pub(crate) type StaticSpinLock<T> = StaticLock<T, SpinLockBhBackend>;

/// A lock in a static, and the data that it guards, both made when the lock is first taken.
///
/// # Invariants
///
/// `lock` is initialised, and no longer changed but by lock operations, once `is_ready` is true.
pub(crate) struct StaticLock<T: 'static, B: Backend> {
    is_ready: Atomic<bool>,
    lock: UnsafeCell<MaybeUninit<Lock<T, B>>>,
    data: fn() -> T,
    name: &'static CStr,
    class: LockClassKey,
}

// SAFETY: By the type invariants access is that of a `Lock`, or serialised by `rct_static_lock`.
unsafe impl<T: Send, B: Backend> Sync for StaticLock<T, B> {}

impl<T, B: Backend> StaticLock<T, B> {
    /// Returns a lock whose data is what `data` returns. `name` and the static itself are its
    /// lockdep class.
    ///
    /// `data` is called once, with bottom halves off and a spinlock held.
    pub(crate) const fn new(name: &'static CStr, data: fn() -> T) -> Self {
        // INVARIANT: Not ready.
        Self {
            is_ready: Atomic::new(false),
            lock: UnsafeCell::new(MaybeUninit::uninit()),
            data,
            name,
            // SAFETY: Only `lock()` uses the key, which needs the lock to be static; so it never
            // moves, and is never dropped.
            class: unsafe { LockClassKey::new_static() },
        }
    }

    /// Takes the lock.
    #[inline]
    pub(crate) fn lock(&'static self) -> Guard<'static, T, B> {
        // Pairs with the store in `init`.
        if !self.is_ready.load(Acquire) {
            self.init();
        }
        // SAFETY: By the type invariants the lock is initialised.
        unsafe { (*self.lock.get()).assume_init_ref() }.lock()
    }

    /// Makes the lock usable, unless another CPU was faster.
    #[cold]
    fn init(&'static self) {
        // SAFETY: Static and initialised.
        let _guard = unsafe { lock::from_raw(addr_of_mut!(bindings::rct_static_lock)) }.lock();
        if !self.is_ready.load(Relaxed) {
            let lock = Lock::<T, B>::new((self.data)(), self.name, Pin::static_ref(&self.class));
            // SAFETY: The lock is not ready, and the spinlock keeps others from making it so:
            // access is exclusive. It is in a static, and so pinned.
            unsafe { pin_init::raw_init((*self.lock.get()).as_mut_ptr(), lock) };
            // INVARIANT: As just initialised.
            self.is_ready.store(true, Release);
        }
    }
}

/// A spinlock in memory that starts zeroed, such as the state of a namespace, which is held with
/// bottom halves off. All of them have one lockdep class: none is taken while another one is held.
///
/// # Invariants
///
/// `lock` is initialised, and no longer changed but by lock operations, once `is_ready` is true.
pub(crate) struct ZeroedSpinLock {
    is_ready: Atomic<bool>,
    lock: Opaque<bindings::spinlock_t>,
}

// SAFETY: Zeroed, the lock is not ready.
unsafe impl pin_init::Zeroable for ZeroedSpinLock {}
// SAFETY: By the type invariants access is that of a lock, or serialised by `rct_static_lock`.
unsafe impl Sync for ZeroedSpinLock {}

impl ZeroedSpinLock {
    /// Takes the lock.
    #[inline]
    pub(crate) fn lock(&self) -> SpinLockBhGuard<'_, ()> {
        // Pairs with the store in `init`.
        if !self.is_ready.load(Acquire) {
            self.init();
        }
        // SAFETY: By the type invariants the lock is initialised.
        unsafe { lock::from_raw(self.lock.get()) }.lock()
    }

    /// Makes the lock usable, unless another CPU was faster.
    #[cold]
    fn init(&self) {
        // SAFETY: Static and initialised.
        let _guard = unsafe { lock::from_raw(addr_of_mut!(bindings::rct_static_lock)) }.lock();
        if !self.is_ready.load(Relaxed) {
            // SAFETY: The lock is not ready, and the spinlock keeps others from making it so:
            // access is exclusive.
            unsafe { lock::init_raw(self.lock.get(), c"zeroed", static_lock_class!()) };
            // INVARIANT: As just initialised.
            self.is_ready.store(true, Release);
        }
    }
}
