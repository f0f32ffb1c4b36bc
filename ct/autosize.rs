// SPDX-License-Identifier: GPL-2.0

//! The size of the table follows the number of entries, unless somebody gave it one.
//!
//! A packet that puts its entry into a crowded chain asks the collector to look. That counts
//! some chains, which tells the mean length of all of them, and if it is more than [`MOST`], the
//! table grows until it is one. At the end of its rounds the collector knows how many entries
//! there are; if they are few, the table shrinks, though never below the size that it had when
//! it was made, or was last given by hand.
//!
//! How a table is replaced while packets use it is told at [`super::table`].

use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
};

use crate::nf::{
    params, random,
    rcu::RcuGuard,
    time::{
        jiffies32,
        HZ, //
    },
};

use super::{
    gc,
    resize,
    walk::{
        self,
        Spot, //
    }, //
};

/// A chain with more tuples than this asks for a look. Where the mean is one, one new entry in a
/// million meets such a chain; where it is [`MOST`], one in three hundred.
pub(super) const CROWDED: u32 = 8;

/// Tuples in a chain, on average, that are too many.
const MOST: u32 = 3;

/// In a table that may shrink, so many chains share one tuple, on average.
const SPARSE: u32 = 4;

/// How many chains are counted: enough to know the mean to a tenth.
const SAMPLE: u32 = 256;

/// How long after a look the next one comes at the earliest, in jiffies.
const LOOK_AGAIN: u32 = HZ;

/// How long a table keeps its size before it may shrink, in jiffies.
const KEEP: u32 = 60 * HZ;

/// Set by packets that met a crowded chain.
static WANTED: Atomic<bool> = Atomic::new(false);

/// When the collector looked last, in jiffies.
static LOOKED_AT: Atomic<u32> = Atomic::new(0);

/// When the table got its size, in jiffies.
static RESIZED_AT: Atomic<u32> = Atomic::new(0);

/// The table does not shrink below this.
static FLOOR: Atomic<u32> = Atomic::new(0);

/// The table has been made, or somebody gave it a size: it does not shrink below that.
pub(super) fn begin_with(buckets: u32) {
    FLOOR.store(buckets, Relaxed);
    RESIZED_AT.store(jiffies32(), Relaxed);
}

/// Asks for a look, from a packet's context.
#[cold]
pub(super) fn request() {
    if params::auto_resize() && !WANTED.xchg(true, Relaxed) {
        gc::come_soon();
    }
}

/// Grows the table if a packet asked for it and the chains are long. May sleep.
pub(super) fn grow_if_wanted() {
    if !is_due() {
        return;
    }
    LOOKED_AT.store(jiffies32(), Relaxed);
    WANTED.store(false, Relaxed);
    let (tuples, chains) = sample();
    if tuples <= chains.saturating_mul(MOST) {
        return;
    }
    // There are chains, or there were no tuples.
    let factor = tuples.checked_div(chains).unwrap_or(1);
    resize_to(resize::buckets().saturating_mul(factor));
}

/// Whether a look is wanted that must not wait for the end of the collector's rest.
pub(super) fn is_wanted() -> bool {
    WANTED.load(Relaxed)
}

/// Shrinks the table, if `entries` are few for it. May sleep.
pub(super) fn shrink_if_sparse(entries: u32) {
    let (buckets, floor) = (resize::buckets(), FLOOR.load(Relaxed));
    let tuples = entries.saturating_mul(2);
    if !params::auto_resize()
        || buckets <= floor
        || tuples.saturating_mul(SPARSE) > buckets
        || jiffies32().wrapping_sub(RESIZED_AT.load(Relaxed)) < KEEP
    {
        return;
    }
    resize_to(tuples.max(floor));
}

fn is_due() -> bool {
    is_wanted() && jiffies32().wrapping_sub(LOOKED_AT.load(Relaxed)) >= LOOK_AGAIN
}

/// Counts the tuples of some chains. Returns how many, and of how many chains.
fn sample() -> (u32, u32) {
    let (mut tuples, mut chains) = (0_u32, 0_u32);
    let mut spot = Spot::of(random::below(u32::MAX));
    while chains < SAMPLE {
        let next = {
            let rcu = RcuGuard::new();
            walk::visit(spot, rcu.token(), |_| tuples = tuples.saturating_add(1))
        };
        chains = chains.saturating_add(1);
        spot = match next {
            Some(next) => next,
            None if chains < SAMPLE => Spot::START,
            None => break,
        };
    }
    (tuples, chains)
}

fn resize_to(buckets: u32) {
    let was = resize::buckets();
    match resize::fit(buckets) {
        Ok(is) => {
            RESIZED_AT.store(jiffies32(), Relaxed);
            pr_info!("the table has {is} buckets now, it had {was}\n");
        }
        Err(_) => pr_warn!("no memory for a table of {buckets} buckets; it keeps its {was}\n"),
    }
}
