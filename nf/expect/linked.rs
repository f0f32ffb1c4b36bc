// SPDX-License-Identifier: GPL-2.0

//! Expectations that are found in the table, and on their master's chain.

use core::{
    mem::offset_of,
    ops::Deref,
    ptr::{
        addr_of_mut,
        NonNull, //
    },
};

use kernel::sync::aref::ARef;

use crate::{
    nf::{
        bindings,
        entry::{
            conn::Conn,
            help::{
                Help,
                Helper, //
            },
            stale::Stale, //
        },
        kernel::{
            hlist::Nodes,
            net::Net,
            nfnetlink::Requester,
            rcu::{
                Rcu,
                RcuGuard, //
            },
        },
    },
    proto::types::direction::Direction, //
};

use super::{
    expectation::{
        Event,
        Expectation, //
    },
    lock::Locked, //
};

/// An expectation that was met in the table during an RCU read-side section.
///
/// # Invariants
///
/// It was on a chain of the table during `'r`.
pub(crate) struct Seen<'r>(&'r Expectation, Rcu<'r>);

impl Deref for Seen<'_> {
    type Target = Expectation;

    fn deref(&self) -> &Expectation {
        self.0
    }
}

impl<'r> Seen<'r> {
    /// # Safety
    ///
    /// As the invariants say.
    pub(in crate::nf) unsafe fn from_raw(
        ptr: *mut bindings::nf_conntrack_expect,
        rcu: Rcu<'r>,
    ) -> Self {
        // INVARIANT: the caller's promise.
        // SAFETY: As above.
        Self(unsafe { Expectation::from_raw(ptr) }, rcu)
    }

    /// Takes a reference; [`None`] if the last one was given back meanwhile.
    pub(crate) fn get(&self) -> Option<ARef<Expectation>> {
        self.0.get()
    }

    /// The helper that made it.
    pub(crate) fn helper(&self) -> Option<&'r Helper> {
        // SAFETY: By the type invariants.
        unsafe { Expectation::helper_in(addr_of_mut!((*self.raw()).helper), self.1) }
    }
}

/// An expectation that was met in the table under the lock.
///
/// # Invariants
///
/// At some time while the lock was held by this context, it was in the table. Its master is
/// therefore not freed before the lock is given back, nor is what the master has.
pub(crate) struct Linked<'l>(&'l Expectation, Locked<'l>);

impl Deref for Linked<'_> {
    type Target = Expectation;

    fn deref(&self) -> &Expectation {
        self.0
    }
}

impl<'l> Linked<'l> {
    /// # Safety
    ///
    /// `ptr` points to an expectation that was in the table since this context took the lock.
    pub(crate) unsafe fn from_raw(
        ptr: *mut bindings::nf_conntrack_expect,
        locked: Locked<'l>,
    ) -> Self {
        // INVARIANT: the caller's promise.
        // SAFETY: As above; if it was taken off since, a grace period has not passed.
        Self(unsafe { Expectation::from_raw(ptr) }, locked)
    }

    /// Takes a reference. The table has one, so there is none too few.
    pub(crate) fn get(&self) -> Option<ARef<Expectation>> {
        Seen(self.0, self.1.rcu()).get()
    }

    /// The master, whose last reference may be gone.
    pub(crate) fn master(&self) -> Stale<'l> {
        // SAFETY: By the type invariants the master is an entry. It is never null.
        unsafe {
            let master = NonNull::new_unchecked((*self.raw()).master);
            Stale::new(master, Direction::Original, self.1.rcu())
        }
    }

    /// The master's part that keeps its expectations.
    pub(crate) fn help(&self) -> Option<&'l Help> {
        // SAFETY: By the type invariants the master is an entry, and its extensions are there.
        unsafe { Conn::from_raw((*self.raw()).master) }
            .extensions()
            .find::<Help>()
    }

    /// The namespace.
    pub(crate) fn net(&self) -> &'l Net {
        // SAFETY: By the type invariants its master's namespace lives.
        unsafe { Net::from_raw(bindings::rct_expect_net(self.raw())) }
    }

    /// The helper that made it.
    pub(crate) fn helper(&self) -> Option<&'l Helper> {
        // SAFETY: By the type invariants.
        unsafe { Expectation::helper_in(addr_of_mut!((*self.raw()).helper), self.1.rcu()) }
    }

    /// The helper that the expected connection gets.
    pub(crate) fn assigned_helper(&self) -> Option<&'l Helper> {
        // SAFETY: By the type invariants.
        unsafe { Expectation::helper_in(addr_of_mut!((*self.raw()).assign_helper), self.1.rcu()) }
    }

    /// Takes it off its chains. Returns the table's reference, or [`None`] if it was off.
    pub(crate) fn unlink(&self) -> Option<ARef<Expectation>> {
        // SAFETY: The lock is held. A node that is on no chain has no predecessor: the memory
        // was zeroed, and taking a node off clears it.
        unsafe {
            if (*self.raw()).hnode.pprev.is_null() {
                return None;
            }
            bindings::rct_hlist_del_init_rcu(addr_of_mut!((*self.raw()).hnode));
            bindings::rct_hlist_del_init_rcu(addr_of_mut!((*self.raw()).lnode));
            Some(ARef::from_raw(NonNull::from(self.0)))
        }
    }

    /// Tells listeners, of those who want to know about this one.
    pub(crate) fn notify(&self, event: Event, requester: Requester) {
        let event = 1u32 << event as u32;
        // SAFETY: Valid, and not changed since it was added.
        if u32::from(unsafe { (*self.raw()).event_mask }) & event == 0 {
            return;
        }
        let item = bindings::nf_exp_event {
            exp: self.raw(),
            portid: requester.portid,
            report: requester.report.into(),
        };
        let _section = RcuGuard::new();
        // SAFETY: The namespace lives, as in `net`; listeners expect the lock to be held.
        unsafe { bindings::rct_expect_event_tell(event, &item) };
    }
}

/// The expectations on a chain of the table.
///
/// # Safety
///
/// The chain is one of the table's.
pub(in crate::nf) unsafe fn seen<'r>(
    head: *mut bindings::hlist_head,
    rcu: Rcu<'r>,
) -> impl Iterator<Item = Seen<'r>> {
    const NODE: usize = offset_of!(bindings::nf_conntrack_expect, hnode);
    // SAFETY: By the invariants of `Expectation`.
    unsafe { Nodes::of(head, rcu) }.map(move |node| {
        // SAFETY: The node is inside an expectation, which was on the chain during `'r`.
        let expectation = unsafe { Expectation::from_raw(node.as_ptr().byte_sub(NODE).cast()) };
        // INVARIANT: as just said.
        Seen(expectation, rcu)
    })
}

/// The expectations on a chain of the table, under the lock. The one that was given out last
/// may be taken off meanwhile.
///
/// # Safety
///
/// The chain is one of the table's.
pub(in crate::nf) unsafe fn linked<'l>(
    head: *mut bindings::hlist_head,
    locked: Locked<'l>,
) -> impl Iterator<Item = Linked<'l>> {
    // INVARIANT: under the lock what is on the chain is in the table.
    // SAFETY: The caller's promise.
    unsafe { seen(head, locked.rcu()) }.map(move |seen| Linked(seen.0, locked))
}

impl Help {
    /// How many expectations there are of a class.
    pub(crate) fn expecting(&self, class: u32, _locked: Locked<'_>) -> u8 {
        let class = class as usize;
        // SAFETY: The lock is held.
        let counts = unsafe { (*self.raw()).expecting };
        counts.get(class).copied().unwrap_or(0)
    }

    /// Sets [`Help::expecting`].
    pub(crate) fn set_expecting(&self, class: u32, count: u8, _locked: Locked<'_>) {
        // SAFETY: The lock is held.
        let counts = unsafe { &mut (*self.raw()).expecting };
        if let Some(place) = counts.get_mut(class as usize) {
            *place = count;
        }
    }

    /// The entry's expectations, newest first. The one that was given out last may be taken
    /// off meanwhile.
    pub(crate) fn expectations<'l>(
        &'l self,
        locked: Locked<'l>,
    ) -> impl Iterator<Item = Linked<'l>> {
        const NODE: usize = offset_of!(bindings::nf_conntrack_expect, lnode);
        // SAFETY: By the invariants of `Expectation`.
        unsafe { Nodes::of(self.chain(), locked.rcu()) }.map(move |node| {
            // SAFETY: The node is inside an expectation, which was on the chain during `'l`.
            let expectation = unsafe { Expectation::from_raw(node.as_ptr().byte_sub(NODE).cast()) };
            // INVARIANT: what is on a master's chain is in the table.
            Linked(expectation, locked)
        })
    }
}
