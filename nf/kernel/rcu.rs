// SPDX-License-Identifier: GPL-2.0

//! RCU read-side critical sections as values, and pointers that are dereferenced in them.
//!
//! The kernel crate's [`rcu::Guard`] proves that a section is open, but not for how long. A token
//! [`Rcu<'r>`](Rcu) has a lifetime: what is found with it cannot be used after the section.
//!
//! # Examples
//!
//! ```ignore
//! static TABLE: RcuArc<Table> = RcuArc::empty();
//!
//! let section = RcuGuard::new();
//! if let Some(table) = TABLE.load(section.token()) {
//!     // `table` is borrowed from `section`.
//! }
//!
//! // Waits for a grace period before it drops the former table.
//! drop(TABLE.replace(Some(new)));
//! ```
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

/// A token: proof that the current context is in an RCU read-side critical section during all of
/// `'r`.
///
/// # Invariants
///
/// The section was entered before `'r` and is left after it.
#[derive(Clone, Copy)]
pub(crate) struct Rcu<'r>(PhantomData<&'r ()>, NotThreadSafe);

impl Rcu<'_> {
    /// Creates a token for a caller that is in a section which was not entered here: netfilter
    /// calls hooks under `rcu_read_lock()`, for example. Kernels with `CONFIG_PROVE_RCU` report an
    /// error if there is none.
    ///
    /// # Safety
    ///
    /// The caller is in an RCU read-side critical section during all of `'r`.
    #[inline]
    pub(crate) unsafe fn assume_held<'r>() -> Rcu<'r> {
        // SAFETY: Reports if there is no section.
        #[cfg(CONFIG_PROVE_RCU)]
        unsafe {
            bindings::rct_rcu_assert_held()
        };
        // INVARIANT: By the safety requirements.
        Rcu(PhantomData, NotThreadSafe)
    }
}

/// An RCU read-side critical section: the kernel crate's guard, from which tokens are borrowed.
#[must_use = "the read-side critical section ends when the guard is dropped"]
pub(crate) struct RcuGuard(rcu::Guard);

impl RcuGuard {
    /// Enters a section. Sections nest.
    #[inline]
    pub(crate) fn new() -> Self {
        Self(rcu::read_lock())
    }

    /// Returns a token, which is valid while the guard lives.
    #[inline]
    pub(crate) fn token(&self) -> Rcu<'_> {
        // INVARIANT: The section is left when `self` is dropped.
        Rcu(PhantomData, NotThreadSafe)
    }
}

/// Does as [`rcu::synchronize_rcu`], but faster, at the price of interrupting every CPU. May sleep.
pub(crate) fn synchronize_expedited() {
    // SAFETY: Has no other requirements.
    unsafe { bindings::rct_synchronize_rcu_expedited() };
}

/// A pointer to an [`Arc`] that readers dereference under RCU, without a reference of their own.
///
/// # Invariants
///
/// Null, or a reference of an [`Arc`] that is dropped no sooner than a grace period after it was
/// replaced.
pub(crate) struct RcuArc<T>(Atomic<*mut T>, PhantomData<Arc<T>>);

// SAFETY: As for `Arc<T>`.
unsafe impl<T: Send + Sync> Send for RcuArc<T> {}
// SAFETY: As for `Arc<T>`.
unsafe impl<T: Send + Sync> Sync for RcuArc<T> {}

impl<T> RcuArc<T> {
    /// Creates a null pointer.
    pub(crate) const fn empty() -> Self {
        // INVARIANT: Null.
        Self(Atomic::new(null_mut()), PhantomData)
    }

    /// Returns the present value.
    #[inline]
    pub(crate) fn load<'r>(&self, _rcu: Rcu<'r>) -> Option<&'r T> {
        // SAFETY: By the type invariants the value outlives the section.
        unsafe { self.0.load(Acquire).as_ref() }
    }

    /// Returns a reference to the present value, which may be kept after the section.
    pub(crate) fn hold(&self, rcu: Rcu<'_>) -> Option<Arc<T>> {
        // SAFETY: By the type invariants the pointer is that of an `Arc`, whose count is not zero
        // during the section.
        self.load(rcu)
            .map(|value| unsafe { ArcBorrow::from_raw(value) }.into())
    }

    /// Replaces the value. Readers that see `new` see all that was written to it before. Dropping
    /// the result waits for a grace period.
    pub(crate) fn replace(&self, new: Option<Arc<T>>) -> Retired<T> {
        let new = new.map_or(null_mut(), |new| Arc::into_raw(new).cast_mut());
        // INVARIANT: The reference moves in; the former one moves to `Retired`, which waits.
        Retired(self.0.xchg(new, Full), PhantomData)
    }
}

impl<T> Drop for RcuArc<T> {
    fn drop(&mut self) {
        let last = *self.0.get_mut();
        if !last.is_null() {
            // SAFETY: By the type invariants the reference belongs to the pointer, which no reader
            // can load any more.
            drop(unsafe { Arc::from_raw(last) });
        }
    }
}

/// A replaced reference, which readers may still use. Dropping it waits for a grace period: may
/// sleep.
#[must_use = "dropping this waits for a grace period"]
pub(crate) struct Retired<T>(*mut T, PhantomData<Arc<T>>);

impl<T> Drop for Retired<T> {
    fn drop(&mut self) {
        if !self.0.is_null() {
            rcu::synchronize_rcu();
            // SAFETY: The reference moved here, and its readers have left their sections.
            drop(unsafe { Arc::from_raw(self.0) });
        }
    }
}
