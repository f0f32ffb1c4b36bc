// SPDX-License-Identifier: GPL-2.0

//! The buckets of a hash table: chains that readers walk under RCU alone and writers
//! change under a lock per bucket.
//!
//! The chains end in a marker instead of null. A reader that followed an entry which was
//! moved, or freed and used again, arrives at the wrong marker and knows it. An empty chain needs
//! none: its head is zero.
//!
//! What leads to a tuple is a word ([`Words`]). Where memory allows it says the number of the object,
//! and a head has room for it in four bytes: so a table of a size has twice as many chains.
//!
//! They lead forwards only: who takes an entry off looks for it first. The word of a node that
//! leads backwards elsewhere in the kernel has other uses here (see [`crate::nf::entry::object`]).
//!
//! C header: [`include/linux/rculist_nulls.h`](srctree/include/linux/rculist_nulls.h)

use core::{
    mem::size_of,
    ptr::NonNull, //
};

use kernel::{
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed,
            Release, //
        }, //
    },
    types::Opaque, //
};

use crate::{
    nf::{
        bindings,
        kernel::{
            lock::{
                BhDisabled,
                BucketGuard,
                BucketLock, //
            },
            rcu::Rcu, //
        }, //
    },
    proto::types::direction::Direction, //
};

use super::{
    conn::Conn,
    object::{
        self,
        Words, //
    },
    stale::Stale, //
};

/// How many locks an array of chains has at most. Buckets share them, by their low bits.
const MAX_LOCKS: u32 = 1024;

/// Buckets and their locks.
///
/// # Invariants
///
/// `heads` points to `len` chain heads, as wide as those of `words` are, `locks` to `lock_mask + 1`
/// initialised locks; both allocations belong to this value. `lock_mask + 1` is a power
/// of two. Chain `b` is changed by the holder of lock `b & lock_mask` only, and every
/// node on it belongs to an entry that holds a reference for being there.
pub(crate) struct ChainArray {
    heads: NonNull<u8>,
    locks: NonNull<BucketLock>,
    len: u32,
    lock_mask: u32,
    marker: usize,
    words: Words,
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
        if len == 0 || len > i32::MAX as u32 / size_of::<usize>() as u32 {
            return Err(ENOMEM);
        }
        let lock_count = MAX_LOCKS.min(len.next_power_of_two());
        let allocate = |count: u32, size: usize| {
            // SAFETY: Process context; the product was bounded above.
            NonNull::new(unsafe { bindings::rct_kvzalloc(count as usize * size) }).ok_or(ENOMEM)
        };
        let words = Words::new();
        // Zeros: empty chains.
        let heads = allocate(len, words.head_size())?;
        let locks = match allocate(lock_count, size_of::<BucketLock>()) {
            Ok(locks) => locks,
            Err(error) => {
                // SAFETY: Allocated above.
                unsafe { bindings::kvfree(heads.as_ptr()) };
                return Err(error);
            }
        };
        // INVARIANT: the locks are initialised below, before anybody else sees them.
        let array = Self {
            heads: heads.cast(),
            locks: locks.cast(),
            len,
            lock_mask: lock_count - 1,
            marker: (generation as usize) << 32,
            words,
        };
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
    fn head(&self, bucket: u32) -> Head<'_> {
        let bucket = if bucket < self.len { bucket } else { 0 } as usize;
        // SAFETY: In bounds, and accessed as what it is by all.
        unsafe {
            if self.words.are_short() {
                Head::Short(Atomic::from_ptr(self.heads.cast().add(bucket).as_ptr()))
            } else {
                Head::Long(Atomic::from_ptr(self.heads.cast().add(bucket).as_ptr()))
            }
        }
    }

    /// The first chain from `from` on, and before `to`, that has something on it.
    pub(crate) fn next_in_use(&self, from: u32, to: u32) -> Option<u32> {
        (from..to.min(self.len)).find(|&bucket| self.head(bucket).load().is_some())
    }

    /// Walks over a chain without a lock.
    #[inline]
    pub(crate) fn walk<'r>(&'r self, bucket: u32, rcu: Rcu<'r>) -> Walk<'r> {
        let home = self.marker_of(bucket);
        // INVARIANT: what a head leads to is on a chain.
        Walk {
            next: self.head(bucket).load().unwrap_or(end(home)),
            home,
            words: self.words,
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

/// The end of a chain whose marker has this value.
#[inline]
const fn end(value: usize) -> usize {
    value << 1 | MARKED
}

#[inline]
const fn is_end(word: usize) -> bool {
    word & MARKED != 0
}

/// What leads on from a tuple of an object.
///
/// # Safety
///
/// `object` is the address of one, valid for `'a`.
#[inline]
unsafe fn next<'a>(object: usize, dir: Direction) -> &'a Atomic<usize> {
    let node = object.wrapping_add(object::node(dir));
    // SAFETY: The word is in bounds, and accessed atomically by all.
    unsafe { Atomic::from_ptr(core::ptr::with_exposed_provenance_mut(node)) }
}

/// The beginning of a chain: what leads to its first tuple, or 0.
#[derive(Clone, Copy)]
enum Head<'a> {
    /// Half of a short word.
    Short(&'a Atomic<u32>),
    /// A word.
    Long(&'a Atomic<usize>),
}

impl Head<'_> {
    #[inline(always)]
    fn load(self) -> Option<usize> {
        let word = match self {
            Self::Short(half) => (half.load(Relaxed) as usize) << 1,
            Self::Long(word) => word.load(Relaxed),
        };
        (word != 0).then_some(word)
    }

    /// Who reads it sees what was written to the tuple's node before.
    #[inline(always)]
    fn store(self, word: Option<usize>) {
        let word = word.unwrap_or(0);
        match self {
            // CAST: a short word has 33 bits, of which the lowest is clear.
            Self::Short(half) => half.store((word >> 1) as u32, Release),
            Self::Long(whole) => whole.store(word, Release),
        }
    }

    /// Puts a tuple first. `home` is the value of the chain's marker.
    ///
    /// # Safety
    ///
    /// Nobody else changes the chain; the tuple is one of an entry, and on no chain.
    #[inline(always)]
    unsafe fn push(self, home: usize, words: Words, object: usize, dir: Direction) {
        let first = self.load().unwrap_or(end(home));
        // SAFETY: The caller's promise. Readers that still stand on the tuple from before go on
        // along this chain then, and end at its marker.
        unsafe { next(object, dir) }.store(first, Relaxed);
        self.store(Some(words.word(object, dir)));
    }

    /// Takes a tuple off, if it is there. Readers that stand on it go on to the one behind it.
    ///
    /// # Safety
    ///
    /// Nobody else changes the chain.
    #[inline]
    unsafe fn unlink(self, words: Words, object: usize, dir: Direction) -> bool {
        let Some(first) = self.load() else {
            return false;
        };
        let wanted = words.word(object, dir);
        // SAFETY: The caller's promise: all that are on the chain stay.
        let after = |word: usize| unsafe {
            let (object, dir) = words.tuple(word);
            next(object, dir)
        };
        if first == wanted {
            let following = after(wanted).load(Relaxed);
            self.store((!is_end(following)).then_some(following));
            return true;
        }
        let mut before = first;
        loop {
            let this = after(before).load(Relaxed);
            if is_end(this) {
                return false;
            }
            if this == wanted {
                after(before).store(after(wanted).load(Relaxed), Relaxed);
                return true;
            }
            before = this;
        }
    }

    /// The objects on a chain that nobody changes meanwhile, and by which tuple.
    #[inline]
    fn tuples(self, words: Words) -> impl Iterator<Item = (usize, Direction)> {
        let mut word = self.load();
        core::iter::from_fn(move || {
            // SAFETY: What the chain leads to is there.
            unsafe {
                let (object, dir) = words.tuple(word?);
                let following = next(object, dir).load(Relaxed);
                word = (!is_end(following)).then_some(following);
                Some((object, dir))
            }
        })
    }
}

/// The entry at an address.
///
/// # Safety
///
/// There is an object, and an entry in it for as long as `'a` lasts.
#[inline]
unsafe fn entry<'a>(object: usize) -> &'a Conn {
    // SAFETY: The caller's promise.
    unsafe { Conn::from_raw(core::ptr::with_exposed_provenance_mut(object)) }
}

/// A walk over one chain.
///
/// # Invariants
///
/// `next` is a marker, or leads to a tuple that was on a chain during the section `rcu`.
pub(crate) struct Walk<'r> {
    next: usize,
    home: usize,
    words: Words,
    rcu: Rcu<'r>,
}

impl Walk<'_> {
    /// After the last entry: whether the walk ended on the chain it began on. If not, it
    /// may have left out entries.
    #[inline]
    pub(crate) fn ended_at_home(&self) -> bool {
        self.next == end(self.home)
    }
}

impl<'r> Iterator for Walk<'r> {
    type Item = Stale<'r>;

    #[inline]
    fn next(&mut self) -> Option<Stale<'r>> {
        if is_end(self.next) {
            return None;
        }
        // SAFETY: By the type invariants the memory is that of an object, which is not at address
        // zero, and type-stable.
        unsafe {
            let (object, dir) = self.words.tuple(self.next);
            self.next = next(object, dir).load(Relaxed);
            let conn = core::ptr::with_exposed_provenance_mut(object);
            Some(Stale::new(NonNull::new_unchecked(conn), dir, self.rcu))
        }
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
    fn head(&self) -> Head<'a> {
        self.array.head(self.bucket)
    }

    /// Puts the tuple of an object first.
    ///
    /// # Safety
    ///
    /// It is one of an entry, and on no chain.
    #[inline(always)]
    unsafe fn put(&mut self, object: usize, dir: Direction) {
        let home = self.array.marker_of(self.bucket);
        // SAFETY: The lock is held; the rest is the caller's promise.
        unsafe { self.head().push(home, self.array.words, object, dir) };
    }

    /// Takes the tuple of an object off, if it is there.
    #[inline(always)]
    fn take(&mut self, object: usize, dir: Direction) -> bool {
        // SAFETY: The lock is held.
        unsafe { self.head().unlink(self.array.words, object, dir) }
    }

    /// Another bucket of the same array that shares this one's lock.
    #[inline]
    pub(in crate::nf) fn same_lock(&self, bucket: u32) -> LockedChain<'a> {
        // INVARIANT: `LockedPair` keeps both until the pair is dropped.
        LockedChain {
            array: self.array,
            bucket,
            _guard: None,
        }
    }

    /// The entries on the chain. They cannot leave it while it is locked, and an entry on
    /// a chain has a reference for that, so they are more than [`Stale`].
    #[inline]
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&Conn, Direction)> + '_ {
        let tuples = self.head().tuples(self.array.words);
        // SAFETY: As the comment above says, the chain's reference keeps the entry.
        tuples.map(|(object, dir)| (unsafe { entry(object) }, dir))
    }

    /// Puts one of an entry's tuples on the chain.
    ///
    /// The chain takes over a reference: the caller holds one for it and passes it on,
    /// one for both tuples together (see `ct::table`).
    #[inline]
    pub(in crate::nf) fn push(&mut self, conn: &Conn, dir: Direction) {
        // SAFETY: The lock is held, and the caller in `nf` saw to it that the node is free.
        unsafe { self.put(conn.address(), dir) };
    }

    /// Takes one of an entry's tuples off the chain, if it is there.
    ///
    /// Looking for it costs little, as chains are short, and makes it impossible to take an
    /// entry off a chain that is not locked.
    #[inline]
    pub(in crate::nf) fn remove(&mut self, conn: &Conn, dir: Direction) -> bool {
        self.take(conn.address(), dir)
    }

    /// Puts an entry that is in no table on the chain, which keeps no reference: the entry
    /// is [withdrawn](Self::withdraw) before it is freed, or gets into a table.
    ///
    /// `hash` is what led to the chain; the entry remembers it.
    pub(crate) fn reserve(&mut self, conn: &Conn, hash: u32) {
        // SAFETY: The node of an entry that is in no table, and on no chain of these: the
        // caller comes once until it withdraws.
        unsafe { self.put(conn.address(), Direction::Original) };
        conn.set_reservation_hash(Some(hash));
    }

    /// Takes an entry off the chain, if it is there.
    pub(crate) fn withdraw(&mut self, conn: &Conn) {
        if self.take(conn.address(), Direction::Original) {
            conn.set_reservation_hash(None);
        }
    }

    /// Moves the first tuple of this chain to another one.
    pub(crate) fn move_first(&mut self, to: &mut LockedChain<'_>) {
        if let Some((object, dir)) = self.head().tuples(self.array.words).next() {
            self.take(object, dir);
            // SAFETY: It was on this chain, and is on none now.
            unsafe { to.put(object, dir) };
        }
    }
}

/// Entries on no chain of a table, one after the other by their original tuple's node.
///
/// # Invariants
///
/// `lock` guards `head`; every entry on the list has a reference for that.
pub(crate) struct DetachedList {
    lock: Opaque<bindings::spinlock_t>,
    first: Atomic<usize>,
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
            first: Atomic::new(0),
        }
    }

    /// Makes the list usable; once, before entries can come.
    pub(crate) fn init(&'static self) {
        // SAFETY: Nobody else uses the list yet.
        unsafe { bindings::rct_spin_lock_init_bucket(self.lock.get()) };
    }

    fn head(&self) -> Head<'_> {
        Head::Long(&self.first)
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
            let head = self.head();
            head.push(
                Self::MARKER,
                Words::new(),
                conn.address(),
                Direction::Original,
            );
        });
    }

    /// Takes an entry off the list.
    pub(crate) fn pop(&self) -> Option<ARef<Conn>> {
        // SAFETY: With the lock held the list stands still, and the node is on it.
        self.locked(|| unsafe {
            let words = Words::new();
            let (object, dir) = self.head().tuples(words).next()?;
            self.head().unlink(words, object, dir);
            // The reference that `push` took over.
            Some(ARef::from_raw(NonNull::from(entry(object))))
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
            let mut found: [Option<&Conn>; N] = [None; N];
            // With the lock held the list stands still.
            for (object, _) in self.head().tuples(Words::new()) {
                // SAFETY: It is on the list, which has a reference to its entry.
                let conn = unsafe { entry(object) };
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
            }
            found.map(|conn| conn.map(ARef::from))
        })
    }

    /// Whether nothing is on it.
    pub(crate) fn is_empty(&self) -> bool {
        self.head().load().is_none()
    }
}
