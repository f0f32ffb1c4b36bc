// SPDX-License-Identifier: GPL-2.0

//! The buckets of an entry, two or one, locked together.
//!
//! Everything that puts an entry into a table or takes it out goes through
//! [`LockedPair`], so "confirmed, therefore findable" is the duty of one function.

use core::{
    mem::ManuallyDrop,
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
        StatusBit, //
    }, //
};

/// Where a tuple belongs.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The array of chains.
    pub(crate) chains: &'a ChainArray,
    /// Grows with every array that is made; locks of older arrays are taken first.
    pub(crate) generation: u32,
    /// The chain.
    pub(crate) bucket: u32,
}

impl Place<'_> {
    #[inline]
    fn order(&self) -> (u32, u32) {
        (self.generation, self.chains.lock_index(self.bucket))
    }
}

/// The buckets of an entry, locked.
///
/// # Invariants
///
/// Bottom halves are off. The locks were taken by age of the array, then by index; where
/// both buckets share a lock, it was taken once.
#[must_use = "the buckets are unlocked when this is dropped"]
pub(crate) struct LockedPair<'bh> {
    /// [`None`]: the entry stands in the table once, by its reply tuple.
    original: Option<LockedChain<'bh>>,
    reply: LockedChain<'bh>,
}

impl<'bh> LockedPair<'bh> {
    /// Locks the buckets of the original and the reply tuple, or the one where an entry stands for
    /// both.
    #[inline(always)]
    pub(crate) fn lock(
        original: Option<Place<'bh>>,
        reply: Place<'bh>,
        bh: &'bh BhDisabled,
    ) -> Self {
        // INVARIANT: the order is the one stated above.
        let Some(original) = original else {
            return Self {
                original: None,
                reply: reply.chains.lock(reply.bucket, bh),
            };
        };
        if original.order() == reply.order() {
            let first = original.chains.lock(original.bucket, bh);
            let second = first.same_lock(reply.bucket);
            Self {
                original: Some(first),
                reply: second,
            }
        } else if original.order() < reply.order() {
            let first = original.chains.lock(original.bucket, bh);
            let second = reply.chains.lock_second(reply.bucket, bh);
            Self {
                original: Some(first),
                reply: second,
            }
        } else {
            let first = reply.chains.lock(reply.bucket, bh);
            let second = original.chains.lock_second(original.bucket, bh);
            Self {
                original: Some(second),
                reply: first,
            }
        }
    }

    /// Whether one bucket is for both tuples.
    #[inline]
    pub(crate) fn is_one(&self) -> bool {
        self.original.is_none()
    }

    /// The bucket of the tuple in direction `dir`.
    #[inline]
    pub(crate) fn chain(&self, dir: Direction) -> &LockedChain<'bh> {
        match (dir, &self.original) {
            (Direction::Original, Some(original)) => original,
            _ => &self.reply,
        }
    }

    /// Puts the entry in, together with the table's reference, and confirms it.
    ///
    /// The buckets are those of this very entry. Gives the entry back if it is in already.
    #[inline(always)]
    pub(crate) fn insert(&mut self, conn: ARef<Conn>) -> Result<(), ARef<Conn>> {
        if conn.is_confirmed() {
            return Err(conn);
        }
        if let Some(original) = &mut self.original {
            original.push(&conn, Direction::Original);
        }
        self.reply.push(&conn, Direction::Reply);
        Self::confirm(conn);
        Ok(())
    }

    /// As [`LockedPair::insert`], but packets in the original direction go on finding the
    /// entry that was there first.
    pub(crate) fn insert_reply_only(&mut self, conn: ARef<Conn>) -> Result<(), ARef<Conn>> {
        if conn.is_confirmed() {
            return Err(conn);
        }
        self.reply.push(&conn, Direction::Reply);
        Self::confirm(conn);
        Ok(())
    }

    #[inline]
    fn confirm(conn: ARef<Conn>) {
        // The bit comes last: a lookup that meets the memory's former entry on its way must
        // not take this one for linked before it is.
        // SAFETY: A barrier.
        unsafe { bindings::rct_smp_mb_before_atomic() };
        conn.set(StatusBit::Confirmed);
        // The reference is the table's from now on; `remove` takes it back.
        let _ = ManuallyDrop::new(conn);
    }

    /// Takes the entry out and gives back the table's reference.
    ///
    /// [`None`] if the entry was not in these buckets.
    #[inline]
    pub(crate) fn remove(&mut self, conn: &Conn) -> Option<ARef<Conn>> {
        // An entry that came in by `insert_reply_only` has no tuple in the original bucket.
        if let Some(original) = &mut self.original {
            original.remove(conn, Direction::Original);
        }
        if !self.reply.remove(conn, Direction::Reply) {
            return None;
        }
        // SAFETY: The reply tuple was in, so the table held this reference since `confirm`.
        Some(unsafe { ARef::from_raw(NonNull::from(conn)) })
    }
}
