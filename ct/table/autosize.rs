// SPDX-License-Identifier: GPL-2.0

//! The size of the table follows the number of entries, unless somebody gave it one.
//!
//! A packet that puts its entry into a crowded chain asks the collector to look. That counts
//! some chains, which tells the mean length of all of them, and if it is more than [`GROW_LOAD`], the
//! table grows until there are [`TARGET_BUCKETS_PER_TUPLE`] chains for each tuple. At the end of its rounds the collector
//! knows how many tuples there are; if they are many, the table grows then, too, and if they are few,
//! it shrinks, though never below the size that it had when it was made, or was last given by hand.
//!
//! Where caches rule, each tuple that is passed on the way to another costs a miss of its own. With
//! chains of 1/2 to 3/4 tuples, and four bytes each ([`crate::nf::entry::chain`]), the table takes five to
//! eight bytes of memory for each of them: one a connection, or two, where it is translated.
//!
//! How a table is replaced while packets use it is told at [`super::table`].

use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

use crate::nf::kernel::{
    params,
    time::{
        jiffies32,
        HZ, //
    }, //
};

use super::{
    resize,
    walk, //
};

/// A chain with more tuples than this asks for a look. Where the mean is half a tuple, one new entry
/// in 70000 meets such a chain; where it is [`GROW_LOAD`], one in 8000.
pub(in crate::ct) const LONG_CHAIN: u32 = 5;

/// So many tuples in so many chains are too many.
const GROW_LOAD: (u64, u64) = (3, 4);

/// In a table that may shrink, so many chains share one tuple, on average.
const SHRINK_BUCKETS_PER_TUPLE: u32 = 8;

/// So many chains for each tuple has a table that grew or shrank.
const TARGET_BUCKETS_PER_TUPLE: u32 = 2;

/// How long after a look the next one comes at the earliest, in jiffies.
const CHECK_INTERVAL: u32 = HZ;

/// How long a table keeps its size before it may shrink, in jiffies.
const SHRINK_HOLDOFF: u32 = 60 * HZ;

/// Set by packets that met a crowded chain.
static GROWTH_REQUESTED: Atomic<bool> = Atomic::new(false);

/// When the collector looked last, in jiffies.
static CHECKED_AT: Atomic<u32> = Atomic::new(0);

/// Asks for a look, from a packet's context. Returns whether the collector, which takes it, is to
/// be woken.
#[cold]
pub(in crate::ct) fn request_growth() -> bool {
    params::auto_resize() && !GROWTH_REQUESTED.xchg(true, Relaxed)
}

/// Grows the table if a packet asked for it and the chains are long. May sleep.
pub(in crate::ct) fn grow_if_requested() {
    if !is_check_due() {
        return;
    }
    CHECKED_AT.store(jiffies32(), Relaxed);
    GROWTH_REQUESTED.store(false, Relaxed);
    let (tuples, chains) = walk::sample();
    grow_for(tuples, chains);
}

/// Grows the table if so many tuples are too many for so many of its chains. May sleep.
fn grow_for(tuples: u32, chains: u32) {
    let ([tuples, chains], buckets) = ([tuples, chains].map(u64::from), resize::buckets());
    let (most, for_chains) = GROW_LOAD;
    if tuples.saturating_mul(for_chains) <= chains.saturating_mul(most) {
        return;
    }
    // No overflow: factors of 32, 31 and two bits. Without chains there are no tuples.
    let wanted = (tuples.saturating_mul(u64::from(buckets)))
        .saturating_mul(TARGET_BUCKETS_PER_TUPLE.into())
        .checked_div(chains);
    resize_to(wanted.map_or(buckets, |wanted| u32::try_from(wanted).unwrap_or(u32::MAX)));
}

/// Whether a look is wanted that must not wait for the end of the collector's rest.
pub(in crate::ct) fn is_growth_requested() -> bool {
    GROWTH_REQUESTED.load(Relaxed)
}

/// Fits the table to the number of tuples, if there are many or few for it. May sleep.
pub(in crate::ct) fn fit(tuples: u32) {
    if !params::auto_resize() {
        return;
    }
    let (buckets, floor) = (resize::buckets(), resize::MIN_BUCKETS.load(Relaxed));
    grow_for(tuples, buckets);
    if buckets <= floor
        || tuples.saturating_mul(SHRINK_BUCKETS_PER_TUPLE) > buckets
        || jiffies32().wrapping_sub(resize::RESIZED_AT.load(Relaxed)) < SHRINK_HOLDOFF
    {
        return;
    }
    resize_to(tuples.saturating_mul(TARGET_BUCKETS_PER_TUPLE).max(floor));
}

fn is_check_due() -> bool {
    is_growth_requested() && jiffies32().wrapping_sub(CHECKED_AT.load(Relaxed)) >= CHECK_INTERVAL
}

fn resize_to(buckets: u32) {
    let was = resize::buckets();
    match resize::auto_resize(buckets) {
        // Somebody has given it a size by hand just now.
        Ok(is) if is == was || !params::auto_resize() => {}
        Ok(is) => {
            resize::RESIZED_AT.store(jiffies32(), Relaxed);
            pr_info!("the table has {is} buckets now, it had {was}\n");
        }
        Err(_) => pr_warn!("no memory for a table of {buckets} buckets; it keeps its {was}\n"),
    }
}
