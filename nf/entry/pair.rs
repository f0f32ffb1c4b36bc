// SPDX-License-Identifier: GPL-2.0

//! The buckets of an entry, two or one, locked together.
//!
//! [`LockedPair`] alone puts an entry into a table and takes it out, together with its lists
//! ([`ShardedLists`]), so that a confirmed entry can be found by each.
//!
//! # Examples
//!
//! ```ignore
//! let bh = BhDisabled::new();
//! // The pair sees to the order of the two locks, and to buckets that share one.
//! let mut pair = LockedPair::lock(original, reply);
//! if pair.entries(Direction::Reply).any(|(other, _)| is_conflict(other)) {
//!     return Err(EEXIST);
//! }
//! pair.insert(conn, lists, &bh)?;
//!
//! // Later. The result holds the table's reference, and proves that the entry is on no chain:
//! // `DyingList::push` asks for that.
//! let removed = LockedPair::lock(original, reply).remove(&conn, lists, &bh);
//! ```

use core::{
    mem::ManuallyDrop,
    ops::Deref,
    ptr::NonNull, //
};

use kernel::sync::aref::ARef;

use crate::{
    nf::{
        bindings,
        kernel::lock::BhDisabled, //
    },
    proto::types::direction::Direction, //
};

use super::{
    chain::{
        ChainArray,
        LockedChain, //
    },
    conn::{
        Conn,
        Status,
        StatusBit, //
    },
    index_lists::ShardedLists,
    intrusive::order::{
        self,
        Bucket, //
    }, //
};

/// A bucket: a chain of a table.
#[derive(Clone, Copy)]
pub(crate) struct ChainRef<'a> {
    /// The table's chains.
    pub(crate) chains: &'a ChainArray,
    /// The index of the chain.
    pub(crate) bucket: u32,
    /// Keeps bottom halves off.
    pub(crate) bh: &'a BhDisabled,
}

impl<'a> Bucket for ChainRef<'a> {
    type Locked = LockedChain<'a>;

    /// Locks of older arrays come first.
    #[inline(always)]
    fn rank(&self) -> (u32, u32) {
        (
            self.chains.generation(),
            self.chains.lock_index(self.bucket),
        )
    }

    #[inline(always)]
    fn lock(self) -> LockedChain<'a> {
        self.chains.lock(self.bucket, self.bh)
    }

    #[inline(always)]
    fn lock_second(self) -> LockedChain<'a> {
        self.chains.lock_second(self.bucket, self.bh)
    }

    #[inline(always)]
    unsafe fn share(self, held: &LockedChain<'a>) -> LockedChain<'a> {
        // SAFETY: Equal ranks are those of one lock; the rest is the caller's promise.
        unsafe { held.share(self.bucket) }
    }
}

/// The buckets of an entry, locked.
///
/// # Invariants
///
/// Bottom halves are off. The locks were taken in the order of their ranks; where both buckets
/// share a lock, `original` holds it.
#[must_use = "the buckets are unlocked when this is dropped"]
pub(crate) struct LockedPair<'bh> {
    // Dropped first, as it may share the lock of `original`.
    reply: LockedChain<'bh>,
    /// [`None`]: the entry is in one bucket, by its reply tuple.
    original: Option<LockedChain<'bh>>,
}

impl<'bh> LockedPair<'bh> {
    /// Locks the buckets of the original and the reply tuple, or the one that is for both.
    #[inline(always)]
    pub(crate) fn lock(original: Option<ChainRef<'bh>>, reply: ChainRef<'bh>) -> Self {
        // INVARIANT: the order is the one stated above.
        match original {
            None => Self {
                reply: reply.lock(),
                original: None,
            },
            Some(original) => {
                // SAFETY: `reply` is dropped first: it is the first field.
                let (original, reply) = unsafe { order::lock_both(original, reply) };
                Self {
                    reply,
                    original: Some(original),
                }
            }
        }
    }

    /// Returns whether one bucket is for both tuples.
    #[inline]
    pub(crate) fn is_one(&self) -> bool {
        self.original.is_none()
    }

    /// Returns the entries in the bucket of the tuple in direction `dir`.
    #[inline(always)]
    pub(crate) fn entries(
        &self,
        dir: Direction,
    ) -> impl Iterator<Item = (&Conn, Direction)> + use<'_, 'bh> {
        match (dir, &self.original) {
            (Direction::Original, Some(original)) => original.entries(),
            _ => self.reply.entries(),
        }
    }

    /// Returns whether these may be the buckets of an entry with a status: one bucket for a
    /// mirrored one, two for others.
    #[inline(always)]
    fn suits(&self, status: Status) -> bool {
        self.is_one() == status.has(StatusBit::Mirrored) && !status.has(StatusBit::Template)
    }

    /// Puts an entry into the table and on its lists, and confirms it. The table takes over the
    /// reference.
    ///
    /// Gives the entry back if it is, or was, in the table, if it has a reservation, or if the
    /// number of buckets is wrong.
    #[inline(always)]
    pub(crate) fn insert(
        &mut self,
        conn: ARef<Conn>,
        lists: &ShardedLists,
        bh: &BhDisabled,
    ) -> Result<(), ARef<Conn>> {
        if !self.suits(conn.status()) || !conn.is_free_of_reservation() {
            return Err(conn);
        }
        // SAFETY: No template, and confirmed below. The reference keeps the entry until `remove`.
        let Some(_guard) = (unsafe { lists.join(&conn, bh) }) else {
            return Err(conn);
        };
        // SAFETY: An object of the slab. As it was not confirmed it never was in a table, and it
        // has no reservation, so its nodes are on no chain.
        unsafe {
            if let Some(original) = &mut self.original {
                original.push(&conn, Direction::Original);
            }
            self.reply.push(&conn, Direction::Reply);
        }
        Self::confirm(conn);
        Ok(())
    }

    /// As [`LockedPair::insert`], by the reply tuple alone: packets in the original direction go on
    /// finding the entry that was there first ([`StatusBit::NatClash`]).
    pub(crate) fn insert_reply_only(
        &mut self,
        conn: ARef<Conn>,
        lists: &ShardedLists,
        bh: &BhDisabled,
    ) -> Result<(), ARef<Conn>> {
        if conn.has(StatusBit::Template) || !conn.is_free_of_reservation() {
            return Err(conn);
        }
        // SAFETY: As for `insert`.
        let Some(_guard) = (unsafe { lists.join(&conn, bh) }) else {
            return Err(conn);
        };
        conn.set_table_bit(StatusBit::NatClash);
        // SAFETY: As for `insert`.
        unsafe { self.reply.push(&conn, Direction::Reply) };
        Self::confirm(conn);
        Ok(())
    }

    #[inline(always)]
    fn confirm(conn: ARef<Conn>) {
        // The bit comes last: a lookup that meets the memory's former entry on its way must not
        // take this one for linked before it is.
        // SAFETY: A barrier.
        unsafe { bindings::rct_smp_mb_before_atomic() };
        conn.set_table_bit(StatusBit::Confirmed);
        // The reference is the table's from now on; `remove` takes it back.
        let _ = ManuallyDrop::new(conn);
    }

    /// Takes an entry out of the table, unlocks the buckets, and takes it off its lists.
    ///
    /// [`None`]: the entry was not in these buckets.
    #[inline]
    pub(crate) fn remove(
        mut self,
        conn: &Conn,
        lists: &ShardedLists,
        bh: &BhDisabled,
    ) -> Option<Removed> {
        let status = conn.status();
        if !status.has(StatusBit::NatClash) {
            if !self.suits(status) {
                return None;
            }
            if let Some(original) = &mut self.original {
                if !original.remove(conn, Direction::Original) {
                    return None;
                }
            }
        }
        if !self.reply.remove(conn, Direction::Reply) {
            return None;
        }
        drop(self);
        // SAFETY: The reply tuple was in, so the entry was put in, and this is done once. The lists
        // are those that it joined, as there are no others.
        unsafe { lists.leave(conn, bh) };
        // SAFETY: The table held this reference since `confirm`; the entry is on no chain any more.
        Some(unsafe { Removed::from_raw(NonNull::from(conn)) })
    }
}

/// An entry that was in the table and was taken out, with the reference that the table held.
///
/// # Invariants
///
/// The entry is on no chain. There is one value of this type for it.
pub(crate) struct Removed(ARef<Conn>);

impl Removed {
    /// # Safety
    ///
    /// As the invariants say; the reference is passed on.
    pub(super) unsafe fn from_raw(conn: NonNull<Conn>) -> Self {
        // INVARIANT: the caller's promise.
        // SAFETY: The caller's promise.
        Self(unsafe { ARef::from_raw(conn) })
    }

    /// Gives up the value, but not the reference.
    pub(super) fn into_raw(self) -> NonNull<Conn> {
        ARef::into_raw(self.0)
    }
}

impl Deref for Removed {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.0
    }
}
