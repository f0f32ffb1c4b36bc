// SPDX-License-Identifier: GPL-2.0

//! Entries by their source, for NAT: a table of chains through [`IndexKind::BySource`]
//! ([`super::intrusive::source`]).
//!
//! An entry leaves its chain when it is freed, not a grace period before. A reader that stands on
//! it then may go on along another chain: it may miss entries, and never finds a wrong one, as it
//! takes a reference before it compares.

use core::ptr::{
    with_exposed_provenance_mut,
    NonNull, //
};

use kernel::{
    prelude::*,
    static_lock_class,
    sync::atomic::{
        Atomic,
        Full, //
    },
};

use crate::{
    nf::{
        bindings,
        kernel::{
            lock::LockArray,
            net::Net,
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
        Entry,
        StatusBit, //
    },
    index_keys::{
        Hasher,
        SourceKey, //
    },
    intrusive::{
        layout::{
            LinkLayout,
            MemoryLayout, //
        },
        source, //
    },
    object::{
        self,
        with_layout,
        Compact,
        IndexKind,
        Wide, //
    },
    stale::Stale, //
};

/// The number of locks. Chains share them, by their low bits.
const LOCKS: u32 = 256;

const KIND: IndexKind = IndexKind::BySource;

/// The table.
///
/// # Invariants
///
/// `heads` points to `len` heads that belong to this value; a chain changes under its lock. There
/// is only one value of this type that entries are put into.
pub(crate) struct SourceTable {
    heads: NonNull<u8>,
    len: u32,
    locks: LockArray,
    hasher: Hasher,
}

// SAFETY: The pointer owns its target, which is made to be shared.
unsafe impl Send for SourceTable {}
// SAFETY: As above; changes need a lock.
unsafe impl Sync for SourceTable {}

/// Whether a [`SourceTable`] was made since the module was loaded.
static MADE: Atomic<bool> = Atomic::new(false);

impl SourceTable {
    /// Makes a table of `len` empty chains. May sleep.
    ///
    /// `ENOMEM`: no memory. `EBUSY`: it was called before.
    pub(crate) fn new(len: u32) -> Result<Self> {
        let len = len.max(1);
        let half = if object::is_wide() {
            Wide::HALF
        } else {
            Compact::HALF
        };
        if MADE.xchg(true, Full) {
            return Err(EBUSY);
        }
        let locks = LockArray::new(LOCKS, c"by source", static_lock_class!())?;
        let bytes = half.checked_mul(u32_as_usize(len)).ok_or(ENOMEM)?;
        // SAFETY: Process context.
        let heads = NonNull::new(unsafe { bindings::rct_kvzalloc(bytes) }).ok_or(ENOMEM)?;
        // INVARIANT: as just made; a zeroed head is that of an empty chain.
        Ok(Self {
            heads: heads.cast(),
            len,
            locks,
            hasher: Hasher::new(),
        })
    }

    /// Returns the chain of a source in a namespace.
    fn chain(&self, net: &Net, source: &SourceKey) -> u32 {
        let hash = self.hasher.in_net(net).hash_source(source) >> 32;
        // CAST: below `len`.
        (hash.wrapping_mul(self.len.into()) >> 32) as u32
    }

    fn head(&self, layout: impl MemoryLayout, chain: u32) -> *mut u8 {
        let chain = if chain < self.len { chain } else { 0 };
        layout.head_at(self.heads.as_ptr(), u32_as_usize(chain))
    }

    /// Puts an entry on the chain of its source and sets [`StatusBit::SrcNatDone`], unless that is
    /// set. The entry stays there until it is freed.
    pub(crate) fn insert(&self, entry: &Entry) {
        if entry.has(StatusBit::Template) {
            return;
        }
        let chain = self.chain(entry.net(), &SourceKey::of(entry));
        with_layout!(object::is_wide(), layout => {
            let head = self.head(layout, chain);
            let own = layout.handle(entry.address());
            let _guard = self.locks.get(chain).lock();
            // The chain follows from what does not change, so every CPU holds this lock here.
            if entry.has(StatusBit::SrcNatDone) {
                return;
            }
            // SAFETY: The chain's lock is held. The entry is an object of the slab; as the bit was
            // not set, it never was on a chain.
            unsafe { source::insert(layout, head, KIND, own) };
            entry.set_table_bit(StatusBit::SrcNatDone);
        });
    }

    /// Takes an entry off its chain, if it is on it.
    pub(crate) fn remove(&self, entry: &Entry) {
        if !entry.has(StatusBit::SrcNatDone) {
            return;
        }
        let chain = self.chain(entry.net(), &SourceKey::of(entry));
        with_layout!(object::is_wide(), layout => {
            let head = self.head(layout, chain);
            let own = layout.handle(entry.address());
            let _guard = self.locks.get(chain).lock();
            // SAFETY: The chain's lock is held. As the bit is set, the entry was put on this chain.
            unsafe { source::remove(layout, head, KIND, own) };
        });
    }

    /// Walks over the entries with a source, and over those of other sources with the same hash.
    /// The newest come first.
    pub(crate) fn walk<'r>(
        &'r self,
        net: &Net,
        source: &SourceKey,
        rcu: Rcu<'r>,
    ) -> impl Iterator<Item = Stale<'r>> + 'r {
        let chain = self.chain(net, source);
        let is_wide = object::is_wide();
        let mut address = with_layout!(is_wide, layout => {
            // SAFETY: The head of a chain.
            unsafe { follow(layout, self.head(layout, chain)) }
        });
        core::iter::from_fn(move || {
            let conn = NonNull::new(with_exposed_provenance_mut(address))?;
            address = with_layout!(is_wide, layout => {
                // SAFETY: What was on a chain during the section is an object of the slab until the
                // section ends: the link of one that was freed leads to one that is, or was, on a
                // chain.
                unsafe { follow(layout, layout.next(layout.handle(address), KIND)) }
            });
            // SAFETY: As above.
            Some(unsafe { Stale::new(conn, Direction::Original, rcu) })
        })
    }
}

/// Returns whether an entry is on a chain.
pub(super) fn is_linked(entry: &Entry) -> bool {
    entry.has(StatusBit::SrcNatDone)
        && with_layout!(object::is_wide(), layout => {
            // SAFETY: As the bit is set, the entry was put on a chain.
            unsafe { source::is_linked(layout, KIND, layout.handle(entry.address())) }
        })
}

/// Returns the address of the object that a half leads to, or 0.
///
/// # Safety
///
/// As for [`source::follow`].
#[inline]
unsafe fn follow<L: MemoryLayout>(layout: L, half: *mut u8) -> usize {
    // SAFETY: The caller's promise.
    match unsafe { source::follow(layout, half) } {
        0 => 0,
        handle => layout.address(handle),
    }
}

impl Drop for SourceTable {
    /// Frees the heads. All entries are freed by now.
    fn drop(&mut self) {
        // SAFETY: By the type invariants the allocation belongs to this value; no reader walks here
        // any more.
        unsafe { bindings::kvfree(self.heads.as_ptr().cast()) };
    }
}
