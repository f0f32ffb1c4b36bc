// SPDX-License-Identifier: GPL-2.0

//! Walks over the whole table, safe against everything that happens meanwhile.
//!
//! A bucket is a range of hashes, and buckets are in the order of their hashes, whatever
//! their number. So a walk remembers the hash that it got to, not a bucket, and a resize
//! between two steps, or during one, changes nothing: no entry is met twice, and none that
//! was there all the time is left out. (A new seed would; [`ResumableWalk`] knows what to do then.)

use kernel::sync::aref::ARef;

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
            mutex,
            random,
            work, //
        },
        prelude::*, //
    },
};

use super::{
    Phase,
    Table,
    CURRENT, //
};

/// How far a walk is: all smaller hashes are done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::ct) struct Cursor(u64);

impl Cursor {
    /// The beginning.
    pub(in crate::ct) const START: Self = Self(0);
    /// Behind the last hash.
    const END: u64 = 1 << 32;

    /// At the bucket of a hash.
    pub(in crate::ct) const fn of(hash: u32) -> Self {
        #[allow(clippy::cast_lossless)] // `u64::from` is not const.
        Self(hash as u64)
    }

    /// The hash, for [`Cursor::of`].
    pub(in crate::ct) fn hash(self) -> u32 {
        u32::try_from(self.0).unwrap_or(0)
    }
}

/// A range of hashes that stands on one chain.
struct HashRange<'r> {
    table: &'r Table,
    bucket: u32,
    /// The first hash that is not in it.
    end: u64,
}

/// The first hash behind a bucket.
fn end_of(table: &Table, bucket: u32) -> u64 {
    let behind = (u64::from(bucket) + 1) << 32;
    behind.div_ceil(u64::from(table.chains.len()).max(1))
}

/// The chain that hashes from `cursor` on stand on.
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

/// How many buckets are counted: enough to know the mean to a tenth.
const SAMPLED_BUCKETS: u32 = 256;

/// Shows `look` every tuple on the chain at `cursor`, some of them more than once if the chain
/// changes. Returns where the next chain begins, [`None`] after the last one.
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

/// As many buckets are gone through by [`walk_batch`] at a time.
const BATCH: u32 = 32;

/// As [`walk_bucket`], but goes through some buckets, of which many have nothing on them: what there is
/// to be asked about a chain is asked once for all.
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
    // Buckets move in order: as long as the first one is here, all are.
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
    if table.phase_after(first) != Phase::Before {
        return Some(cursor);
    }
    let end = end_of(table, last.wrapping_sub(1));
    (end < Cursor::END).then_some(Cursor(end))
}

/// Calls `act` for every entry of all namespaces, at least once for each that is there all the
/// time. (Of one namespace: [`crate::ct::table::index::for_each`].) May sleep between entries, but not in
/// `act`, which may take the entry out of the table.
pub(crate) fn for_each(mut act: impl FnMut(&Conn)) {
    let mut cursor = Cursor::START;
    loop {
        let next = {
            let rcu = RcuGuard::new();
            walk_bucket(cursor, rcu.token(), |stale| {
                // The reply tuple of every entry is in the table, see `confirm`.
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

/// A listing of a namespace's entries, in pieces, in the order of their hashes.
///
/// An entry that exists all the time is listed once, whatever happens to the table between
/// two pieces. A new secret puts entries into a new order; the listing then goes through all
/// of them again, and leaves out those that it had reached in the order before. (It remembers
/// [`REMEMBERED_SEEDS`] such orders. Who takes more than as many minutes to read may get entries twice:
/// there is not more than one new secret in a minute.)
///
/// All zeroes: the beginning.
#[derive(Clone, Copy, pin_init::Zeroable)]
pub(in crate::ct) struct ResumableWalk {
    now: Progress,
    /// The latest first.
    earlier: [Progress; REMEMBERED_SEEDS],
}

/// How many orders a [`ResumableWalk`] remembers beside the present one.
const REMEMBERED_SEEDS: usize = 3;

/// How far a listing got in the order that a secret makes.
#[derive(Clone, Copy, pin_init::Zeroable)]
struct Progress {
    seed: u32,
    /// Everything before that is listed.
    position: Position,
}

/// The place of an entry in an order: its hash, and its address among those of that hash.
type Position = (u64, usize);

impl Progress {
    /// The place of an entry.
    fn position_of(&self, conn: &Conn) -> Position {
        let hash = table::hash_of(conn, Direction::Reply, self.seed);
        (hash.into(), conn.address())
    }

    /// Whether an entry is listed.
    fn covers(&self, conn: &Conn) -> bool {
        self.position != (0, 0) && self.position_of(conn) < self.position
    }
}

/// What [`ResumableWalk::look`] found.
enum RangeScan {
    /// The next entry.
    Found(ARef<Conn>),
    /// None in this part of the table; the listing is at the next part.
    Exhausted,
    /// No more entries.
    End,
    /// Entries are in another order now.
    SeedChanged,
}

impl ResumableWalk {
    /// The entry that the listing is at, or the next one if that is gone. May sleep.
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

    /// The entry after the one that the listing is at. May sleep.
    pub(in crate::ct) fn advance(&mut self, net: &Net) -> Option<ARef<Conn>> {
        self.now.position.1 = self.now.position.1.saturating_add(1);
        self.current(net)
    }

    /// Looks for an entry in the part of the table where the listing is.
    fn scan_range(&mut self, net: &Net) -> RangeScan {
        let rcu = RcuGuard::new();
        let Some(range) = range(Cursor(self.now.position.0), rcu.token()) else {
            return RangeScan::End;
        };
        // Nothing of a table with another secret is looked at. So what the listing leaves
        // behind it has seen, to the last entry, even if entries were on their way into
        // such a table.
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
            // Again: entries came and went under our hands.
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

    /// Whether an entry was listed in an earlier order.
    fn was_shown(&self, conn: &Conn) -> bool {
        self.earlier.iter().any(|progress| progress.covers(conn))
    }

    /// Begins with the order of the present table, once all entries are in it.
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
            // Waits for who moves the entries.
            drop(mutex::resize());
        }
    }
}

/// Counts the tuples of some buckets, but for those that have expired, of which the collector may have
/// left many. Returns how many, and of how many chains.
pub(in crate::ct) fn sample() -> (u32, u32) {
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
