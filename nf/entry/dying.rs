// SPDX-License-Identifier: GPL-2.0

//! The dying list of a namespace: entries that left the table and whose destroy event could not be
//! sent yet.
//!
//! Entries leave it in the order in which they came. Only the holder of the oldest one ([`Oldest`])
//! takes an entry off, so that one CPU at a time sends its event. A walk ([`DyingList::next`]) goes
//! from the newest entry to the oldest one, and looks at a limited number of entries each time that
//! it holds the lock.
//!
//! Entries are linked by [`IndexKind::Zone`], whose list they have left. Readers of the table do
//! not follow that link, so a reader that still stands on such an entry does not stray to this
//! list.

use core::{
    ops::Deref,
    ptr::{
        with_exposed_provenance_mut,
        NonNull, //
    },
};

use kernel::sync::{
    aref::ARef,
    atomic::{
        Acquire,
        Atomic,
        AtomicType,
        Relaxed,
        Release, //
    },
};

use crate::{
    nf::kernel::{
        lock::BhDisabled,
        pernet::Counter,
        static_lock::ZeroedSpinLock, //
    },
    proto::types::direction::Direction, //
};

use super::{
    conn::{
        Conn,
        Entry, //
    },
    intrusive::{
        layout::MemoryLayout,
        queue::{
            self,
            Ends, //
        },
    },
    object::{
        self,
        with_layout,
        IndexKind, //
    },
    pair::Removed, //
};

/// The link of entries on a dying list.
const LINK: IndexKind = IndexKind::Zone;

/// The greatest number of entries that are looked at while the lock is held.
const SLICE: u32 = 64;

/// Set in the word of an entry that names its list; reservations have it clear.
const NAMED: u64 = 1 << 63;

/// The word of an entry that has left its list: a name that no list has.
const GONE: u64 = u64::MAX;

/// The number of lists that have a name.
static LISTS: Atomic<u64> = Atomic::new(0);

/// A list of dying entries. The all-zero value is an empty list.
///
/// # Invariants
///
/// `lock` guards `newest` and `oldest`, which are handles of entries on the list, or 0. The list
/// holds a reference to every entry on it. `name` is 0 until the list has had an entry, and then a
/// number that no other list ever has; the spare word of an entry on the list has it. An entry
/// leaves the list by [`Oldest::remove`] alone; there is one [`Oldest`] while `is_taken` is not 0.
#[derive(pin_init::Zeroable)]
pub(crate) struct DyingList {
    lock: ZeroedSpinLock,
    is_taken: Counter,
    name: Word<u64>,
    newest: Word<usize>,
    oldest: Word<usize>,
}

/// A number that starts at zero.
#[repr(transparent)]
struct Word<T: AtomicType>(Atomic<T>);

// SAFETY: Zero is a valid number; the type is transparent.
unsafe impl pin_init::Zeroable for Word<u64> {}
// SAFETY: As above.
unsafe impl pin_init::Zeroable for Word<usize> {}

/// Returns the word of an entry that names the dying list on which it is. The word is a link of a
/// list that the entry has left, see [`object`].
fn name_of(entry: &Entry) -> &Atomic<u64> {
    entry.pprev_word(Direction::Original)
}

impl DyingList {
    /// Gives the list a name, unless it has one. The lock is held.
    fn set_name(&self) -> u64 {
        let name = self.name.0.load(Relaxed);
        if name != 0 {
            return name;
        }
        let name = LISTS.fetch_add(1, Relaxed) | NAMED;
        self.name.0.store(name, Relaxed);
        name
    }

    fn ends(&self) -> Ends {
        Ends {
            newest: self.newest.0.load(Relaxed),
            oldest: self.oldest.0.load(Relaxed),
        }
    }

    fn set_ends(&self, Ends { newest, oldest }: Ends) {
        self.newest.0.store(newest, Relaxed);
        self.oldest.0.store(oldest, Relaxed);
    }

    /// Returns whether the list is empty.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.oldest.0.load(Relaxed) == 0
    }

    /// Puts an entry on the list, as the newest one.
    pub(crate) fn push(&self, removed: Removed) {
        let conn = removed.into_raw();
        // SAFETY: `removed` had a reference, which passes to the list.
        let entry = unsafe { conn.as_ref() };
        with_layout!(object::is_wide(), layout => {
            let own = layout.handle(entry.address());
            let _guard = self.lock.lock();
            name_of(entry).store(self.set_name(), Relaxed);
            let mut ends = self.ends();
            // SAFETY: The lock is held. By the invariants of `Removed` the entry has left the list
            // that the link is for, and is on no dying list.
            unsafe { ends.push(layout, LINK, own) };
            self.set_ends(ends);
        });
    }

    /// Returns the oldest entry, which stays on the list. [`None`]: there is none, or another CPU
    /// has it.
    ///
    /// `bh` keeps the holder on its CPU, so that others do not find the entry taken for long.
    pub(crate) fn oldest<'a>(&'a self, bh: &'a BhDisabled) -> Option<Oldest<'a>> {
        if self.is_taken.cmpxchg(0, 1, Acquire).is_err() {
            return None;
        }
        let guard = self.lock.lock();
        let oldest = self.oldest.0.load(Relaxed);
        drop(guard);
        if oldest == 0 {
            self.is_taken.store(0, Release);
            return None;
        }
        let address = with_layout!(object::is_wide(), layout => layout.address(oldest));
        // INVARIANT: the flag was just set.
        Some(Oldest {
            list: self,
            // SAFETY: The list holds a reference to the entry, and only the value that is made here
            // takes it off.
            conn: unsafe { Conn::from_raw(with_exposed_provenance_mut(address)) },
            _bh: bh,
        })
    }

    /// Returns the next older entry than that of a former step, or the newest one, if `which`
    /// chooses it.
    pub(crate) fn next(&self, after: Option<&Position>, which: impl Fn(&Conn) -> bool) -> WalkStep {
        with_layout!(object::is_wide(), layout => {
            let _guard = self.lock.lock();
            let mut next = match after {
                None => self.newest.0.load(Relaxed),
                Some(Position(conn)) => {
                    // The entry has gone, and all older ones have gone before it.
                    if name_of(conn).load(Relaxed) != self.name.0.load(Relaxed) {
                        return WalkStep::End;
                    }
                    // SAFETY: The lock is held, and the entry is on this list.
                    unsafe { queue::older(layout, LINK, layout.handle(conn.address())) }
                }
            };
            let mut passed = None;
            for _ in 0..SLICE {
                if next == 0 {
                    return WalkStep::End;
                }
                let address = layout.address(next);
                // SAFETY: The list, which does not change, holds a reference to the entry.
                let conn = unsafe { Conn::from_raw(with_exposed_provenance_mut(address)) };
                if which(conn) {
                    return WalkStep::Found(Position(ARef::from(conn)));
                }
                passed = Some(conn);
                // SAFETY: The lock is held, and the entry is on this list.
                next = unsafe { queue::older(layout, LINK, next) };
            }
            passed.map_or(WalkStep::End, |conn| WalkStep::Passed(Position(ARef::from(conn))))
        })
    }
}

/// The oldest entry of a list. It stays on the list, unless it is [removed](Oldest::remove).
///
/// # Invariants
///
/// The list's `is_taken` was set for this value. `conn` is the oldest entry of the list.
pub(crate) struct Oldest<'a> {
    list: &'a DyingList,
    conn: &'a Conn,
    _bh: &'a BhDisabled,
}

impl Oldest<'_> {
    /// Takes the entry off the list.
    pub(crate) fn remove(self) -> Removed {
        let list = self.list;
        let guard = list.lock.lock();
        name_of(self.conn).store(GONE, Relaxed);
        let mut ends = list.ends();
        // SAFETY: The lock is held.
        with_layout!(object::is_wide(), layout => unsafe { ends.pop(layout, LINK) });
        list.set_ends(ends);
        drop(guard);
        // SAFETY: By the type invariants the entry was the oldest one: it is on no list any more,
        // and the reference of the list is passed on.
        unsafe { Removed::from_raw(NonNull::from(self.conn)) }
    }
}

impl Deref for Oldest<'_> {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        self.conn
    }
}

impl Drop for Oldest<'_> {
    fn drop(&mut self) {
        self.list.is_taken.store(0, Release);
    }
}

/// A place on a list: an entry that was there when a walk came to it.
pub(crate) struct Position(ARef<Conn>);

impl Deref for Position {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.0
    }
}

/// A step of a walk.
pub(crate) enum WalkStep {
    /// An entry that was looked for.
    Found(Position),
    /// None of the entries up to this one; the walk goes on from there.
    Passed(Position),
    /// There are no more entries.
    End,
}
