// SPDX-License-Identifier: GPL-2.0

//! The buckets of a hash table: chains that readers walk under RCU alone and writers change under a
//! lock per bucket.
//!
//! Chains end in a marker ([`super::intrusive::chain`]) and lead forwards only: to take an entry
//! off, a writer looks for it first. The word of a node that leads backwards elsewhere in the
//! kernel has other uses here (see [`super::object`]).
//!
//! Where memory allows, a handle has 33 bits and the head of a chain four bytes, so a table of a
//! given size has twice as many chains.
//!
//! # Examples
//!
//! ```ignore
//! // A reader. What it meets may be another entry by now: see `Stale`.
//! let rcu = RcuGuard::new();
//! let mut walk = chains.walk(bucket, rcu.token());
//! let found = walk.by_ref().find_map(|stale| match stale.get_if(is_wanted) {
//!     Get::Hit(conn) => Some(conn),
//!     Get::Recycled | Get::Dead => None,
//! });
//! // A miss counts only if the walk did not stray to another chain.
//! let is_missing = found.is_none() && walk.ended_at_home();
//!
//! // A writer.
//! let bh = BhDisabled::new();
//! let mut from = chains.lock(bucket, &bh);
//! let mut to = newer_chains.lock_second(new_bucket, &bh);
//! from.move_first(&mut to);
//! ```
//!
//! C header: [`include/linux/rculist_nulls.h`](srctree/include/linux/rculist_nulls.h)

use core::{
    mem::size_of,
    pin::Pin,
    ptr::{
        with_exposed_provenance_mut,
        NonNull, //
    },
};

use kernel::{
    prelude::*,
    static_lock_class,
    str::CStr,
    sync::{
        atomic::{
            Atomic,
            Relaxed,
            Release, //
        },
        LockClassKey,
        SpinLockGuard, //
    },
};

use crate::{
    nf::{
        bindings,
        kernel::{
            lock::{
                BhDisabled,
                LockArray,
                LockWith, //
            },
            rcu::Rcu, //
        },
    },
    proto::types::{
        direction::Direction,
        num::u32_as_usize, //
    },
};

use super::{
    conn::{
        Conn,
        Entry, //
    },
    intrusive::{
        chain::{
            self,
            Head as _, //
        },
        layout::Node, //
    },
    object::{
        self,
        TupleHandles, //
    },
    stale::Stale, //
};

/// The most locks of an array. Buckets share locks, by their low bits.
const MAX_LOCKS: u32 = 1024;

/// Buckets and their locks.
///
/// # Invariants
///
/// `heads` points to `len` heads, as wide as `handles` needs them; the allocation belongs to this
/// value. Chain `b` is changed with lock `b` of `locks` held only. Every node on a chain belongs to
/// an entry that is valid while it is there: the chain holds a reference to it, or, if this is the
/// array of [`super::reservations`], the entry leaves it before it is freed.
pub(crate) struct ChainArray {
    heads: NonNull<u8>,
    locks: LockArray,
    len: u32,
    /// The generation, in the high half; the marker of a chain has its index in the other one.
    marker: usize,
    handles: TupleHandles,
}

// SAFETY: The pointer owns its target, which is made to be shared.
unsafe impl Send for ChainArray {}
// SAFETY: As above; changes need a lock.
unsafe impl Sync for ChainArray {}

impl ChainArray {
    /// Allocates `len` empty chains. May sleep.
    ///
    /// Arrays that exist at the same time have different generations, as the markers of their
    /// chains differ by these. Locks of an older generation are taken first.
    ///
    /// `ENOMEM`: no memory, or `len` is 0 or too large.
    pub(crate) fn new(len: u32, generation: u32) -> Result<Self> {
        Self::with_class(len, generation, c"bucket", static_lock_class!())
    }

    /// As [`new`](Self::new), with locks of another lockdep class.
    pub(super) fn with_class(
        len: u32,
        generation: u32,
        name: &'static CStr,
        class: Pin<&'static LockClassKey>,
    ) -> Result<Self> {
        const MAX_LEN: u32 = i32::MAX as u32 / size_of::<usize>() as u32;
        if len == 0 || len > MAX_LEN {
            return Err(ENOMEM);
        }
        let locks = LockArray::new(MAX_LOCKS.min(len), name, class)?;
        let handles = object::tuple_handles();
        let head_size = if handles.are_compact() {
            size_of::<u32>()
        } else {
            size_of::<usize>()
        };
        let bytes = u32_as_usize(len).wrapping_mul(head_size);
        // SAFETY: Process context; the size is bounded. Zeroed heads are those of empty chains.
        let heads = NonNull::new(unsafe { bindings::rct_kvzalloc(bytes) }).ok_or(ENOMEM)?;
        // INVARIANT: as just made.
        Ok(Self {
            heads: heads.cast(),
            locks,
            len,
            marker: u32_as_usize(generation) << u32::BITS,
            handles,
        })
    }

    /// Returns the number of chains.
    #[inline]
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// Returns what orders this array's locks and those of other arrays.
    #[inline]
    pub(super) fn generation(&self) -> u32 {
        // CAST: the high half.
        (self.marker >> u32::BITS) as u32
    }

    #[inline]
    fn marker(&self, bucket: usize) -> usize {
        self.marker | bucket
    }

    #[inline(always)]
    fn head(&self, bucket: usize) -> Head<'_> {
        let bucket = if bucket < u32_as_usize(self.len) {
            bucket
        } else {
            0
        };
        // SAFETY: In bounds, and accessed as what it is only.
        unsafe {
            if self.handles.are_compact() {
                Head::Compact(Atomic::from_ptr(self.heads.cast().add(bucket).as_ptr()))
            } else {
                Head::Wide(Atomic::from_ptr(self.heads.cast().add(bucket).as_ptr()))
            }
        }
    }

    /// Walks over a chain without a lock.
    #[inline]
    pub(crate) fn walk<'r>(&'r self, bucket: u32, rcu: Rcu<'r>) -> Walk<'r> {
        let bucket = u32_as_usize(bucket);
        let home = self.marker(bucket);
        // INVARIANT: what a head leads to is on a chain.
        Walk {
            walk: chain::Walk::new(self.head(bucket), home),
            home,
            handles: self.handles,
            rcu,
        }
    }

    /// Returns the index of a bucket's lock, by which the locks of this array are ordered.
    #[inline]
    pub(crate) fn lock_index(&self, bucket: u32) -> u32 {
        self.locks.number(bucket)
    }

    /// Locks a bucket.
    #[inline]
    pub(crate) fn lock<'a>(&'a self, bucket: u32, bh: &'a BhDisabled) -> LockedChain<'a> {
        let guard = self.locks.get(bucket).lock_with(bh);
        LockedChain {
            array: self,
            bucket: u32_as_usize(bucket),
            _guard: Some(guard),
        }
    }

    /// Locks a bucket while another one, of this array or another, is locked.
    #[inline]
    pub(crate) fn lock_second<'a>(&'a self, bucket: u32, bh: &'a BhDisabled) -> LockedChain<'a> {
        let guard = self.locks.get(bucket).lock_nested_with(bh);
        LockedChain {
            array: self,
            bucket: u32_as_usize(bucket),
            _guard: Some(guard),
        }
    }
}

impl Drop for ChainArray {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the allocation belongs to this value. The chains are
        // empty, or their entries were moved; no reader walks here any more.
        unsafe { bindings::kvfree(self.heads.as_ptr().cast()) };
    }
}

/// The head of a chain: the handle of its first node, or 0.
#[derive(Clone, Copy)]
pub(super) enum Head<'a> {
    /// Half of a compact handle.
    Compact(&'a Atomic<u32>),
    /// A handle.
    Wide(&'a Atomic<usize>),
}

impl chain::Head for Head<'_> {
    #[inline(always)]
    fn load(self) -> usize {
        match self {
            Self::Compact(half) => u32_as_usize(half.load(Relaxed)) << 1,
            Self::Wide(word) => word.load(Relaxed),
        }
    }

    #[inline(always)]
    fn publish(self, word: usize) {
        match self {
            // CAST: a compact handle has 33 bits, and the lowest one is clear.
            Self::Compact(half) => half.store((word >> 1) as u32, Release),
            Self::Wide(whole) => whole.store(word, Release),
        }
    }
}

/// Returns the node of a tuple.
#[inline(always)]
pub(super) fn node(entry: &Entry, dir: Direction) -> Node {
    Node {
        object: entry.address(),
        index: dir as usize,
    }
}

/// Returns the tuple that a node is for.
#[inline(always)]
const fn direction(index: usize) -> Direction {
    if index == 0 {
        Direction::Original
    } else {
        Direction::Reply
    }
}

/// A walk over a chain under RCU.
///
/// # Invariants
///
/// `walk` is at a marker, or at a node that was on a chain during the section `rcu`.
pub(crate) struct Walk<'r> {
    walk: chain::Walk,
    home: usize,
    handles: TupleHandles,
    rcu: Rcu<'r>,
}

impl Walk<'_> {
    /// Returns, after the last entry, whether the walk ended on the chain that it began on. If not,
    /// it may have left out entries.
    #[inline]
    pub(crate) fn ended_at_home(&self) -> bool {
        self.walk.ended_at(self.home)
    }
}

impl<'r> Iterator for Walk<'r> {
    type Item = Stale<'r>;

    #[inline]
    fn next(&mut self) -> Option<Stale<'r>> {
        // SAFETY: By the type invariants the memory is that of an object, which is type-stable and
        // not at address 0.
        unsafe {
            let Node { object, index } = self.walk.step(self.handles)?;
            let conn = NonNull::new_unchecked(with_exposed_provenance_mut(object));
            Some(Stale::new(conn, direction(index), self.rcu))
        }
    }
}

/// A bucket that is locked.
///
/// # Invariants
///
/// The lock of `bucket` is held: by `_guard`, or, where that is [`None`], by the `LockedChain` that
/// this one was made from, which outlives it.
#[must_use = "the bucket is unlocked when this is dropped"]
pub(crate) struct LockedChain<'a> {
    array: &'a ChainArray,
    /// The index of the bucket. A word, so that there is no padding to be kept.
    bucket: usize,
    _guard: Option<SpinLockGuard<'a, ()>>,
}

impl<'a> LockedChain<'a> {
    #[inline(always)]
    fn head(&self) -> Head<'a> {
        self.array.head(self.bucket)
    }

    /// Returns another bucket of the same array that shares this one's lock.
    ///
    /// # Safety
    ///
    /// It does share it, and the result is dropped before this one.
    #[inline]
    pub(super) unsafe fn share(&self, bucket: u32) -> LockedChain<'a> {
        // INVARIANT: the caller's promise.
        LockedChain {
            array: self.array,
            bucket: u32_as_usize(bucket),
            _guard: None,
        }
    }

    /// Returns the entries on the chain, each with the tuple by which it is there. They cannot
    /// leave it while it is locked, so they are more than [`Stale`].
    #[inline]
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&Conn, Direction)> + '_ {
        self.uncounted().map(|(entry, dir)| {
            // SAFETY: The chain holds a reference to it.
            let conn = unsafe { Conn::from_raw(entry.raw()) };
            (conn, dir)
        })
    }

    /// As [`entries`](Self::entries), where the chain holds no references.
    #[inline]
    pub(super) fn uncounted(&self) -> impl Iterator<Item = (&Entry, Direction)> + '_ {
        let handles = self.array.handles;
        // SAFETY: The lock is held. By the type invariants of the array the entries are valid while
        // they are on the chain.
        let nodes = unsafe { chain::nodes(handles, self.head().load()) };
        nodes.map(|Node { object, index }| {
            // SAFETY: As above.
            let entry = unsafe { Entry::from_raw(with_exposed_provenance_mut(object)) };
            (entry, direction(index))
        })
    }

    /// Puts a tuple of an entry first.
    ///
    /// # Safety
    ///
    /// The entry is an object of the slab, the node of the tuple is on no chain, and the entry
    /// leaves the chain before it is freed.
    #[inline(always)]
    pub(super) unsafe fn push(&mut self, entry: &Entry, dir: Direction) {
        let (marker, node) = (self.array.marker(self.bucket), node(entry, dir));
        // SAFETY: The lock is held; the rest is the caller's promise.
        unsafe { chain::push(self.array.handles, self.head(), marker, node) };
    }

    /// Takes a tuple of an entry off, if it is on the chain. Returns whether it was.
    ///
    /// Looking for it costs little, as chains are short, and makes it impossible to take an entry
    /// off a chain that is not locked.
    #[inline(always)]
    pub(super) fn remove(&mut self, entry: &Entry, dir: Direction) -> bool {
        // SAFETY: The lock is held, and what is on the chain is valid.
        unsafe { chain::unlink(self.array.handles, self.head(), node(entry, dir)) }
    }

    /// Moves the first node of this chain to another one.
    pub(crate) fn move_first(&mut self, to: &mut LockedChain<'_>) {
        let handles = self.array.handles;
        // SAFETY: Both locks are held. What was on this chain is on none in between.
        unsafe {
            let first = chain::nodes(handles, self.head().load()).next();
            if let Some(node) = first {
                chain::unlink(handles, self.head(), node);
                chain::push(handles, to.head(), to.array.marker(to.bucket), node);
            }
        }
    }
}
