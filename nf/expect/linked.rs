// SPDX-License-Identifier: GPL-2.0

//! [`Seen`] and [`Linked`]: expectations found in the table, or in the chain of their master.

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
            conn::{
                Conn,
                StatusBit, //
            },
            fresh::Fresh,
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
            refcount::{
                Counted,
                RcuCounted, //
            },
        },
    },
    proto::types::{
        direction::Direction,
        num::u32_as_usize, //
    },
};

use super::{
    expectation::{
        ExpectEvent,
        Expectation, //
    },
    lock::Locked, //
};

/// An expectation found in the table during an RCU read-side section.
///
/// # Invariants
///
/// At some time during `'r` the expectation was in the table, or would have been but for a lock
/// that was held from then until `'r` began: in either case it is not freed during `'r`.
pub(crate) struct Seen<'r>(&'r Expectation, Rcu<'r>);

impl Deref for Seen<'_> {
    type Target = Expectation;

    fn deref(&self) -> &Expectation {
        self.0
    }
}

impl<'r> Seen<'r> {
    /// Wraps a C pointer.
    ///
    /// # Safety
    ///
    /// `ptr` points to an expectation that was in the table at some time during `'r`.
    pub(in crate::nf) unsafe fn from_raw(
        ptr: *mut bindings::nf_conntrack_expect,
        rcu: Rcu<'r>,
    ) -> Self {
        // INVARIANT: By the function's contract.
        // SAFETY: As above.
        Self(unsafe { Expectation::from_raw(ptr) }, rcu)
    }

    /// Takes a reference; [`None`] if the last one was dropped meanwhile.
    pub(crate) fn get(&self) -> Option<ARef<Counted<Expectation>>> {
        self.0.get()
    }

    /// Returns the helper that announced the connection.
    pub(crate) fn helper(&self) -> Option<&'r Helper> {
        // SAFETY: By the type invariants.
        unsafe { Expectation::helper_in(addr_of_mut!((*self.raw()).helper), self.1) }
    }

    /// Makes a new entry that the expectation matched shareable, and calls the expectation's
    /// function with it, if there is one. Returns the entry's first reference.
    ///
    /// The function is not called if the entry's [master](Fresh::set_master) is another one, or NAT
    /// has set it up already: the functions set up NAT by the master, and assume that nothing has
    /// before.
    pub(crate) fn run_expectfn(&self, fresh: Fresh) -> ARef<Conn> {
        let conn = fresh.publish();
        // SAFETY: Valid, and not changed since it was added. The master is only compared.
        let (expectfn, expected_by) = unsafe { ((*self.raw()).expectfn, (*self.raw()).master) };
        let Some(expectfn) = expectfn else {
            return conn;
        };
        let status = conn.status();
        let is_new = !status.has(StatusBit::SrcNatDone) && !status.has(StatusBit::DstNatDone);
        let is_expected = conn.master().map(|master| master.raw()) == Some(expected_by);
        if is_new && is_expected {
            // SAFETY: The expectation was in the table during the section, which therefore keeps
            // the function's module. The function takes an entry that nothing else has, and the
            // expectation that it matched.
            unsafe { expectfn(conn.raw(), self.raw()) };
        }
        conn
    }
}

/// An expectation found in the table under the lock.
///
/// # Invariants
///
/// At some time while this context held the lock, the expectation was in the table. Therefore
/// neither its master nor the master's extensions and namespace are freed before the lock is
/// released.
pub(crate) struct Linked<'l>(&'l Expectation, Locked<'l>);

impl Deref for Linked<'_> {
    type Target = Expectation;

    fn deref(&self) -> &Expectation {
        self.0
    }
}

impl<'l> Linked<'l> {
    /// Wraps a C pointer.
    ///
    /// # Safety
    ///
    /// `ptr` points to an expectation that was in the table since this context took the lock.
    pub(crate) unsafe fn from_raw(
        ptr: *mut bindings::nf_conntrack_expect,
        locked: Locked<'l>,
    ) -> Self {
        // INVARIANT: By the function's contract.
        // SAFETY: As above; if it was unlinked since, a grace period has not passed.
        Self(unsafe { Expectation::from_raw(ptr) }, locked)
    }

    /// Lends the expectation for a section that may outlast the lock.
    pub(crate) fn seen<'r>(&self, rcu: Rcu<'r>) -> Seen<'r> {
        // SAFETY: By the type invariants no grace period has passed since it was in the table. None
        // ends before `'r` does: this context is in a read-side section all the time, by the lock
        // or by `'r`.
        // INVARIANT: As just said.
        unsafe { Seen::from_raw(self.raw(), rcu) }
    }

    /// Takes a reference; [`None`] if it was unlinked and the last one was dropped.
    pub(crate) fn get(&self) -> Option<ARef<Counted<Expectation>>> {
        self.seen(self.1.rcu()).get()
    }

    /// Returns the master, to which there may be no reference left.
    pub(crate) fn master(&self) -> Stale<'l> {
        // SAFETY: By the type invariants the master is an entry. It is never null.
        unsafe {
            let master = NonNull::new_unchecked((*self.raw()).master);
            Stale::new(master, Direction::Original, self.1.rcu())
        }
    }

    /// Returns the master's extension with the chain of its expectations.
    pub(crate) fn help(&self) -> Option<&'l Help> {
        // SAFETY: By the type invariants the master is an entry, and its extensions are there.
        unsafe { Conn::from_raw((*self.raw()).master) }
            .extensions()
            .find::<Help>()
    }

    /// Returns the namespace.
    pub(crate) fn net(&self) -> &'l Net {
        // SAFETY: By the type invariants its master's namespace lives.
        unsafe { Net::from_raw(bindings::rct_expect_net(self.raw())) }
    }

    /// Returns the helper that announced the connection.
    pub(crate) fn helper(&self) -> Option<&'l Helper> {
        // SAFETY: By the type invariants.
        unsafe { Expectation::helper_in(addr_of_mut!((*self.raw()).helper), self.1.rcu()) }
    }

    /// Returns the helper that the expected connection gets.
    pub(crate) fn assigned_helper(&self) -> Option<&'l Helper> {
        // SAFETY: By the type invariants.
        unsafe { Expectation::helper_in(addr_of_mut!((*self.raw()).assign_helper), self.1.rcu()) }
    }

    /// Unlinks the expectation from both chains. Returns the table's reference, or [`None`] if the
    /// expectation was unlinked before.
    pub(crate) fn unlink(&self) -> Option<ARef<Counted<Expectation>>> {
        // SAFETY: The lock is held. A node that is in no chain has no predecessor: the memory
        // was zeroed, and unlinking a node clears it.
        unsafe {
            if (*self.raw()).hnode.pprev.is_null() {
                return None;
            }
            bindings::rct_hlist_del_init_rcu(addr_of_mut!((*self.raw()).hnode));
            bindings::rct_hlist_del_init_rcu(addr_of_mut!((*self.raw()).lnode));
            Some(ARef::from_raw(NonNull::from(self.0).cast()))
        }
    }

    /// Notifies the namespace's listener, if the master's event mask has `event`.
    pub(crate) fn notify(&self, event: ExpectEvent, requester: Requester) {
        let event = event.bit();
        // SAFETY: Valid, and not changed since it was added.
        if u32::from(unsafe { bindings::rct_expect_event_mask(self.raw()) }) & event == 0 {
            return;
        }
        let item = bindings::nf_exp_event {
            exp: self.raw(),
            portid: requester.portid,
            report: requester.report.into(),
        };
        let _section = RcuGuard::new();
        // SAFETY: The namespace lives, as in `net`; listeners expect the lock to be held.
        unsafe {
            let listener = bindings::rct_ct_event_listener(self.net().raw()).as_ref();
            if let Some(notify) = listener.and_then(|listener| listener.exp_event) {
                notify(event, &item);
            }
        }
    }
}

/// Walks a bucket of the table.
///
/// # Safety
///
/// `head` is a bucket of the table.
pub(super) unsafe fn walk<'r>(
    head: *mut bindings::hlist_head,
    rcu: Rcu<'r>,
) -> impl Iterator<Item = Seen<'r>> {
    const NODE: usize = offset_of!(bindings::nf_conntrack_expect, hnode);
    // SAFETY: By the invariants of `Expectation`.
    unsafe { Nodes::of(head, rcu) }.map(move |node| {
        // SAFETY: The node is inside an expectation, which was in the chain during `'r`.
        unsafe { Seen::from_raw(node.as_ptr().byte_sub(NODE).cast(), rcu) }
    })
}

/// Walks a bucket of the table under the lock. The item that was returned last may be unlinked
/// before the next call.
///
/// # Safety
///
/// `head` is a bucket of the table.
pub(super) unsafe fn walk_locked<'l>(
    head: *mut bindings::hlist_head,
    locked: Locked<'l>,
) -> impl Iterator<Item = Linked<'l>> {
    // INVARIANT: What is in the chain under the lock is in the table.
    // SAFETY: By the function's contract.
    unsafe { walk(head, locked.rcu()) }.map(move |seen| Linked(seen.0, locked))
}

/// The expectations of an entry. (Its helper: [`super::helper`].)
///
/// # Examples
///
/// ```ignore
/// // Removes the expired expectations of a master.
/// let Some(help) = conn.extensions().find::<Help>().filter(|help| help.is_expecting()) else {
///     return;
/// };
/// let guard = ExpectGuard::new();
/// for linked in help.expectations(guard.locked()) {
///     if linked.is_expired() {
///         drop(linked.unlink());
///     }
/// }
/// ```
impl Help {
    /// Returns the number of expectations of a class.
    pub(crate) fn expecting(&self, class: u32, _locked: Locked<'_>) -> u8 {
        // SAFETY: The lock is held.
        let counts = unsafe { (*self.raw()).expecting };
        counts.get(u32_as_usize(class)).copied().unwrap_or(0)
    }

    /// Sets the number of expectations of a class.
    pub(crate) fn set_expecting(&self, class: u32, count: u8, _locked: Locked<'_>) {
        // SAFETY: The lock is held.
        let counts = unsafe { &mut (*self.raw()).expecting };
        if let Some(slot) = counts.get_mut(u32_as_usize(class)) {
            *slot = count;
        }
    }

    /// Walks the expectations of the entry, the newest first. The item that was returned last may
    /// be unlinked before the next call.
    pub(crate) fn expectations<'l>(
        &'l self,
        locked: Locked<'l>,
    ) -> impl Iterator<Item = Linked<'l>> {
        const NODE: usize = offset_of!(bindings::nf_conntrack_expect, lnode);
        // SAFETY: By the invariants of `Expectation`.
        unsafe { Nodes::of(self.chain(), locked.rcu()) }.map(move |node| {
            // SAFETY: The node is inside an expectation, which was in the chain during `'l`. What
            // is in a master's chain is in the table.
            unsafe { Linked::from_raw(node.as_ptr().byte_sub(NODE).cast(), locked) }
        })
    }
}
