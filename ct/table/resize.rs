// SPDX-License-Identifier: GPL-2.0

//! The online resize: gives the table another size, or another hash seed, under traffic.
//!
//! Sizes come from the module parameter `hashsize`, from `nf_conntrack_buckets`, or from the policy
//! in [`super::autosize`]. A new seed comes from [`reseed_if_requested`]. All of them end in
//! [`move_to`], which moves the buckets one at a time; see [`super`] for what that means to readers
//! and writers. The mutex of resizing is held meanwhile, in process context.

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
            log::{
                pr_notice,
                pr_warn, //
            },
            params,
            rcu::RcuArc,
            time,
            work, //
        },
        prelude::*, //
    },
};

use super::{
    walk,
    Table,
    CURRENT,
    RESIZE, //
};

/// Sizes are rounded up to a multiple of a page of C's bucket heads, as the C tracker does.
const BUCKETS_PER_PAGE: u32 = 512;

/// The number of buckets that are moved before the CPU is yielded.
const BUCKETS_PER_SLICE: u32 = 64;

/// The size that the parameter `hashsize` asks for before the table exists; 0: a size by memory.
static INITIAL_BUCKETS: Atomic<u32> = Atomic::new(0);

/// The time of the last change of the hash seed, in jiffies.
static RESEEDED_AT: Atomic<u32> = Atomic::new(0);

/// Set by packets that met an overlong chain, cleared by the collector.
static RESEED_REQUESTED: Atomic<bool> = Atomic::new(false);

/// The time of the last change of the size, in jiffies.
pub(super) static RESIZED_AT: Atomic<u32> = Atomic::new(0);

/// The table does not shrink below this size.
pub(super) static MIN_BUCKETS: Atomic<u32> = Atomic::new(0);

/// Rounds a size up to a multiple of [`BUCKETS_PER_PAGE`].
///
/// `EINVAL`: zero. `ENOMEM`: too large.
fn round_up(buckets: u32) -> Result<u32> {
    if buckets == 0 {
        return Err(EINVAL);
    }
    buckets
        .checked_next_multiple_of(BUCKETS_PER_PAGE)
        .ok_or(ENOMEM)
}

/// Returns the size by memory, which is that of the C tracker: 1/16384 of the memory, at eight
/// bytes per bucket, within bounds.
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

/// Notes the size of a new table, or one that was set by hand: the table does not shrink below
/// that.
fn set_min_buckets(buckets: u32) {
    MIN_BUCKETS.store(buckets, Relaxed);
    RESIZED_AT.store(time::jiffies32(), Relaxed);
}

/// Owner of the connection table: [`CURRENT`] is set as long as this exists.
pub(in crate::ct) struct ConnTable {
    /// Where the table is published.
    current: &'static RcuArc<Table>,
}

impl ConnTable {
    /// Creates the table, and sets `nf_conntrack_max` by its size. May sleep.
    ///
    /// `ENOMEM`: no memory.
    pub(crate) fn new() -> Result<Self> {
        // The limit is that of the C tracker: one entry per bucket by default, but eight with a
        // size by hand, as in older kernels.
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
        Ok(Self { current: &CURRENT })
    }
}

impl Drop for ConnTable {
    /// Frees the table, which is empty: all namespaces are gone. A resize that is still running is
    /// waited for.
    fn drop(&mut self) {
        let _guard = RESIZE.lock();
        drop(self.current.replace(None));
    }
}

/// Returns the number of buckets; before the table exists, the number that it is to get.
pub(crate) fn buckets() -> u32 {
    let rcu = RcuGuard::new();
    match table::buckets(rcu.token()) {
        0 => INITIAL_BUCKETS.load(Relaxed),
        buckets => buckets,
    }
}

/// Sets the number of buckets, rounded up, and turns automatic resizing off. May sleep.
///
/// `EINVAL`: zero. `ENOMEM`: no memory, or too large. The table is unchanged then.
pub(crate) fn resize(buckets: u32) -> Result {
    let buckets = round_up(buckets)?;
    // Module parameters are parsed before the module is initialised.
    if size_and_seed().is_none() {
        INITIAL_BUCKETS.store(buckets, Relaxed);
        params::no_auto_resize();
        return Ok(());
    }
    let _guard = RESIZE.lock();
    change_size(buckets)?;
    params::no_auto_resize();
    set_min_buckets(buckets);
    Ok(())
}

/// Sets the number of buckets, rounded up, for the policy in [`super::autosize`]; does nothing if a
/// size has been set by hand. Returns the number of buckets after that. May sleep.
///
/// Errors as for [`resize`].
pub(in crate::ct) fn auto_resize(buckets: u32) -> Result<u32> {
    let buckets = round_up(buckets)?;
    let _guard = RESIZE.lock();
    if params::auto_resize() {
        change_size(buckets)?;
    }
    Ok(self::buckets())
}

/// Sets the number of buckets. The caller holds the mutex of resizing.
fn change_size(buckets: u32) -> Result {
    match size_and_seed() {
        Some((now, seed)) if now != buckets => move_to(Table::new(buckets, Some(seed))?),
        _ => Ok(()),
    }
}

/// Returns the current table's number of buckets and its hash seed.
fn size_and_seed() -> Option<(u32, u32)> {
    let rcu = RcuGuard::new();
    CURRENT
        .load(rcu.token())
        .map(|table| (table.chains.len(), table.seed))
}

/// Requests a new hash seed, from packet context: a chain is longer than chance makes it.
#[cold]
pub(in crate::ct) fn request_reseed() {
    RESEED_REQUESTED.store(true, Relaxed);
}

/// Gives the table a new hash seed, if one was requested and the last is a minute old. May sleep.
/// The collector calls this regularly.
pub(in crate::ct) fn reseed_if_requested() {
    const MINUTE: u32 = 60 * time::HZ;
    /// Tuples per bucket above which long chains are no sign of an attack.
    const MAX_MEAN_LENGTH: u32 = 8;

    if !RESEED_REQUESTED.load(Relaxed)
        || time::jiffies32().wrapping_sub(RESEEDED_AT.load(Relaxed)) < MINUTE
    {
        return;
    }
    let (tuples, chains) = walk::sample();
    let _guard = RESIZE.lock();
    RESEED_REQUESTED.store(false, Relaxed);
    RESEEDED_AT.store(time::jiffies32(), Relaxed);
    let buckets = buckets();
    if tuples > chains.saturating_mul(MAX_MEAN_LENGTH) {
        pr_notice!(
            "{buckets} buckets, with more than {MAX_MEAN_LENGTH} tuples each: \
             nf_conntrack_buckets is too small\n"
        );
        return;
    }
    match Table::new(buckets, None).and_then(move_to) {
        Ok(()) => pr_notice!("a chain was too long; the table has a new secret now\n"),
        Err(_) => pr_warn!("a chain is too long, and there is no memory for a new table\n"),
    }
}

/// Moves every bucket of the current table to `new`, which then becomes the current one.
///
/// The caller holds the mutex of resizing, so that nothing else moves buckets.
///
/// `ENOMEM`: no memory; the current table is unchanged.
fn move_to(new: Table) -> Result {
    let new = Arc::new(new, GFP_KERNEL)?;
    let retired = {
        let rcu = RcuGuard::new();
        CURRENT
            .load(rcu.token())
            .map(|old| old.next.replace(Some(new.clone())))
    };
    // Without a grace period: the pointer was null.
    drop(retired);

    let mut bucket = 0;
    while move_slice(&new, &mut bucket) {
        work::cond_resched();
    }
    params::buckets().store(new.chains.len(), Relaxed);
    // Waits for readers of the old table.
    drop(CURRENT.replace(Some(new)));
    Ok(())
}

/// Moves up to [`BUCKETS_PER_SLICE`] buckets of the current table. Returns whether there are more.
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
