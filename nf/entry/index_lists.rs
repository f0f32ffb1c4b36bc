// SPDX-License-Identifier: GPL-2.0

//! Lists of entries that have something in common, beside the chains of the table: many lists, and
//! each entry is on a few.
//!
//! An entry is put first, and stays where it is until it leaves. A [`ListCursor`] is between two
//! entries of a list, as an object of its own, until it moves on. So a walk may rest for as long as
//! it likes without a lock: it meets every entry that was there when it began, and none twice,
//! whatever comes and goes meanwhile.
//!
//! The lists are in shards, each with one lock, and an entry is in the shard of the CPU that made
//! it. So CPUs that make similar connections do not wait for each other; a CPU that takes
//! connections of others out of the table may.
//!
//! The links are words of the entry, or behind it: see [`super::object`].
//!
//! # Examples
//!
//! ```ignore
//! let mut cursor = ListCursor::new(lists)?;
//! for shard in 0..cursor.lists().shards() {
//!     cursor.enter(net, &key, shard);
//!     let mut past = None;
//!     loop {
//!         match cursor.find(past.as_deref(), |conn| key.matches(conn)) {
//!             Found::Object(conn) => {
//!                 // No lock is held here: this may sleep, and `conn` may leave the list.
//!                 show(&conn);
//!                 past = Some(conn);
//!             }
//!             Found::More => cond_resched(),
//!             Found::End => break,
//!         }
//!     }
//! }
//! ```

use core::ptr::{
    with_exposed_provenance_mut,
    NonNull, //
};

use kernel::{
    prelude::*,
    static_lock_class,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Full, //
        },
        Arc,
        SpinLockGuard, //
    },
};

use crate::{
    nf::{
        bindings,
        kernel::{
            lock::{
                BhDisabled,
                CacheLine,
                LockArray,
                LockWith, //
            },
            net::Net,
            params, //
        },
    },
    proto::types::num::u32_as_usize, //
};

use super::{
    conn::{
        Conn,
        Entry, //
    },
    index_keys::{
        Hasher,
        IndexKey, //
    },
    intrusive::{
        layout::MemoryLayout,
        list, //
    },
    object::{
        self,
        with_layout,
        Compact,
        IndexKind,
        Wide,
        LISTED, //
    },
    slab, //
};

/// A layout of entries.
trait Layout: MemoryLayout<Link = IndexKind> {}

impl<L: MemoryLayout<Link = IndexKind>> Layout for L {}

/// The number of a list among those of its kind. The low bits are the list's shard.
#[derive(Clone, Copy)]
struct ListId(u32);

/// The lists that an entry is on.
#[derive(Clone, Copy)]
struct Memberships {
    /// That of its namespace and zone.
    zone: ListId,
    /// Those of its source and its destination.
    ends: Option<[ListId; 2]>,
    /// That of what it is translated to.
    translated: Option<ListId>,
}

/// The lists: as many for each [`IndexKind`].
///
/// # Invariants
///
/// `heads` points to the heads of `LISTED * (mask + 1)` lists, which belong to this value; `locks`
/// has `shard_mask + 1` locks. Both masks are powers of two less one. An entry on
/// lists has a reference for being in the table, which is given back after it left them. There is
/// only one value of this type that entries join.
pub(crate) struct ShardedLists {
    heads: NonNull<u8>,
    locks: LockArray<CacheLine>,
    mask: u32,
    shard_mask: u32,
    /// By how many bits a hash is shifted to leave as many as `mask` has.
    shift: u32,
    is_wide: bool,
    /// Whether there are lists by address, beside those by zone.
    with_addresses: bool,
    hasher: Hasher,
}

// SAFETY: The pointer owns its target, which is made to be shared.
unsafe impl Send for ShardedLists {}
// SAFETY: As above; all access is under the locks.
unsafe impl Sync for ShardedLists {}

/// Whether a [`ShardedLists`] was made since the module was loaded.
static MADE: Atomic<bool> = Atomic::new(false);

impl ShardedLists {
    /// Allocates at least `len` empty lists of each kind, in at least `shards` shards. May sleep.
    ///
    /// `ENOMEM`: no memory. `EBUSY`: it was called before.
    pub(crate) fn new(len: u32, shards: u32) -> Result<Self> {
        let shards = shards.checked_next_power_of_two().ok_or(ENOMEM)?;
        let len = len.max(shards).checked_next_power_of_two().ok_or(ENOMEM)?;
        let is_wide = object::is_wide();
        let half = if is_wide { Wide::HALF } else { Compact::HALF };
        if MADE.xchg(true, Full) {
            return Err(EBUSY);
        }
        let locks = LockArray::new(shards, c"index lists", static_lock_class!())?;
        let bytes = u32_as_usize(len)
            .checked_mul(LISTED)
            .and_then(|heads| heads.checked_mul(half))
            .ok_or(ENOMEM)?;
        // SAFETY: Process context. Zeroed heads are those of empty lists.
        let heads = NonNull::new(unsafe { bindings::rct_kvzalloc(bytes) }).ok_or(ENOMEM)?;
        // INVARIANT: as just made.
        Ok(Self {
            heads: heads.cast(),
            locks,
            mask: len.wrapping_sub(1),
            shard_mask: shards.wrapping_sub(1),
            shift: u64::BITS
                .wrapping_sub(len.trailing_zeros())
                .min(u64::BITS - 1),
            is_wide,
            with_addresses: params::index_addresses(),
            hasher: Hasher::new(),
        })
    }

    /// Returns the number of shards.
    #[inline]
    pub(crate) fn shards(&self) -> u32 {
        self.shard_mask.wrapping_add(1)
    }

    /// Returns the shard of the entries that a CPU makes.
    #[inline]
    pub(crate) fn shard_of_cpu(&self, cpu: u32) -> u32 {
        cpu & self.shard_mask
    }

    /// Returns the shard of an entry: that of the CPU that made it, which does not change.
    #[inline]
    fn shard_of(&self, entry: &Entry) -> u32 {
        self.shard_of_cpu(entry.cpu())
    }

    /// Returns the list of a shard that keys with a hash are on, by the high bits of the hash.
    #[inline(always)]
    fn list(&self, hash: u64, shard: u32) -> ListId {
        // CAST: the shift leaves fewer than 32 bits.
        ListId(hash.wrapping_shr(self.shift) as u32 & !self.shard_mask | shard & self.shard_mask)
    }

    /// Returns the head of a list.
    #[inline(always)]
    fn head(&self, layout: impl Layout, kind: IndexKind, ListId(list): ListId) -> *mut u8 {
        let first = (kind as usize).wrapping_mul(u32_as_usize(self.mask).wrapping_add(1));
        let index = first.wrapping_add(u32_as_usize(list & self.mask));
        // In bounds by the mask, for the kinds that have lists.
        layout.head_at(self.heads.as_ptr(), index)
    }

    /// Locks a shard.
    #[inline(always)]
    fn lock<'a>(&'a self, shard: u32, bh: &'a BhDisabled) -> ShardGuard<'a> {
        self.locks.get(shard).lock_with(bh)
    }

    /// Returns the lists that an entry belongs to, by what does not change while it is on them.
    #[inline(always)]
    fn memberships(&self, entry: &Entry, shard: u32) -> Memberships {
        let hasher = self.hasher.in_net(entry.net());
        let zone = self.list(hasher.hash(&IndexKey::zone_of(entry)), shard);
        if !self.with_addresses {
            return Memberships {
                zone,
                ends: None,
                translated: None,
            };
        }
        let [source, destination] = IndexKey::ends_of(entry);
        let translated = IndexKey::translation_of(entry);
        Memberships {
            zone,
            ends: Some([
                self.list(hasher.hash(&source), shard),
                self.list(hasher.hash(&destination), shard),
            ]),
            translated: translated.map(|key| self.list(hasher.hash(&key), shard)),
        }
    }

    /// Puts an entry on its lists, unless it is confirmed. Returns the lock of its shard then, to
    /// be held until [`StatusBit::Confirmed`] is set: of several CPUs that confirm the entry, one
    /// gets it.
    ///
    /// # Safety
    ///
    /// The entry is no template, it is confirmed before the lock is given back, and it leaves the
    /// lists before it is freed.
    #[inline(never)]
    pub(super) unsafe fn join<'a>(
        &'a self,
        conn: &Conn,
        bh: &'a BhDisabled,
    ) -> Option<ShardGuard<'a>> {
        let shard = self.shard_of(conn);
        let on = self.memberships(conn, shard);
        let guard = self.lock(shard, bh);
        if conn.is_confirmed() {
            return None;
        }
        with_layout!(self.is_wide, layout => {
            let own = layout.handle(conn.address());
            // SAFETY: The lock is held. The entry is an object of the slab; as it was not
            // confirmed, it never was on a list.
            unsafe {
                self.put(layout, own, IndexKind::Zone, on.zone);
                if let Some([source, destination]) = on.ends {
                    self.put(layout, own, IndexKind::Source, source);
                    self.put(layout, own, IndexKind::Destination, destination);
                }
                if let Some(translated) = on.translated {
                    self.put(layout, own, IndexKind::Translated, translated);
                }
            }
        });
        Some(guard)
    }

    /// Takes an entry off its lists.
    ///
    /// # Safety
    ///
    /// The entry joined these lists, and has not left them.
    #[inline]
    pub(super) unsafe fn leave(&self, conn: &Conn, bh: &BhDisabled) {
        let shard = self.shard_of(conn);
        let on = self.memberships(conn, shard);
        let _guard = self.lock(shard, bh);
        with_layout!(self.is_wide, layout => {
            let own = layout.handle(conn.address());
            // SAFETY: The lock is held, and these are the lists that the entry joined.
            unsafe {
                self.take(layout, own, IndexKind::Zone, on.zone);
                if let Some([source, destination]) = on.ends {
                    self.take(layout, own, IndexKind::Source, source);
                    self.take(layout, own, IndexKind::Destination, destination);
                }
                if let Some(translated) = on.translated {
                    self.take(layout, own, IndexKind::Translated, translated);
                }
            }
        });
    }

    /// Returns the entry of the lowest rank among the newest ones on the list of a key in a shard,
    /// which may have other entries, too; and past how many objects it went, at most `limit`.
    ///
    /// The shard is locked: `rank` takes no lock. [`None`]: not this entry.
    pub(crate) fn lowest_of_newest<R: Ord>(
        &self,
        net: &Net,
        key: &IndexKey,
        shard: u32,
        limit: u32,
        rank: impl Fn(&Conn) -> Option<R>,
    ) -> (Option<(R, ARef<Conn>)>, u32) {
        let hash = self.hasher.in_net(net).hash(key);
        let (kind, list) = (key.kind(), self.list(hash, shard));
        let mut lowest: Option<(R, &Conn)> = None;
        with_layout!(self.is_wide, layout => {
            let look = |object| {
                let address = layout.address(object);
                // SAFETY: What is on the list and no cursor is an entry, to which the table holds a
                // reference until it left the list.
                let conn = unsafe { Conn::from_raw(with_exposed_provenance_mut(address)) };
                if let Some(rank) = rank(conn) {
                    if lowest.as_ref().is_none_or(|(lowest, _)| rank < *lowest) {
                        lowest = Some((rank, conn));
                    }
                }
            };
            let head = self.head(layout, kind, list);
            let bh = BhDisabled::new();
            let _guard = self.lock(shard, &bh);
            // SAFETY: The lock is held.
            let passed = unsafe { list::look_at_first(layout, head, kind, limit, look) };
            (lowest.map(|(rank, conn)| (rank, ARef::from(conn))), passed)
        })
    }

    /// Puts an object first.
    ///
    /// # Safety
    ///
    /// As for [`list::link_behind`].
    #[inline(always)]
    unsafe fn put(&self, layout: impl Layout, own: usize, kind: IndexKind, list: ListId) {
        // SAFETY: The caller's promise.
        unsafe { list::link_behind(layout, self.head(layout, kind, list), 0, kind, own, false) };
    }

    /// Takes an object off.
    ///
    /// # Safety
    ///
    /// As for [`list::unlink`].
    #[inline(always)]
    unsafe fn take(&self, layout: impl Layout, own: usize, kind: IndexKind, list: ListId) {
        // SAFETY: The caller's promise.
        unsafe { list::unlink(layout, self.head(layout, kind, list), kind, own) };
    }
}

/// The lock of a shard, held.
pub(super) type ShardGuard<'a> = SpinLockGuard<'a, CacheLine>;

impl Drop for ShardedLists {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the allocation belongs to this value. Entries have left,
        // and a cursor keeps the value.
        unsafe { bindings::kvfree(self.heads.as_ptr().cast()) };
    }
}

/// The most objects that are looked at while a lock is held.
const SLICE: u32 = 64;

/// What [`ListCursor::find`] found.
pub(crate) type Found = list::Found<ARef<Conn>>;

/// A cursor on a list.
///
/// # Invariants
///
/// `object` is an object of the slab that belongs to this value and never becomes an entry. It is
/// on the list that `on` names, and on none if that is [`None`].
pub(crate) struct ListCursor {
    lists: Arc<ShardedLists>,
    object: NonNull<bindings::nf_conn>,
    on: Option<On>,
}

/// The list that a cursor is on.
#[derive(Clone, Copy)]
struct On {
    kind: IndexKind,
    list: ListId,
    shard: u32,
}

// SAFETY: The object is used under the list's lock only.
unsafe impl Send for ListCursor {}

impl ListCursor {
    /// Makes a cursor that is on no list. May sleep.
    ///
    /// `ENOMEM`: no memory.
    pub(crate) fn new(lists: Arc<ShardedLists>) -> Result<Self> {
        // Readers under RCU may still look at the former entry: nothing of that is changed, but for
        // links that they do not follow.
        let object = slab::allocate_for_process().ok_or(ENOMEM)?;
        // INVARIANT: on none.
        Ok(Self {
            lists,
            object,
            on: None,
        })
    }

    /// Returns the lists.
    pub(crate) fn lists(&self) -> &ShardedLists {
        &self.lists
    }

    fn address(&self) -> usize {
        self.object.as_ptr().expose_provenance()
    }

    /// Goes to the beginning of the list of a key in a shard.
    pub(crate) fn enter(&mut self, net: &Net, key: &IndexKey, shard: u32) {
        self.leave();
        let hash = self.lists.hasher.in_net(net).hash(key);
        let (kind, list) = (key.kind(), self.lists.list(hash, shard));
        with_layout!(self.lists.is_wide, layout => {
            let head = self.lists.head(layout, kind, list);
            let own = layout.handle(self.address());
            let bh = BhDisabled::new();
            let _guard = self.lists.lock(shard, &bh);
            // SAFETY: The lock is held, and the object is on no list.
            unsafe { list::link_behind(layout, head, 0, kind, own, true) };
        });
        // INVARIANT: as just done.
        self.on = Some(On { kind, list, shard });
    }

    /// Returns whether the cursor is on a list.
    pub(crate) fn is_on_list(&self) -> bool {
        self.on.is_some()
    }

    /// Leaves the list that the cursor is on.
    pub(crate) fn leave(&mut self) {
        let Some(on) = self.on.take() else {
            return;
        };
        with_layout!(self.lists.is_wide, layout => {
            let head = self.lists.head(layout, on.kind, on.list);
            let own = layout.handle(self.address());
            let bh = BhDisabled::new();
            let _guard = self.lists.lock(on.shard, &bh);
            // SAFETY: The lock is held; by the type invariants the object was on that list.
            unsafe { list::unlink(layout, head, on.kind, own) };
        });
    }

    /// Moves on to the next entry that `wanted` chooses, and returns it. If that is `past`, it is
    /// left behind.
    ///
    /// Looks at a limited number of objects.
    pub(crate) fn find(&mut self, past: Option<&Conn>, wanted: impl Fn(&Conn) -> bool) -> Found {
        let Some(on) = self.on else {
            return Found::End;
        };
        with_layout!(self.lists.is_wide, layout => {
            let head = self.lists.head(layout, on.kind, on.list);
            let own = layout.handle(self.address());
            let past = past.map_or(0, |conn| layout.handle(conn.address()));
            let look = |object| {
                if object == past {
                    return None;
                }
                let address = layout.address(object);
                // SAFETY: What is on the list and no cursor is an entry, to which the table holds a
                // reference until it left the list.
                let conn = unsafe { Conn::from_raw(with_exposed_provenance_mut(address)) };
                wanted(conn).then(|| ARef::from(conn))
            };
            let bh = BhDisabled::new();
            let _guard = self.lists.lock(on.shard, &bh);
            // SAFETY: The lock is held; by the type invariants the object is on that list.
            unsafe { list::advance(layout, head, on.kind, own, SLICE, look) }
        })
    }
}

impl Drop for ListCursor {
    fn drop(&mut self) {
        self.leave();
        // SAFETY: By the type invariants the object belongs to this value, and is on no list.
        unsafe { slab::free(self.object) };
    }
}
