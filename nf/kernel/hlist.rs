// SPDX-License-Identifier: GPL-2.0

//! Lists that C code walks as well: `hlist`, and the doubly linked `list`.
//!
//! A walk needs an RCU read-side section, or the lock of the list's writers. A removed node keeps
//! its pointer to the next one, so a walk continues from it.
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

use crate::{
    nf::bindings,
    proto::types::num::u32_as_usize, //
};

use super::{
    log::pr_warn,
    rcu::Rcu, //
};

/// Allocates the heads of `len` empty lists, for [`free`]. May sleep.
pub(in crate::nf) fn allocate(len: u32) -> Result<NonNull<bindings::hlist_head>> {
    let bytes = u32_as_usize(len)
        .checked_mul(size_of::<bindings::hlist_head>())
        .ok_or(ENOMEM)?;
    // SAFETY: Process context. A zeroed head is that of an empty list.
    let heads = unsafe { bindings::rct_kvzalloc(bytes) };
    NonNull::new(heads.cast()).ok_or(ENOMEM)
}

/// Frees the heads of `len` lists. If a list is not empty the heads leak, as its first node points
/// to one of them.
///
/// # Safety
///
/// They came from [`allocate`]`(len)`; no reader walks the lists, and nothing is added, any more.
pub(in crate::nf) unsafe fn free(heads: NonNull<bindings::hlist_head>, len: u32) {
    // SAFETY: By the safety requirements.
    let lists = unsafe { core::slice::from_raw_parts(heads.as_ptr(), u32_as_usize(len)) };
    if lists.iter().all(|list| list.first.is_null()) {
        // SAFETY: By the safety requirements.
        unsafe { bindings::kvfree(heads.as_ptr().cast()) };
    } else {
        pr_warn!("a table is not empty at its end; its memory is lost\n");
    }
}

/// A walk over one list.
///
/// # Invariants
///
/// `next` is null, or a node that was on the list during `'r`.
pub(in crate::nf) struct Nodes<'r> {
    next: *mut bindings::hlist_node,
    _rcu: Rcu<'r>,
}

impl<'r> Nodes<'r> {
    /// Starts at the head of a list.
    ///
    /// # Safety
    ///
    /// `head` is valid, and the nodes of its list are freed no sooner than a grace period after
    /// they were removed.
    #[inline]
    pub(in crate::nf) unsafe fn of(head: *mut bindings::hlist_head, rcu: Rcu<'r>) -> Self {
        // INVARIANT: The first node.
        Self {
            // SAFETY: By the safety requirements.
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
        // SAFETY: By the type invariants, and the safety requirements of `of`.
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

/// The head of a static list. Zeroed, the list is empty.
pub(in crate::nf) struct ListHead(Opaque<bindings::list_head>);

// SAFETY: Readers are in RCU sections, writers hold a lock.
unsafe impl Sync for ListHead {}

impl ListHead {
    /// Returns memory for a head, for [`ListHead::init`].
    pub(in crate::nf) const fn new() -> Self {
        Self(Opaque::zeroed())
    }

    /// Initialises the list, empty.
    ///
    /// # Safety
    ///
    /// It is not in use yet.
    pub(in crate::nf) unsafe fn init(&self) {
        // SAFETY: By the safety requirements.
        unsafe { bindings::rct_list_init(self.0.get()) };
    }

    /// Adds an element at the beginning.
    ///
    /// # Safety
    ///
    /// The list is not changed meanwhile; `element` is on no list, and is freed no sooner than a
    /// grace period after it was removed.
    pub(in crate::nf) unsafe fn push(&self, element: *mut bindings::list_head) {
        // SAFETY: By the safety requirements.
        unsafe { bindings::rct_list_add_rcu(element, self.0.get()) };
    }

    /// Removes an element from its list.
    ///
    /// # Safety
    ///
    /// It is on a list, which is not changed meanwhile.
    pub(in crate::nf) unsafe fn remove(element: *mut bindings::list_head) {
        // SAFETY: By the safety requirements.
        unsafe { bindings::rct_list_del_rcu(element) };
    }

    /// Walks the list.
    pub(in crate::nf) fn walk<'r>(
        &'r self,
        _rcu: Rcu<'r>,
    ) -> impl Iterator<Item = NonNull<bindings::list_head>> + 'r {
        let head = self.0.get();
        let mut at = head;
        core::iter::from_fn(move || {
            // SAFETY: The head, or an element that was on the list during `'r`, and is not freed
            // before that ends.
            at = unsafe { bindings::rct_list_next_rcu(at) };
            if at == head {
                return None;
            }
            NonNull::new(at)
        })
    }
}
