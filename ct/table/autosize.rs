// SPDX-License-Identifier: GPL-2.0

//! The policy for the size of the table: it follows the number of entries, unless
//! `nf_conntrack_buckets` or the module parameter `hashsize` has set one.
//!
//! 1. A packet that inserts its entry into a long chain requests growth ([`request_growth`]) and
//!    wakes the collector. The collector samples the mean chain length; above [`GROW_LOAD`] the
//!    table grows to [`TARGET_BUCKETS_PER_TUPLE`] buckets per tuple ([`grow_if_requested`]).
//! 2. At the end of a round the collector knows the number of tuples ([`fit`]). The table grows if
//!    they are too many, and shrinks if they are few, but never below its initial size or one set
//!    by hand.
//!
//! In a cache-bound workload each tuple that a lookup passes costs a cache miss. At 1/2 to 3/4
//! tuples per bucket, and four bytes per bucket ([`crate::nf::entry::chain`]), the table takes five
//! to eight bytes of memory per tuple. A connection has one tuple in the table, a translated one
//! has two.
//!
//! [`super::resize`] has the mechanism, [`super`] says why packets do not notice it.

use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};

use crate::nf::kernel::{
    log::{
        pr_info,
        pr_warn, //
    },
    params,
    time::{
        jiffies32,
        HZ, //
    },
};

use super::{
    resize,
    walk, //
};

/// A longer chain makes a packet request growth. At a mean of half a tuple per bucket, one new
/// entry in 70000 meets such a chain; at [`GROW_LOAD`], one in 8000.
pub(in crate::ct) const LONG_CHAIN: u32 = 5;

/// The table grows when there are more than 3 tuples per 4 buckets.
const GROW_LOAD: (u64, u64) = (3, 4);

/// The table may shrink when there are more than 8 buckets per tuple.
const SHRINK_BUCKETS_PER_TUPLE: u32 = 8;

/// The number of buckets per tuple after an automatic resize.
const TARGET_BUCKETS_PER_TUPLE: u32 = 2;

/// The minimum time between two samples, in jiffies.
const CHECK_INTERVAL: u32 = HZ;

/// The time for which the table keeps its size before it may shrink, in jiffies.
const SHRINK_HOLDOFF: u32 = 60 * HZ;

/// Set by packets that met a long chain, cleared by the collector.
static GROWTH_REQUESTED: Atomic<bool> = Atomic::new(false);

/// The time of the last sample, in jiffies.
static CHECKED_AT: Atomic<u32> = Atomic::new(0);

/// Requests a check for growth, from packet context. Returns whether the caller is to wake the
/// collector, which does the check.
#[cold]
pub(in crate::ct) fn request_growth() -> bool {
    params::auto_resize() && !GROWTH_REQUESTED.xchg(true, Relaxed)
}

/// Grows the table if a packet requested that and the mean chain length is above [`GROW_LOAD`]. May
/// sleep.
pub(in crate::ct) fn grow_if_requested() {
    if !is_check_due() {
        return;
    }
    CHECKED_AT.store(jiffies32(), Relaxed);
    GROWTH_REQUESTED.store(false, Relaxed);
    let (tuples, chains) = walk::sample();
    grow_for(tuples, chains);
}

/// Grows the table if there are more than [`GROW_LOAD`] tuples per bucket in a sample. May sleep.
fn grow_for(tuples: u32, chains: u32) {
    let ([tuples, chains], buckets) = ([tuples, chains].map(u64::from), resize::buckets());
    let (most, for_chains) = GROW_LOAD;
    if tuples.saturating_mul(for_chains) <= chains.saturating_mul(most) {
        return;
    }
    // The product has 32, 31 and two bits, so it does not overflow. Without buckets there are no
    // tuples.
    let wanted = (tuples.saturating_mul(u64::from(buckets)))
        .saturating_mul(TARGET_BUCKETS_PER_TUPLE.into())
        .checked_div(chains);
    resize_to(wanted.map_or(buckets, |wanted| u32::try_from(wanted).unwrap_or(u32::MAX)));
}

/// Returns whether a check is requested that must not wait until the end of the collector's rest.
pub(in crate::ct) fn is_growth_requested() -> bool {
    GROWTH_REQUESTED.load(Relaxed)
}

/// Grows or shrinks the table if it is too small or too large for `tuples` tuples. May sleep.
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

/// Returns whether growth was requested and the last sample is old enough.
fn is_check_due() -> bool {
    is_growth_requested() && jiffies32().wrapping_sub(CHECKED_AT.load(Relaxed)) >= CHECK_INTERVAL
}

/// Resizes the table, and logs that. May sleep.
fn resize_to(buckets: u32) {
    let was = resize::buckets();
    match resize::auto_resize(buckets) {
        // The size was set by hand in the meantime.
        Ok(is) if is == was || !params::auto_resize() => {}
        Ok(is) => {
            resize::RESIZED_AT.store(jiffies32(), Relaxed);
            pr_info!("the table has {is} buckets now, it had {was}\n");
        }
        Err(_) => pr_warn!("no memory for a table of {buckets} buckets; it keeps its {was}\n"),
    }
}
