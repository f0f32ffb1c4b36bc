// SPDX-License-Identifier: GPL-2.0

//! Chains that are changed under a lock and read forwards without one. They end in 0.
//!
//! The half of a link that leads to the next object keeps its value when the object is taken off,
//! so a reader that stands on it goes on. The other half then is [`LinkLayout::MARK`].

use super::layout::LinkLayout;

/// Puts an object first.
///
/// # Safety
///
/// The lock of the chain is held, `head` is its head, and `own` is the handle of an object that is
/// on no chain.
#[inline]
pub(crate) unsafe fn insert<L: LinkLayout>(layout: L, head: L::Half, link: L::Link, own: usize) {
    // SAFETY: The caller's promise; an object on a chain is valid.
    unsafe {
        let first = layout.read(head);
        layout.write(layout.next(own, link), first);
        layout.write(layout.previous(own, link), 0);
        if first != 0 {
            layout.write(layout.previous(first, link), own);
        }
        layout.publish(head, own);
    }
}

/// Returns whether an object that was [inserted](insert) is on its chain still.
///
/// # Safety
///
/// `own` is the handle of an object that was inserted.
#[inline]
pub(crate) unsafe fn is_linked<L: LinkLayout>(layout: L, link: L::Link, own: usize) -> bool {
    // SAFETY: The caller's promise.
    unsafe { layout.read(layout.previous(own, link)) != L::MARK }
}

/// Takes an object that was [inserted](insert) off its chain, if it is there still.
///
/// # Safety
///
/// The lock of the chain is held, `head` is its head, and `own` is the handle of an object that was
/// inserted there.
#[inline]
pub(crate) unsafe fn remove<L: LinkLayout>(layout: L, head: L::Half, link: L::Link, own: usize) {
    // SAFETY: The caller's promise; an object on a chain is valid.
    unsafe {
        if !is_linked(layout, link, own) {
            return;
        }
        let next = layout.read(layout.next(own, link));
        let previous = layout.read(layout.previous(own, link));
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
