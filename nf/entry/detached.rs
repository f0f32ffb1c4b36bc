// SPDX-License-Identifier: GPL-2.0

//! A list of entries that left the table.

use core::ptr::{
    with_exposed_provenance_mut,
    NonNull, //
};

use kernel::sync::{
    aref::ARef,
    atomic::Atomic, //
};

use crate::{
    nf::kernel::static_lock::StaticSpinLock,
    proto::types::direction::Direction, //
};

use super::{
    chain::{
        node as chain_node,
        Head, //
    },
    conn::Conn,
    intrusive::chain::{
        self,
        Head as _, //
    },
    object,
    pair::Removed, //
};

/// Entries that left the table, linked by the node of their original tuple.
///
/// # Invariants
///
/// `lock` guards `first`; the list holds a reference to every entry on it.
pub(crate) struct DetachedList {
    lock: StaticSpinLock<()>,
    first: Atomic<usize>,
}

// SAFETY: All access is under the lock.
unsafe impl Sync for DetachedList {}

impl DetachedList {
    /// The list's marker: a reader that strayed to this list from a chain ends at it.
    const MARKER: usize = 1 << 30;

    /// Makes an empty list.
    pub(crate) const fn new() -> Self {
        Self {
            lock: StaticSpinLock::new(c"detached entries", || ()),
            first: Atomic::new(0),
        }
    }

    fn head(&self) -> Head<'_> {
        Head::Wide(&self.first)
    }

    /// Puts an entry on the list.
    pub(crate) fn push(&'static self, removed: Removed) {
        let node = chain_node(&removed, Direction::Original);
        let handles = object::tuple_handles();
        let _ = removed.into_raw();
        let _guard = self.lock.lock();
        // SAFETY: The lock is held. By the invariants of `Removed` the node is on no chain. The list
        // takes over the reference.
        unsafe { chain::push(handles, self.head(), Self::MARKER, node) };
    }

    /// Takes an entry off the list.
    pub(crate) fn pop(&'static self) -> Option<Removed> {
        let handles = object::tuple_handles();
        let guard = self.lock.lock();
        // SAFETY: With the lock held the list does not change, and what is on it is valid.
        let node = unsafe {
            let node = chain::nodes(handles, self.head().load()).next()?;
            chain::unlink(handles, self.head(), node);
            node
        };
        drop(guard);
        // SAFETY: The entry is on no chain any more, and the reference of the list is passed on.
        unsafe {
            let conn = NonNull::new_unchecked(with_exposed_provenance_mut::<Conn>(node.object));
            Some(Removed::from_raw(conn))
        }
    }

    /// Returns the `N` entries with the lowest addresses that are not below `from`, of those that
    /// `which` chooses; in this order.
    pub(crate) fn lowest_from<const N: usize>(
        &'static self,
        from: usize,
        which: impl Fn(&Conn) -> bool,
    ) -> [Option<ARef<Conn>>; N] {
        let handles = object::tuple_handles();
        let _guard = self.lock.lock();
        let mut found: [Option<&Conn>; N] = [None; N];
        // SAFETY: With the lock held the list does not change, and what is on it is valid.
        for node in unsafe { chain::nodes(handles, self.head().load()) } {
            // SAFETY: The list holds a reference to the entry.
            let conn = unsafe { Conn::from_raw(with_exposed_provenance_mut(node.object)) };
            if conn.address() >= from && which(conn) {
                // Insertion sort: each that is higher moves on by one.
                let mut moving = conn;
                for slot in &mut found {
                    match slot {
                        Some(other) if other.address() < moving.address() => {}
                        Some(other) => core::mem::swap(other, &mut moving),
                        None => {
                            *slot = Some(moving);
                            break;
                        }
                    }
                }
            }
        }
        found.map(|conn| conn.map(ARef::from))
    }

    /// Returns whether the list is empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.head().load() == 0
    }
}
