// SPDX-License-Identifier: GPL-2.0

//! An entry that was found on a chain, of which nobody has a reference yet.

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

/// Something found on a chain: certainly an entry's memory, possibly no longer the entry
/// that was looked for.
///
/// It gives out only what may be read in passing. The one way to a `&Conn` is
/// [`Stale::get_if`], which takes a reference and then asks again.
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

/// What came of [`Stale::get_if`].
pub(crate) enum Get {
    /// A reference to the entry that was looked for.
    Hit(ARef<Conn>),
    /// The memory became another entry meanwhile; the reference to that was given back.
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

    /// The section that it was found in.
    #[inline]
    pub(crate) fn rcu(&self) -> Rcu<'r> {
        self.rcu
    }

    /// Which of its tuples stands on the chain.
    #[inline]
    pub(crate) fn dir(&self) -> Direction {
        self.dir
    }

    /// The words of a tuple.
    #[inline]
    pub(crate) fn tuple_words(&self, dir: Direction) -> [u64; 5] {
        self.peek().tuple_words(dir)
    }

    /// One of those words: below five.
    #[inline]
    pub(crate) fn tuple_word(&self, dir: Direction, index: usize) -> u64 {
        self.peek().tuple_word(dir, index)
    }

    /// The zone.
    #[inline]
    pub(crate) fn zone(&self) -> Zone {
        self.peek().zone()
    }

    #[inline]
    fn peek(&self) -> &Entry {
        // SAFETY: The memory is an entry's; the callers below read atomic fields only, and
        // expect that they may belong to another entry by now.
        unsafe { Entry::from_raw(self.conn.as_ptr()) }
    }

    /// The status bits.
    #[inline]
    pub(crate) fn status(&self) -> Status {
        self.peek().status()
    }

    /// Whether its time is over.
    #[inline]
    pub(crate) fn is_expired(&self) -> bool {
        self.peek().is_expired()
    }

    /// The jiffies left.
    pub(crate) fn remaining(&self) -> u32 {
        self.peek().remaining()
    }

    /// Whether it belongs to `net`.
    #[inline]
    pub(crate) fn is_in(&self, net: &Net) -> bool {
        // SAFETY: Reads the pointer, does not follow it.
        let its = unsafe { bindings::rct_ct_net(self.conn.as_ptr()) };
        core::ptr::eq(its, net.raw())
    }

    /// Takes a reference, if the entry still is what `same` says it has to be.
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
