// SPDX-License-Identifier: GPL-2.0

//! Crowded pools: for which translated address and destination most keys are taken, and which.
//!
//! A pool is remembered from the first time that a search in it was hard, until none of its
//! keys is known to be taken. What its marks mean, and why none of them stays for good, is told
//! in [`crate::proto::nat::pool`].

use core::sync::atomic::AtomicU64;

use kernel::{
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

/// Lists of pools, by what they are pools of.
const LISTS: usize = 64;

/// As many pools there are at most: each takes eight kilobytes.
const MOST_POOLS: u32 = 4096;

static POOLS: [StaticSpinLock<List>; LISTS] =
    [const { StaticSpinLock::new(c"POOLS", || List(None)) }; LISTS];

/// How many there are.
static COUNT: Atomic<u32> = Atomic::new(0);

/// What a pool is of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct PoolKey {
    net: u64,
    zone_id: u16,
    /// What packets look like after translation, with source key 0.
    tuple: Key,
}

impl PoolKey {
    /// The pool of `tuple`, which packets look like after translation, in the zone of the
    /// answers.
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
        // CAST: the lower half; numbers of namespaces are small.
        let seed = self.net as u32 ^ u32::from(self.zone_id);
        let hash = jhash2_array(&self.tuple.halves(), seed);
        // CAST: below the number of lists.
        POOLS.get(reciprocal_scale(hash, LISTS as u32) as usize)
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

/// Pools, one behind the other.
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

    /// Takes out a pool, if it has no marks.
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

/// A pool, at the hands of who looks for a key.
pub(super) struct Search(Arc<Pool>);

impl occupancy::Pool for Search {
    fn next(&self, mut first: u16, last: u16) -> Option<u16> {
        let keys = self.0.keys();
        loop {
            let key = keys.unmarked(first, last)?;
            if keys.mark(key) {
                self.0.marks.fetch_add(1, Relaxed);
                return Some(key);
            }
            // Another CPU was faster.
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
    // Who marks a key of it meanwhile loses the mark, which costs a question later.
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

/// The pool, if it is remembered.
pub(super) fn known(key: &PoolKey) -> Option<Search> {
    find(key).map(Search)
}

/// The pool, which is remembered from now on. [`None`]: no memory, or too many of them.
#[cold]
pub(super) fn remember(key: PoolKey) -> Option<Search> {
    if COUNT.fetch_add(1, Relaxed) >= MOST_POOLS {
        COUNT.fetch_sub(1, Relaxed);
        return None;
    }
    let pool = add(key);
    if !matches!(pool, Some((_, true))) {
        COUNT.fetch_sub(1, Relaxed);
    }
    pool.map(|(pool, _)| Search(pool))
}

/// The pool, and whether it is a new one.
fn add(key: PoolKey) -> Option<(Arc<Pool>, bool)> {
    let pool = Pool::new(key).ok()?;
    let node = Node {
        pool: pool.clone(),
        next: List(None),
    };
    let node = KBox::new(node, GFP_ATOMIC).ok()?;
    let mut pools = key.list()?.lock();
    // Another CPU may have been faster.
    if let Some(known) = pools.find(&key) {
        return Some((known.clone(), false));
    }
    pools.push(node);
    Some((pool, true))
}

/// A key is free again.
pub(super) fn forget(key: &PoolKey, tuple: &Tuple) {
    if let Some(pool) = find(key) {
        clear(&pool, u16::from_be_bytes(tuple.src_key));
    }
}

/// Whether any pool is remembered.
#[inline]
pub(super) fn any() -> bool {
    COUNT.load(Relaxed) != 0
}

/// The life of the lists.
pub(super) struct Owner(());

impl Owner {
    /// The lists are empty.
    pub(super) fn new() -> Self {
        Self(())
    }
}

impl Drop for Owner {
    /// Nobody chooses any more. What a namespace's end left behind goes.
    fn drop(&mut self) {
        for list in &POOLS {
            while list.lock().pop().is_some() {}
        }
    }
}
