// SPDX-License-Identifier: GPL-2.0

//! Walks over the whole table, safe against concurrent changes and resizes.
//!
//! A bucket is a range of hashes, and buckets are in the order of their hashes in a table of any
//! size. So the position of a walk is a hash ([`Cursor`]), not a bucket, and a resize between or
//! during two steps changes nothing: a walk meets no entry twice, and misses none that is in the
//! table the whole time. Only a new hash seed changes the order of entries: [`for_each`] does not
//! let that happen, and the collector, which may miss entries then, meets them in its next round.
//!
//! - [`walk_bucket`] is a step of a walk in the order of hashes.
//! - [`BucketOrder`] is the collector's walk, in steps as well, in a secret order.
//! - [`for_each`] visits all entries of all namespaces; [`super::index::for_each`] those of one.
//!
//! The order of hashes is not to be seen from outside: the hash seed could be computed from it. So
//! listings for user space do not walk here but over the lists of [`super::index`], and the
//! collector, which tells listeners of each entry that it ends, has its own order.
//!
//! # Examples
//!
//! A walk over the table releases the RCU section between two steps:
//!
//! ```ignore
//! let order = BucketOrder::new(resize::buckets(), key);
//! let mut step = Some(0);
//! while let Some(now) = step {
//!     let rcu = RcuGuard::new();
//!     step = order.walk_batch(now, rcu.token(), |stale| {
//!         // Each entry once: its original tuple may be in another bucket.
//!         if stale.dir() == Direction::Reply && stale.is_expired() {
//!             delete::reap(stale);
//!         }
//!     });
//!     drop(rcu);
//!     work::cond_resched();
//! }
//! ```

use crate::{
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
    proto::{
        permutation::{
            Permutation,
            ROUNDS, //
        },
        types::num::u32_as_u64, //
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

    /// Returns the position of the first hash of a bucket, in a table with so many buckets.
    fn of_bucket(bucket: u32, buckets: u32) -> Self {
        Self((u64::from(bucket) << 32).div_ceil(u64::from(buckets).max(1)))
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
    Cursor::of_bucket(bucket.wrapping_add(1), table.chains.len()).0
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

/// The number of indices that [`BucketOrder::walk_batch`] goes on per call.
const BATCH: u32 = 32;

/// An order of all buckets, which a key selects.
///
/// The buckets are those that the table has when a walk begins. If the table gets another size
/// meanwhile, the walk goes on with the ranges of hashes that these buckets had: it still misses no
/// entry that is in the table the whole time, but may meet one twice.
pub(in crate::ct) struct BucketOrder {
    /// The order of the indices of buckets.
    order: Permutation,
}

impl BucketOrder {
    /// Returns an order of `buckets` buckets.
    pub(in crate::ct) const fn new(buckets: u32, key: [u64; ROUNDS]) -> Self {
        Self {
            order: Permutation::new(buckets, key),
        }
    }

    /// Calls `visit` for every tuple in the buckets of up to [`BATCH`] indices from `step` on, and
    /// returns the step of the next call, or [`None`] after the last one. The first step is 0.
    ///
    /// Tuples may be visited again, as in [`walk_bucket`].
    pub(in crate::ct) fn walk_batch<'r>(
        &self,
        step: u32,
        rcu: Rcu<'r>,
        mut visit: impl FnMut(Stale<'r>),
    ) -> Option<u32> {
        let table = CURRENT.load(rcu)?;
        let last = step.wrapping_add(BATCH - 1).min(self.order.last());
        for bucket in (step..=last).filter_map(|index| self.order.at(index)) {
            let is_done = table.chains.len() == self.order.limit()
                && visit_if_here(table, bucket, rcu, &mut visit);
            if !is_done {
                self.visit_hashes_of(bucket, rcu, &mut visit);
            }
        }
        (last < self.order.last()).then(|| last.wrapping_add(1))
    }

    /// Visits the buckets that have the hashes of one of these buckets now.
    #[cold]
    fn visit_hashes_of<'r>(&self, bucket: u32, rcu: Rcu<'r>, visit: &mut impl FnMut(Stale<'r>)) {
        let at = |bucket| Cursor::of_bucket(bucket, self.order.limit());
        let (mut next, end) = (Some(at(bucket)), at(bucket.wrapping_add(1)));
        while let Some(cursor) = next.filter(|&cursor| cursor < end) {
            next = walk_bucket(cursor, rcu, &mut *visit);
        }
    }
}

/// Visits a bucket, if it is in this table the whole time. Returns whether it was.
#[inline]
fn visit_if_here<'r>(
    table: &'r Table,
    bucket: u32,
    rcu: Rcu<'r>,
    visit: &mut impl FnMut(Stale<'r>),
) -> bool {
    if table.phase(bucket) != Phase::Before {
        return false;
    }
    let mut walk = table.chains.walk(bucket, rcu);
    for stale in &mut walk {
        visit(stale);
    }
    walk.ended_at_home() && table.phase_after(bucket) == Phase::Before
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
