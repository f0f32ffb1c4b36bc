// SPDX-License-Identifier: GPL-2.0

//! Crowded pools: the translated addresses and destinations for which most keys are taken, and the
//! keys that are.
//!
//! A pool is kept from the first time that a search in it needs many tries, until none of its keys
//! is marked as taken. [`crate::proto::nat::pool`] defines the marks, and shows that none of them
//! stays for ever.
//!
//! # One namespace and the others
//!
//! Each namespace has its own limit of pools. The pools of all are in search trees, not in hash
//! chains: peers choose the keys of pools, and neither a choice of keys nor the number of another
//! namespace's pools makes a lookup longer than the logarithm of their number. There are several
//! trees in order to have several locks.
//!
//! # Examples
//!
//! ```ignore
//! // A search met taken keys only: from now on it asks the pool.
//! let pool = pool::get_or_insert(PoolKey::of(net, zone_id, &tuple), &state.pools)?;
//! // Marks a key, and returns it. The mark stays if the key turns out to be taken.
//! let key = pool.next(1024, 65535, |_| 0)?;
//!
//! // The entry that has the key is freed: `tuple` is its translated tuple.
//! pool::clear_mark(&PoolKey::of(net, zone_id, &tuple), &tuple, &state.pools);
//! ```

use core::sync::atomic::AtomicU64;

use kernel::{
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode, //
    },
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
        kernel::{
            pernet::Counter,
            static_lock::StaticSpinLock, //
        },
        prelude::*, //
    },
    proto::{
        nat::{
            occupancy,
            pool::{
                Keys,
                WORDS, //
            },
        },
        types::num::u32_as_usize, //
    },
};

/// Number of trees, a power of two.
const TREES: u32 = 64;

/// Maximum number of pools of a namespace. Each takes 8 KiB, and comes into being when some of its
/// keys, 13 as a rule, are taken: with all of these pools a namespace has about as much memory in
/// them as in the entries that this takes.
const MAX_POOLS: u32 = 4096;

static POOLS: [StaticSpinLock<Tree>; u32_as_usize(TREES)] =
    [const { StaticSpinLock::new(c"POOLS", RBTree::new) }; u32_as_usize(TREES)];

/// Number of pools of all namespaces.
static COUNT: Atomic<u32> = Atomic::new(0);

/// A part of the pools, under one lock.
type Tree = RBTree<PoolKey, Arc<Pool>>;

/// The key of a pool: the namespace's cookie, the zone of the reply direction, and the tuple after
/// translation, with source key 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PoolKey {
    net: u64,
    words: [u32; 11],
}

impl PoolKey {
    /// Returns the lowest key of a namespace.
    const fn lowest(net: u64) -> Self {
        Self {
            net,
            words: [0; 11],
        }
    }

    /// Returns the key of the pool of `tuple`, a tuple after translation; `zone_id` is the zone of
    /// the reply direction.
    pub(super) fn of(net: &Net, zone_id: u16, tuple: &Tuple) -> Self {
        let tuple = Tuple {
            src_key: [0; 2],
            ..*tuple
        };
        let [a, b, c, d, e, f, g, h, i, j] = tuple.key().halves();
        Self {
            net: net.cookie(),
            words: [a, b, c, d, e, f, g, h, i, j, zone_id.into()],
        }
    }

    /// Returns the tree of the key. That may be guessed: it selects no more than a lock.
    fn tree(&self) -> Option<&'static StaticSpinLock<Tree>> {
        // CAST: The lower half, as cookies are small numbers.
        let sum = self
            .words
            .into_iter()
            .fold(self.net as u32, |sum, word| sum.rotate_left(5) ^ word);
        let index = sum.wrapping_mul(0x9e37_79b1) >> (u32::BITS - TREES.ilog2());
        POOLS.get(u32_as_usize(index))
    }
}

/// A crowded pool.
struct Pool {
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

/// A reference to a pool, for a search.
pub(super) struct PoolRef<'a> {
    pool: Arc<Pool>,
    /// The number of pools of the namespace.
    count: &'a Counter,
}

impl PoolRef<'_> {
    fn clear(&self, key: u16) {
        if self.pool.keys().clear(key) {
            self.pool.marks.fetch_sub(1, Full);
        }
    }
}

impl Drop for PoolRef<'_> {
    /// Removes a pool without marks, which is not kept: neither one that lost the last, nor one in
    /// which a search has left none.
    fn drop(&mut self) {
        if self.pool.marks.load(Relaxed) == 0 {
            remove_unmarked(&self.pool, self.count);
        }
    }
}

/// Removes a pool, if it is kept and has no marks.
///
/// A mark that another CPU sets meanwhile is lost with the pool, at the cost of one more lookup in
/// a later search.
fn remove_unmarked(pool: &Arc<Pool>, count: &Counter) {
    let Some(tree) = pool.key.tree() else {
        return;
    };
    let mut tree = tree.lock();
    let known = tree.get(&pool.key);
    let is_kept = known.is_some_and(|known| Arc::ptr_eq(known, pool));
    if !is_kept || pool.marks.load(Relaxed) != 0 {
        return;
    }
    let removed = tree.remove_node(&pool.key);
    // Memory is freed without the lock.
    drop(tree);
    drop(removed);
    uncount(count);
}

fn uncount(count: &Counter) {
    count.fetch_sub(1, Relaxed);
    COUNT.fetch_sub(1, Relaxed);
}

/// Returns the pool, if it is kept. `count` is the number of pools of the namespace.
pub(super) fn lookup<'a>(key: &PoolKey, count: &'a Counter) -> Option<PoolRef<'a>> {
    if count.load(Relaxed) == 0 {
        return None;
    }
    let pool = key.tree()?.lock().get(key).cloned()?;
    Some(PoolRef { pool, count })
}

/// Returns the pool, which is added if it is not kept yet. [`None`]: no memory, or the namespace
/// has [`MAX_POOLS`].
#[cold]
pub(super) fn get_or_insert(key: PoolKey, count: &Counter) -> Option<PoolRef<'_>> {
    let is_full = count.fetch_add(1, Relaxed) >= MAX_POOLS;
    COUNT.fetch_add(1, Relaxed);
    let added = if is_full { None } else { add(key) };
    if !matches!(added, Some((_, true))) {
        uncount(count);
    }
    added.map(|(pool, _)| PoolRef { pool, count })
}

/// Returns the pool, and whether it was added.
fn add(key: PoolKey) -> Option<(Arc<Pool>, bool)> {
    let pool = Pool::new(key).ok()?;
    let node = RBTreeNode::new(key, pool.clone(), GFP_ATOMIC | __GFP_NOWARN).ok()?;
    let mut tree = key.tree()?.lock();
    // Another CPU may have added it first.
    if let Some(known) = tree.get(&key) {
        return Some((known.clone(), false));
    }
    tree.insert(node);
    Some((pool, true))
}

/// Clears the mark of the source key of `tuple`, which is free again.
pub(super) fn clear_mark(key: &PoolKey, tuple: &Tuple, count: &Counter) {
    if let Some(pool) = lookup(key, count) {
        pool.clear(u16::from_be_bytes(tuple.src_key));
    }
}

/// Removes the pools of a namespace that ends. Its last entries find none when they are freed.
pub(super) fn remove_all(net: &Net, count: &Counter) {
    if count.load(Relaxed) == 0 {
        return;
    }
    let lowest = PoolKey::lowest(net.cookie());
    for tree in &POOLS {
        loop {
            let mut tree = tree.lock();
            let Some(key) = first_of(&tree, &lowest) else {
                break;
            };
            let removed = tree.remove_node(&key);
            drop(tree);
            drop(removed);
            uncount(count);
        }
    }
}

/// Returns the first key in a tree that is not below `lowest`, if it is of the same namespace.
fn first_of(tree: &Tree, lowest: &PoolKey) -> Option<PoolKey> {
    let cursor = tree.cursor_lower_bound(lowest)?;
    let (key, _) = cursor.current();
    (key.net == lowest.net).then_some(*key)
}

impl occupancy::Pool for PoolRef<'_> {
    fn next(&self, mut first: u16, last: u16, barred: impl Fn(u16) -> u64) -> Option<u16> {
        let keys = self.pool.keys();
        loop {
            let key = keys.unmarked(first, last, &barred)?;
            if keys.mark(key) {
                self.pool.marks.fetch_add(1, Relaxed);
                return Some(key);
            }
            // Another CPU marked the key first.
            first = key;
        }
    }

    fn forget(&self, key: u16) {
        self.clear(key);
    }
}

/// Returns whether any namespace has pools.
#[inline]
pub(super) fn has_pools() -> bool {
    COUNT.load(Relaxed) != 0
}

/// The pools of all namespaces, which can be used while this value exists.
pub(super) struct Pools(());

impl Pools {
    /// Returns pools that are empty.
    pub(super) fn new() -> Self {
        Self(())
    }
}

impl Drop for Pools {
    /// Removes what is left: no namespace has pools any more.
    fn drop(&mut self) {
        for tree in &POOLS {
            drop(core::mem::take(&mut *tree.lock()));
        }
    }
}
