// SPDX-License-Identifier: GPL-2.0

//! The end of an entry: the reason, which is a number in the status word beyond the bits that
//! netlink shows, and the freeing of the memory when the last reference is gone.

use core::ptr::{
    addr_of_mut,
    null_mut,
    NonNull, //
};

use kernel::sync::{
    aref::ARef,
    atomic::{
        Full,
        Relaxed, //
    },
};

use crate::nf::{
    bindings,
    kernel::{
        net::Net,
        rcu::RcuGuard, //
    }, //
};

use super::{
    bysource,
    conn::{
        Conn,
        Entry,
        Status,
        StatusBit,
        GENERATION_SHIFT, //
    },
    help,
    slab,
    template,
    timeout, //
};

/// The position of the reason in the status word.
const SHIFT: u32 = StatusBit::Mirrored as u32 + 1;
const MASK: usize = 0xf;

const _: () = assert!(SHIFT + MASK.count_ones() <= StatusBit::Aged as u32);
const _: () = assert!((StatusBit::Unreachable as u32) < GENERATION_SHIFT);

impl Entry {
    /// Marks the entry as dying, with a reason below 16. Returns whether this call did it: of
    /// several at the same time, one does.
    pub(crate) fn set_dying(&self, why: u8) -> bool {
        let dying = 1 << StatusBit::Dying as u32;
        let word = self.status_word();
        let mut old = word.load(Relaxed);
        while old & dying == 0 {
            let new = old | dying | (usize::from(why) & MASK) << SHIFT;
            match word.cmpxchg(old, new, Full) {
                Ok(_) => return true,
                Err(other) => old = other,
            }
        }
        false
    }

    /// Returns the reason for which the entry is dying; 0: it is not, or there is none.
    pub(crate) fn destroy_reason(&self) -> u8 {
        // CAST: four bits.
        (self.status_word().load(Relaxed) >> SHIFT & MASK) as u8
    }
}

/// An entry without references. Dropping the value frees the memory.
///
/// # Invariants
///
/// `conn` points to an entry, or a template, with reference count zero that is on no chain of a
/// table and belongs to this value. `status` is its status when the count became zero. The bits
/// that say whether it is a template, and whether it is confirmed, do not change any more.
pub(crate) struct Dead {
    conn: NonNull<bindings::nf_conn>,
    status: Status,
}

impl Dead {
    /// # Safety
    ///
    /// The last reference to `conn` was given up just now, or `conn` is an entry that was never
    /// shared; it passes to the result.
    pub(crate) unsafe fn from_raw(conn: NonNull<bindings::nf_conn>) -> Self {
        // SAFETY: The caller's promise.
        let status = unsafe { Entry::from_raw(conn.as_ptr()) }.status();
        // INVARIANT: the caller's promise; an entry on a chain has a reference for that.
        Self { conn, status }
    }

    /// Drops a reference. Returns the entry if that was the last one.
    pub(crate) fn from_last(conn: ARef<Conn>) -> Option<Self> {
        let conn = ARef::into_raw(conn).cast();
        // SAFETY: The reference was owned by `conn`. At zero nothing else uses the entry.
        unsafe { bindings::rct_ct_put_test(conn.as_ptr()).then(|| Self::from_raw(conn)) }
    }

    /// Returns the last status.
    pub(crate) fn status(&self) -> Status {
        self.status
    }

    /// Returns the entry.
    pub(crate) fn conn(&self) -> &Entry {
        // SAFETY: By the type invariants.
        unsafe { Entry::from_raw(self.conn.as_ptr()) }
    }

    /// Returns whether the entry is no template, and has no extensions and no master.
    #[inline]
    pub(crate) fn is_bare(&self) -> bool {
        // SAFETY: By the type invariants; the fields are initialised.
        let (blob, master) = unsafe { ((*self.conn.as_ptr()).ext, (*self.conn.as_ptr()).master) };
        !self.status.has(StatusBit::Template) && blob.is_null() && master.is_null()
    }

    /// Takes the reference that the entry holds to its master.
    pub(crate) fn take_master(&mut self) -> Option<ARef<Conn>> {
        // SAFETY: By the type invariants nothing else uses the field.
        let field = unsafe { &mut *addr_of_mut!((*self.conn.as_ptr()).master) };
        let master = NonNull::new(*field)?;
        *field = null_mut();
        // SAFETY: The pointer owned a reference, which passes to the caller.
        Some(unsafe { ARef::from_raw(master.cast()) })
    }

    /// Frees the entry, then calls `after` with its namespace. If it has a reservation, `withdraw`
    /// has to [withdraw](super::reservations::LockedReservations::withdraw) that; the entry leaks
    /// otherwise. For the path of every packet that rules refuse: unlike drop it is inlined, so the
    /// fields stay in registers.
    #[inline(always)]
    pub(crate) fn free(self, withdraw: impl FnOnce(&Entry), after: impl FnOnce(&Net)) {
        let (conn, status) = (self.conn, self.status);
        core::mem::forget(self);
        // SAFETY: By the type invariants.
        let net = unsafe { bindings::rct_ct_net(conn.as_ptr()) };
        // SAFETY: By the type invariants.
        if unsafe { free(conn, status, withdraw) } {
            // SAFETY: The namespace's teardown waits for what `after` does.
            after(unsafe { Net::from_raw(net) });
        }
    }
}

impl Drop for Dead {
    /// Frees the entry; it leaks if it has a reservation.
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { free(self.conn, self.status, |_| ()) };
    }
}

/// Frees an entry, or a template. Returns whether it did: not if the entry is still on a chain of
/// reservations, or of [`bysource`]. It leaks then, and counts in its namespace, which it keeps.
///
/// # Safety
///
/// The first two are those of a [`Dead`] that is not used any more.
#[inline(always)]
unsafe fn free(
    conn: NonNull<bindings::nf_conn>,
    status: Status,
    withdraw: impl FnOnce(&Entry),
) -> bool {
    if status.has(StatusBit::Template) {
        // SAFETY: The caller's promise.
        unsafe { template::free(conn) };
        return true;
    }
    // SAFETY: Initialised.
    let entry = unsafe { Entry::from_raw(conn.as_ptr()) };
    if !status.has(StatusBit::Confirmed) && entry.reservation_hash().is_some() {
        withdraw(entry);
        if entry.reservation_hash().is_some() {
            return false;
        }
    }
    // SAFETY: The field is initialised.
    let blob = unsafe { (*conn.as_ptr()).ext };
    // That bit may have been set since.
    if entry.has(StatusBit::SrcNatDone) || !blob.is_null() {
        // SAFETY: The caller's promise; no template.
        if !unsafe { free_extensions(conn) } {
            return false;
        }
    }
    // SAFETY: The caller's promise.
    unsafe { slab::release(conn) };
    true
}

/// Releases what an entry holds beside its memory. Returns whether the memory may be freed: not if
/// NAT's hook has left the entry on a chain of [`bysource`]. It leaks then.
///
/// # Safety
///
/// The entry is that of a [`Dead`] that is not used any more; it is no template.
#[inline(never)]
unsafe fn free_extensions(conn: NonNull<bindings::nf_conn>) -> bool {
    // SAFETY: Initialised.
    let entry = unsafe { Entry::from_raw(conn.as_ptr()) };
    if entry.has(StatusBit::SrcNatDone) {
        let _section = RcuGuard::new();
        // SAFETY: The entry is still intact. In the section a hook stays valid.
        unsafe {
            let hook = bindings::rct_nat_hook().as_ref();
            if let Some(remove) = hook.and_then(|hook| hook.remove_nat_bysrc) {
                remove(conn.as_ptr());
            }
        }
        if bysource::is_linked(entry) {
            return false;
        }
    }
    help::release(entry);
    timeout::release(entry);
    // SAFETY: The blob came from `kmalloc` and belongs to the entry alone; null is fine.
    unsafe { bindings::kfree((*conn.as_ptr()).ext.cast()) };
    true
}
