// SPDX-License-Identifier: GPL-2.0

//! `nf_conntrack_expect_lock`: the lock of expectations.

use core::{
    marker::PhantomData,
    ptr::addr_of_mut, //
};

use kernel::{
    sync::lock::Backend,
    types::NotThreadSafe, //
};

use crate::nf::{
    bindings,
    kernel::{
        lock::{
            self,
            SpinLockBhBackend,
            SpinLockBhGuard, //
        },
        rcu::Rcu, //
    },
};

/// Evidence that this context holds `nf_conntrack_expect_lock` for all of `'l`.
///
/// # Invariants
///
/// This context holds the lock for all of `'l`.
#[derive(Clone, Copy)]
pub(crate) struct Locked<'l>(PhantomData<&'l ()>, NotThreadSafe);

impl<'l> Locked<'l> {
    /// Asserts that the lock is held. Lockdep, where it is configured, checks that.
    ///
    /// # Safety
    ///
    /// The caller holds the lock for all of `'l`.
    pub(crate) unsafe fn assume_held() -> Self {
        // SAFETY: Static and initialised.
        unsafe { SpinLockBhBackend::assert_is_held(raw_lock().cast()) };
        // INVARIANT: By the function's contract.
        Self(PhantomData, NotThreadSafe)
    }

    /// Returns the RCU read-side section that holding a spinlock, with bottom halves off, is.
    #[inline]
    pub(crate) fn rcu(self) -> Rcu<'l> {
        // SAFETY: By the type invariants preemption is off for `'l`; where locks leave it on
        // (PREEMPT_RT), taking one opens a section.
        unsafe { Rcu::assume_held() }
    }
}

/// Holds `nf_conntrack_expect_lock`, with bottom halves off. The lock guards the table, the chains
/// of masters and their counts, and the list of expectation functions.
///
/// No reference to an entry may be dropped while the lock is held, because dropping the last one
/// takes the lock.
///
/// # Examples
///
/// ```ignore
/// let guard = ExpectGuard::new();
/// for linked in table::walk_locked(bucket, guard.locked()) {
///     linked.withdraw(guard.locked());
/// }
/// ```
///
/// # Invariants
///
/// This context holds the lock.
#[must_use = "the lock is released when the guard is dropped"]
pub(crate) struct ExpectGuard(#[expect(dead_code)] SpinLockBhGuard<'static, ()>);

fn raw_lock() -> *mut bindings::spinlock_t {
    addr_of_mut!(bindings::nf_conntrack_expect_lock)
}

impl ExpectGuard {
    /// Takes the lock.
    pub(crate) fn new() -> Self {
        // SAFETY: Static and initialised.
        // INVARIANT: Just taken.
        Self(unsafe { lock::from_raw(raw_lock()) }.lock())
    }

    /// Returns the evidence, which is valid while the guard lives.
    #[inline]
    pub(crate) fn locked(&self) -> Locked<'_> {
        // INVARIANT: By the type invariants of the guard.
        Locked(PhantomData, NotThreadSafe)
    }
}
