// SPDX-License-Identifier: GPL-2.0

//! Chains of entries that have a reservation: they are in no table yet.

use kernel::{
    prelude::*,
    static_lock_class, //
};

use crate::{
    nf::kernel::lock::BhDisabled,
    proto::types::direction::Direction, //
};

use super::{
    chain::{
        ChainArray,
        LockedChain, //
    },
    conn::{
        Entry,
        StatusBit, //
    },
};

/// The generation of the array: the last one for which markers fit, which no table gets to.
const GENERATION: u32 = i32::MAX as u32;

/// Chains of entries by the node of their original tuple. They hold no references; an entry is
/// [withdrawn](LockedReservations::withdraw) before it gets into a table, or is freed: the table
/// refuses it otherwise, and its memory leaks.
pub(crate) struct Reservations(ChainArray);

impl Reservations {
    /// Allocates `len` empty chains. Their locks are taken before those of a table. May sleep.
    ///
    /// `ENOMEM`: no memory, or `len` is 0 or too large.
    pub(crate) fn new(len: u32) -> Result<Self> {
        ChainArray::with_class(len, GENERATION, c"reservation", static_lock_class!()).map(Self)
    }

    /// Returns the number of chains.
    #[inline]
    pub(crate) fn len(&self) -> u32 {
        self.0.len()
    }

    /// Locks a chain.
    #[inline]
    pub(crate) fn lock<'a>(&'a self, index: u32, bh: &'a BhDisabled) -> LockedReservations<'a> {
        LockedReservations(self.0.lock(index, bh))
    }
}

/// A chain of reservations that is locked.
#[must_use = "the chain is unlocked when this is dropped"]
pub(crate) struct LockedReservations<'a>(LockedChain<'a>);

impl LockedReservations<'_> {
    /// Returns the entries on the chain. They cannot leave it while it is locked.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> + '_ {
        self.0.uncounted().map(|(entry, _)| entry)
    }

    /// Puts an entry on the chain. `hash` is what led to the chain; the entry remembers it.
    ///
    /// Returns whether the entry is there now. It is not if it had a reservation already, is
    /// confirmed, or is a template.
    pub(crate) fn reserve(&mut self, entry: &Entry, hash: u32) -> bool {
        let status = entry.status();
        let is_confirmed = status.has(StatusBit::Confirmed) || status.has(StatusBit::Template);
        if is_confirmed || !entry.take_reservation(hash) {
            return false;
        }
        // SAFETY: An object of the slab. As it is in no table and had no reservation, the node is
        // on no chain; it has one from now on, and is not freed before `withdraw`.
        unsafe { self.0.push(entry, Direction::Original) };
        true
    }

    /// Takes an entry off the chain, if it is there.
    #[inline]
    pub(crate) fn withdraw(&mut self, entry: &Entry) {
        if self.0.remove(entry, Direction::Original) {
            entry.drop_reservation();
        }
    }
}
