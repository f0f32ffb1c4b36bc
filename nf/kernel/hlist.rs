// SPDX-License-Identifier: GPL-2.0

//! Chains that C code walks over as well: `hlist`, and the doubly linked `list`.
//!
//! Who walks needs an RCU read-side section, or the lock under which the chain changes. A
//! node that is taken off goes on pointing to the one behind it, so a walk may go on from it.
//!
//! C header: [`include/linux/rculist.h`](srctree/include/linux/rculist.h)

use core::{
    mem::size_of,
    ptr::NonNull, //
};

use kernel::{
    prelude::*,
    types::Opaque, //
};

use crate::nf::bindings;

use super::rcu::Rcu;

/// Allocates empty chains, to be freed with [`free`]. May sleep.
pub(in crate::nf) fn allocate(len: u32) -> Result<NonNull<bindings::hlist_head>> {
    let bytes = (len as usize)
        .checked_mul(size_of::<bindings::hlist_head>())
        .ok_or(ENOMEM)?;
    // SAFETY: Process context. A zeroed head is that of an empty chain.
    let heads = unsafe { bindings::rct_kvzalloc(bytes) };
    NonNull::new(heads.cast()).ok_or(ENOMEM)
}

/// Frees chains.
///
/// # Safety
///
/// They came from [`allocate`], and nobody walks over them any more.
pub(in crate::nf) unsafe fn free(heads: *mut bindings::hlist_head) {
    // SAFETY: The caller's promise.
    unsafe { bindings::kvfree(heads.cast()) };
}

/// A walk over one chain.
///
/// # Invariants
///
/// `next` is null, or a node that was on the chain during `'r`.
pub(in crate::nf) struct Nodes<'r> {
    next: *mut bindings::hlist_node,
    _rcu: Rcu<'r>,
}

impl<'r> Nodes<'r> {
    /// Begins at the head of a chain.
    ///
    /// # Safety
    ///
    /// `head` is valid, and what is on its chain is freed no sooner than a grace period after
    /// it was taken off.
    #[inline]
    pub(in crate::nf) unsafe fn of(head: *mut bindings::hlist_head, rcu: Rcu<'r>) -> Self {
        // INVARIANT: the first node.
        Self {
            // SAFETY: The caller's promise.
            next: unsafe { bindings::rct_hlist_first_rcu(head) },
            _rcu: rcu,
        }
    }
}

impl Iterator for Nodes<'_> {
    type Item = NonNull<bindings::hlist_node>;

    #[inline]
    fn next(&mut self) -> Option<NonNull<bindings::hlist_node>> {
        let node = NonNull::new(self.next)?;
        // SAFETY: By the type invariants, and by the promise of who began the walk.
        self.next = unsafe { bindings::rct_hlist_next_rcu(node.as_ptr()) };
        Some(node)
    }
}

/// Iterates over the elements of a doubly linked list.
///
/// # Safety
///
/// `head` is the head of a list that does not change as long as the result is used.
pub(in crate::nf) unsafe fn nodes(
    head: *mut bindings::list_head,
) -> impl Iterator<Item = NonNull<bindings::list_head>> {
    let mut at = head;
    core::iter::from_fn(move || {
        // SAFETY: The head, or an element of the list; by the safety requirements it stays.
        at = unsafe { (*at).next };
        (at != head).then_some(NonNull::new(at)?)
    })
}

/// The head of a list that is static, and empty as long as it is zeroed.
pub(in crate::nf) struct ListHead(Opaque<bindings::list_head>);

// SAFETY: Readers are under RCU, writers hold a lock.
unsafe impl Sync for ListHead {}

impl ListHead {
    /// A place for a head; [`ListHead::init`] makes one of it.
    pub(in crate::nf) const fn new() -> Self {
        Self(Opaque::zeroed())
    }

    /// Makes the list an empty one.
    ///
    /// # Safety
    ///
    /// Nobody uses it yet.
    pub(in crate::nf) unsafe fn init(&self) {
        // SAFETY: The caller's promise.
        unsafe { bindings::rct_list_init(self.0.get()) };
    }

    /// Puts an element first.
    ///
    /// # Safety
    ///
    /// Nobody else changes the list meanwhile; `element` is on no list.
    pub(in crate::nf) unsafe fn push(&self, element: *mut bindings::list_head) {
        // SAFETY: The caller's promise.
        unsafe { bindings::rct_list_add_rcu(element, self.0.get()) };
    }

    /// Takes an element off the list that it is on.
    ///
    /// # Safety
    ///
    /// It is on one that nobody else changes meanwhile.
    pub(in crate::nf) unsafe fn remove(element: *mut bindings::list_head) {
        // SAFETY: The caller's promise.
        unsafe { bindings::rct_list_del_rcu(element) };
    }

    /// Walks over the list.
    pub(in crate::nf) fn walk<'r>(
        &'r self,
        _rcu: Rcu<'r>,
    ) -> impl Iterator<Item = NonNull<bindings::list_head>> + 'r {
        let head = self.0.get();
        let mut at = head;
        core::iter::from_fn(move || {
            // SAFETY: The head, or an element that was on the list during `'r`; elements are
            // freed no sooner than a grace period after they were taken off.
            at = unsafe { bindings::rct_list_next_rcu(at) };
            if at == head {
                return None;
            }
            NonNull::new(at)
        })
    }
}
