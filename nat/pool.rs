// SPDX-License-Identifier: GPL-2.0

//! Crowded pools: the translated addresses and destinations for which most keys are taken, and the
//! keys that are.
//!
//! A pool is kept from the first time that a search in it needs many tries, until none of its keys
//! is marked as taken. [`crate::proto::nat::pool`] defines the marks, and shows that none of them
//! stays for ever.
//!
//! # Examples
//!
//! ```ignore
//! // A search met taken keys only: from now on it asks the pool.
//! let pool = pool::get_or_insert(PoolKey::of(net, zone_id, &tuple))?;
//! // Marks a key, and returns it. The mark stays if the key turns out to be taken.
//! let key = pool.next(1024, 65535)?;
//!
//! // The entry that has the key is freed: `tuple` is its translated tuple.
//! pool::clear_mark(&PoolKey::of(net, zone_id, &tuple), &tuple);
//! ```

use core::sync::atomic::AtomicU64;

use kernel::{
    num::casts::u32_as_usize,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        Arc, //
    },
};

use crate::{
    nf::{
        kernel::static_lock::StaticSpinLock,
        prelude::*, //
    },
    proto::{
        hash::{
            jhash2_array,
            reciprocal_scale, //
        },
        nat::{
            occupancy,
            pool::{
                Keys,
                WORDS, //
            },
        },
        types::tuple::Key, //
    },
};

/// Number of hash buckets of pools.
const BUCKETS: u32 = 64;

/// Maximum number of pools. Each takes 8 KiB.
const MAX_POOLS: u32 = 4096;

static POOLS: [StaticSpinLock<List>; u32_as_usize(BUCKETS)] =
    [const { StaticSpinLock::new(c"POOLS", || List(None)) }; u32_as_usize(BUCKETS)];

/// Number of pools.
static COUNT: Atomic<u32> = Atomic::new(0);

/// The key of a pool.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct PoolKey {
    net: u64,
    zone_id: u16,
    /// The tuple after translation, with source key 0.
    tuple: Key,
}

impl PoolKey {
    /// Returns the key of the pool of `tuple`, a tuple after translation; `zone_id` is the zone of
    /// the reply direction.
    pub(super) fn of(net: &Net, zone_id: u16, tuple: &Tuple) -> Self {
        Self {
            net: net.cookie(),
            zone_id,
            tuple: Tuple {
                src_key: [0; 2],
                ..*tuple
            }
            .key(),
        }
    }

    fn list(&self) -> Option<&'static StaticSpinLock<List>> {
        // CAST: The lower half, as cookies are small numbers.
        let seed = self.net as u32 ^ u32::from(self.zone_id);
        let hash = jhash2_array(&self.tuple.halves(), seed);
        POOLS.get(u32_as_usize(reciprocal_scale(hash, BUCKETS)))
    }
}

/// A crowded pool.
pub(super) struct Pool {
    key: PoolKey,
    words: KVec<AtomicU64>,
    marks: Atomic<u32>,
}

impl Pool {
    fn keys(&self) -> Keys<'_> {
        Keys::new(&self.words)
    }

    fn new(key: PoolKey) -> Result<Arc<Self>> {
        let mut words = KVec::with_capacity(WORDS, GFP_ATOMIC | __GFP_NOWARN)?;
        for _ in 0..WORDS {
            words
                .push_within_capacity(AtomicU64::new(0))
                .map_err(|_| ENOMEM)?;
        }
        let marks = Atomic::new(0);
        Ok(Arc::new(Self { key, words, marks }, GFP_ATOMIC)?)
    }
}

/// The pools in a bucket, a singly linked list.
struct List(Option<KBox<Node>>);

struct Node {
    pool: Arc<Pool>,
    next: List,
}

impl List {
    fn find(&self, key: &PoolKey) -> Option<&Arc<Pool>> {
        let mut list = self;
        while let Some(node) = &list.0 {
            if node.pool.key == *key {
                return Some(&node.pool);
            }
            list = &node.next;
        }
        None
    }

    fn push(&mut self, mut node: KBox<Node>) {
        node.next = List(self.0.take());
        self.0 = Some(node);
    }

    fn pop(&mut self) -> Option<KBox<Node>> {
        let mut node = self.0.take()?;
        self.0 = node.next.0.take();
        Some(node)
    }

    /// Removes a pool, if it has no marks.
    fn remove_unmarked(&mut self, pool: &Arc<Pool>) -> Option<KBox<Node>> {
        let mut list = self;
        while list
            .0
            .as_ref()
            .is_some_and(|node| !Arc::ptr_eq(&node.pool, pool))
        {
            list = match &mut list.0 {
                Some(node) => &mut node.next,
                None => return None,
            };
        }
        if pool.marks.load(Relaxed) == 0 {
            list.pop()
        } else {
            None
        }
    }
}

/// A reference to a pool, for a search.
pub(super) struct PoolRef(Arc<Pool>);

impl occupancy::Pool for PoolRef {
    fn next(&self, mut first: u16, last: u16) -> Option<u16> {
        let keys = self.0.keys();
        loop {
            let key = keys.unmarked(first, last)?;
            if keys.mark(key) {
                self.0.marks.fetch_add(1, Relaxed);
                return Some(key);
            }
            // Another CPU marked the key first.
            first = key;
        }
    }

    fn forget(&self, key: u16) {
        clear(&self.0, key);
    }
}

fn clear(pool: &Arc<Pool>, key: u16) {
    if !pool.keys().clear(key) || pool.marks.fetch_sub(1, Full) != 1 {
        return;
    }
    // A mark that another CPU sets meanwhile is lost with the pool, at the cost of one more lookup
    // in a later search.
    let Some(list) = pool.key.list() else {
        return;
    };
    let removed = list.lock().remove_unmarked(pool);
    if removed.is_some() {
        COUNT.fetch_sub(1, Relaxed);
    }
}

fn find(key: &PoolKey) -> Option<Arc<Pool>> {
    if COUNT.load(Relaxed) == 0 {
        return None;
    }
    key.list()?.lock().find(key).cloned()
}

/// Returns the pool, if it is kept.
pub(super) fn lookup(key: &PoolKey) -> Option<PoolRef> {
    find(key).map(PoolRef)
}

/// Returns the pool, which is added if it is not kept yet. [`None`]: no memory, or [`MAX_POOLS`]
/// are kept.
#[cold]
pub(super) fn get_or_insert(key: PoolKey) -> Option<PoolRef> {
    if COUNT.fetch_add(1, Relaxed) >= MAX_POOLS {
        COUNT.fetch_sub(1, Relaxed);
        return None;
    }
    let pool = add(key);
    if !matches!(pool, Some((_, true))) {
        COUNT.fetch_sub(1, Relaxed);
    }
    pool.map(|(pool, _)| PoolRef(pool))
}

/// Returns the pool, and whether it was added.
fn add(key: PoolKey) -> Option<(Arc<Pool>, bool)> {
    let pool = Pool::new(key).ok()?;
    let node = Node {
        pool: pool.clone(),
        next: List(None),
    };
    let node = KBox::new(node, GFP_ATOMIC).ok()?;
    let mut pools = key.list()?.lock();
    // Another CPU may have added it first.
    if let Some(known) = pools.find(&key) {
        return Some((known.clone(), false));
    }
    pools.push(node);
    Some((pool, true))
}

/// Clears the mark of the source key of `tuple`, which is free again.
pub(super) fn clear_mark(key: &PoolKey, tuple: &Tuple) {
    if let Some(pool) = find(key) {
        clear(&pool, u16::from_be_bytes(tuple.src_key));
    }
}

/// Whether there are any pools.
#[inline]
pub(super) fn has_pools() -> bool {
    COUNT.load(Relaxed) != 0
}

/// The pools of all namespaces, which can be used while this value exists.
pub(super) struct Pools(());

impl Pools {
    /// The pools are empty.
    pub(super) fn new() -> Self {
        Self(())
    }
}

impl Drop for Pools {
    /// Removes all pools. No entry is translated any more; the end of a namespace leaves pools
    /// behind.
    fn drop(&mut self) {
        for list in &POOLS {
            while list.lock().pop().is_some() {}
        }
    }
}
