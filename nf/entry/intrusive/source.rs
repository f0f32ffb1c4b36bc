// SPDX-License-Identifier: GPL-2.0

//! Chains that are changed under a lock and read forwards without one. They end in 0.
//!
//! The half of a link that leads to the next object keeps its value when the object is taken off, so
//! a reader that stands on it goes on. The other half says whether the object is linked at all:
//! [`LinkLayout::MARK`] alone says that it is not.

use super::layout::LinkLayout;

/// Notes that an object is on no chain, before it is put on one for the first time.
///
/// # Safety
///
/// `own` is the handle of an object that is on no chain, and nothing else changes its link.
#[inline(always)]
pub(crate) unsafe fn init<L: LinkLayout>(layout: L, link: L::Link, own: usize) {
    // SAFETY: The caller's promise.
    unsafe { layout.write(layout.previous(own, link), L::MARK) };
}

/// Returns whether an object is on a chain.
///
/// # Safety
///
/// `own` is the handle of an object that was [initialised](init).
#[inline]
pub(crate) unsafe fn is_linked<L: LinkLayout>(layout: L, link: L::Link, own: usize) -> bool {
    // SAFETY: The caller's promise.
    unsafe { layout.read(layout.previous(own, link)) != L::MARK }
}

/// Puts an object first, unless it is on a chain already. Returns whether it did.
///
/// # Safety
///
/// The lock of the chain is held, `head` is its head, and `own` is the handle of an
/// [initialised](init) object which no other chain is being changed for.
#[inline]
pub(crate) unsafe fn insert<L: LinkLayout>(
    layout: L,
    head: L::Half,
    link: L::Link,
    own: usize,
) -> bool {
    // SAFETY: The caller's promise; an object on a chain is valid.
    unsafe {
        if is_linked(layout, link, own) {
            return false;
        }
        let first = layout.read(head);
        layout.write(layout.next(own, link), first);
        layout.write(layout.previous(own, link), 0);
        if first != 0 {
            layout.write(layout.previous(first, link), own);
        }
        layout.publish(head, own);
    }
    true
}

/// Takes an object off, if it is on the chain. Returns whether it was.
///
/// # Safety
///
/// The lock of the chain is held, `head` is its head, and `own` is the handle of an
/// [initialised](init) object which is on no other chain.
#[inline]
pub(crate) unsafe fn remove<L: LinkLayout>(
    layout: L,
    head: L::Half,
    link: L::Link,
    own: usize,
) -> bool {
    // SAFETY: The caller's promise; an object on a chain is valid.
    unsafe {
        let previous = layout.read(layout.previous(own, link));
        if previous == L::MARK {
            return false;
        }
        let next = layout.read(layout.next(own, link));
        let at = match previous {
            0 => head,
            previous => layout.next(previous, link),
        };
        layout.write(at, next);
        if next != 0 {
            layout.write(layout.previous(next, link), previous);
        }
        layout.write(layout.previous(own, link), L::MARK);
    }
    true
}

/// Returns the handle of the object that a half leads to, or 0: a step of a reader.
///
/// # Safety
///
/// `half` is the head of a chain, or what [`LinkLayout::next`] gives for an object that was on a
/// chain since the reader began.
#[inline(always)]
pub(crate) unsafe fn follow<L: LinkLayout>(layout: L, half: L::Half) -> usize {
    // SAFETY: The caller's promise.
    unsafe { layout.read(half) }
}
