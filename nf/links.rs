// SPDX-License-Identifier: GPL-2.0

//! Lists of entries that have something in common, beside the chains of the table: many of them,
//! each entry on a few.
//!
//! An entry is put first, and stays where it is until it leaves. A [`Place`] on a list stands
//! between two entries, as an object of its own, until it moves on. So a walk may rest for as long
//! as it likes without a lock: it meets every entry that was there when it began, and none twice,
//! whatever comes and goes meanwhile.
//!
//! The links are words of the entry, or behind it: see [`super::object`].

use kernel::{
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
    types::Opaque, //
};

use core::{
    mem::size_of,
    ptr::NonNull, //
};

use super::{
    bindings,
    conn::Conn,
    lock::BhDisabled,
    object::{
        self,
        Far,
        Layout,
        Near,
        LISTED, //
    },
    slab, //
};

pub(crate) use super::object::Link;

/// Puts an object where `at` leads, behind the object `behind`, or first, if that is 0. `mark` is
/// [`Layout::MARK`] for a [`Place`], else 0.
///
/// # Safety
///
/// The lock of the list is held; `at` is its head, or the next half of `behind`, which is on it;
/// the object is on no list for that link.
#[inline]
unsafe fn link_in<L: Layout>(at: *mut u8, behind: usize, link: Link, number: usize, mark: usize) {
    // SAFETY: The caller's promise; what is on a list stays an object until it left.
    unsafe {
        let next = L::read(at);
        L::write(object::next::<L>(number, link), next);
        // The mark: see `Conn::saved`.
        L::write(object::previous::<L>(number, link), behind | L::MARK);
        if next & !L::MARK != 0 {
            L::write(
                object::previous::<L>(next & !L::MARK, link),
                number | L::MARK,
            );
        }
        L::write(at, number | mark);
    }
}

/// Takes an object off the list that `head` leads to.
///
/// # Safety
///
/// The lock of the list is held, and the object is on it.
#[inline]
unsafe fn unlink<L: Layout>(head: *mut u8, link: Link, number: usize) {
    // SAFETY: The caller's promise; what is on a list stays an object until it left.
    unsafe {
        let next = L::read(object::next::<L>(number, link));
        let previous = L::read(object::previous::<L>(number, link));
        let at = if previous == L::MARK {
            head
        } else {
            object::next::<L>(previous & !L::MARK, link)
        };
        L::write(at, next);
        if next & !L::MARK != 0 {
            L::write(object::previous::<L>(next & !L::MARK, link), previous);
        }
    }
}

/// The lock of a piece of all lists. Alone on its line of the cache.
#[repr(C, align(64))]
struct Lock(Opaque<bindings::spinlock_t>);

/// The lists, as many for each [`Link`]. They are in pieces, by the low bits of their numbers,
/// each of which has one lock.
///
/// # Invariants
///
/// `heads` points to the heads of `LISTED * len` lists, `locks` to `shards` initialised locks;
/// both belong to this value. `len` and `shards` are powers of two, the latter not larger. An
/// entry on a list has a reference for that, which is given back after it left.
pub(crate) struct Lists {
    heads: NonNull<u8>,
    locks: NonNull<Lock>,
    len: u32,
    shards: u32,
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
        let locks = locks.cast::<Lock>();
        for index in 0..shards as usize {
            // SAFETY: In bounds, and not in use yet.
            unsafe { bindings::rct_spin_lock_init_links(locks.as_ptr().add(index).cast()) };
        }
        // INVARIANT: as just made.
        Ok(Self {
            heads: heads.cast(),
            locks,
            len,
            shards,
            is_far,
        })
    }

    /// In how many pieces the lists are.
    #[inline]
    pub(crate) fn shards(&self) -> u32 {
        self.shards
    }

    /// What leads to the first object of a list.
    #[inline]
    fn head<L: Layout>(&self, link: Link, number: u32) -> *mut u8 {
        let first = (link as usize).wrapping_mul(self.len as usize);
        let index = first.wrapping_add((number & self.len.wrapping_sub(1)) as usize);
        // SAFETY: In bounds by the mask, for the links that have lists.
        unsafe { self.heads.as_ptr().add(index.wrapping_mul(L::HALF)) }
    }

    /// Runs `f` with the lock of one piece of all lists held.
    #[inline]
    pub(crate) fn locked<R>(
        &self,
        shard: u32,
        _bh: &BhDisabled,
        f: impl FnOnce(&Piece<'_>) -> R,
    ) -> R {
        let index = (shard & self.shards.wrapping_sub(1)) as usize;
        // SAFETY: In bounds by the mask.
        let lock = unsafe { self.locks.as_ptr().add(index) };
        // SAFETY: Initialised with the lists; bottom halves are off.
        unsafe { bindings::rct_spin_lock(lock.cast()) };
        let result = f(&Piece(self));
        // SAFETY: Taken above.
        unsafe { bindings::rct_spin_unlock(lock.cast()) };
        result
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

/// One piece of all lists, whose lock is held.
pub(crate) struct Piece<'a>(&'a Lists);

impl Piece<'_> {
    /// Puts an entry on a list, where it stays until it [leaves](Self::leave), which is before
    /// the reference is given back that keeps it there. The list belongs to this piece.
    #[inline]
    pub(crate) fn join(&self, link: Link, number: u32, conn: &Conn) {
        if self.0.is_far {
            self.join_as::<Far>(link, number, conn);
        } else {
            self.join_as::<Near>(link, number, conn);
        }
    }

    #[inline]
    fn join_as<L: Layout>(&self, link: Link, number: u32, conn: &Conn) {
        let head = self.0.head::<L>(link, number);
        // SAFETY: The lock is held; the entry is an object of the slab, not a template, and the
        // caller sees to it that it is on no such list.
        unsafe { link_in::<L>(head, 0, link, L::number(conn.address()), 0) };
    }

    /// Takes an entry off the list that it was put on.
    #[inline]
    pub(crate) fn leave(&self, link: Link, number: u32, conn: &Conn) {
        if self.0.is_far {
            self.leave_as::<Far>(link, number, conn);
        } else {
            self.leave_as::<Near>(link, number, conn);
        }
    }

    #[inline]
    fn leave_as<L: Layout>(&self, link: Link, number: u32, conn: &Conn) {
        let head = self.0.head::<L>(link, number);
        // SAFETY: The lock is held, and the caller has put the entry there.
        unsafe { unlink::<L>(head, link, L::number(conn.address())) };
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
    on: Option<(Link, u32)>,
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

    fn number<L: Layout>(&self) -> usize {
        L::number(self.object.as_ptr() as usize)
    }

    /// Goes to the beginning of a list.
    pub(crate) fn enter(&mut self, link: Link, number: u32) {
        self.quit();
        if self.lists.is_far {
            self.enter_as::<Far>(link, number);
        } else {
            self.enter_as::<Near>(link, number);
        }
        // INVARIANT: as just done.
        self.on = Some((link, number));
    }

    fn enter_as<L: Layout>(&self, link: Link, number: u32) {
        let head = self.lists.head::<L>(link, number);
        // SAFETY: The lock is held, and the object is on no list.
        self.lists.locked(number, &BhDisabled::new(), |_| unsafe {
            link_in::<L>(head, 0, link, self.number::<L>(), L::MARK);
        });
    }

    /// Whether it is on a list.
    pub(crate) fn is_on_list(&self) -> bool {
        self.on.is_some()
    }

    /// Leaves its list.
    pub(crate) fn quit(&mut self) {
        if let Some((link, number)) = self.on.take() {
            if self.lists.is_far {
                self.quit_as::<Far>(link, number);
            } else {
                self.quit_as::<Near>(link, number);
            }
        }
    }

    fn quit_as<L: Layout>(&self, link: Link, number: u32) {
        let head = self.lists.head::<L>(link, number);
        // SAFETY: The lock is held, and the caller says that the object is on that list.
        self.lists.locked(number, &BhDisabled::new(), |_| unsafe {
            unlink::<L>(head, link, self.number::<L>());
        });
    }

    /// The next entry behind the place that `wanted` says, but not `past`, if that is the first.
    ///
    /// Looks at a number of objects that is bounded.
    pub(crate) fn find(&mut self, past: Option<&Conn>, wanted: impl Fn(&Conn) -> bool) -> Found {
        match self.on {
            None => Found::End,
            Some((link, number)) if self.lists.is_far => {
                self.find_as::<Far>(link, number, past, wanted)
            }
            Some((link, number)) => self.find_as::<Near>(link, number, past, wanted),
        }
    }

    fn find_as<L: Layout>(
        &self,
        link: Link,
        number: u32,
        past: Option<&Conn>,
        wanted: impl Fn(&Conn) -> bool,
    ) -> Found {
        let head = self.lists.head::<L>(link, number);
        let own = self.number::<L>();
        let past = past.map_or(0, |conn| L::number(conn.address()));
        self.lists.locked(number, &BhDisabled::new(), |_| {
            let mut at = own;
            let mut found = Found::More;
            for _ in 0..SLICE {
                // SAFETY: On this list, whose lock is held.
                let next = unsafe { L::read(object::next::<L>(at, link)) };
                if next == 0 {
                    found = Found::End;
                    break;
                }
                if next & L::MARK == 0 && next != past {
                    let address = L::address(next);
                    // SAFETY: What is on the list without a mark is an entry, to which the list
                    // has a reference.
                    let conn = unsafe { Conn::from_raw(address as *mut bindings::nf_conn) };
                    if wanted(conn) {
                        found = Found::Entry(ARef::from(conn));
                        break;
                    }
                }
                at = next & !L::MARK;
            }
            if at != own {
                // SAFETY: Both are on this list, whose lock is held; our object goes from one
                // place on it to another.
                unsafe {
                    unlink::<L>(head, link, own);
                    link_in::<L>(object::next::<L>(at, link), at, link, own, L::MARK);
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
