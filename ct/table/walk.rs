// SPDX-License-Identifier: GPL-2.0

//! Walks over the whole table, safe against concurrent changes and resizes.
//!
//! A bucket is a range of hashes, and buckets are in the order of their hashes in a table of any
//! size. So the position of a walk is a hash ([`Cursor`]), not a bucket, and a resize between or
//! during two steps changes nothing: a walk meets no entry twice, and misses none that is in the
//! table the whole time. Only a new hash seed changes the order of entries: [`for_each`] does not
//! let that happen, and the collector, which may miss entries then, meets them in its next round.
//!
//! - [`walk_bucket`] and [`walk_batch`] are steps, for callers with a budget: the collector, early
//!   drop.
//! - [`for_each`] visits all entries of all namespaces; [`super::index::for_each`] those of one.
//!
//! The order of hashes is not to be seen from outside: the hash seed could be computed from it. So
//! listings for user space do not walk here but over the lists of [`super::index`].
//!
//! # Examples
//!
//! A walk over the table releases the RCU section between two steps:
//!
//! ```ignore
//! let mut cursor = Cursor::START;
//! loop {
//!     let next = {
//!         let rcu = RcuGuard::new();
//!         walk_batch(cursor, rcu.token(), |stale| {
//!             // Each entry once: its original tuple may be in another bucket.
//!             if stale.dir() == Direction::Reply && stale.is_expired() {
//!                 delete::reap(stale);
//!             }
//!         })
//!     };
//!     match next {
//!         Some(next) => cursor = next,
//!         None => break,
//!     }
//!     work::cond_resched();
//! }
//! ```

use kernel::num::casts::u32_as_u64;

use crate::nf::{
    entry::stale::{
        Get,
        Stale, //
    },
    kernel::{
        random,
        work, //
    },
    prelude::*, //
};

use super::{
    Phase,
    Table,
    CURRENT,
    RESIZE, //
};

/// The position of a walk: all smaller hashes are done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::ct) struct Cursor(u64);

impl Cursor {
    /// The start of the table.
    pub(in crate::ct) const START: Self = Self(0);
    /// The end of the table: one more than the greatest hash.
    const END: u64 = 1 << 32;

    /// Returns the position of a hash.
    pub(in crate::ct) const fn of(hash: u32) -> Self {
        Self(u32_as_u64(hash))
    }

    /// Returns the hash at the position, for [`Cursor::of`].
    pub(in crate::ct) fn hash(self) -> u32 {
        u32::try_from(self.0).unwrap_or(0)
    }
}

/// A range of hashes that is in one bucket.
struct HashRange<'r> {
    /// The table in which the bucket is.
    table: &'r Table,
    /// The index of the bucket.
    bucket: u32,
    /// The first hash behind the range.
    end: u64,
}

/// Returns the first hash behind a bucket.
fn end_of(table: &Table, bucket: u32) -> u64 {
    let behind = (u64::from(bucket) + 1) << 32;
    behind.div_ceil(u64::from(table.chains.len()).max(1))
}

/// Returns the range of hashes from `cursor` on that is in one bucket, in whichever table that is.
fn range<'r>(cursor: Cursor, rcu: Rcu<'r>) -> Option<HashRange<'r>> {
    let hash = u32::try_from(cursor.0).ok()?;
    let mut table = CURRENT.load(rcu)?;
    let mut end = Cursor::END;
    loop {
        let bucket = table.bucket(hash);
        end = end.min(end_of(table, bucket));
        match table.phase(bucket) {
            Phase::Before => return Some(HashRange { table, bucket, end }),
            Phase::Moving => core::hint::spin_loop(),
            Phase::Moved => table = table.next_or_current(rcu)?,
        }
    }
}

/// The number of buckets that [`sample`] counts: enough to know the mean to a tenth.
const SAMPLED_BUCKETS: u32 = 256;

/// Calls `visit` for every tuple in the bucket at `cursor`, and returns the start of the next
/// bucket, or [`None`] after the last one.
///
/// A concurrent change of the chain makes the walk start over, and tuples are then visited again.
pub(in crate::ct) fn walk_bucket<'r>(
    cursor: Cursor,
    rcu: Rcu<'r>,
    mut visit: impl FnMut(Stale<'r>),
) -> Option<Cursor> {
    loop {
        let range = range(cursor, rcu)?;
        let mut walk = range.table.chains.walk(range.bucket, rcu);
        for stale in &mut walk {
            visit(stale);
        }
        if walk.ended_at_home() && range.table.phase_after(range.bucket) == Phase::Before {
            return (range.end < Cursor::END).then_some(Cursor(range.end));
        }
    }
}

/// The number of buckets that [`walk_batch`] visits per call.
const BATCH: u32 = 32;

/// Calls `visit` for every tuple in up to [`BATCH`] buckets at `cursor`, and returns the start of
/// the next one, or [`None`] after the last one. Tuples may be visited again, as in
/// [`walk_bucket`].
///
/// Cheaper than [`walk_bucket`] where many buckets are empty: the phase is read once for all of
/// them.
pub(in crate::ct) fn walk_batch<'r>(
    cursor: Cursor,
    rcu: Rcu<'r>,
    mut visit: impl FnMut(Stale<'r>),
) -> Option<Cursor> {
    let hash = u32::try_from(cursor.0).ok()?;
    let table = CURRENT.load(rcu)?;
    let first = table.bucket(hash);
    if table.phase(first) != Phase::Before {
        return walk_bucket(cursor, rcu, visit);
    }
    // Buckets move in order: while the first one is in this table, all of them are.
    let last = first.wrapping_add(BATCH).min(table.chains.len());
    let mut next = first;
    while let Some(bucket) = table.chains.next_in_use(next, last) {
        next = bucket.wrapping_add(1);
        loop {
            let mut walk = table.chains.walk(bucket, rcu);
            for stale in &mut walk {
                visit(stale);
            }
            if walk.ended_at_home() {
                break;
            }
        }
    }
    // The first bucket moved during the walk, and later ones may have: the batch is visited again.
    if table.phase_after(first) != Phase::Before {
        return Some(cursor);
    }
    let end = end_of(table, last.wrapping_sub(1));
    (end < Cursor::END).then_some(Cursor(end))
}

/// Calls `act` for every entry of all namespaces: at least once for each that is in the table the
/// whole time. [`super::index::for_each`] visits the entries of one namespace.
///
/// May sleep between entries, but not in `act`, which may take the entry out of the table.
pub(crate) fn for_each(mut act: impl FnMut(&Conn)) {
    // Under a new hash seed an entry may go from behind the cursor to before it.
    let _no_reseed = RESIZE.lock();
    let mut cursor = Cursor::START;
    loop {
        let next = {
            let rcu = RcuGuard::new();
            walk_bucket(cursor, rcu.token(), |stale| {
                // Every entry is linked by its reply tuple, see [`crate::ct::life::confirm`].
                if stale.dir() != Direction::Reply {
                    return;
                }
                let same = |stale: &Stale<'_>| stale.status().has(StatusBit::Confirmed);
                if let Get::Hit(conn) = stale.get_if(same) {
                    act(&conn);
                }
            })
        };
        work::cond_resched();
        match next {
            Some(next) => cursor = next,
            None => return,
        }
    }
}

/// Counts the tuples in [`SAMPLED_BUCKETS`] buckets from a random one on, without expired entries:
/// the collector may have left many. Returns the numbers of tuples and of buckets.
pub(super) fn sample() -> (u32, u32) {
    let (mut tuples, mut buckets) = (0_u32, 0_u32);
    let mut cursor = Cursor::of(random::below(u32::MAX));
    while buckets < SAMPLED_BUCKETS {
        let next = {
            let rcu = RcuGuard::new();
            walk_bucket(cursor, rcu.token(), |stale| {
                tuples = tuples.saturating_add(u32::from(!stale.is_expired()));
            })
        };
        buckets = buckets.saturating_add(1);
        cursor = match next {
            Some(next) => next,
            None if buckets < SAMPLED_BUCKETS => Cursor::START,
            None => break,
        };
    }
    (tuples, buckets)
}
