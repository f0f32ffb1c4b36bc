// SPDX-License-Identifier: GPL-2.0

//! Entries by where they come from, as a table of chains through `nf_conn.nat_bysource`.
//!
//! An entry leaves its chain when it is freed, not a grace period before. A reader that stands
//! on it then may go on along another chain: it may miss entries, and never finds a wrong one,
//! as it takes a reference before it compares.

use core::{
    mem::{
        offset_of,
        size_of, //
    },
    ptr::{
        addr_of_mut,
        NonNull, //
    },
};

use kernel::{
    prelude::*,
    types::Opaque, //
};

use super::{
    bindings,
    conn::{
        Conn,
        Dir,
        Stale, //
    },
    hlist::{
        self,
        Nodes, //
    },
    rcu::Rcu, //
};

/// Chains share as many locks, by their low bits.
const LOCKS: usize = 256;

/// The table.
///
/// # Invariants
///
/// `heads` points to `len` chain heads that belong to this value; a chain changes under its
/// lock.
pub(crate) struct SourceTable {
    heads: NonNull<bindings::hlist_head>,
    len: u32,
    locks: NonNull<Opaque<bindings::spinlock_t>>,
}

// SAFETY: The pointers own their targets, which are made to be shared.
unsafe impl Send for SourceTable {}
// SAFETY: As above; changes need a lock.
unsafe impl Sync for SourceTable {}

impl SourceTable {
    /// A table of `len` empty chains. May sleep.
    pub(crate) fn new(len: u32) -> Result<Self> {
        let len = len.max(1);
        let heads = hlist::allocate(len)?;
        // SAFETY: Process context.
        let locks =
            unsafe { bindings::rct_kvzalloc(LOCKS * size_of::<Opaque<bindings::spinlock_t>>()) };
        let Some(locks) = NonNull::new(locks.cast::<Opaque<bindings::spinlock_t>>()) else {
            // SAFETY: Allocated above; nobody knows of them.
            unsafe { hlist::free(heads.as_ptr()) };
            return Err(ENOMEM);
        };
        for index in 0..LOCKS {
            // SAFETY: In bounds, and not in use yet.
            unsafe { bindings::rct_spin_lock_init_source(locks.as_ptr().add(index).cast()) };
        }
        // INVARIANT: As just made; a zeroed head is that of an empty chain.
        Ok(Self { heads, len, locks })
    }

    /// The number of chains.
    #[inline]
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    fn head(&self, chain: u32) -> *mut bindings::hlist_head {
        let chain = if chain < self.len { chain } else { 0 };
        // SAFETY: In bounds.
        unsafe { self.heads.as_ptr().add(chain as usize) }
    }

    fn locked(&self, chain: u32, change: impl FnOnce()) {
        // SAFETY: In bounds by the mask; initialised with the table.
        let lock = unsafe { self.locks.as_ptr().add(chain as usize & (LOCKS - 1)) };
        // SAFETY: As above.
        unsafe { bindings::rct_spin_lock_bh(lock.cast()) };
        change();
        // SAFETY: Taken above.
        unsafe { bindings::rct_spin_unlock_bh(lock.cast()) };
    }

    fn node(conn: &Conn) -> *mut bindings::hlist_node {
        // SAFETY: A field of a valid entry.
        unsafe { addr_of_mut!((*conn.raw()).nat_bysource) }
    }

    /// Puts an entry on a chain that is on none. Whoever frees it takes it off before.
    pub(crate) fn insert(&self, chain: u32, conn: &Conn) {
        let (head, node) = (self.head(chain), Self::node(conn));
        // SAFETY: The chain's lock is held, and the node is on no chain.
        self.locked(chain, || unsafe {
            bindings::rct_hlist_add_head_rcu(node, head)
        });
    }

    /// Takes an entry off the chain that it was put on.
    pub(crate) fn remove(&self, chain: u32, conn: &Conn) {
        let node = Self::node(conn);
        // SAFETY: The chain's lock is held, and the node is on it.
        self.locked(chain, || unsafe { bindings::rct_hlist_del_init_rcu(node) });
    }

    /// The entries on a chain.
    pub(crate) fn walk<'r>(
        &'r self,
        chain: u32,
        rcu: Rcu<'r>,
    ) -> impl Iterator<Item = Stale<'r>> + 'r {
        const NODE: usize = offset_of!(bindings::nf_conn, nat_bysource);
        // SAFETY: The head is valid, and entries are type-stable memory: the node of one that
        // was freed is that of one that is on a chain, or on none.
        unsafe { Nodes::of(self.head(chain), rcu) }.map(move |node| {
            // SAFETY: The node is inside of an entry, which is never at address zero, and was
            // on a chain during the section.
            unsafe {
                let conn = NonNull::new_unchecked(node.as_ptr().byte_sub(NODE).cast());
                Stale::new(conn, Dir::Original, rcu)
            }
        })
    }
}

impl Drop for SourceTable {
    /// Every entry is freed by now.
    fn drop(&mut self) {
        // SAFETY: By the type invariants the allocations are ours; nobody walks here any more.
        unsafe {
            hlist::free(self.heads.as_ptr());
            bindings::kvfree(self.locks.as_ptr().cast());
        }
    }
}
