// SPDX-License-Identifier: GPL-2.0

//! Entries by where they come from, as a table of chains through [`Link::Origin`].
//!
//! An entry leaves its chain when it is freed, not a grace period before. A reader that stands
//! on it then may go on along another chain: it may miss entries, and never finds a wrong one,
//! as it takes a reference before it compares.

use core::{
    mem::size_of,
    ptr::NonNull, //
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
    object::{
        self,
        Far,
        Layout,
        Link,
        Near, //
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
    heads: NonNull<u8>,
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
        let half = if object::is_far() {
            Far::HALF
        } else {
            Near::HALF
        };
        let bytes = half.checked_mul(len as usize).ok_or(ENOMEM)?;
        // SAFETY: Process context.
        let heads = NonNull::new(unsafe { bindings::rct_kvzalloc(bytes) }).ok_or(ENOMEM)?;
        // SAFETY: Process context.
        let locks =
            unsafe { bindings::rct_kvzalloc(LOCKS * size_of::<Opaque<bindings::spinlock_t>>()) };
        let Some(locks) = NonNull::new(locks.cast::<Opaque<bindings::spinlock_t>>()) else {
            // SAFETY: Allocated above; nobody knows of them.
            unsafe { bindings::kvfree(heads.as_ptr()) };
            return Err(ENOMEM);
        };
        for index in 0..LOCKS {
            // SAFETY: In bounds, and not in use yet.
            unsafe { bindings::rct_spin_lock_init_source(locks.as_ptr().add(index).cast()) };
        }
        // INVARIANT: As just made; a zeroed head is that of an empty chain.
        Ok(Self {
            heads: heads.cast(),
            len,
            locks,
        })
    }

    /// The number of chains.
    #[inline]
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    fn head<L: Layout>(&self, chain: u32) -> *mut u8 {
        let chain = if chain < self.len { chain } else { 0 };
        // SAFETY: In bounds.
        unsafe {
            self.heads
                .as_ptr()
                .add((chain as usize).wrapping_mul(L::HALF))
        }
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

    /// Puts an entry on a chain that is on none. Whoever frees it takes it off before.
    pub(crate) fn insert(&self, chain: u32, conn: &Conn) {
        if object::is_far() {
            self.insert_as::<Far>(chain, conn);
        } else {
            self.insert_as::<Near>(chain, conn);
        }
    }

    fn insert_as<L: Layout>(&self, chain: u32, conn: &Conn) {
        const LINK: Link = Link::Origin;
        let (head, number) = (self.head::<L>(chain), L::number(conn.address()));
        // SAFETY: The chain's lock is held, and the entry is on no chain. Who is on a chain is
        // an object of the slab.
        self.locked(chain, || unsafe {
            let first = L::read(head);
            L::write(object::next::<L>(number, LINK), first);
            L::write(object::previous::<L>(number, LINK), 0);
            if first != 0 {
                L::write(object::previous::<L>(first, LINK), number);
            }
            L::publish(head, number);
        });
    }

    /// Takes an entry off the chain that it was put on.
    pub(crate) fn remove(&self, chain: u32, conn: &Conn) {
        if object::is_far() {
            self.remove_as::<Far>(chain, conn);
        } else {
            self.remove_as::<Near>(chain, conn);
        }
    }

    fn remove_as<L: Layout>(&self, chain: u32, conn: &Conn) {
        const LINK: Link = Link::Origin;
        let (head, number) = (self.head::<L>(chain), L::number(conn.address()));
        // SAFETY: The chain's lock is held, and the entry is on it. Its own link forwards stays
        // for those who stand on it.
        self.locked(chain, || unsafe {
            let next = L::read(object::next::<L>(number, LINK));
            let previous = L::read(object::previous::<L>(number, LINK));
            let at = if previous == 0 {
                head
            } else {
                object::next::<L>(previous, LINK)
            };
            L::write(at, next);
            if next != 0 {
                L::write(object::previous::<L>(next, LINK), previous);
            }
        });
    }

    /// The entries on a chain.
    pub(crate) fn walk<'r>(
        &'r self,
        chain: u32,
        rcu: Rcu<'r>,
    ) -> impl Iterator<Item = Stale<'r>> + 'r {
        let far = object::is_far();
        // SAFETY: The head is valid.
        let mut number = unsafe {
            if far {
                Far::read(self.head::<Far>(chain))
            } else {
                Near::read(self.head::<Near>(chain))
            }
        };
        core::iter::from_fn(move || {
            if number == 0 {
                return None;
            }
            // SAFETY: What was on a chain during the section is an object of the slab until
            // the section ends: the link of one that was freed is that of one that is on a
            // chain, or was.
            let (address, next) = unsafe {
                if far {
                    let next = Far::read(object::next::<Far>(number, Link::Origin));
                    (Far::address(number), next)
                } else {
                    let next = Near::read(object::next::<Near>(number, Link::Origin));
                    (Near::address(number), next)
                }
            };
            number = next;
            let conn = NonNull::new(address as *mut bindings::nf_conn)?;
            // SAFETY: As above.
            Some(unsafe { Stale::new(conn, Dir::Original, rcu) })
        })
    }
}

impl Drop for SourceTable {
    /// Every entry is freed by now.
    fn drop(&mut self) {
        // SAFETY: By the type invariants the allocations are ours; nobody walks here any more.
        unsafe {
            bindings::kvfree(self.heads.as_ptr().cast());
            bindings::kvfree(self.locks.as_ptr().cast());
        }
    }
}
