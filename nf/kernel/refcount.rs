// SPDX-License-Identifier: GPL-2.0

//! Reference counts of C objects that are found under RCU.
//!
//! C header: [`include/linux/refcount.h`](srctree/include/linux/refcount.h)

use core::{
    ops::Deref,
    ptr::{
        null_mut,
        NonNull, //
    },
};

use kernel::sync::{
    aref::{
        ARef,
        AlwaysRefCounted, //
    },
    atomic::{
        Acquire,
        Atomic,
        Full, //
    },
    Refcount, //
};

use crate::nf::bindings;

use super::rcu::Rcu;

/// A C object with a `refcount_t`, which is freed a grace period after its last reference was given
/// back.
///
/// During an RCU read-side section a `&Self` may be found whose count is zero: [`RcuCounted::get`]
/// is the one way from there to a reference, which is one to a [`Counted`].
///
/// # Safety
///
/// The pointer that `count` returns is that of the object's count, which is initialised and used by
/// the functions of `refcount_t` only.
pub(crate) unsafe trait RcuCounted: Sized {
    /// Returns the count of an object.
    ///
    /// # Safety
    ///
    /// `this` points to an object that is not freed yet.
    unsafe fn count(this: NonNull<Self>) -> *mut bindings::refcount_t;

    /// Frees an object after a grace period.
    ///
    /// # Safety
    ///
    /// The caller gave back the last reference.
    unsafe fn free_rcu(this: NonNull<Self>);

    /// Takes a reference; [`None`] if the last one was given back.
    #[inline]
    fn get(&self) -> Option<ARef<Counted<Self>>> {
        let object = NonNull::from(self);
        // SAFETY: A `&Self` is not freed; at zero the count stays there.
        let taken = unsafe { bindings::rct_refcount_inc_not_zero(Self::count(object)) };
        // INVARIANT: The count is not zero while the reference exists.
        // SAFETY: The reference was just taken; the type is transparent.
        taken.then(|| unsafe { ARef::from_raw(object.cast()) })
    }
}

/// Returns the kernel crate's type for a count of C code's.
///
/// # Safety
///
/// `count` points to an initialised count, for all of `'a`.
#[inline]
pub(crate) unsafe fn from_raw<'a>(count: *mut bindings::refcount_t) -> &'a Refcount {
    // SAFETY: By the safety requirements; the type is transparent around the same C type.
    unsafe { &*count.cast() }
}

/// An [`RcuCounted`] object to which there is a reference: that alone is [`AlwaysRefCounted`], so
/// that no reference is made of an object whose last one was given back.
///
/// # Invariants
///
/// The count is not zero while a `&Counted` exists.
#[repr(transparent)]
pub(crate) struct Counted<T>(T);

impl<T> Deref for Counted<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

// SAFETY: By the contract of `RcuCounted`; by the type invariants the count is not zero.
unsafe impl<T: RcuCounted> AlwaysRefCounted for Counted<T> {
    #[inline]
    fn inc_ref(&self) {
        // SAFETY: A `&T` is not freed; its count is one of C code's.
        unsafe { from_raw(T::count(NonNull::from(&self.0))) }.inc();
    }

    #[inline]
    unsafe fn dec_ref(object: NonNull<Self>) {
        let object = object.cast::<T>();
        // SAFETY: The caller has a reference, which it gives up.
        if unsafe { from_raw(T::count(object)) }.dec_and_test() {
            // SAFETY: That was the last one.
            unsafe { T::free_rcu(object) };
        }
    }
}

/// A pointer in a C object that has a reference, or is null.
///
/// # Invariants
///
/// Null, or a reference that belongs to the pointer.
#[repr(transparent)]
pub(crate) struct CountedPointer<T: RcuCounted>(Atomic<*mut T>);

impl<T: RcuCounted> CountedPointer<T> {
    /// # Safety
    ///
    /// As the invariants say, for all of `'a`; other code accesses `pointer` atomically only.
    #[inline]
    pub(crate) unsafe fn from_raw<'a>(pointer: *mut *mut T) -> &'a Self {
        // SAFETY: By the safety requirements; an `Atomic` has the layout of what is in it.
        unsafe { &*pointer.cast() }
    }

    /// Returns the object that it points to.
    #[inline]
    pub(crate) fn load<'r>(&self, _rcu: Rcu<'r>) -> Option<&'r T> {
        // SAFETY: By the type invariants there was a reference during the section, and the object
        // is freed after that ends.
        unsafe { self.0.load(Acquire).as_ref() }
    }

    /// Points it to another object, and returns the former one.
    pub(crate) fn replace(&self, new: Option<ARef<Counted<T>>>) -> Option<ARef<Counted<T>>> {
        let new = new.map_or(null_mut(), |new| ARef::into_raw(new).cast().as_ptr());
        // INVARIANT: The new reference moves in, and the former one out.
        let former = NonNull::new(self.0.xchg(new, Full));
        // SAFETY: By the type invariants.
        former.map(|former| unsafe { ARef::from_raw(former.cast()) })
    }

    /// Makes it null if it points to `object`, and returns the reference.
    pub(crate) fn take_if(&self, object: &T) -> Option<ARef<Counted<T>>> {
        let object = NonNull::from(object);
        let is_it = self.0.cmpxchg(object.as_ptr(), null_mut(), Full).is_ok();
        // SAFETY: By the type invariants; the reference moves out.
        is_it.then(|| unsafe { ARef::from_raw(object.cast()) })
    }
}
