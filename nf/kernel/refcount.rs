// SPDX-License-Identifier: GPL-2.0

//! Reference counts of C objects that are found under RCU.
//!
//! C header: [`include/linux/refcount.h`](srctree/include/linux/refcount.h)

use core::ptr::{
    null_mut,
    NonNull, //
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
/// [`always_ref_counted!`] makes it [`AlwaysRefCounted`]. During an RCU read-side section a `&Self`
/// may be found whose count is zero: [`get`] is the one way to a reference then.
///
/// # Safety
///
/// The pointer that `count` returns is that of the object's count, which is initialised and used by
/// the functions of `refcount_t` only.
pub(crate) unsafe trait RcuCounted: AlwaysRefCounted {
    /// The count of an object.
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
}

/// The kernel crate's type for a count of C code's.
///
/// # Safety
///
/// `count` points to an initialised count, for all of `'a`.
#[inline]
pub(crate) unsafe fn from_raw<'a>(count: *mut bindings::refcount_t) -> &'a Refcount {
    // SAFETY: By the safety requirements; the type is transparent around the same C type.
    unsafe { &*count.cast() }
}

/// Takes a reference; [`None`] if the last one was given back.
#[inline]
pub(crate) fn get<T: RcuCounted>(object: &T) -> Option<ARef<T>> {
    let object = NonNull::from(object);
    // SAFETY: A `&T` is not freed; at zero the count stays there.
    let taken = unsafe { bindings::rct_refcount_inc_not_zero(T::count(object)) };
    // SAFETY: The reference was just taken.
    taken.then(|| unsafe { ARef::from_raw(object) })
}

/// [`AlwaysRefCounted::inc_ref`] of an [`RcuCounted`].
#[inline]
pub(crate) fn inc_ref<T: RcuCounted>(object: &T) {
    // SAFETY: A `&T` is not freed; its count is one of C code's.
    unsafe { from_raw(T::count(NonNull::from(object))) }.inc();
}

/// [`AlwaysRefCounted::dec_ref`] of an [`RcuCounted`].
///
/// # Safety
///
/// As for that.
#[inline]
pub(crate) unsafe fn dec_ref<T: RcuCounted>(object: NonNull<T>) {
    // SAFETY: The caller has a reference, which it gives up.
    if unsafe { from_raw(T::count(object)) }.dec_and_test() {
        // SAFETY: That was the last one.
        unsafe { T::free_rcu(object) };
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

    /// The object that it points to.
    #[inline]
    pub(crate) fn load<'r>(&self, _rcu: Rcu<'r>) -> Option<&'r T> {
        // SAFETY: By the type invariants there was a reference during the section, and the object
        // is freed after that ends.
        unsafe { self.0.load(Acquire).as_ref() }
    }

    /// Points it to another object, and returns the former one.
    pub(crate) fn replace(&self, new: Option<ARef<T>>) -> Option<ARef<T>> {
        let new = new.map_or(null_mut(), |new| ARef::into_raw(new).as_ptr());
        // INVARIANT: The new reference moves in, and the former one out.
        let former = NonNull::new(self.0.xchg(new, Full));
        // SAFETY: By the type invariants.
        former.map(|former| unsafe { ARef::from_raw(former) })
    }

    /// Makes it null if it points to `object`, and returns the reference.
    pub(crate) fn take_if(&self, object: &T) -> Option<ARef<T>> {
        let object = NonNull::from(object);
        let is_it = self.0.cmpxchg(object.as_ptr(), null_mut(), Full).is_ok();
        // SAFETY: By the type invariants; the reference moves out.
        is_it.then(|| unsafe { ARef::from_raw(object) })
    }
}

/// Makes an [`RcuCounted`] type [`AlwaysRefCounted`], and gives it the method `get`.
macro_rules! always_ref_counted {
    ($type:ty) => {
        // SAFETY: By the contract of `RcuCounted`, which has the same count.
        unsafe impl kernel::sync::aref::AlwaysRefCounted for $type {
            #[inline]
            fn inc_ref(&self) {
                $crate::nf::kernel::refcount::inc_ref(self);
            }

            #[inline]
            unsafe fn dec_ref(object: core::ptr::NonNull<Self>) {
                // SAFETY: By the safety requirements.
                unsafe { $crate::nf::kernel::refcount::dec_ref(object) };
            }
        }

        impl $type {
            /// Takes a reference; [`None`] if the last one was given back.
            #[inline]
            pub(crate) fn get(&self) -> Option<kernel::sync::aref::ARef<Self>> {
                $crate::nf::kernel::refcount::get(self)
            }
        }
    };
}

pub(crate) use always_ref_counted;
