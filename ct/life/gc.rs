// SPDX-License-Identifier: GPL-2.0

//! The collector: removes entries whose time is over and that no packet comes by.
//!
//! It goes round the table in slices of at most [`SLICE`], each followed by whatever else
//! the CPU has to do, and rests between rounds for about as long as the entries have to
//! live on average.

use kernel::sync::{
    aref::ARef,
    atomic::{
        Atomic,
        Relaxed, //
    },
};

use crate::{
    ct::{
        entry::l4proto,
        expect,
        netns::NetState,
        table::{
            autosize, resize,
            walk::{
                self,
                Cursor, //
            },
        },
    },
    nf::{
        entry::stale::{
            Get,
            Stale, //
        },
        kernel::{
            params,
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
};

use super::delete::{
    self,
    DestroyReason, //
};

/// How long a slice may take, in jiffies.
const SLICE: u32 = if HZ / 100 > 0 { HZ / 100 } else { 1 };

/// The shortest and the longest rest between two rounds, in jiffies.
const MIN_REST: u32 = HZ;
/// The longest rest between two rounds, in jiffies.
const MAX_REST: u32 = 60 * HZ;

/// An entry that lives longer counts as if it lived this long, in jiffies: few such entries
/// must not make the collector late for many short ones.
const MAX_REMAINING: u32 = 300 * HZ;

/// Set by packets that found the table full.
static EARLY_DROP_REQUESTED: Atomic<bool> = Atomic::new(false);

static SLOT: WorkSlot = WorkSlot::new();

/// Where the round is, between slices. Only the collector itself touches it.
static ROUND: Round = Round {
    cursor: Atomic::new(0),
    started: Atomic::new(0),
    mean: Atomic::new(0),
    seen: Atomic::new(0),
    tuples: Atomic::new(0),
};

struct Round {
    /// The hash that the round has got to.
    cursor: Atomic<u32>,
    /// When it began, in jiffies.
    started: Atomic<u32>,
    /// The mean of the remaining times so far, in jiffies.
    mean: Atomic<u32>,
    /// How many entries the mean is over.
    seen: Atomic<u32>,
    /// How many tuples it met.
    tuples: Atomic<u32>,
}

/// The collector's work.
pub(in crate::ct) struct Collector;

/// The table is watermark: the collector comes soon, and takes more than expired entries.
#[cold]
pub(super) fn wake_for_early_drop() {
    if !EARLY_DROP_REQUESTED.xchg(true, Relaxed) {
        wake();
    }
}

/// The collector comes soon.
#[cold]
pub(super) fn wake() {
    work::queue_now(&SLOT);
}

impl Repeating for Collector {
    fn run() -> Option<u32> {
        autosize::grow_if_requested();
        resize::reseed_if_requested();
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

/// Does a slice of a round. Returns the jiffies until the next one.
fn run_slice() -> u32 {
    let begin = jiffies32();
    let mut cursor = Cursor::of(ROUND.cursor.load(Relaxed));
    if cursor == Cursor::START {
        ROUND.started.store(begin, Relaxed);
        ROUND.mean.store(MAX_REST, Relaxed);
        ROUND.seen.store(100, Relaxed);
        ROUND.tuples.store(0, Relaxed);
    }
    // Asked once a slice: a namespace near its limit loses entries that are not assured.
    let watermark = if EARLY_DROP_REQUESTED.load(Relaxed) {
        high_watermark(params::max_entries().load(Relaxed))
    } else {
        u32::MAX
    };

    loop {
        let next = {
            let rcu = RcuGuard::new();
            walk::walk_batch(cursor, rcu.token(), |stale| inspect(stale, watermark))
        };
        work::cond_resched();
        match next {
            None => break,
            Some(next) => cursor = next,
        }
        if jiffies32().wrapping_sub(begin) > SLICE {
            ROUND.cursor.store(cursor.hash(), Relaxed);
            return 1;
        }
    }

    ROUND.cursor.store(0, Relaxed);
    EARLY_DROP_REQUESTED.store(false, Relaxed);
    autosize::fit(ROUND.tuples.load(Relaxed));
    let took = jiffies32().wrapping_sub(ROUND.started.load(Relaxed));
    ROUND
        .mean
        .load(Relaxed)
        .clamp(MIN_REST, MAX_REST)
        .saturating_sub(took)
        .max(1)
}

/// Where the collector begins to make room: 95 of 100.
fn high_watermark(max: u32) -> u32 {
    (max / 100).saturating_mul(95)
}

/// Looks at one entry, by its reply tuple, by which every entry is in the table.
fn inspect(stale: Stale<'_>, watermark: u32) {
    let tuples = ROUND.tuples.load(Relaxed);
    ROUND.tuples.store(tuples.saturating_add(1), Relaxed);
    if stale.dir() != Direction::Reply {
        return;
    }
    if stale.is_expired() {
        delete::reap(stale);
        return;
    }
    update_mean(stale.remaining());
    if stale.status().has(StatusBit::Helper) {
        reap_expectations(stale);
    }
    if watermark != u32::MAX {
        make_room(stale, watermark);
    }
}

/// Takes a remaining time into the running mean.
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

/// Takes away what an entry expected too long.
fn reap_expectations(stale: Stale<'_>) {
    // It may have become an entry in the making, whose extensions are not settled.
    let settled = |stale: &Stale<'_>| {
        let status = stale.status();
        status.has(StatusBit::Confirmed) && !status.has(StatusBit::Dying)
    };
    if let Get::Hit(conn) = stale.get_if(settled) {
        expect::reap(&conn);
    }
}

/// Removes an entry if its namespace is nearly full and it can be spared.
fn make_room(stale: Stale<'_>, watermark: u32) {
    let Get::Hit(conn) = stale.get_if(|stale| stale.status().has(StatusBit::Confirmed)) else {
        return;
    };
    if conn.net().state::<NetState>().entries() >= watermark && can_be_spared(&conn) {
        delete::delete(&conn, DestroyReason::EarlyDrop);
    }
}

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
