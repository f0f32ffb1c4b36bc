// SPDX-License-Identifier: GPL-2.0

//! Read-side critical sections as values, and pointers that only they may follow.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use core::{
    marker::PhantomData,
    ptr::null_mut, //
};

use kernel::{
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full, //
        },
        rcu,
        Arc,
        ArcBorrow, //
    },
    types::NotThreadSafe, //
};

use crate::nf::bindings;

/// Evidence that the CPU is in an RCU read-side critical section for all of `'r`.
///
/// # Invariants
///
/// The section began before, and ends after, `'r`.
#[derive(Clone, Copy)]
pub(crate) struct Rcu<'r>(PhantomData<&'r ()>, NotThreadSafe);

impl Rcu<'_> {
    /// Takes the caller's word for it, as a netfilter hook may: the core runs hooks
    /// inside `rcu_read_lock()`.
    ///
    /// # Safety
    ///
    /// The caller is in an RCU read-side critical section that lasts for all of `'r`.
    #[inline]
    pub(crate) unsafe fn assume_held<'r>() -> Rcu<'r> {
        // SAFETY: Reports if there is no section.
        #[cfg(CONFIG_PROVE_RCU)]
        unsafe {
            bindings::rct_rcu_assert_held()
        };
        // INVARIANT: The caller's promise, which lockdep can check.
        Rcu(PhantomData, NotThreadSafe)
    }
}

/// Holds an RCU read-side critical section open: the kernel crate's guard, which gives out tokens.
#[must_use = "the read-side critical section ends when the guard is dropped"]
pub(crate) struct RcuGuard(rcu::Guard);

impl RcuGuard {
    /// Opens a section. Sections nest.
    #[inline]
    pub(crate) fn new() -> Self {
        Self(rcu::read_lock())
    }

    /// The evidence, valid while the guard lives.
    #[inline]
    pub(crate) fn token(&self) -> Rcu<'_> {
        // INVARIANT: The section is open while `self` lives.
        Rcu(PhantomData, NotThreadSafe)
    }
}

/// [`rcu::synchronize_rcu`], but at the price of disturbing every CPU. For unloading.
pub(crate) fn synchronize_expedited() {
    // SAFETY: The callers are in process context and hold no spinlock.
    unsafe { bindings::rct_synchronize_rcu_expedited() };
}

/// A counted pointer that readers follow under RCU, without touching the count.
///
/// # Invariants
///
/// Null, or a reference of an [`Arc`] that is given back no sooner than a grace period
/// after it was replaced here.
pub(crate) struct RcuArc<T>(Atomic<*mut T>, PhantomData<Arc<T>>);

// SAFETY: As for `Arc<T>`.
unsafe impl<T: Send + Sync> Send for RcuArc<T> {}
// SAFETY: As for `Arc<T>`.
unsafe impl<T: Send + Sync> Sync for RcuArc<T> {}

impl<T> RcuArc<T> {
    /// A pointer to nothing.
    pub(crate) const fn empty() -> Self {
        // INVARIANT: Null.
        Self(Atomic::new(null_mut()), PhantomData)
    }

    /// What the pointer points to now.
    #[inline]
    pub(crate) fn load<'r>(&self, _rcu: Rcu<'r>) -> Option<&'r T> {
        // SAFETY: By the type invariants the pointee outlives the section `'r`.
        unsafe { self.0.load(Acquire).as_ref() }
    }

    /// A reference to what the pointer points to now, for longer than the section lasts.
    pub(crate) fn hold(&self, rcu: Rcu<'_>) -> Option<Arc<T>> {
        // SAFETY: By the type invariants the pointer is that of an `Arc`, whose count is not
        // zero during the section.
        self.load(rcu)
            .map(|value| unsafe { ArcBorrow::from_raw(value) }.into())
    }

    /// Points to `new` from now on. Readers that see it see all that was written to it.
    pub(crate) fn replace(&self, new: Option<Arc<T>>) -> Retired<T> {
        let new = new.map_or(null_mut(), |new| Arc::into_raw(new).cast_mut());
        // INVARIANT: the reference moves in; the former one moves to `Retired`, which waits.
        Retired(self.0.xchg(new, Full), PhantomData)
    }
}

impl<T> Drop for RcuArc<T> {
    fn drop(&mut self) {
        let last = *self.0.get_mut();
        if !last.is_null() {
            // SAFETY: By the type invariants the reference is ours; nobody can load it any
            // more, as the pointer itself goes.
            drop(unsafe { Arc::from_raw(last) });
        }
    }
}

/// A reference that readers may still use. Dropping it waits for them: may sleep.
#[must_use = "dropping this waits for a grace period"]
pub(crate) struct Retired<T>(*mut T, PhantomData<Arc<T>>);

impl<T> Drop for Retired<T> {
    fn drop(&mut self) {
        if !self.0.is_null() {
            rcu::synchronize_rcu();
            // SAFETY: The reference moved here, and its readers are gone.
            drop(unsafe { Arc::from_raw(self.0) });
        }
    }
}
