// SPDX-License-Identifier: GPL-2.0

//! The table of expectations, and the memory that they come from.
//!
//! C code knows both: the table by the variables `nf_ct_expect_hash` and
//! `nf_ct_expect_hsize`, which it walks through; the cache by its name in `/proc/slabinfo`.

use core::{
    mem::size_of,
    ptr::{
        addr_of_mut,
        null_mut,
        NonNull, //
    },
};

use kernel::{
    prelude::*,
    sync::atomic::{
        Acquire,
        Atomic,
        Relaxed,
        Release, //
    },
};

use crate::nf::{
    bindings,
    entry::help::Help,
    kernel::{
        hlist,
        rcu::Rcu, //
    },
};

use super::{
    cache::ExpectCache,
    draft::Draft,
    linked::{
        self,
        Linked,
        Seen, //
    },
    lock::Locked, //
};

#[inline]
fn heads() -> &'static Atomic<*mut bindings::hlist_head> {
    // SAFETY: A valid, aligned pointer, only accessed atomically by us; C code reads it.
    unsafe { Atomic::from_ptr(addr_of_mut!(bindings::nf_ct_expect_hash)) }
}

fn size() -> &'static Atomic<u32> {
    // SAFETY: A valid, aligned word. C code reads it; the parameter is set before we are.
    unsafe { Atomic::from_ptr(addr_of_mut!(bindings::nf_ct_expect_hsize)) }
}

/// The number of chains; before the table exists, what the parameter asks for.
#[inline]
pub(crate) fn buckets() -> u32 {
    size().load(Relaxed)
}

/// A chain of the table; [`None`] if there is none.
#[inline]
fn head(bucket: u32) -> Option<NonNull<bindings::hlist_head>> {
    let heads = NonNull::new(heads().load(Acquire))?;
    // SAFETY: In bounds: the array has as many heads as its size says.
    (bucket < buckets()).then(|| unsafe { heads.add(bucket as usize) })
}

/// The life of table and cache.
///
/// # Invariants
///
/// The table and the cache exist, and there is one value of this type.
pub(crate) struct ExpectTable {
    _cache: ExpectCache,
}

impl ExpectTable {
    /// Chains are allocated by the page.
    const ROUND_TO: u32 = (bindings::RCT_PAGE_SIZE / size_of::<bindings::hlist_head>()) as u32;

    /// Makes a table of at least `buckets` chains. May sleep.
    pub(crate) fn create(buckets: u32) -> Result<Self> {
        let buckets = buckets
            .max(1)
            .checked_next_multiple_of(Self::ROUND_TO)
            .ok_or(ENOMEM)?;
        let cache = ExpectCache::create()?;
        let chains = hlist::allocate(buckets)?;
        size().store(buckets, Relaxed);
        heads().store(chains.as_ptr(), Release);
        // INVARIANT: just made.
        Ok(Self { _cache: cache })
    }
}

impl Drop for ExpectTable {
    /// No entry is left by now, so the table is empty.
    fn drop(&mut self) {
        let chains = heads().load(Relaxed);
        heads().store(null_mut(), Relaxed);
        // SAFETY: By the type invariants; nobody uses them any more.
        unsafe { hlist::free(chains) };
    }
}

/// The expectations of a bucket.
#[inline]
pub(crate) fn walk<'r>(bucket: u32, rcu: Rcu<'r>) -> impl Iterator<Item = Seen<'r>> {
    // SAFETY: A chain of the table.
    head(bucket)
        .into_iter()
        .flat_map(move |head| unsafe { linked::seen(head.as_ptr(), rcu) })
}

/// The expectations of a bucket, under the lock. The one that was given out last may be taken
/// off meanwhile.
#[inline]
pub(crate) fn walk_locked<'l>(bucket: u32, locked: Locked<'l>) -> impl Iterator<Item = Linked<'l>> {
    head(bucket).into_iter().flat_map(move |head| {
        // SAFETY: A chain of the table.
        unsafe { linked::linked(head.as_ptr(), locked) }
    })
}

/// Puts an expectation into a bucket and on the chain of its master, whose part is `help`.
/// It lives `more` jiffies longer than its maker had it. [`None`]: it is in the table.
pub(crate) fn insert<'a: 'l, 'l>(
    draft: &Draft<'a>,
    bucket: u32,
    help: &Help,
    more: u32,
    locked: Locked<'l>,
) -> Option<Linked<'l>> {
    draft.link(head(bucket)?.as_ptr(), help, more, locked)
}
