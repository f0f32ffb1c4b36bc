// SPDX-License-Identifier: GPL-2.0

//! Another size, or another secret, for the table, while packets use it.

use kernel::{
    alloc::flags::GFP_KERNEL,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
};

use crate::{
    ct::table,
    nf::{
        entry::slab,
        kernel::{
            mutex,
            params,
            time,
            work, //
        },
        prelude::*, //
    },
};

use super::{
    walk,
    Table,
    CURRENT, //
};

/// Sizes are rounded up to a page of chain heads, as the C tracker does.
const BUCKETS_PER_PAGE: u32 = 512;

/// How many buckets are moved before others may run.
const BUCKETS_PER_SLICE: u32 = 64;

/// The size that the parameter asks for before the table exists; 0: by memory.
static INITIAL_BUCKETS: Atomic<u32> = Atomic::new(0);

/// When the table got a new secret, in jiffies.
static RESEEDED_AT: Atomic<u32> = Atomic::new(0);

/// Set by packets that met a chain too long.
static RESEED_REQUESTED: Atomic<bool> = Atomic::new(false);

/// When the table got its size, in jiffies.
pub(super) static RESIZED_AT: Atomic<u32> = Atomic::new(0);

/// The table does not shrink below this.
pub(super) static MIN_BUCKETS: Atomic<u32> = Atomic::new(0);

pub(in crate::ct) fn round_up(buckets: u32) -> Result<u32> {
    if buckets == 0 {
        return Err(EINVAL);
    }
    buckets
        .checked_next_multiple_of(BUCKETS_PER_PAGE)
        .ok_or(ENOMEM)
}

/// The size by memory: as many buckets as entries of 16 KiB each would fill, within bounds.
fn default_buckets() -> u32 {
    const GIB: usize = 1 << 30;
    match slab::total_memory() {
        bytes if bytes > 4 * GIB => 262_144,
        bytes if bytes > GIB => 65_536,
        bytes => u32::try_from(bytes / 16_384 / 8)
            .unwrap_or(u32::MAX)
            .max(1_024),
    }
}

/// The table has been made, or somebody gave it a size: it does not shrink below that.
fn set_min_buckets(buckets: u32) {
    MIN_BUCKETS.store(buckets, Relaxed);
    RESIZED_AT.store(time::jiffies32(), Relaxed);
}

/// The life of the table.
pub(crate) struct ConnTable(());

impl ConnTable {
    /// Makes the table, and sets the limit that goes with its size.
    pub(crate) fn new() -> Result<Self> {
        // A size given by hand used to stand for fewer buckets than entries; the limit keeps
        // to that.
        let (buckets, entries_per_bucket) = match INITIAL_BUCKETS.load(Relaxed) {
            0 => (default_buckets(), 1),
            wanted => (wanted, 8),
        };
        let buckets = round_up(buckets)?;
        let table = Arc::new(Table::new(buckets, None)?, GFP_KERNEL)?;
        params::buckets().store(buckets, Relaxed);
        set_min_buckets(buckets);
        params::max_entries().store(buckets.saturating_mul(entries_per_bucket), Relaxed);
        drop(CURRENT.replace(Some(table)));
        Ok(Self(()))
    }
}

impl Drop for ConnTable {
    /// The table is empty by now.
    fn drop(&mut self) {
        let _guard = mutex::resize();
        drop(CURRENT.replace(None));
    }
}

/// The number of buckets; before the table exists, the number it is to get.
pub(crate) fn buckets() -> u32 {
    let rcu = RcuGuard::new();
    match table::buckets(rcu.token()) {
        0 => INITIAL_BUCKETS.load(Relaxed),
        buckets => buckets,
    }
}

/// Gives the table `buckets` buckets, rounded up, for somebody who wants it to keep them. May
/// sleep.
///
/// `EINVAL`: none. `ENOMEM`: no memory, or more than could ever be. The table is as it was then.
pub(crate) fn resize(buckets: u32) -> Result {
    let buckets = round_up(buckets)?;
    // Parameters are set before the module starts, and with it the mutex.
    if size_and_seed().is_none() {
        INITIAL_BUCKETS.store(buckets, Relaxed);
        params::no_auto_resize();
        return Ok(());
    }
    let _guard = mutex::resize();
    change_size(buckets)?;
    params::no_auto_resize();
    set_min_buckets(buckets);
    Ok(())
}

/// Gives the table `buckets` buckets, rounded up, because they fit the entries. Returns how many
/// it has: nothing changes if somebody has just given it a size. May sleep.
///
/// Errors as for [`resize`].
pub(in crate::ct) fn auto_resize(buckets: u32) -> Result<u32> {
    let buckets = round_up(buckets)?;
    let _guard = mutex::resize();
    if params::auto_resize() {
        change_size(buckets)?;
    }
    Ok(self::buckets())
}

/// The caller holds the mutex.
fn change_size(buckets: u32) -> Result {
    match size_and_seed() {
        Some((now, seed)) if now != buckets => move_to(Table::new(buckets, Some(seed))?),
        _ => Ok(()),
    }
}

/// The present table's number of buckets and its secret.
fn size_and_seed() -> Option<(u32, u32)> {
    let rcu = RcuGuard::new();
    CURRENT
        .load(rcu.token())
        .map(|table| (table.chains.len(), table.seed))
}

/// Asks for a new secret, from a packet's context: a chain is longer than chance makes it.
#[cold]
pub(in crate::ct) fn request_reseed() {
    RESEED_REQUESTED.store(true, Relaxed);
}

/// Gives the table a new secret, if one was asked for and the last is a minute old. May
/// sleep. For the collector, which looks in regularly.
pub(in crate::ct) fn reseed_if_requested() {
    const MINUTE: u32 = 60 * time::HZ;
    /// Tuples in a chain, on average, from which on long chains need no attacker.
    const MAX_MEAN_LENGTH: u32 = 8;

    if !RESEED_REQUESTED.load(Relaxed)
        || time::jiffies32().wrapping_sub(RESEEDED_AT.load(Relaxed)) < MINUTE
    {
        return;
    }
    let (tuples, chains) = walk::sample();
    let _guard = mutex::resize();
    RESEED_REQUESTED.store(false, Relaxed);
    RESEEDED_AT.store(time::jiffies32(), Relaxed);
    let buckets = buckets();
    if tuples > chains.saturating_mul(MAX_MEAN_LENGTH) {
        pr_notice!("{buckets} buckets, with more than {MAX_MEAN_LENGTH} tuples each: nf_conntrack_buckets is too small\n");
        return;
    }
    match Table::new(buckets, None).and_then(move_to) {
        Ok(()) => pr_notice!("a chain was too long; the table has a new secret now\n"),
        Err(_) => pr_warn!("a chain is too long, and there is no memory for a new table\n"),
    }
}

/// Moves every bucket of the present table to `new`, which then becomes the present one.
///
/// The caller holds the mutex, so nobody else moves anything.
fn move_to(new: Table) -> Result {
    let new = Arc::new(new, GFP_KERNEL)?;
    let retired = {
        let rcu = RcuGuard::new();
        CURRENT
            .load(rcu.token())
            .map(|old| old.next.replace(Some(new.clone())))
    };
    // Nothing to wait for: it pointed nowhere.
    drop(retired);

    let mut bucket = 0;
    while move_slice(&new, &mut bucket) {
        work::cond_resched();
    }
    params::buckets().store(new.chains.len(), Relaxed);
    // Waits for those who still look into the old table.
    drop(CURRENT.replace(Some(new)));
    Ok(())
}

/// Moves some buckets of the present table. Says whether there are more.
fn move_slice(new: &Table, bucket: &mut u32) -> bool {
    let rcu = RcuGuard::new();
    let Some(old) = CURRENT.load(rcu.token()) else {
        return false;
    };
    for _ in 0..BUCKETS_PER_SLICE {
        if *bucket >= old.chains.len() {
            return false;
        }
        let bh = BhDisabled::new();
        let mut from = old.chains.lock(*bucket, &bh);
        old.migration.write(&bh, || loop {
            let first = from.entries().next();
            let Some(hash) = first.map(|(conn, dir)| table::hash_of(conn, dir, new.seed)) else {
                break;
            };
            let mut to = new.chains.lock_second(new.bucket(hash), &bh);
            from.move_first(&mut to);
        });
        drop(from);
        drop(bh);
        *bucket = bucket.wrapping_add(1);
    }
    true
}
