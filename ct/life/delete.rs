// SPDX-License-Identifier: GPL-2.0

//! Removal: an entry leaves the table first, and is freed with its last reference.
//!
//! [`delete`] marks the entry as dying, which one caller out of several succeeds in, notifies user
//! space and the helper, unlinks it from the table and the index, and removes its expectations.
//! Packets that hold a reference go on using the entry; no lookup finds it. [`destroy`] runs when
//! the last reference is dropped, possibly much later, in any context.
//!
//! # Races
//!
//! 1. Several callers delete the same entry: [`StatusBit::Dying`] is set by one of them.
//! 2. The entry is being confirmed on another CPU: confirmation reads [`StatusBit::Dying`] under
//!    the locks of the buckets, which `delete` takes after it has set the bit. One of the two sees
//!    the other.
//! 3. An expired entry that was found on a chain has been freed and reused: [`reap`] checks again
//!    with a reference held.

use kernel::sync::aref::ARef;

use crate::{
    ct::{
        entry::{
            self,
            events,
            gre_keymap, //
        },
        expect,
        figures::causes,
        helper,
        netns::NetState,
        table::{
            self,
            index,
            reservation, //
        },
    },
    nf::{
        entry::{
            end::Dead,
            stale::{
                Get,
                Stale, //
            },
        },
        kernel::nfnetlink::{
            Congested,
            Requester, //
        },
        prelude::*, //
    },
};

/// The reason for the end of an entry. The numbers are part of the `DESTROY` event.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(crate) enum DestroyReason {
    /// Its timeout expired.
    TimedOut = 1,
    /// The table was full, and this entry was the least valuable one.
    EarlyDrop = 2,
    /// User space deleted this entry.
    Deleted = 3,
    /// User space deleted all entries, or all that match a filter.
    Flushed = 4,
    /// An entry that was created from the connection's socket replaced it.
    Replaced = 5,
    /// NAT gave its port to a new connection.
    GaveWay = 6,
    /// A new connection began with the same tuple.
    Reopened = 7,
    /// The connection was reset before it was established.
    Reset = 8,
    /// The address to which it was masqueraded is gone, or the route does not lead there any more.
    AddressGone = 9,
    /// Its master connection ended.
    ParentGone = 10,
    /// Another kernel module deleted it: a flow table, IPVS, Open vSwitch.
    ByModule = 11,
    /// It was unreplied, and NAT's rules gave another answer for its connection than before.
    Reconsidered = 12,
    /// Its namespace ended. No event is sent.
    NamespaceGone = 15,
}

/// The result of a deletion.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deletion {
    /// Another call deletes, or has deleted, the entry.
    ByAnother,
    /// The entry has left the table, but it is on the dying list: its destroy event could not be
    /// sent yet. It counts until then.
    Deferred,
    /// The entry has left the table. It is freed with its last reference.
    Done,
}

/// Removes an entry from the table. Returns whether this call did so: of several concurrent calls,
/// one does.
///
/// Packets that hold a reference go on using the entry; no lookup finds it.
pub(crate) fn delete(conn: &Conn, reason: DestroyReason) -> bool {
    delete_for(conn, reason, Requester::default()) != Deletion::ByAnother
}

/// Does as [`delete`], for a netlink request; the event names its sender.
pub(in crate::ct) fn delete_for(
    conn: &Conn,
    reason: DestroyReason,
    requester: Requester,
) -> Deletion {
    delete_inner(conn, reason, requester, RcuGuard::new().token())
}

/// Does as [`delete_for`], in an RCU section of the caller.
pub(super) fn delete_inner(
    conn: &Conn,
    reason: DestroyReason,
    requester: Requester,
    rcu: Rcu<'_>,
) -> Deletion {
    // CAST: The discriminant is a `u8`.
    if !conn.set_dying(reason as u8) {
        return Deletion::ByAnother;
    }
    let has_extensions = !conn.extensions().is_empty();
    let notified = if has_extensions {
        notify_extensions(conn, requester, rcu)
    } else {
        Ok(())
    };
    let table_reference = {
        let bh = BhDisabled::new();
        // Race 2. An unconfirmed entry is in no bucket, and the dying bit keeps it out of all of
        // them.
        table::lock_pair(conn, None, &bh, rcu).and_then(|pair| index::remove(pair, conn, &bh, rcu))
    };
    if has_extensions {
        expect::remove_all(conn);
    }
    // Without locks: this may be the last reference, and freeing runs other code.
    match (notified, table_reference) {
        (Err(_), Some(reference)) => {
            events::defer_end(reference, rcu);
            Deletion::Deferred
        }
        (_, reference) => {
            drop(reference);
            Deletion::Done
        }
    }
}

/// Sets the stop time of an entry, and notifies listeners and its helper of its end.
#[inline(never)]
fn notify_extensions(conn: &Conn, requester: Requester, rcu: Rcu<'_>) -> Result<(), Congested> {
    entry::note_stop(conn);
    let notified = events::notify_end(conn, requester, rcu);
    helper::destroy(conn, rcu);
    notified
}

/// Returns whether an entry is in the table and has expired. The caller holds a reference.
pub(in crate::ct) fn is_due(conn: &Conn) -> bool {
    let status = conn.status();
    status.has(StatusBit::Confirmed) && !status.has(StatusBit::Dying) && conn.is_expired()
}

/// Removes an expired entry that was found on a chain. Returns whether it is freed with that: not
/// if the memory has another entry by now, if the entry is on the dying list, or if there are other
/// references.
#[cold]
pub(in crate::ct) fn reap(stale: Stale<'_>) -> bool {
    let rcu = stale.rcu();
    match stale.get_if(|_| true) {
        // Race 3.
        Get::Hit(conn) if is_due(&conn) => {
            let timed_out = DestroyReason::TimedOut;
            delete_inner(&conn, timed_out, Requester::default(), rcu) == Deletion::Done
                && conn.use_count() == 1
        }
        _ => false,
    }
}

/// Frees an entry after its last reference was dropped, with all that it holds. That may be the
/// last reference to its master, which is freed then, and so on.
#[inline]
pub(in crate::ct) fn destroy(dead: Dead, rcu: Rcu<'_>) {
    // As most entries are of packets that rules refuse.
    if dead.is_bare() {
        free(dead, rcu);
    } else {
        destroy_with_masters(dead, rcu);
    }
}

/// [`destroy`] for any entry. A loop: a chain of masters must not become a chain of calls.
#[inline(never)]
fn destroy_with_masters(dead: Dead, rcu: Rcu<'_>) {
    let mut next = Some(dead);
    while let Some(dead) = next {
        next = destroy_one(dead, rcu).and_then(Dead::from_last);
    }
}

/// Frees an entry's memory and its place in the count of its namespace.
#[inline(always)]
fn free(dead: Dead, rcu: Rcu<'_>) {
    let ended = causes::ended(dead.conn().destroy_reason());
    dead.free(
        // The reply tuple that NAT has chosen for it is free again.
        |entry| reservation::release(entry, rcu),
        |net| {
            net.count_figure(ended);
            net.state_in::<NetState>(rcu).release_entry();
        },
    );
}

/// Frees an entry, with all that it holds but for the reference to its master.
fn destroy_one(mut dead: Dead, rcu: Rcu<'_>) -> Option<ARef<Conn>> {
    if dead.status().has(StatusBit::Template) {
        // A template is not counted, and is no connection.
        drop(dead);
        return None;
    }
    // The first packet may have added expectations and then been dropped.
    expect::remove_all(dead.conn());
    let master = dead.take_master();
    if let Some(master) = &master {
        if dead.conn().protocol() == protocol::GRE {
            gre_keymap::remove_of_parent(master);
        }
    }
    free(dead, rcu);
    master
}
