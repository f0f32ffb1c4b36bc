// SPDX-License-Identifier: GPL-2.0

//! The host's atomics, with as much of the kernel's interface as the layouts use.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Relaxed ordering.
#[derive(Clone, Copy)]
pub(super) struct Relaxed;

/// Release ordering.
#[derive(Clone, Copy)]
pub(super) struct Release;

/// An ordering.
pub(super) trait Order {
    const ORDER: Ordering;
}

impl Order for Relaxed {
    const ORDER: Ordering = Ordering::Relaxed;
}

impl Order for Release {
    const ORDER: Ordering = Ordering::Release;
}

/// A word with an atomic twin.
pub(super) trait Word: Sized {
    type Twin;

    fn load(twin: &Self::Twin, order: Ordering) -> Self;

    fn store(twin: &Self::Twin, value: Self, order: Ordering);
}

macro_rules! word {
    ($word:ty, $twin:ty) => {
        impl Word for $word {
            type Twin = $twin;

            fn load(twin: &$twin, order: Ordering) -> Self {
                twin.load(order)
            }

            fn store(twin: &$twin, value: Self, order: Ordering) {
                twin.store(value, order);
            }
        }
    };
}

word!(u32, AtomicU32);
word!(u64, AtomicU64);
word!(usize, AtomicUsize);

/// A word that is accessed atomically.
#[repr(transparent)]
pub(super) struct Atomic<T: Word>(T::Twin);

impl<T: Word> Atomic<T> {
    /// # Safety
    ///
    /// `ptr` is valid and aligned for `'a`, and accessed atomically only.
    pub(super) unsafe fn from_ptr<'a>(ptr: *mut T) -> &'a Self {
        assert!(ptr.is_aligned());
        // SAFETY: The caller's promise; a word and its twin have the same bytes.
        unsafe { &*ptr.cast() }
    }

    pub(super) fn load<O: Order>(&self, _: O) -> T {
        T::load(&self.0, O::ORDER)
    }

    pub(super) fn store<O: Order>(&self, value: T, _: O) {
        T::store(&self.0, value, O::ORDER);
    }
}
