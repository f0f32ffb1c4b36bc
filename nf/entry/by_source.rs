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

use crate::{
    nf::{
        bindings,
        kernel::rcu::Rcu, //
    },
    proto::types::direction::Direction, //
};

use super::{
    conn::Conn,
    object::{
        self,
        Far,
        Layout,
        Link,
        Near, //
    },
    stale::Stale, //
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
            self.insert_as(Far::new(), chain, conn.address());
        } else {
            self.insert_as(Near::new(), chain, conn.address());
        }
    }

    fn insert_as<L: Layout>(&self, layout: L, chain: u32, own: usize) {
        const LINK: Link = Link::Origin;
        let (head, number) = (self.head::<L>(chain), layout.number(own));
        // SAFETY: The chain's lock is held, and the entry is on no chain. Who is on a chain is
        // an object of the slab.
        self.locked(chain, || unsafe {
            let first = L::read(head);
            L::write(layout.next(own, LINK), first);
            L::write(layout.previous(own, LINK), 0);
            if first != 0 {
                L::write(layout.previous(layout.address(first), LINK), number);
            }
            L::publish(head, number);
        });
    }

    /// Takes an entry off the chain that it was put on.
    pub(crate) fn remove(&self, chain: u32, conn: &Conn) {
        if object::is_far() {
            self.remove_as(Far::new(), chain, conn.address());
        } else {
            self.remove_as(Near::new(), chain, conn.address());
        }
    }

    fn remove_as<L: Layout>(&self, layout: L, chain: u32, own: usize) {
        const LINK: Link = Link::Origin;
        let head = self.head::<L>(chain);
        // SAFETY: The chain's lock is held, and the entry is on it. Its own link forwards stays
        // for those who stand on it.
        self.locked(chain, || unsafe {
            let next = L::read(layout.next(own, LINK));
            let previous = L::read(layout.previous(own, LINK));
            let at = if previous == 0 {
                head
            } else {
                layout.next(layout.address(previous), LINK)
            };
            L::write(at, next);
            if next != 0 {
                L::write(layout.previous(layout.address(next), LINK), previous);
            }
        });
    }

    /// The entries on a chain.
    pub(crate) fn walk<'r>(
        &'r self,
        chain: u32,
        rcu: Rcu<'r>,
    ) -> impl Iterator<Item = Stale<'r>> + 'r {
        let is_far = object::is_far();
        let mut address = if is_far {
            follow(Far::new(), self.head::<Far>(chain))
        } else {
            follow(Near::new(), self.head::<Near>(chain))
        };
        core::iter::from_fn(move || {
            let conn = NonNull::new(address as *mut bindings::nf_conn)?;
            // SAFETY: What was on a chain during the section is an object of the slab until
            // the section ends: the link of one that was freed is that of one that is on a
            // chain, or was.
            address = unsafe {
                if is_far {
                    follow(Far::new(), Far::new().next(address, Link::Origin))
                } else {
                    follow(Near::new(), Near::new().next(address, Link::Origin))
                }
            };
            // SAFETY: As above.
            Some(unsafe { Stale::new(conn, Direction::Original, rcu) })
        })
    }
}

/// The address of the object that `half` leads to, or 0. `half` is a valid one.
#[inline]
fn follow<L: Layout>(layout: L, half: *mut u8) -> usize {
    // SAFETY: A head, or half a link of an object.
    match unsafe { L::read(half) } {
        0 => 0,
        number => layout.address(number),
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
