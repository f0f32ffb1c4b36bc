// SPDX-License-Identifier: GPL-2.0

//! The hash table of expectations.
//!
//! C code walks the table by the variables `nf_ct_expect_hash` and `nf_ct_expect_hsize`.

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
        Full,
        Relaxed,
        Release, //
    },
};

use crate::{
    nf::{
        bindings,
        kernel::{
            hlist,
            rcu::{
                synchronize_rcu,
                Rcu, //
            },
        },
    },
    proto::types::num::u32_as_usize, //
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
    // SAFETY: A valid, aligned pointer, accessed atomically here; C code reads it.
    unsafe { Atomic::from_ptr(addr_of_mut!(bindings::nf_ct_expect_hash)) }
}

fn size() -> &'static Atomic<u32> {
    // SAFETY: A valid, aligned word, accessed atomically here. C code reads it; the module
    // parameter is set before the module's code runs.
    unsafe { Atomic::from_ptr(addr_of_mut!(bindings::nf_ct_expect_hsize)) }
}

/// Returns the number of buckets; before the table exists, the module parameter's.
#[inline]
pub(crate) fn buckets() -> u32 {
    size().load(Relaxed)
}

/// Returns a bucket of the table; [`None`] if there is no such bucket, or no table.
#[inline]
fn head(bucket: u32) -> Option<NonNull<bindings::hlist_head>> {
    let heads = NonNull::new(heads().load(Acquire))?;
    // SAFETY: In bounds: the array has `buckets()` heads.
    (bucket < buckets()).then(|| unsafe { heads.add(u32_as_usize(bucket)) })
}

/// Owns the table of expectations and the cache of their memory.
///
/// # Invariants
///
/// The table and the cache exist, and there is one value of this type.
pub(crate) struct ExpectTable {
    _cache: ExpectCache,
}

impl ExpectTable {
    /// Buckets are allocated by the page.
    // CAST: a page has a few hundred.
    const ROUND_TO: u32 = (bindings::RCT_PAGE_SIZE / size_of::<bindings::hlist_head>()) as u32;

    /// Allocates a table of at least `buckets` buckets. May sleep. `ENOMEM`: no memory.
    pub(crate) fn create(buckets: u32) -> Result<Self> {
        let buckets = buckets
            .max(1)
            .checked_next_multiple_of(Self::ROUND_TO)
            .ok_or(ENOMEM)?;
        let cache = ExpectCache::create()?;
        let array = hlist::allocate(buckets)?;
        size().store(buckets, Relaxed);
        heads().store(array.as_ptr(), Release);
        // INVARIANT: Just made.
        Ok(Self { _cache: cache })
    }
}

impl Drop for ExpectTable {
    /// Frees the table, a grace period after it was taken away. It is empty, as no entry is left by
    /// now; otherwise its memory leaks.
    fn drop(&mut self) {
        let array = heads().xchg(null_mut(), Full);
        // Those that have found the table are in a read-side section, or hold the lock, which is
        // one.
        synchronize_rcu();
        if let Some(array) = NonNull::new(array) {
            // SAFETY: By the type invariants; nothing looks into the table any more.
            unsafe { hlist::free(array, buckets()) };
        }
    }
}

/// Walks the expectations of a bucket.
#[inline]
pub(crate) fn walk<'r>(bucket: u32, rcu: Rcu<'r>) -> impl Iterator<Item = Seen<'r>> {
    // SAFETY: A bucket of the table.
    head(bucket)
        .into_iter()
        .flat_map(move |head| unsafe { linked::walk(head.as_ptr(), rcu) })
}

/// Walks the expectations of a bucket under the lock. The item that was returned last may be
/// unlinked before the next call.
#[inline]
pub(crate) fn walk_locked<'l>(bucket: u32, locked: Locked<'l>) -> impl Iterator<Item = Linked<'l>> {
    head(bucket).into_iter().flat_map(move |head| {
        // SAFETY: A bucket of the table.
        unsafe { linked::walk_locked(head.as_ptr(), locked) }
    })
}

/// Links an expectation into a bucket and into the chain of its master, and extends its lifetime by
/// `more` jiffies.
///
/// Returns the draft if the expectation is in the table already, its master has no extension for
/// expectations, or there is no such bucket.
pub(crate) fn insert<'a: 'l, 'l>(
    draft: Draft<'a>,
    bucket: u32,
    more: u32,
    locked: Locked<'l>,
) -> Result<Linked<'l>, Draft<'a>> {
    match head(bucket) {
        // SAFETY: A bucket of the table.
        Some(head) => unsafe { draft.link(head.as_ptr(), more, locked) },
        None => Err(draft),
    }
}
