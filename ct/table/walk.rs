// SPDX-License-Identifier: GPL-2.0

//! Walks over the whole table, safe against concurrent changes and resizes.
//!
//! A bucket is a range of hashes, and buckets are in the order of their hashes in a table of any
//! size. So the position of a walk is a hash ([`Cursor`]), not a bucket, and a resize between or
//! during two steps changes nothing: a walk meets no entry twice, and misses none that is in the
//! table the whole time. Only a new hash seed changes the order of entries; [`ResumableWalk`]
//! handles that.
//!
//! - [`walk_bucket`] and [`walk_batch`] are steps, for callers with a budget: the collector, early
//!   drop.
//! - [`for_each`] visits all entries of all namespaces; [`super::index::for_each`] those of one.
//! - [`ResumableWalk`] is the state of a `/proc` listing between two reads.
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

use kernel::{
    num::casts::u32_as_u64,
    sync::aref::ARef, //
};

use crate::{
    ct::{
        entry,
        table, //
    },
    nf::{
        entry::stale::{
            Get,
            Stale, //
        },
        kernel::{
            random,
            work, //
        },
        prelude::*, //
    },
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

/// A walk over a namespace's entries that may be interrupted and resumed: for a listing in `/proc`,
/// which is read in pieces.
///
/// An entry that exists the whole time is visited exactly once, whatever happens to the table
/// between two steps. A new hash seed puts entries into a new order; the walk then starts over in
/// that order, and skips what it has visited in earlier orders. It remembers [`REMEMBERED_SEEDS`]
/// of them. As the seed changes once in a minute at most, only a reader that takes several minutes
/// can meet entries twice.
///
/// The all-zero value is the start of the walk.
///
/// # Examples
///
/// ```ignore
/// let mut walk = ResumableWalk::zeroed();
/// let mut next = walk.current(net);
/// while let Some(conn) = next {
///     line(&conn, out);
///     next = walk.advance(net);
/// }
/// ```
#[derive(Clone, Copy, pin_init::Zeroable)]
pub(in crate::ct) struct ResumableWalk {
    /// The progress in the present order.
    now: Progress,
    /// The progress in earlier orders, the latest first.
    earlier: [Progress; REMEMBERED_SEEDS],
}

/// The number of earlier orders that a [`ResumableWalk`] remembers.
const REMEMBERED_SEEDS: usize = 3;

/// The progress of a walk in the order that a hash seed makes.
#[derive(Clone, Copy, pin_init::Zeroable)]
struct Progress {
    /// The hash seed.
    seed: u32,
    /// All smaller positions are done.
    position: Position,
}

/// The position of an entry in an order: its hash, and its address among entries of the same hash.
type Position = (u64, usize);

impl Progress {
    /// Returns the position of an entry.
    fn position_of(&self, conn: &Conn) -> Position {
        let hash = table::hash_of(conn, Direction::Reply, self.seed);
        (hash.into(), conn.address())
    }

    /// Returns whether the walk has passed an entry.
    fn covers(&self, conn: &Conn) -> bool {
        self.position != (0, 0) && self.position_of(conn) < self.position
    }
}

/// The result of [`ResumableWalk::scan_range`].
enum RangeScan {
    /// The next entry.
    Found(ARef<Conn>),
    /// The range has no further entry, or has changed during the scan; the walk goes on.
    Exhausted,
    /// There are no more entries.
    End,
    /// The entries are in another order now.
    SeedChanged,
}

impl ResumableWalk {
    /// Returns the entry at which the walk is, or the next one if that is gone. May sleep.
    pub(in crate::ct) fn current(&mut self, net: &Net) -> Option<ARef<Conn>> {
        loop {
            match self.scan_range(net) {
                RangeScan::Found(conn) => return Some(conn),
                RangeScan::Exhausted => work::cond_resched(),
                RangeScan::End => return None,
                RangeScan::SeedChanged => self.switch_seed(),
            }
        }
    }

    /// Returns the entry after the one at which the walk is. May sleep.
    pub(in crate::ct) fn advance(&mut self, net: &Net) -> Option<ARef<Conn>> {
        self.now.position.1 = self.now.position.1.saturating_add(1);
        self.current(net)
    }

    /// Looks for the next entry in the range of hashes at which the walk is.
    fn scan_range(&mut self, net: &Net) -> RangeScan {
        let rcu = RcuGuard::new();
        let Some(range) = range(Cursor(self.now.position.0), rcu.token()) else {
            return RangeScan::End;
        };
        // A table with another hash seed is not searched. So the walk has seen every entry that it
        // has passed, even if entries were moving into such a table at the time.
        if range.table.seed != self.now.seed {
            return RangeScan::SeedChanged;
        }
        let mut best: Option<(Position, ARef<Conn>)> = None;
        let mut walk = range.table.chains.walk(range.bucket, rcu.token());
        for stale in &mut walk {
            if stale.dir() != Direction::Reply || !stale.is_in(net) {
                continue;
            }
            let Get::Hit(conn) = stale.get_if(|stale| stale.is_in(net)) else {
                continue;
            };
            let position = self.now.position_of(&conn);
            let here = position >= self.now.position && position.0 < range.end;
            let nearer = best.as_ref().is_none_or(|(so_far, _)| position < *so_far);
            let counts = conn.is_confirmed() && entry::is_shown(&conn);
            if here && nearer && counts && !self.was_shown(&conn) {
                best = Some((position, conn));
            }
        }
        if !walk.ended_at_home() || range.table.phase_after(range.bucket) != Phase::Before {
            // Entries came and went during the scan: the range is scanned again.
            return RangeScan::Exhausted;
        }
        match best {
            Some((position, conn)) => {
                self.now.position = position;
                RangeScan::Found(conn)
            }
            None => {
                self.now.position = (range.end, 0);
                RangeScan::Exhausted
            }
        }
    }

    /// Returns whether an entry was visited in an earlier order.
    fn was_shown(&self, conn: &Conn) -> bool {
        self.earlier.iter().any(|progress| progress.covers(conn))
    }

    /// Starts over in the order of the current table, once all entries are in that.
    fn switch_seed(&mut self) {
        loop {
            let rcu = RcuGuard::new();
            let Some(table) = CURRENT.load(rcu.token()) else {
                return;
            };
            let next = table.next.load(rcu.token());
            if next.is_none_or(|next| next.seed == table.seed) {
                if table.seed != self.now.seed {
                    let [first, second, _] = self.earlier;
                    self.earlier = [self.now, first, second];
                    self.now = Progress {
                        seed: table.seed,
                        position: (0, 0),
                    };
                }
                return;
            }
            drop(rcu);
            // The holder of the mutex is moving the entries: this waits until they are in the new
            // table.
            drop(RESIZE.lock());
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
