// SPDX-License-Identifier: GPL-2.0

//! The garbage collector: removes expired entries that no lookup meets.
//!
//! It walks the table in rounds. A round is done in slices of at most [`SLICE`] jiffies, between
//! which the CPU does other work; between two rounds it rests for about as long as the entries have
//! to live on average. It is one delayed work item, so there is one instance, in process context.
//!
//! A listener is told of each end at once, and must not learn the order of hashes from that, nor
//! which entries share a bucket. So each round has a [secret order](BucketOrder) of buckets, and
//! what has expired in one batch of them is ended in random order.
//!
//! It does what else needs a walk or process context: removes expired expectations, grows and
//! shrinks the table ([`autosize`]), changes its hash ([`resize`]), and, after packets have
//! found the table full, drops entries that are not assured from namespaces near their limit.

use kernel::sync::{
    aref::ARef,
    atomic::{
        Atomic,
        Relaxed, //
    },
};

use crate::{
    ct::{
        entry::{
            events,
            l4proto, //
        },
        expect,
        netns::NetState,
        table::{
            autosize,
            resize,
            walk::BucketOrder, //
        },
    },
    nf::{
        entry::stale::{
            Get,
            Stale, //
        },
        kernel::{
            params, random,
            time::{
                jiffies32,
                HZ, //
            },
            work::{
                self,
                Repeating,
                WorkSlot, //
            },
        },
        prelude::*, //
    },
    proto::{
        permutation::ROUNDS,
        types::num::u32_as_usize, //
    },
};

use super::{
    delete::{
        self,
        DestroyReason, //
    },
    reconsider, //
};

/// The maximum length of a slice, in jiffies.
const SLICE: u32 = if HZ / 100 > 0 { HZ / 100 } else { 1 };

/// The minimum rest between two rounds, in jiffies.
const MIN_REST: u32 = HZ;
/// The maximum rest between two rounds, in jiffies.
const MAX_REST: u32 = 60 * HZ;

/// The maximum that a remaining life time counts in the mean, in jiffies: a few long-lived entries
/// must not delay the collector where there are many short-lived ones.
const MAX_REMAINING: u32 = 300 * HZ;

/// The number of entries of a batch that are ended in random order.
const MAX_CANDIDATES: u32 = 64;

/// Set by packets that found the table full, cleared at the end of a round.
static EARLY_DROP_REQUESTED: Atomic<bool> = Atomic::new(false);

/// The delayed work.
static SLOT: WorkSlot = WorkSlot::new();

/// The present round, kept between slices. Only the collector accesses it.
static ROUND: Round = Round {
    number: Atomic::new(0),
    ended: Atomic::new(0),
    step: Atomic::new(0),
    buckets: Atomic::new(0),
    key: [const { Atomic::new(0) }; ROUNDS],
    started: Atomic::new(0),
    mean: Atomic::new(0),
    seen: Atomic::new(0),
    tuples: Atomic::new(0),
};

/// The number of the last round that has ended; 0: none.
static LAST_ROUND: Atomic<u32> = Atomic::new(0);

/// The state of a round over the table.
struct Round {
    /// The number of the round; 0: before the first one. It may wrap, and is odd and even by turns.
    number: Atomic<u32>,
    /// The end of the round before, in jiffies.
    ended: Atomic<u32>,
    /// The step of the walk at which the round is.
    step: Atomic<u32>,
    /// The number of buckets at the start of the round.
    buckets: Atomic<u32>,
    /// The key of the order of buckets.
    key: [Atomic<u64>; ROUNDS],
    /// The start of the round, in jiffies.
    started: Atomic<u32>,
    /// The mean of the remaining life times so far, in jiffies.
    mean: Atomic<u32>,
    /// The number of entries in the mean.
    seen: Atomic<u32>,
    /// The number of tuples so far.
    tuples: Atomic<u32>,
}

impl Round {
    /// Begins a round.
    fn begin(&self) {
        let number = self.number.load(Relaxed).wrapping_add(1);
        // 2 after an overflow: 0 is for none, and the number before was odd.
        let number = if number == 0 { 2 } else { number };
        self.number.store(number, Relaxed);
        self.buckets.store(resize::buckets(), Relaxed);
        for word in &self.key {
            word.store(random::word(), Relaxed);
        }
        self.started.store(jiffies32(), Relaxed);
        self.mean.store(MAX_REST, Relaxed);
        self.seen.store(100, Relaxed);
        self.tuples.store(0, Relaxed);
    }

    /// Returns the order of buckets.
    fn order(&self) -> BucketOrder {
        let key = self.key.each_ref().map(|word| word.load(Relaxed));
        BucketOrder::new(self.buckets.load(Relaxed), key)
    }
}

/// The collector's work.
pub(in crate::ct) struct Collector;

/// Wakes the collector because the table is full: its next round also drops entries that are not
/// assured.
#[cold]
pub(super) fn wake_for_early_drop() {
    if !EARLY_DROP_REQUESTED.xchg(true, Relaxed) {
        wake();
    }
}

/// Wakes the collector.
#[cold]
pub(super) fn wake() {
    work::queue_now(&SLOT);
}

impl Repeating for Collector {
    fn run() -> Option<u32> {
        autosize::grow_if_requested();
        resize::rehash_if_needed();
        let rest = run_slice();
        Some(if autosize::is_growth_requested() {
            rest.min(HZ)
        } else {
            rest
        })
    }

    fn slot() -> &'static WorkSlot {
        &SLOT
    }
}

/// Does a slice of a round. Returns the time until the next slice, in jiffies.
fn run_slice() -> u32 {
    let begin = jiffies32();
    let mut step = ROUND.step.load(Relaxed);
    if step == 0 {
        ROUND.begin();
    }
    let order = ROUND.order();
    // Read once per slice.
    let watermark = if EARLY_DROP_REQUESTED.load(Relaxed) {
        high_watermark(params::max_entries().load(Relaxed))
    } else {
        u32::MAX
    };

    loop {
        let next = {
            let rcu = RcuGuard::new();
            let mut candidates = Candidates::new(watermark);
            let next = order.walk_batch(step, rcu.token(), |stale| {
                inspect(stale, &mut candidates);
            });
            candidates.end_all();
            next
        };
        work::cond_resched();
        match next {
            None => break,
            Some(next) => step = next,
        }
        if jiffies32().wrapping_sub(begin) > SLICE {
            ROUND.step.store(step, Relaxed);
            return 1;
        }
    }

    ROUND.step.store(0, Relaxed);
    ROUND.ended.store(jiffies32(), Relaxed);
    LAST_ROUND.store(ROUND.number.load(Relaxed), Relaxed);
    EARLY_DROP_REQUESTED.store(false, Relaxed);
    // Some tuples were counted twice if the table got another size meanwhile.
    if resize::buckets() == ROUND.buckets.load(Relaxed) {
        autosize::fit(ROUND.tuples.load(Relaxed));
    }
    let took = jiffies32().wrapping_sub(ROUND.started.load(Relaxed));
    ROUND
        .mean
        .load(Relaxed)
        .clamp(MIN_REST, MAX_REST)
        .saturating_sub(took)
        .max(1)
}

/// Returns the number of entries from which on entries that are not assured are dropped: 95 % of
/// the limit.
fn high_watermark(max: u32) -> u32 {
    (max / 100).saturating_mul(95)
}

/// Entries of a batch that have expired, or that may be dropped as the table is full.
struct Candidates<'r> {
    /// The entries.
    entries: [Option<Stale<'r>>; u32_as_usize(MAX_CANDIDATES)],
    /// The number of entries.
    len: u32,
    /// The number of entries from which on those that are not assured are dropped.
    watermark: u32,
}

impl<'r> Candidates<'r> {
    /// Returns a value without candidates.
    fn new(watermark: u32) -> Self {
        Self {
            entries: [None; u32_as_usize(MAX_CANDIDATES)],
            len: 0,
            watermark,
        }
    }

    /// Adds an entry. If there is no room, those before it are ended first.
    fn add(&mut self, stale: Stale<'r>) {
        if self.len >= MAX_CANDIDATES {
            self.end_all();
        }
        if let Some(place) = self.entries.get_mut(u32_as_usize(self.len)) {
            *place = Some(stale);
            self.len = self.len.wrapping_add(1);
        }
    }

    /// Takes an entry out at a place.
    fn take(&mut self, index: u32) -> Option<Stale<'r>> {
        self.entries.get_mut(u32_as_usize(index))?.take()
    }

    /// Ends the entries, in random order: those of one bucket do not come together.
    fn end_all(&mut self) {
        while let Some(last) = self.len.checked_sub(1) {
            let index = random::below(self.len);
            let chosen = self.take(index);
            // The last one fills the gap.
            let moved = self.take(last);
            if let Some(gap) = self.entries.get_mut(u32_as_usize(index)) {
                *gap = moved;
            }
            self.len = last;
            if let Some(stale) = chosen {
                self.end(stale);
            }
        }
    }

    /// Ends an entry.
    fn end(&self, stale: Stale<'r>) {
        if stale.is_expired() {
            delete::reap(stale);
        } else if self.watermark != u32::MAX {
            make_room(stale, self.watermark);
        }
    }
}

/// Visits one tuple. The work is done at the reply tuple, by which every entry is in the table.
fn inspect<'r>(stale: Stale<'r>, candidates: &mut Candidates<'r>) {
    let tuples = ROUND.tuples.load(Relaxed);
    ROUND.tuples.store(tuples.saturating_add(1), Relaxed);
    if stale.dir() != Direction::Reply {
        return;
    }
    if stale.is_expired() {
        candidates.add(stale);
        return;
    }
    update_mean(stale.remaining());
    count(&stale);
    if stale.status().has(StatusBit::Helper) {
        reap_expectations(stale);
    }
    reconsider::note_visit(stale);
    if candidates.watermark != u32::MAX {
        candidates.add(stale);
    }
}

/// Counts an entry in the census of its namespace.
fn count(stale: &Stale<'_>) {
    let status = stale.status();
    if status.has(StatusBit::Confirmed) && !status.has(StatusBit::Dying) {
        let state = stale.net().state_in::<NetState>(stale.rcu());
        state.census.count(ROUND.number.load(Relaxed), stale);
    }
}

/// A round of the collector that has ended.
#[derive(Clone, Copy)]
pub(in crate::ct) struct EndedRound {
    /// Its number, for [`Census::read`](crate::ct::figures::census::Census::read).
    pub(in crate::ct) number: u32,
    /// How long ago it ended, in seconds.
    pub(in crate::ct) age: u32,
}

/// Returns the last round that has ended. [`None`]: there was none yet.
pub(in crate::ct) fn last_round() -> Option<EndedRound> {
    let number = LAST_ROUND.load(Relaxed);
    (number != 0).then(|| EndedRound {
        number,
        age: jiffies32().wrapping_sub(ROUND.ended.load(Relaxed)) / HZ,
    })
}

/// Updates the mean of the remaining life times.
fn update_mean(remaining: u32) {
    let seen = ROUND.seen.load(Relaxed).saturating_add(1);
    let mean = ROUND.mean.load(Relaxed);
    let remaining = remaining.clamp(HZ, MAX_REMAINING);
    // Both are far below the sign bit, and `seen` is not zero.
    let step = (i64::from(remaining) - i64::from(mean))
        .checked_div(i64::from(seen))
        .unwrap_or(0);
    let mean = i64::from(mean).saturating_add(step);
    ROUND
        .mean
        .store(u32::try_from(mean).unwrap_or(MAX_REST), Relaxed);
    ROUND.seen.store(seen, Relaxed);
}

/// Removes the expired expectations of an entry.
fn reap_expectations(stale: Stale<'_>) {
    // The memory may have a new entry by now, and its extensions may still be moved.
    let settled = |stale: &Stale<'_>| {
        let status = stale.status();
        status.has(StatusBit::Confirmed) && !status.has(StatusBit::Dying)
    };
    if let Get::Hit(conn) = stale.get_if(settled) {
        expect::reap(&conn);
    }
}

/// Drops an entry that is not assured, if its namespace is above the watermark.
fn make_room(stale: Stale<'_>, watermark: u32) {
    let Get::Hit(conn) = stale.get_if(|stale| stale.status().has(StatusBit::Confirmed)) else {
        return;
    };
    let state = conn.net().state::<NetState>();
    if state.entries() < watermark || !can_be_spared(&conn) {
        return;
    }
    // The listener is congested: the entry would only go to the dying list, and make no room.
    if !state.dying.is_empty() && events::is_end_wanted(&conn) {
        return;
    }
    delete::delete(&conn, DestroyReason::EarlyDrop);
}

/// Returns whether an entry may be dropped early: it is not assured, or its protocol state says
/// that the connection is closing.
fn can_be_spared(conn: &ARef<Conn>) -> bool {
    if !conn.has(StatusBit::Assured) {
        return true;
    }
    match conn.protocol() {
        protocol::TCP => l4proto::tcp_state(conn).may_be_dropped_early(),
        protocol::SCTP => l4proto::sctp_state(conn).may_be_dropped_early(),
        _ => false,
    }
}
