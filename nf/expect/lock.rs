// SPDX-License-Identifier: GPL-2.0

//! `nf_conntrack_expect_lock`: the lock of expectations.

use core::{
    marker::PhantomData,
    ptr::addr_of_mut, //
};

use kernel::types::NotThreadSafe;

use crate::nf::{
    bindings,
    kernel::rcu::Rcu, //
};

/// Evidence that this context holds `nf_conntrack_expect_lock` for all of `'l`.
///
/// # Invariants
///
/// The lock was taken before, and is given back after, `'l`.
#[derive(Clone, Copy)]
pub(crate) struct Locked<'l>(PhantomData<&'l ()>, NotThreadSafe);

impl<'l> Locked<'l> {
    /// Takes the caller's word for it.
    ///
    /// # Safety
    ///
    /// The caller holds the lock for all of `'l`.
    pub(crate) unsafe fn assume_held() -> Self {
        // INVARIANT: the caller's promise.
        Self(PhantomData, NotThreadSafe)
    }

    /// A read-side section: who holds a spinlock with bottom halves off is in one.
    #[inline]
    pub(crate) fn rcu(self) -> Rcu<'l> {
        // SAFETY: By the type invariants preemption is off for `'l`; where locks leave it on
        // (PREEMPT_RT), taking one opens a section.
        unsafe { Rcu::assume_held() }
    }
}

/// Holds `nf_conntrack_expect_lock`, bottom halves off. It guards the table, the chains of
/// masters and their counts, and the list of expectation functions.
///
/// No reference to an entry is given back while it is held: giving back the last one takes it.
///
/// # Invariants
///
/// This context holds the lock.
#[must_use = "the lock is given back when the guard is dropped"]
pub(crate) struct ExpectGuard(NotThreadSafe);

impl ExpectGuard {
    /// Takes the lock.
    pub(crate) fn new() -> Self {
        // SAFETY: Static and initialised. Never taken in hard interrupt context.
        unsafe { bindings::rct_spin_lock_bh(addr_of_mut!(bindings::nf_conntrack_expect_lock)) };
        // INVARIANT: just taken.
        Self(NotThreadSafe)
    }

    /// The evidence, valid while the guard lives.
    #[inline]
    pub(crate) fn locked(&self) -> Locked<'_> {
        // SAFETY: By the type invariants.
        unsafe { Locked::assume_held() }
    }
}

impl Drop for ExpectGuard {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_spin_unlock_bh(addr_of_mut!(bindings::nf_conntrack_expect_lock)) };
    }
}
