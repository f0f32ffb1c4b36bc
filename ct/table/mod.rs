// SPDX-License-Identifier: GPL-2.0

//! The table of connections: from a tuple to its entry, in one chain.
//!
//! # Where an entry stands
//!
//! Both tuples of an entry lead to it. Nearly always one is the other's mirror image: what one way
//! is the source, is the destination the other way. Such two have the same hash, and the entry
//! stands in that bucket once, by its reply tuple ([`StatusBit::Mirrored`]). Where an address or a
//! port is translated, where the two ways belong to different zones, and with ICMP, whose answers
//! are of another type, it stands in the bucket of each tuple. So an entry that is met by its reply
//! tuple is what is looked for if either of its tuples is. (But for one that is in the table by
//! that tuple alone: see `resolve_clash` in [`crate::ct::life::confirm`].)
//!
//! # Resizing under traffic
//!
//! A resize ([`crate::ct::table::resize`]) makes a second table and moves the buckets of the first one
//! over, in order, one after the other. The first table's sequence counter says how far it
//! is: twice the number of buckets moved, plus one while a bucket is on its way. So for a
//! tuple's bucket there is, at any time, one answer to the question where it is:
//!
//! - [`Phase::Before`]: in this table, entries and insertions alike;
//! - [`Phase::Moving`]: on its way, for some hundred instructions;
//! - [`Phase::Moved`]: in the next table (where the same question is asked again).
//!
//! A reader searches the one chain that the answer names and asks again afterwards. It
//! trusts a hit, because a hit is verified by itself, and trusts a miss only if the answer
//! was *before* both times and the chain ended in its own marker. It never waits for more
//! than one bucket, and never misses an entry that is there.
//!
//! A writer locks the two buckets that the answers name, and asks again with the locks
//! held. The mover holds a bucket's lock while it moves it, so that answer stands.

pub(crate) mod autosize;
pub(crate) mod index;
pub(crate) mod reservation;
pub(crate) mod resize;
pub(crate) mod walk;

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
                LockedPair,
                Place, //
            },
        },
        kernel::{
            random,
            rcu::RcuArc,
            seqcount::SeqCount, //
        },
        prelude::*, //
    },
    proto::{
        hash::{
            reciprocal_scale,
            tuple_hash, //
        },
        types::tuple::Key, //
    },
};

/// The table that lookups begin with.
pub(super) static CURRENT: RcuArc<Table> = RcuArc::empty();

/// Tells the tables apart that exist at the same time.
static GENERATIONS: Atomic<u32> = Atomic::new(0);

/// Buckets, and what it takes to find one's way to them.
pub(super) struct Table {
    pub(super) chains: ChainArray,
    /// The secret of the hash.
    pub(super) seed: u32,
    generation: u32,
    /// How far the move to `next` is.
    pub(super) migration: SeqCount,
    /// The table that this one's buckets move to.
    pub(super) next: RcuArc<Table>,
}

/// Where a bucket of a table is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Here.
    Before,
    /// On its way.
    Moving,
    /// In the next table.
    Moved,
}

impl Table {
    /// A table with `buckets` buckets and a new secret, or that of another table.
    pub(super) fn new(buckets: u32, seed: Option<u32>) -> Result<Self> {
        let generation = GENERATIONS.fetch_add(1, Relaxed);
        Ok(Self {
            chains: ChainArray::new(buckets, generation)?,
            // The top bit stays clear, see `TupleHash::pack`.
            seed: seed.unwrap_or_else(|| random::below(1 << 31)),
            generation,
            migration: SeqCount::new(),
            next: RcuArc::empty(),
        })
    }

    /// The bucket of a hash.
    #[inline]
    pub(super) fn bucket(&self, hash: u32) -> u32 {
        reciprocal_scale(hash, self.chains.len())
    }

    #[inline]
    fn phase_at(sequence: u32, bucket: u32) -> Phase {
        let moved = sequence >> 1;
        if bucket < moved {
            Phase::Moved
        } else if bucket == moved && sequence & 1 != 0 {
            Phase::Moving
        } else {
            Phase::Before
        }
    }

    /// Whether buckets move, or have moved, to the next table.
    #[inline]
    fn is_moving(&self) -> bool {
        self.migration.begin().0 != 0
    }

    /// Where `bucket` is, asked before it is looked into.
    #[inline]
    pub(super) fn phase(&self, bucket: u32) -> Phase {
        Self::phase_at(self.migration.begin().0, bucket)
    }

    /// Where `bucket` is, asked after it was looked into.
    #[inline]
    pub(super) fn phase_after(&self, bucket: u32) -> Phase {
        Self::phase_at(self.migration.end().0, bucket)
    }

    /// The table to go on with when a bucket has moved.
    #[inline]
    pub(super) fn next_or_current<'r>(&self, rcu: Rcu<'r>) -> Option<&'r Table> {
        self.next.load(rcu).or_else(|| CURRENT.load(rcu))
    }
}

/// The number of buckets now.
pub(crate) fn buckets(rcu: Rcu<'_>) -> u32 {
    CURRENT.load(rcu).map_or(0, |table| table.chains.len())
}

/// The hash of a tuple, and the secret that it was made with.
#[derive(Clone, Copy, Default)]
pub(crate) struct TupleHash {
    /// The hash.
    pub(super) hash: u32,
    /// The secret.
    pub(super) seed: u32,
}

impl TupleHash {
    /// In one word, to be kept in an entry until it is confirmed.
    ///
    /// It stands where a list's link will stand. Who confirms the entry at the same time as
    /// another CPU may read that link; its top bit is set, as no seed's is, so it is taken for a
    /// hash of another seed and not used.
    pub(super) fn pack(self) -> u64 {
        u64::from(self.seed) << 32 | u64::from(self.hash)
    }

    /// Undoes [`TupleHash::pack`].
    pub(super) fn unpack(word: u64) -> Self {
        // CAST: the two halves.
        Self {
            hash: word as u32,
            seed: (word >> 32) as u32,
        }
    }
}

/// The hash of one of an entry's tuples.
#[inline]
pub(super) fn hash_of(conn: &Conn, dir: Direction, seed: u32) -> u32 {
    let zone_id = conn.zone().id_for(dir);
    tuple_hash(
        &Key::from_words(conn.tuple_words(dir)),
        zone_id,
        conn.net().hash_mix(),
        seed,
    )
}

/// The place of a tuple whose hash under a seed is `hash`.
#[inline]
pub(super) fn bucket_of<'r>(hash: impl Fn(u32) -> u32, rcu: Rcu<'r>) -> Option<(&'r Table, u32)> {
    let mut table = CURRENT.load(rcu)?;
    loop {
        let bucket = table.bucket(hash(table.seed));
        match table.phase(bucket) {
            Phase::Before => return Some((table, bucket)),
            Phase::Moving => core::hint::spin_loop(),
            Phase::Moved => table = table.next_or_current(rcu)?,
        }
    }
}

/// A table, and one of its buckets.
type BucketRef<'a> = (&'a Table, u32);

/// Where an entry belongs: by its original tuple, if it is not [mirrored](StatusBit::Mirrored),
/// and by its reply tuple.
type EntryBuckets<'a> = (Option<BucketRef<'a>>, BucketRef<'a>);

/// Where an entry belongs. `original` is the hash of its original tuple, if it is known.
#[inline(always)]
fn buckets_of_entry<'r>(
    conn: &Conn,
    original: Option<TupleHash>,
    rcu: Rcu<'r>,
) -> Option<EntryBuckets<'r>> {
    let table = CURRENT.load(rcu)?;
    let seed = table.seed;
    if table.is_moving() {
        return buckets_while_resizing(conn, rcu);
    }
    let original = match original {
        Some(known) if known.seed == seed => known.hash,
        _ => hash_of(conn, Direction::Original, seed),
    };
    let at = |hash| (table, table.bucket(hash));
    if conn.has(StatusBit::Mirrored) {
        return Some((None, at(original)));
    }
    Some((
        Some(at(original)),
        at(hash_of(conn, Direction::Reply, seed)),
    ))
}

/// [`buckets_of_entry`] during a resize.
#[cold]
#[inline(never)]
fn buckets_while_resizing<'r>(conn: &Conn, rcu: Rcu<'r>) -> Option<EntryBuckets<'r>> {
    let bucket_of_tuple = |dir| bucket_of(|seed| hash_of(conn, dir, seed), rcu);
    let reply = bucket_of_tuple(Direction::Reply)?;
    if conn.has(StatusBit::Mirrored) {
        return Some((None, reply));
    }
    Some((Some(bucket_of_tuple(Direction::Original)?), reply))
}

/// Locks the buckets of an entry, wherever they are.
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
        let place = |(table, bucket): BucketRef<'a>| Place {
            chains: &table.chains,
            generation: table.generation,
            bucket,
        };
        let pair = LockedPair::lock(first.map(place), place(second), bh);
        let is_here = |(table, bucket): BucketRef<'a>| {
            !table.is_moving() || table.phase(bucket) == Phase::Before
        };
        if first.is_none_or(is_here) && is_here(second) {
            return Some(pair);
        }
        // A resize took one of them away between the question and the lock.
    }
}

/// The entry on a locked bucket that stands in `conn`'s way there, if one does, and how many are
/// there in front of it: one that has its tuple `dir`, or any of its tuples ([`None`]), if the
/// bucket is for both of them.
#[inline(always)]
pub(super) fn find_conflict<'l>(
    pair: &'l LockedPair<'_>,
    conn: &Conn,
    dir: Option<Direction>,
) -> (Option<&'l Conn>, u32) {
    let mut length = 0;
    for (other, other_dir) in pair.chain(dir.unwrap_or(Direction::Reply)).entries() {
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

/// Whether the tuple by which `other` stands there, or the mirror image for which it stands, too, is
/// the tuple `dir` of `conn`.
#[inline]
fn has_tuple(other: &Conn, other_dir: Direction, conn: &Conn, dir: Direction) -> bool {
    let status = other.status();
    let linked_for_both = status.has(StatusBit::Mirrored) && !status.has(StatusBit::NatClash);
    has_tuple_of(other, other_dir, conn, dir)
        || linked_for_both && has_tuple_of(other, other_dir.opposite(), conn, dir)
}

/// Whether the tuple `other_dir` of `other` is the tuple `dir` of `conn`, for a lookup: by the zone
/// id of the way that it has there.
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
