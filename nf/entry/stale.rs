// SPDX-License-Identifier: GPL-2.0

//! An entry that was found on a chain, before a reference to it is taken.
//!
//! # Examples
//!
//! ```ignore
//! // Cheap comparisons first: they may see another entry, or a mix of two.
//! let is_wanted = |stale: &Stale<'_>| {
//!     stale.tuple_words(dir) == wanted && stale.is_in(net) && stale.zone() == zone
//! };
//! if is_wanted(&stale) {
//!     match stale.get_if(is_wanted) {
//!         // Compared again with the reference held: it is the entry.
//!         Get::Hit(conn) => return Some(conn),
//!         // The memory became another entry in between, or is being freed: the walk goes on.
//!         Get::Recycled | Get::Dead => {}
//!     }
//! }
//! ```

use core::ptr::NonNull;

use kernel::sync::aref::ARef;

use crate::{
    nf::{
        bindings,
        kernel::{
            net::Net,
            rcu::Rcu, //
        }, //
    },
    proto::types::{
        direction::Direction,
        zone::Zone, //
    }, //
};

use super::conn::{
    Conn,
    Entry,
    Status, //
};

/// An object that was found on a chain: the memory is that of an entry, but possibly not of the
/// entry that was on the chain any more.
///
/// It gives access only to what may be read without a reference. A `&Conn` can be had by
/// [`Stale::get_if`] alone, which takes a reference and then compares again.
///
/// # Invariants
///
/// `conn` points into the entries' slab; the memory stays type-stable for `'r`.
#[derive(Clone, Copy)]
pub(crate) struct Stale<'r> {
    conn: NonNull<bindings::nf_conn>,
    dir: Direction,
    rcu: Rcu<'r>,
}

/// The result of [`Stale::get_if`].
pub(crate) enum Get {
    /// A reference to the entry that was looked for.
    Hit(ARef<Conn>),
    /// The memory became another entry meanwhile; the reference to that was given up.
    Recycled,
    /// The entry is being freed.
    Dead,
}

impl<'r> Stale<'r> {
    /// # Safety
    ///
    /// `conn` was linked to a chain of entries during the section `rcu`.
    #[inline]
    pub(in crate::nf) unsafe fn new(
        conn: NonNull<bindings::nf_conn>,
        dir: Direction,
        rcu: Rcu<'r>,
    ) -> Self {
        // INVARIANT: the caller's promise; the slab is type-stable under RCU.
        Self { conn, dir, rcu }
    }

    /// Returns the RCU section in which the object was found.
    #[inline]
    pub(crate) fn rcu(&self) -> Rcu<'r> {
        self.rcu
    }

    /// Returns which tuple of the entry is on the chain.
    #[inline]
    pub(crate) fn dir(&self) -> Direction {
        self.dir
    }

    /// Returns the words of a tuple.
    #[inline]
    pub(crate) fn tuple_words(&self, dir: Direction) -> [u64; 5] {
        self.peek().tuple_words(dir)
    }

    /// Returns one of these words; `index` is below five.
    #[inline]
    pub(crate) fn tuple_word(&self, dir: Direction, index: usize) -> u64 {
        self.peek().tuple_word(dir, index)
    }

    /// Returns the protocol number.
    pub(crate) fn protocol(&self) -> u8 {
        self.peek().protocol()
    }

    /// Returns a byte of the protocol's state, see [`Entry::proto_byte`].
    pub(crate) fn proto_byte(&self, offset: usize) -> u8 {
        self.peek().proto_byte(offset)
    }

    /// Returns the namespace.
    pub(crate) fn net(&self) -> &'r Net {
        // SAFETY: Each entry that has had this memory during the section was in a namespace that
        // had entries, and a namespace is freed a grace period after it is empty.
        unsafe { Net::from_raw(bindings::rct_ct_net(self.conn.as_ptr())) }
    }

    /// Returns the zone.
    #[inline]
    pub(crate) fn zone(&self) -> Zone {
        self.peek().zone()
    }

    #[inline]
    fn peek(&self) -> &Entry {
        // SAFETY: The memory is an entry's; the methods of this type read atomic fields only, and
        // their callers expect that these may belong to another entry by now.
        unsafe { Entry::from_raw(self.conn.as_ptr()) }
    }

    /// Returns the status bits.
    #[inline]
    pub(crate) fn status(&self) -> Status {
        self.peek().status()
    }

    /// Returns whether the entry has expired.
    #[inline]
    pub(crate) fn is_expired(&self) -> bool {
        self.peek().is_expired()
    }

    /// Returns how many jiffies the entry has left.
    pub(crate) fn remaining(&self) -> u32 {
        self.peek().remaining()
    }

    /// Returns whether the entry belongs to `net`.
    #[inline]
    pub(crate) fn is_in(&self, net: &Net) -> bool {
        // SAFETY: Reads the pointer, does not follow it.
        let its = unsafe { bindings::rct_ct_net(self.conn.as_ptr()) };
        core::ptr::eq(its, net.raw())
    }

    /// Takes a reference, and keeps it if `same`, asked with the reference held, returns true.
    #[inline(always)]
    pub(crate) fn get_if(self, same: impl FnOnce(&Self) -> bool) -> Get {
        // SAFETY: By the type invariants the count is one of an entry. It cannot come back
        // from zero, because only `Fresh::publish` sets it anew.
        if !unsafe { bindings::rct_ct_get_not_zero(self.conn.as_ptr()) } {
            return Get::Dead;
        }
        // SAFETY: A barrier: what `same` reads is read after the count was raised. With the
        // reference held the entry cannot turn into another one any more.
        unsafe { bindings::rct_smp_acquire_after_ctrl_dep() };
        // SAFETY: The reference was just taken; the type is transparent.
        let entry = unsafe { ARef::from_raw(self.conn.cast::<Conn>()) };
        if same(&self) {
            Get::Hit(entry)
        } else {
            Get::Recycled
        }
    }
}
