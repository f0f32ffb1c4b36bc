// SPDX-License-Identifier: GPL-2.0

//! Lists of entries that have something in common, beside the chains of the table: many of them,
//! each entry on a few.
//!
//! An entry is put first, and stays where it is until it leaves. A [`Place`] on a list stands
//! between two entries, as an object of its own, until it moves on. So a walk may rest for as long
//! as it likes without a lock: it meets every entry that was there when it began, and none twice,
//! whatever comes and goes meanwhile.
//!
//! The links are words of the entry, or behind it: see [`crate::nf::entry::object`].

use core::{
    mem::size_of,
    ptr::NonNull, //
};

use kernel::{
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
    types::Opaque, //
};

use crate::nf::{
    bindings,
    kernel::lock::BhDisabled, //
};

use super::{
    conn::Conn,
    object::{
        self,
        Far,
        Layout,
        Near,
        LISTED, //
    },
    slab, //
};

pub(crate) use crate::nf::entry::object::Link;

/// Evaluates an expression with the [`Layout`] that links have on this machine.
macro_rules! with_layout {
    ($lists:expr, $layout:ident => $expression:expr) => {
        if $lists.is_far {
            let $layout = Far::new();
            $expression
        } else {
            let $layout = Near::new();
            $expression
        }
    };
}

/// Puts an object where `at` leads, behind the object `behind`, or first, if that is 0. Its
/// number is marked if it belongs to a [`Place`].
///
/// # Safety
///
/// The lock of the list is held; `at` is its head, or the next half of `behind`, which is on it;
/// `own` is the address of an object that is on no list for that link.
#[inline]
unsafe fn link_in<L: Layout>(
    layout: L,
    at: *mut u8,
    behind: usize,
    link: Link,
    own: usize,
    is_place: bool,
) {
    let number = layout.number(own);
    // SAFETY: The caller's promise; what is on a list stays an object until it left.
    unsafe {
        let next = L::read(at);
        // The mark: see `Conn::saved`.
        layout.write_both(own, link, next, behind | L::MARK);
        let next = next & !L::MARK;
        if next != 0 {
            let next = layout.previous(layout.address(next), link);
            L::write(next, number | L::MARK);
        }
        L::write(at, if is_place { number | L::MARK } else { number });
    }
}

/// Takes an object off the list that `head` leads to.
///
/// # Safety
///
/// The lock of the list is held, and `own` is the address of an object that is on it.
#[inline]
unsafe fn unlink<L: Layout>(layout: L, head: *mut u8, link: Link, own: usize) {
    // SAFETY: The caller's promise; what is on a list stays an object until it left.
    unsafe {
        let next = L::read(layout.next(own, link));
        let previous = L::read(layout.previous(own, link));
        let at = if previous == L::MARK {
            head
        } else {
            layout.next(layout.address(previous & !L::MARK), link)
        };
        L::write(at, next);
        let next = next & !L::MARK;
        if next != 0 {
            L::write(layout.previous(layout.address(next), link), previous);
        }
    }
}

/// The lock of a piece of all lists. Alone on its line of the cache.
#[repr(C, align(64))]
struct Lock(Opaque<bindings::spinlock_t>);

/// A list of those for a link.
#[derive(Clone, Copy)]
pub(crate) struct Number(u32);

/// The lists that an entry is on.
#[derive(Clone, Copy)]
pub(crate) struct Memberships {
    /// That of its namespace and zone.
    pub(crate) zone: Number,
    /// Those of its source and its destination.
    pub(crate) ends: Option<[Number; 2]>,
    /// That of what it is translated to.
    pub(crate) translated: Option<Number>,
}

impl Memberships {
    /// Calls `act` for each of them.
    #[inline(always)]
    fn each(&self, mut act: impl FnMut(Link, Number)) {
        act(Link::Zone, self.zone);
        if let Some([source, destination]) = self.ends {
            act(Link::Source, source);
            act(Link::Destination, destination);
        }
        if let Some(translated) = self.translated {
            act(Link::Translated, translated);
        }
    }
}

/// The lists, as many for each [`Link`]. They are in pieces, each of which has one lock.
///
/// # Invariants
///
/// `heads` points to the heads of `LISTED * (mask + 1)` lists, `locks` to `shard_mask + 1`
/// initialised locks; both belong to this value. Both masks are powers of two less one. The low
/// bits of a list's number are that of its piece. An entry on a list has a reference for that,
/// which is given back after it left.
pub(crate) struct Lists {
    heads: NonNull<u8>,
    locks: NonNull<Lock>,
    mask: u32,
    shard_mask: u32,
    /// By which a hash is shifted to leave as many bits as `mask` has.
    shift: u32,
    is_far: bool,
}

// SAFETY: The pointers own their targets, which are made to be shared.
unsafe impl Send for Lists {}
// SAFETY: As above; all access is under the locks.
unsafe impl Sync for Lists {}

impl Lists {
    /// Allocates at least `len` empty lists for each link, in at least `shards` pieces. May sleep.
    pub(crate) fn new(len: u32, shards: u32) -> Result<Self> {
        let shards = shards.checked_next_power_of_two().ok_or(ENOMEM)?;
        let len = len.max(shards).checked_next_power_of_two().ok_or(ENOMEM)?;
        let is_far = object::is_far();
        let half = if is_far { Far::HALF } else { Near::HALF };
        let allocate = |count: usize, size: usize| {
            let bytes = count.checked_mul(size)?;
            // SAFETY: Process context. Zeroed, a list is empty.
            NonNull::new(unsafe { bindings::rct_kvzalloc(bytes) })
        };
        let all = LISTED.checked_mul(len as usize).ok_or(ENOMEM)?;
        let heads = allocate(all, half).ok_or(ENOMEM)?;
        let Some(locks) = allocate(shards as usize, size_of::<Lock>()) else {
            // SAFETY: Allocated above; nobody knows of them.
            unsafe { bindings::kvfree(heads.as_ptr()) };
            return Err(ENOMEM);
        };
        // INVARIANT: as just made; the locks are initialised below.
        let lists = Self {
            heads: heads.cast(),
            locks: locks.cast(),
            mask: len.wrapping_sub(1),
            shard_mask: shards.wrapping_sub(1),
            shift: u64::BITS
                .wrapping_sub(len.trailing_zeros())
                .min(u64::BITS - 1),
            is_far,
        };
        for shard in 0..shards {
            // SAFETY: Not in use yet.
            unsafe { bindings::rct_spin_lock_init_links(lists.lock_of(shard)) };
        }
        Ok(lists)
    }

    /// In how many pieces the lists are.
    #[inline]
    pub(crate) fn shards(&self) -> u32 {
        self.shard_mask.wrapping_add(1)
    }

    /// The piece that an entry is in: that of the processor that made it.
    #[inline]
    pub(crate) fn shard_of(&self, conn: &Conn) -> u32 {
        conn.cpu() & self.shard_mask
    }

    /// A list of a piece, by the high bits of `hash`.
    #[inline]
    pub(crate) fn number(&self, hash: u64, shard: u32) -> Number {
        // CAST: the shift leaves fewer than 32 bits.
        Number(hash.wrapping_shr(self.shift) as u32 & !self.shard_mask | shard)
    }

    /// What leads to the first object of a list.
    #[inline]
    fn head<L: Layout>(&self, _layout: L, link: Link, Number(number): Number) -> *mut u8 {
        let first = (link as usize).wrapping_mul((self.mask as usize).wrapping_add(1));
        let index = first.wrapping_add((number & self.mask) as usize);
        // SAFETY: In bounds by the mask, for the links that have lists.
        unsafe { self.heads.as_ptr().add(index.wrapping_mul(L::HALF)) }
    }

    #[inline]
    fn lock_of(&self, shard: u32) -> *mut bindings::spinlock_t {
        let index = (shard & self.shard_mask) as usize;
        // SAFETY: In bounds by the mask.
        unsafe { self.locks.as_ptr().add(index).cast() }
    }

    /// Runs `f` with the lock of one piece held.
    #[inline]
    fn locked<R>(&self, shard: u32, _bh: &BhDisabled, f: impl FnOnce() -> R) -> R {
        let lock = self.lock_of(shard);
        // SAFETY: Initialised with the lists; bottom halves are off.
        unsafe { bindings::rct_spin_lock(lock) };
        let result = f();
        // SAFETY: Taken above.
        unsafe { bindings::rct_spin_unlock(lock) };
        result
    }

    /// Puts an entry on lists of a piece, where it stays until it [leaves](Self::leave), which is
    /// before the reference is given back that keeps it there.
    #[inline(always)]
    pub(crate) fn join(&self, conn: &Conn, shard: u32, on: &Memberships, bh: &BhDisabled) {
        with_layout!(self, layout => self.on_each(layout, shard, on, bh, |head, link| {
            // SAFETY: The lock is held; the entry is an object of the slab, not a template, and
            // the caller sees to it that it is on no such list.
            unsafe { link_in(layout, head, 0, link, conn.address(), false) };
        }));
    }

    /// Takes an entry off the lists that it was put on.
    #[inline(always)]
    pub(crate) fn leave(&self, conn: &Conn, shard: u32, on: &Memberships, bh: &BhDisabled) {
        with_layout!(self, layout => self.on_each(layout, shard, on, bh, |head, link| {
            // SAFETY: The lock is held, and the caller has put the entry there.
            unsafe { unlink(layout, head, link, conn.address()) };
        }));
    }

    /// Runs `act` for what leads to each list, with their lock held.
    #[inline(always)]
    fn on_each<L: Layout>(
        &self,
        layout: L,
        shard: u32,
        on: &Memberships,
        bh: &BhDisabled,
        act: impl Fn(*mut u8, Link),
    ) {
        self.locked(shard, bh, || {
            on.each(|link, number| act(self.head(layout, link, number), link));
        });
    }
}

impl Drop for Lists {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the allocations are ours. Entries have left, and a
        // place keeps them.
        unsafe {
            bindings::kvfree(self.heads.as_ptr().cast());
            bindings::kvfree(self.locks.as_ptr().cast());
        }
    }
}

/// As many objects are looked at with a lock held.
const SLICE: u32 = 64;

/// What [`Place::find`] found.
pub(crate) enum Found {
    /// This one; the place is in front of it.
    Entry(ARef<Conn>),
    /// None so far.
    More,
    /// None up to the end of the list.
    End,
}

/// A place on a list.
///
/// # Invariants
///
/// `object` is an object of the slab that belongs to this value and never becomes an entry. It
/// is on the list that `on` says, and on none if that is [`None`].
pub(crate) struct Place {
    lists: Arc<Lists>,
    object: NonNull<bindings::nf_conn>,
    on: Option<On>,
}

/// The list that a place is on.
#[derive(Clone, Copy)]
struct On {
    link: Link,
    number: Number,
    shard: u32,
}

// SAFETY: The object is used under the list's lock only.
unsafe impl Send for Place {}

impl Place {
    /// On no list. `ENOMEM`: no memory.
    pub(crate) fn new(lists: Arc<Lists>) -> Result<Self> {
        // Readers under RCU may still look at the former entry: nothing of that is changed, but
        // for its links, which they do not follow.
        let object = slab::allocate().ok_or(ENOMEM)?;
        // INVARIANT: on none.
        Ok(Self {
            lists,
            object,
            on: None,
        })
    }

    /// The lists.
    pub(crate) fn lists(&self) -> &Lists {
        &self.lists
    }

    fn address(&self) -> usize {
        self.object.as_ptr() as usize
    }

    /// Goes to the beginning of a list of a piece.
    pub(crate) fn enter(&mut self, link: Link, number: Number, shard: u32) {
        self.quit();
        with_layout!(self.lists, layout => {
            let head = self.lists.head(layout, link, number);
            // SAFETY: The lock is held, and the object is on no list.
            self.lists.locked(shard, &BhDisabled::new(), || unsafe {
                link_in(layout, head, 0, link, self.address(), true);
            });
        });
        // INVARIANT: as just done.
        self.on = Some(On {
            link,
            number,
            shard,
        });
    }

    /// Whether it is on a list.
    pub(crate) fn is_on_list(&self) -> bool {
        self.on.is_some()
    }

    /// Leaves its list.
    pub(crate) fn quit(&mut self) {
        let Some(on) = self.on.take() else {
            return;
        };
        with_layout!(self.lists, layout => {
            let head = self.lists.head(layout, on.link, on.number);
            // SAFETY: The lock is held; by the type invariants the object was on that list.
            self.lists.locked(on.shard, &BhDisabled::new(), || unsafe {
                unlink(layout, head, on.link, self.address());
            });
        });
    }

    /// The next entry behind the place that `wanted` says, but not `past`, if that is the first.
    ///
    /// Looks at a number of objects that is bounded.
    pub(crate) fn find(&mut self, past: Option<&Conn>, wanted: impl Fn(&Conn) -> bool) -> Found {
        let Some(on) = self.on else {
            return Found::End;
        };
        with_layout!(self.lists, layout => self.find_as(layout, on, past, wanted))
    }

    fn find_as<L: Layout>(
        &self,
        layout: L,
        on: On,
        past: Option<&Conn>,
        wanted: impl Fn(&Conn) -> bool,
    ) -> Found {
        let head = self.lists.head(layout, on.link, on.number);
        let (own, link) = (self.address(), on.link);
        let past = past.map_or(0, |conn| layout.number(conn.address()));
        self.lists.locked(on.shard, &BhDisabled::new(), || {
            let mut at = own;
            let mut found = Found::More;
            for _ in 0..SLICE {
                // SAFETY: On this list, whose lock is held.
                let next = unsafe { L::read(layout.next(at, link)) };
                if next == 0 {
                    found = Found::End;
                    break;
                }
                let address = layout.address(next & !L::MARK);
                if next & L::MARK == 0 && next != past {
                    // SAFETY: What is on the list without a mark is an entry, to which the list
                    // has a reference.
                    let conn = unsafe { Conn::from_raw(address as *mut bindings::nf_conn) };
                    if wanted(conn) {
                        found = Found::Entry(ARef::from(conn));
                        break;
                    }
                }
                at = address;
            }
            if at != own {
                // SAFETY: Both are on this list, whose lock is held; our object goes from one
                // place on it to another.
                unsafe {
                    unlink(layout, head, link, own);
                    let behind = layout.next(at, link);
                    link_in(layout, behind, layout.number(at), link, own, true);
                }
            }
            found
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.quit();
        // SAFETY: By the type invariants the object is ours, and on no list any more.
        unsafe { slab::release(self.object) };
    }
}
