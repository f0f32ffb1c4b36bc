// SPDX-License-Identifier: GPL-2.0

//! The online resize: gives the table another size, or another hash, under traffic.
//!
//! Sizes come from the module parameter `hashsize`, from `nf_conntrack_buckets`, or from the policy
//! in [`super::autosize`]. Another hash comes from the module parameter `hash`, or from
//! [`rehash_if_needed`]: when a chain was too long for chance, and after a day without one. All of
//! them end in [`move_to`], which moves the buckets one at a time; see [`super`] for what that
//! means to readers and writers. The mutex of resizing is held meanwhile, in process context.

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
    hash::{
        HashKind,
        TableHash, //
    },
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

/// The hash that the administrator wants: the number of a [`HashKind`].
static PREFERRED_HASH: Atomic<u32> = Atomic::new(HashKind::Jhash as u32);

/// The time of the last change of the hash, or of the last chain that was too long, in jiffies.
static REHASHED_AT: Atomic<u32> = Atomic::new(0);

/// Set by packets that met an overlong chain, cleared by the collector.
static REHASH_REQUESTED: Atomic<bool> = Atomic::new(false);

/// One minute, in jiffies.
const MINUTE: u32 = 60 * time::HZ;

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
        let hash = TableHash::random(preferred_hash());
        let table = Arc::new(Table::new(buckets, hash)?, GFP_KERNEL)?;
        params::buckets().store(buckets, Relaxed);
        set_min_buckets(buckets);
        // Backdated, so that the first rehash is not delayed by the limit of one minute.
        REHASHED_AT.store(time::jiffies32().wrapping_sub(MINUTE), Relaxed);
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
    if size_and_hash().is_none() {
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
    match size_and_hash() {
        Some((now, hash)) if now != buckets => move_to(Table::new(buckets, hash)?),
        _ => Ok(()),
    }
}

/// Returns the current table's number of buckets and its hash.
fn size_and_hash() -> Option<(u32, TableHash)> {
    let rcu = RcuGuard::new();
    CURRENT
        .load(rcu.token())
        .map(|table| (table.chains.len(), table.hash))
}

/// Returns the hash that the administrator wants.
fn preferred_hash() -> HashKind {
    HashKind::from_number(PREFERRED_HASH.load(Relaxed)).unwrap_or(HashKind::Jhash)
}

/// Returns the hash that the table has; before there is one, the hash that it is to have.
pub(crate) fn hash() -> HashKind {
    size_and_hash().map_or_else(preferred_hash, |(_, hash)| hash.kind())
}

/// Sets the hash, with a new secret, at the administrator's request. May sleep.
///
/// `ENOMEM`: no memory. The table is unchanged then.
pub(crate) fn set_hash(kind: HashKind) -> Result {
    let _guard = RESIZE.lock();
    if let Some((buckets, _)) = size_and_hash() {
        move_to(Table::new(buckets, TableHash::random(kind))?)?;
        pr_info!("the table's hash is {} now\n", kind.name());
    }
    PREFERRED_HASH.store(kind as u32, Relaxed);
    note_rehash();
    Ok(())
}

/// Notes that the hash has changed, or that nothing is to be done about a long chain.
fn note_rehash() {
    REHASH_REQUESTED.store(false, Relaxed);
    REHASHED_AT.store(time::jiffies32(), Relaxed);
}

/// Requests another hash, from packet context: a chain is longer than chance makes it.
#[cold]
pub(in crate::ct) fn request_rehash() {
    REHASH_REQUESTED.store(true, Relaxed);
}

/// Gives the table another hash if need be. May sleep. The collector calls this regularly.
///
/// If a chain was too long for chance, it becomes siphash with a new key, once a minute at most.
/// After a day without such a chain, the hash becomes the administrator's again.
pub(in crate::ct) fn rehash_if_needed() {
    const DAY: u32 = 24 * 60 * MINUTE;

    let quiet_for = time::jiffies32().wrapping_sub(REHASHED_AT.load(Relaxed));
    if REHASH_REQUESTED.load(Relaxed) {
        if quiet_for >= MINUTE {
            end_long_chain();
        }
    } else if quiet_for >= DAY && hash() != preferred_hash() {
        let kind = preferred_hash();
        match set_hash(kind) {
            Ok(()) => pr_notice!("no chain was too long for a day\n"),
            Err(_) => {
                note_rehash();
                pr_warn!("no memory for a new table; the hash stays what it is for a day\n");
            }
        }
    }
}

/// Gives the table siphash with a new key, as a chain was too long. May sleep.
fn end_long_chain() {
    /// Tuples per bucket above which long chains are no sign of an attack.
    const MAX_MEAN_LENGTH: u32 = 8;

    let (tuples, chains) = walk::sample();
    let _guard = RESIZE.lock();
    note_rehash();
    let buckets = buckets();
    if tuples > chains.saturating_mul(MAX_MEAN_LENGTH) {
        pr_notice!(
            "{buckets} buckets, with more than {MAX_MEAN_LENGTH} tuples each: \
             nf_conntrack_buckets is too small\n"
        );
        return;
    }
    let kind = HashKind::Siphash;
    match Table::new(buckets, TableHash::random(kind)).and_then(move_to) {
        Ok(()) => pr_notice!(
            "a chain was too long; the table's hash is {} with a new secret now\n",
            kind.name()
        ),
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
            let Some(hash) = first.map(|(conn, dir)| new.hash.of_entry(conn, dir)) else {
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
