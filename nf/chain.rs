// SPDX-License-Identifier: GPL-2.0

//! The buckets of a hash table: chains that readers walk under RCU alone and writers
//! change under a lock per bucket.
//!
//! The chains end in a marker instead of null. A reader that followed an entry which was
//! moved, or freed and used again, arrives at the wrong marker and knows it.
//!
//! They lead forwards only: who takes an entry off looks for it first. The word of a node that
//! leads backwards elsewhere in the kernel has other uses here (see [`super::object`]).
//!
//! C header: [`include/linux/rculist_nulls.h`](srctree/include/linux/rculist_nulls.h)

use core::{
    mem::{
        offset_of,
        size_of, //
    },
    ptr::{
        addr_of_mut,
        NonNull, //
    },
};

use kernel::{
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed,
            Release, //
        },
    },
    types::Opaque, //
};

use super::{
    bindings,
    conn::{
        Conn,
        Dir,
        Stale, //
    },
    lock::{
        BhDisabled,
        BucketGuard,
        BucketLock, //
    },
    rcu::Rcu, //
};

/// How many locks an array of chains has at most. Buckets share them, by their low bits.
const MAX_LOCKS: u32 = 1024;

/// Buckets and their locks.
///
/// # Invariants
///
/// `heads` points to `len` initialised chain heads, `locks` to `lock_mask + 1`
/// initialised locks; both allocations belong to this value. `lock_mask + 1` is a power
/// of two. Chain `b` is changed by the holder of lock `b & lock_mask` only, and every
/// node on it belongs to an entry that holds a reference for being there.
pub(crate) struct ChainArray {
    heads: NonNull<bindings::hlist_nulls_head>,
    locks: NonNull<BucketLock>,
    len: u32,
    lock_mask: u32,
    marker: usize,
}

// SAFETY: The pointers own their targets, which are made to be shared.
unsafe impl Send for ChainArray {}
// SAFETY: As above; changes need a lock.
unsafe impl Sync for ChainArray {}

impl ChainArray {
    /// Allocates `len` empty chains. `generation` tells this array's markers from those
    /// of arrays that live at the same time. May sleep.
    pub(crate) fn new(len: u32, generation: u32) -> Result<Self> {
        // SAFETY: The caller of the function promises what it asks for.
        Self::with_locks(len, generation, |lock| unsafe { BucketLock::init(lock) })
    }

    /// Allocates chains for entries that are in no table yet, by their original tuple's node.
    /// Their locks are taken before those of a table. May sleep.
    pub(crate) fn for_reservations(len: u32) -> Result<Self> {
        // The last generation whose marker fits; tables will not get there.
        const GENERATION: u32 = i32::MAX as u32;
        // SAFETY: As above.
        Self::with_locks(len, GENERATION, |lock| unsafe {
            BucketLock::init_outer(lock)
        })
    }

    /// `init` makes usable the lock that its argument points to.
    fn with_locks(len: u32, generation: u32, init: impl Fn(*mut BucketLock)) -> Result<Self> {
        if len == 0 || len > i32::MAX as u32 / size_of::<bindings::hlist_nulls_head>() as u32 {
            return Err(ENOMEM);
        }
        let lock_count = MAX_LOCKS.min(len.next_power_of_two());
        let allocate = |count: u32, size: usize| {
            // SAFETY: Process context; the product was bounded above.
            NonNull::new(unsafe { bindings::rct_kvzalloc(count as usize * size) }).ok_or(ENOMEM)
        };
        let heads = allocate(len, size_of::<bindings::hlist_nulls_head>())?;
        let locks = match allocate(lock_count, size_of::<BucketLock>()) {
            Ok(locks) => locks,
            Err(error) => {
                // SAFETY: Allocated above.
                unsafe { bindings::kvfree(heads.as_ptr()) };
                return Err(error);
            }
        };
        // INVARIANT: everything is initialised below, before anybody else sees it.
        let array = Self {
            heads: heads.cast(),
            locks: locks.cast(),
            len,
            lock_mask: lock_count - 1,
            marker: (generation as usize) << 32,
        };
        for bucket in 0..len {
            // SAFETY: In bounds.
            unsafe {
                bindings::rct_nulls_init(
                    array.heads.as_ptr().add(bucket as usize),
                    array.marker_of(bucket),
                );
            }
        }
        for index in 0..lock_count {
            // SAFETY: In bounds.
            init(unsafe { array.locks.as_ptr().add(index as usize) });
        }
        Ok(array)
    }

    /// The number of chains.
    #[inline]
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    #[inline]
    fn marker_of(&self, bucket: u32) -> usize {
        self.marker | bucket as usize
    }

    #[inline]
    fn head(&self, bucket: u32) -> *mut bindings::hlist_nulls_head {
        let bucket = if bucket < self.len { bucket } else { 0 };
        // SAFETY: In bounds.
        unsafe { self.heads.as_ptr().add(bucket as usize) }
    }

    /// Walks over a chain without a lock.
    #[inline]
    pub(crate) fn walk<'r>(&'r self, bucket: u32, rcu: Rcu<'r>) -> Walk<'r> {
        Walk {
            // SAFETY: The head is valid.
            next: unsafe { bindings::rct_nulls_first_rcu(self.head(bucket)) },
            home: self.marker_of(bucket),
            rcu,
        }
    }

    /// The lock of a bucket, as a number by which two locks of this array are ordered.
    #[inline]
    pub(crate) fn lock_index(&self, bucket: u32) -> u32 {
        bucket & self.lock_mask
    }

    #[inline]
    fn lock_of(&self, bucket: u32) -> &BucketLock {
        // SAFETY: In bounds by the mask.
        unsafe { &*self.locks.as_ptr().add(self.lock_index(bucket) as usize) }
    }

    /// Locks a bucket.
    #[inline]
    pub(crate) fn lock<'a>(&'a self, bucket: u32, bh: &'a BhDisabled) -> LockedChain<'a> {
        let guard = self.lock_of(bucket).lock(bh);
        LockedChain {
            array: self,
            bucket,
            _guard: Some(guard),
        }
    }

    /// Locks a bucket while another one, of this array or another, is locked.
    #[inline]
    pub(crate) fn lock_second<'a>(&'a self, bucket: u32, bh: &'a BhDisabled) -> LockedChain<'a> {
        let guard = self.lock_of(bucket).lock_second(bh);
        LockedChain {
            array: self,
            bucket,
            _guard: Some(guard),
        }
    }
}

impl Drop for ChainArray {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the allocations are ours. The chains are empty, or
        // their entries were moved; nobody walks here any more.
        unsafe {
            bindings::kvfree(self.heads.as_ptr().cast());
            bindings::kvfree(self.locks.as_ptr().cast());
        }
    }
}

const MARKED: usize = 1;

/// Finds the entry around a chain node.
///
/// # Safety
///
/// `node` is a node of an entry, on a chain or taken off it during the present RCU section.
#[inline]
unsafe fn entry_of(node: *mut bindings::hlist_nulls_node) -> (NonNull<bindings::nf_conn>, Dir) {
    const DIR: usize = offset_of!(bindings::nf_conntrack_tuple_hash, tuple)
        + offset_of!(bindings::nf_conntrack_tuple, dst)
        + offset_of!(bindings::nf_conntrack_tuple__bindgen_ty_1, dir);
    const HASHES: usize = offset_of!(bindings::nf_conn, tuplehash);

    // SAFETY: A tuple follows the node. The byte is the same in all lives of the memory.
    let reply = unsafe { bindings::rct_read_once_u8(node.cast::<u8>().add(DIR)) } != 0;
    let (dir, back) = if reply {
        (
            Dir::Reply,
            HASHES + size_of::<bindings::nf_conntrack_tuple_hash>(),
        )
    } else {
        (Dir::Original, HASHES)
    };
    // SAFETY: The node is inside an entry, which is never at address zero.
    let conn = unsafe { NonNull::new_unchecked(node.byte_sub(back).cast()) };
    (conn, dir)
}

/// A node of a chain, or the marker at its end.
type Node = *mut bindings::hlist_nulls_node;

/// What leads to the first node of a chain, or from a node to the next one.
///
/// # Safety
///
/// `at` points to it, it is valid for `'a`, and accessed atomically by all.
#[inline]
unsafe fn step<'a>(at: *mut Node) -> &'a Atomic<Node> {
    // SAFETY: The caller's promise.
    unsafe { Atomic::from_ptr(at) }
}

/// Puts a node first.
///
/// # Safety
///
/// Nobody else changes the chain; `node` is that of an entry, and on no chain.
#[inline]
unsafe fn push(head: *mut bindings::hlist_nulls_head, node: Node) {
    // SAFETY: The caller's promise. Readers that still stand on the node from before go on along
    // this chain then, and end at its marker.
    unsafe {
        let first = step(addr_of_mut!((*head).first));
        step(addr_of_mut!((*node).next)).store(first.load(Relaxed), Relaxed);
        first.store(node, Release);
    }
}

/// Takes a node off, if it is there. Readers that stand on it go on to the one behind it.
///
/// # Safety
///
/// Nobody else changes the chain.
#[inline]
unsafe fn unlink(head: *mut bindings::hlist_nulls_head, node: Node) -> bool {
    // SAFETY: The caller's promise: the head and all nodes are valid, and stay.
    unsafe {
        let mut at = step(addr_of_mut!((*head).first));
        loop {
            let this = at.load(Relaxed);
            if this as usize & MARKED != 0 {
                return false;
            }
            let next = step(addr_of_mut!((*this).next));
            if this == node {
                at.store(next.load(Relaxed), Relaxed);
                return true;
            }
            at = next;
        }
    }
}

/// A walk over one chain.
///
/// # Invariants
///
/// `next` is a marker, or a node that was on a chain during the section `rcu`.
pub(crate) struct Walk<'r> {
    next: *mut bindings::hlist_nulls_node,
    home: usize,
    rcu: Rcu<'r>,
}

impl Walk<'_> {
    #[inline]
    fn at_marker(&self) -> bool {
        self.next as usize & MARKED != 0
    }

    /// After the last entry: whether the walk ended on the chain it began on. If not, it
    /// may have left out entries.
    #[inline]
    pub(crate) fn ended_at_home(&self) -> bool {
        self.at_marker() && self.next as usize >> 1 == self.home
    }
}

impl<'r> Iterator for Walk<'r> {
    type Item = Stale<'r>;

    #[inline]
    fn next(&mut self) -> Option<Stale<'r>> {
        if self.at_marker() {
            return None;
        }
        let node = self.next;
        // SAFETY: By the type invariants the node's memory is an entry's, and type-stable.
        let (conn, dir) = unsafe { entry_of(node) };
        // SAFETY: As above.
        self.next = unsafe { bindings::rct_nulls_next_rcu(node) };
        // SAFETY: As above.
        Some(unsafe { Stale::new(conn, dir, self.rcu) })
    }
}

/// A bucket whose chain nobody else changes.
///
/// # Invariants
///
/// The lock of `bucket` is held: by `guard`, or, where that is [`None`], by the
/// `LockedChain` that this one was made from and cannot outlive.
pub(crate) struct LockedChain<'a> {
    array: &'a ChainArray,
    bucket: u32,
    _guard: Option<BucketGuard<'a>>,
}

impl<'a> LockedChain<'a> {
    #[inline]
    fn head(&self) -> *mut bindings::hlist_nulls_head {
        self.array.head(self.bucket)
    }

    /// Another bucket of the same array that shares this one's lock.
    #[inline]
    pub(super) fn same_lock(&self, bucket: u32) -> LockedChain<'a> {
        // INVARIANT: `LockedPair` keeps both until the pair is dropped.
        LockedChain {
            array: self.array,
            bucket,
            _guard: None,
        }
    }

    #[inline]
    fn nodes(&self) -> impl Iterator<Item = *mut bindings::hlist_nulls_node> {
        // SAFETY: The head is valid, and with the lock held the chain stands still.
        let mut node = unsafe { bindings::rct_nulls_first_rcu(self.head()) };
        core::iter::from_fn(move || {
            if node as usize & MARKED != 0 {
                return None;
            }
            let this = node;
            // SAFETY: The node is on the chain.
            node = unsafe { bindings::rct_nulls_next_rcu(this) };
            Some(this)
        })
    }

    /// The entries on the chain. They cannot leave it while it is locked, and an entry on
    /// a chain has a reference for that, so they are more than [`Stale`].
    #[inline]
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&Conn, Dir)> + '_ {
        self.nodes().map(|node| {
            // SAFETY: The node is on the chain.
            let (conn, dir) = unsafe { entry_of(node) };
            // SAFETY: As the comment above says, the chain's reference keeps the entry.
            (unsafe { Conn::from_raw(conn.as_ptr()) }, dir)
        })
    }

    /// Puts one of an entry's tuples on the chain.
    ///
    /// The chain takes over a reference: the caller holds one for it and passes it on,
    /// one for both tuples together (see `ct::table`).
    #[inline]
    pub(super) fn push(&mut self, conn: &Conn, dir: Dir) {
        // SAFETY: The lock is held, and the caller in `nf` saw to it that the node is free.
        unsafe { push(self.head(), node_of(conn, dir)) };
    }

    /// Takes one of an entry's tuples off the chain, if it is there.
    ///
    /// Looking for it costs little, as chains are short, and makes it impossible to take an
    /// entry off a chain that is not locked.
    #[inline]
    pub(super) fn remove(&mut self, conn: &Conn, dir: Dir) -> bool {
        // SAFETY: The lock is held.
        unsafe { unlink(self.head(), node_of(conn, dir)) }
    }

    /// Puts an entry that is in no table on the chain, which keeps no reference: the entry
    /// is [withdrawn](Self::withdraw) before it is freed, or gets into a table.
    ///
    /// `hash` is what led to the chain; the entry remembers it.
    pub(crate) fn reserve(&mut self, conn: &Conn, hash: u32) {
        // SAFETY: The node of an entry that is in no table, and on no chain of these: the
        // caller comes once until it withdraws.
        unsafe { push(self.head(), node_of(conn, Dir::Original)) };
        conn.set_reserved(Some(hash));
    }

    /// Takes an entry off the chain, if it is there.
    pub(crate) fn withdraw(&mut self, conn: &Conn) {
        // SAFETY: The lock is held.
        if unsafe { unlink(self.head(), node_of(conn, Dir::Original)) } {
            conn.set_reserved(None);
        }
    }

    /// Moves the first tuple of this chain to another one.
    pub(crate) fn move_first(&mut self, to: &mut LockedChain<'_>) {
        if let Some(node) = self.nodes().next() {
            // SAFETY: Both locks are held; the node is on this chain, then on none.
            unsafe {
                unlink(self.head(), node);
                push(to.head(), node);
            }
        }
    }
}

#[inline]
fn node_of(conn: &Conn, dir: Dir) -> *mut bindings::hlist_nulls_node {
    // SAFETY: In bounds: two directions, two nodes.
    unsafe {
        addr_of_mut!((*conn.raw()).tuplehash)
            .cast::<bindings::nf_conntrack_tuple_hash>()
            .add(dir as usize)
            .cast()
    }
}

/// Entries on no chain of a table, one after the other by their original tuple's node.
///
/// # Invariants
///
/// `lock` guards `head`; every entry on the list has a reference for that.
pub(crate) struct DetachedList {
    lock: Opaque<bindings::spinlock_t>,
    head: Opaque<bindings::hlist_nulls_head>,
}

// SAFETY: All access is under the lock.
unsafe impl Sync for DetachedList {}

impl DetachedList {
    /// Tells a walker that got here from a chain that it left that chain.
    const MARKER: usize = 1 << 30;

    /// A list that still has to be [initialised](Self::init).
    pub(crate) const fn new() -> Self {
        Self {
            lock: Opaque::zeroed(),
            head: Opaque::zeroed(),
        }
    }

    /// Makes the list usable; once, before entries can come.
    pub(crate) fn init(&'static self) {
        // SAFETY: Nobody else uses the list yet.
        unsafe {
            bindings::rct_spin_lock_init_bucket(self.lock.get());
            bindings::rct_nulls_init(self.head.get(), Self::MARKER);
        }
    }

    /// Runs `f` with the lock held.
    fn locked<R>(&self, f: impl FnOnce() -> R) -> R {
        // SAFETY: Initialised when the module was loaded.
        unsafe { bindings::rct_spin_lock_bh(self.lock.get()) };
        let result = f();
        // SAFETY: Taken above.
        unsafe { bindings::rct_spin_unlock_bh(self.lock.get()) };
        result
    }

    /// Puts an entry on the list that was taken out of the table.
    pub(crate) fn push(&self, conn: ARef<Conn>) {
        let conn = core::mem::ManuallyDrop::new(conn);
        // SAFETY: The lock is held, and the node is on no chain any more.
        self.locked(|| unsafe {
            push(self.head.get(), node_of(&conn, Dir::Original));
        });
    }

    /// Takes an entry off the list.
    pub(crate) fn pop(&self) -> Option<ARef<Conn>> {
        // SAFETY: With the lock held the list stands still, and the node is on it.
        self.locked(|| unsafe {
            let node = bindings::rct_nulls_first_rcu(self.head.get());
            if node as usize & MARKED != 0 {
                return None;
            }
            unlink(self.head.get(), node);
            // The reference that `push` took over.
            Some(ARef::from_raw(entry_of(node).0.cast()))
        })
    }

    /// The `N` entries with the lowest addresses that are not below `from`, of those that
    /// `which` chooses; in this order.
    pub(crate) fn lowest_from<const N: usize>(
        &self,
        from: usize,
        which: impl Fn(&Conn) -> bool,
    ) -> [Option<ARef<Conn>>; N] {
        self.locked(|| {
            // SAFETY: The head is valid, and with the lock held the list stands still.
            let mut node = unsafe { bindings::rct_nulls_first_rcu(self.head.get()) };
            let mut found: [Option<&Conn>; N] = [None; N];
            while node as usize & MARKED == 0 {
                // SAFETY: The node is on the list, which has a reference to its entry.
                let conn = unsafe { Conn::from_raw(entry_of(node).0.as_ptr()) };
                if conn.address() >= from && which(conn) {
                    // It takes the place of the first that is higher, and that the next one's.
                    let mut moving = conn;
                    for place in &mut found {
                        match place {
                            Some(other) if other.address() < moving.address() => {}
                            Some(other) => core::mem::swap(other, &mut moving),
                            None => {
                                *place = Some(moving);
                                break;
                            }
                        }
                    }
                }
                // SAFETY: As above.
                node = unsafe { bindings::rct_nulls_next_rcu(node) };
            }
            found.map(|conn| conn.map(ARef::from))
        })
    }

    /// Whether nothing is on it.
    pub(crate) fn is_empty(&self) -> bool {
        // SAFETY: The head is valid.
        let first = unsafe { bindings::rct_nulls_first_rcu(self.head.get()) };
        first as usize & MARKED != 0
    }
}
