// SPDX-License-Identifier: GPL-2.0

//! The connection table: a hash table of tuples with RCU readers, one lock per bucket, and an
//! online resize.
//!
//! This folder has the table ([`Table`]), its [`hash`], its size ([`resize`]) and the policy for
//! that ([`autosize`]), walks over all entries ([`walk`]), an index of entries by zone and address
//! ([`index`]), and the reservations of reply tuples for NAT ([`reservation`]). Lookups are one
//! floor above, in [`crate::ct::life::lookup`].
//!
//! # Buckets of an entry
//!
//! An entry is found by either of its two tuples. Usually the reply tuple is the mirror image of
//! the original tuple: source and destination change places. The two then have the same hash, and
//! the entry is linked into that bucket once, by its reply tuple ([`StatusBit::Mirrored`]). An
//! entry is linked into two buckets, one per tuple, where an address or a port is translated, where
//! the two directions have different zone ids, and with ICMP, as its replies have another type.
//!
//! So a mirrored entry that is met by its reply tuple is a match if either of its tuples is the one
//! that is looked for. The exception is an entry that is in the table by its reply tuple alone
//! ([`StatusBit::NatClash`], see `resolve_clash` in [`crate::ct::life::confirm`]).
//!
//! # Resizing under traffic
//!
//! A resize creates a second table and moves the buckets of the first table there, in order, one at
//! a time. The sequence counter of the first table states the progress: twice the number of buckets
//! moved, plus one while a bucket is being moved. So each bucket has exactly one [`Phase`] at any
//! time:
//!
//! - [`Phase::Before`]: the bucket is in this table; entries are searched and inserted here;
//! - [`Phase::Moving`]: the bucket is being moved, which takes some hundred instructions;
//! - [`Phase::Moved`]: the bucket is in the next table, where the same question applies.
//!
//! Three rules follow:
//!
//! 1. *Readers* search the one chain that the phase selects, and read the phase again afterwards. A
//!    hit is valid by itself, because it is verified with a reference held. A miss is valid only if
//!    the phase is still [`Phase::Before`] then, and the chain ended in its own marker: the counter
//!    only grows, so the bucket was in this table all the time. A reader waits for one bucket at
//!    most, and never misses an entry that is in the table.
//! 2. *Writers* lock the buckets that the phases select, and read the phases again under the locks
//!    ([`lock_pair`]). The mover holds the lock of a bucket while it moves the bucket, so the
//!    second answer stays true until the locks are released.
//! 3. *The mover* is alone: it holds the mutex of resizing.
//!
//! # Examples
//!
//! An entry goes into the table under the locks of its buckets, after a check for conflicts:
//!
//! ```ignore
//! let mut pair = lock_pair(&conn, None, &bh, rcu).ok_or(ENOENT)?;
//! match find_conflict(&pair, &conn, None) {
//!     (Some(_), _) => Err(EEXIST),
//!     (None, _) => pair.insert(conn).map_err(|_| EEXIST),
//! }
//! ```

pub(super) mod autosize;
pub(crate) mod hash;
pub(crate) mod index;
pub(crate) mod reservation;
pub(crate) mod resize;
pub(crate) mod walk;

use core::cmp::Ordering;

use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
};

use crate::{
    nf::{
        entry::{
            chain::ChainArray,
            pair::{
                ChainRef,
                LockedPair, //
            },
        },
        kernel::{
            rcu::RcuArc,
            seqcount::SeqCount,
            static_lock::StaticMutex, //
        },
        prelude::*, //
    },
    proto::{
        hash::reciprocal_scale,
        types::tuple::Key, //
    },
};

use self::hash::TableHash;

/// The table at which lookups begin. Published by [`resize::ConnTable`].
pub(super) static CURRENT: RcuArc<Table> = RcuArc::empty();

/// Serialises resizing, and all that must not meet a resize half done.
pub(super) static RESIZE: StaticMutex<()> = StaticMutex::new(c"RESIZE", || ());

/// The generation of the next table. It orders the locks of tables that exist at the same time.
static GENERATIONS: Atomic<u32> = Atomic::new(0);

/// A hash table of entries.
pub(super) struct Table {
    /// The buckets.
    pub(super) chains: ChainArray,
    /// The hash.
    pub(super) hash: TableHash,
    /// The progress of the move to `next`: twice the number of buckets moved, plus one while a
    /// bucket is being moved.
    migration: SeqCount,
    /// The table that the buckets move to, if a resize has begun.
    pub(super) next: RcuArc<Table>,
}

/// The state of a bucket with regard to a resize.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// In this table.
    Before,
    /// Being moved.
    Moving,
    /// In the next table.
    Moved,
}

impl Table {
    /// Creates a table with `buckets` buckets.
    ///
    /// `ENOMEM`: no memory.
    pub(super) fn new(buckets: u32, hash: TableHash) -> Result<Self> {
        let generation = GENERATIONS.fetch_add(1, Relaxed);
        Ok(Self {
            chains: ChainArray::new(buckets, generation)?,
            hash,
            migration: SeqCount::new(),
            next: RcuArc::empty(),
        })
    }

    /// Returns the index of a hash's bucket.
    #[inline]
    pub(super) fn bucket(&self, hash: u32) -> u32 {
        reciprocal_scale(hash, self.chains.len())
    }

    /// Returns the phase of a bucket at a value of the sequence counter.
    #[inline]
    fn phase_at(sequence: u32, bucket: u32) -> Phase {
        // The value while this bucket is being moved. A table has too few buckets for an overflow.
        let moving = bucket.wrapping_mul(2).wrapping_add(1);
        match sequence.cmp(&moving) {
            Ordering::Less => Phase::Before,
            Ordering::Equal => Phase::Moving,
            Ordering::Greater => Phase::Moved,
        }
    }

    /// Returns whether a resize has moved buckets, or is moving one.
    #[inline]
    fn is_moving(&self) -> bool {
        self.migration.begin().0 != 0
    }

    /// Returns the phase of a bucket that is about to be read.
    #[inline]
    pub(super) fn phase(&self, bucket: u32) -> Phase {
        Self::phase_at(self.migration.begin().0, bucket)
    }

    /// Returns the phase of a bucket that was read. All earlier reads come before this one.
    #[inline]
    pub(super) fn phase_after(&self, bucket: u32) -> Phase {
        Self::phase_at(self.migration.end().0, bucket)
    }

    /// Returns the table that the buckets of this one move to; the current table if there is none.
    #[inline]
    pub(super) fn next_or_current<'r>(&self, rcu: Rcu<'r>) -> Option<&'r Table> {
        self.next.load(rcu).or_else(|| CURRENT.load(rcu))
    }
}

/// Returns the number of buckets; 0 before the table exists.
pub(crate) fn buckets(rcu: Rcu<'_>) -> u32 {
    CURRENT.load(rcu).map_or(0, |table| table.chains.len())
}

/// The hash of a tuple, with the number of the [`TableHash`] that it was computed by.
#[derive(Clone, Copy, Default)]
pub(crate) struct TupleHash {
    /// The hash.
    pub(super) hash: u32,
    /// The number; 0: none.
    pub(super) epoch: u32,
}

impl TupleHash {
    /// Packs hash and number into one word, which an unconfirmed entry caches.
    ///
    /// The entry keeps the word in the place of a list link. Two CPUs may confirm the same entry at
    /// the same time (a bridge floods clones of its packet); the second one may then read the link
    /// instead of the word. The top bit of a link is set and that of a number is not, so the link
    /// is taken for a hash by another function and is not used.
    pub(super) fn pack(self) -> u64 {
        u64::from(self.epoch) << 32 | u64::from(self.hash)
    }

    /// Undoes [`TupleHash::pack`].
    pub(super) fn unpack(word: u64) -> Self {
        // CAST: The two halves of the word.
        Self {
            hash: word as u32,
            epoch: (word >> 32) as u32,
        }
    }
}

/// Returns the bucket of one of an entry's tuples.
#[inline]
fn bucket_of<'r>(conn: &Conn, dir: Direction, rcu: Rcu<'r>) -> Option<BucketRef<'r>> {
    let mut table = CURRENT.load(rcu)?;
    loop {
        let bucket = table.bucket(table.hash.of_entry(conn, dir));
        match table.phase(bucket) {
            Phase::Before => return Some((table, bucket)),
            Phase::Moving => core::hint::spin_loop(),
            Phase::Moved => table = table.next_or_current(rcu)?,
        }
    }
}

/// A table and the index of one of its buckets.
type BucketRef<'a> = (&'a Table, u32);

/// The buckets of an entry: that of its original tuple, unless the entry is
/// [mirrored](StatusBit::Mirrored), and that of its reply tuple.
type EntryBuckets<'a> = (Option<BucketRef<'a>>, BucketRef<'a>);

/// Returns the buckets of an entry. `original` is the hash of its original tuple, if it is known.
#[inline(always)]
fn buckets_of_entry<'r>(
    conn: &Conn,
    original: Option<TupleHash>,
    rcu: Rcu<'r>,
) -> Option<EntryBuckets<'r>> {
    let table = CURRENT.load(rcu)?;
    if table.is_moving() {
        return buckets_while_resizing(conn, rcu);
    }
    let original = match original {
        Some(known) if known.epoch == table.hash.epoch() => known.hash,
        _ => table.hash.of_entry(conn, Direction::Original),
    };
    let at = |hash| (table, table.bucket(hash));
    if conn.has(StatusBit::Mirrored) {
        return Some((None, at(original)));
    }
    Some((
        Some(at(original)),
        at(table.hash.of_entry(conn, Direction::Reply)),
    ))
}

/// Does the work of [`buckets_of_entry`] during a resize.
#[cold]
#[inline(never)]
fn buckets_while_resizing<'r>(conn: &Conn, rcu: Rcu<'r>) -> Option<EntryBuckets<'r>> {
    let reply = bucket_of(conn, Direction::Reply, rcu)?;
    if conn.has(StatusBit::Mirrored) {
        return Some((None, reply));
    }
    Some((Some(bucket_of(conn, Direction::Original, rcu)?), reply))
}

/// Locks the buckets of an entry, in whichever tables they are. [`None`]: there is no table.
///
/// `original` is the hash of the original tuple, if it is known.
#[inline(always)]
pub(super) fn lock_pair<'a>(
    conn: &Conn,
    original: Option<TupleHash>,
    bh: &'a BhDisabled,
    rcu: Rcu<'a>,
) -> Option<LockedPair<'a>> {
    loop {
        let (first, second) = buckets_of_entry(conn, original, rcu)?;
        let place = |(table, bucket): BucketRef<'a>| ChainRef {
            chains: &table.chains,
            bucket,
            bh,
        };
        let pair = LockedPair::lock(first.map(place), place(second));
        let is_here = |(table, bucket): BucketRef<'a>| {
            !table.is_moving() || table.phase(bucket) == Phase::Before
        };
        if first.is_none_or(is_here) && is_here(second) {
            return Some(pair);
        }
        // A resize moved one of the buckets between the lookup and the lock.
    }
}

/// Returns the entry of a locked bucket that conflicts with `conn`, if there is one, and the number
/// of entries before it.
///
/// An entry conflicts if it has the tuple `dir` of `conn`; or any tuple of `conn`, where one bucket
/// is for both tuples ([`None`]).
#[inline(always)]
pub(super) fn find_conflict<'l>(
    pair: &'l LockedPair<'_>,
    conn: &Conn,
    dir: Option<Direction>,
) -> (Option<&'l Conn>, u32) {
    let mut length = 0;
    for (other, other_dir) in pair.entries(dir.unwrap_or(Direction::Reply)) {
        let conflicts = match dir {
            Some(dir) => has_tuple(other, other_dir, conn, dir),
            None => {
                has_tuple_of(other, other_dir, conn, Direction::Reply)
                    || has_tuple_of(other, other_dir, conn, Direction::Original)
            }
        };
        if conflicts {
            return (Some(other), length);
        }
        length = length.wrapping_add(1);
    }
    (None, length)
}

/// Returns whether a lookup of the tuple `dir` of `conn` finds `other` by its link of direction
/// `other_dir`: by the tuple of that direction, or by the mirror image that the same link serves.
#[inline]
fn has_tuple(other: &Conn, other_dir: Direction, conn: &Conn, dir: Direction) -> bool {
    let status = other.status();
    let linked_for_both = status.has(StatusBit::Mirrored) && !status.has(StatusBit::NatClash);
    has_tuple_of(other, other_dir, conn, dir)
        || linked_for_both && has_tuple_of(other, other_dir.opposite(), conn, dir)
}

/// Returns whether a lookup cannot tell the tuple `other_dir` of `other` from the tuple `dir` of
/// `conn`: the two are equal, and so are the namespaces and the zone ids of direction `other_dir`.
#[inline]
fn has_tuple_of(other: &Conn, other_dir: Direction, conn: &Conn, dir: Direction) -> bool {
    let key = |conn: &Conn, dir| Key::from_words(conn.tuple_words(dir));
    let id = |conn: &Conn| conn.zone().id_for(other_dir);
    let wanted = key(conn, dir);
    wanted.may_have(|index| other.tuple_word(other_dir, index))
        && wanted == key(other, other_dir)
        && id(other) == id(conn)
        && core::ptr::eq(other.net(), conn.net())
}
