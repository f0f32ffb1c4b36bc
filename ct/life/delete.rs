// SPDX-License-Identifier: GPL-2.0

//! The end of an entry: out of the table first, out of memory with its last reference.

use crate::{
    ct::{
        entry::{
            self,
            events,
            gre_keymap, //
        },
        expect, helper,
        netns::NetState,
        table::{
            self,
            index,
            reservation, //
        },
    },
    nf::{
        entry::{
            ecache::Event,
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

/// DestroyReason an entry ends. The numbers are those of the events.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(crate) enum DestroyReason {
    /// Its time was over.
    TimedOut = 1,
    /// The table was full, and it was worth least.
    EarlyDrop = 2,
    /// User space named it.
    Deleted = 3,
    /// User space wanted all to go, or those that are like it.
    Flushed = 4,
    /// Another entry took its place: one made from the connection's socket.
    Replaced = 5,
    /// NAT gave its port to a new connection.
    GaveWay = 6,
    /// A new connection began with the same tuple.
    Reopened = 7,
    /// It was reset before it was established.
    Reset = 8,
    /// The address that it was translated to is gone, or its way does not lead there any more.
    AddressGone = 9,
    /// The connection that it belongs to has ended.
    ParentGone = 10,
    /// Another module of the kernel wanted it: a flow table, IPVS, Open vSwitch.
    ByModule = 11,
    /// Its namespace ends. (Nobody is there to be notified.)
    NamespaceGone = 12,
}

/// Takes an entry out of the table. Says whether this call did it: of several that try at
/// the same time, one does.
///
/// Packets that hold a reference go on using the entry; no new packet finds it.
pub(crate) fn delete(conn: &Conn, reason: DestroyReason) -> bool {
    delete_for(conn, reason, Requester::default())
}

/// [`delete`], on somebody's behalf, who is notified of it.
pub(in crate::ct) fn delete_for(conn: &Conn, reason: DestroyReason, requester: Requester) -> bool {
    delete_inner(conn, reason, requester, RcuGuard::new().token())
}

fn delete_inner(conn: &Conn, reason: DestroyReason, requester: Requester, rcu: Rcu<'_>) -> bool {
    if !conn.set_dying(reason as u8) {
        return false;
    }
    let has_extensions = !conn.extensions().is_empty();
    let notified = if has_extensions {
        notify_extensions(conn, requester, rcu)
    } else {
        Ok(())
    };
    let table_reference = {
        let bh = BhDisabled::new();
        // An unconfirmed entry is in no bucket; DYING keeps it from getting into one.
        let removed = table::lock_pair(conn, None, &bh, rcu).and_then(|mut pair| pair.remove(conn));
        if removed.is_some() {
            index::leave(conn, &bh, rcu);
        }
        removed
    };
    if has_extensions {
        expect::remove_all(conn);
    }
    // Without the locks: this may be the last reference, and freeing runs other code.
    match (notified, table_reference) {
        (Err(_), Some(reference)) => events::defer_destroy(reference),
        (_, reference) => {
            drop(reference);
            events::retry_deferred();
        }
    }
    true
}

/// Has the parts of an entry, the user's listener and its helper know that it ends.
#[inline(never)]
fn notify_extensions(conn: &Conn, requester: Requester, rcu: Rcu<'_>) -> Result<(), Congested> {
    entry::note_stop(conn);
    let notified = events::notify_now(conn, Event::Destroy.mask(), requester);
    helper::destroy(conn, rcu);
    notified
}

/// Whether an entry on which the caller has a reference is due for removal.
pub(in crate::ct) fn is_due(conn: &Conn) -> bool {
    let status = conn.status();
    status.has(StatusBit::Confirmed) && !status.has(StatusBit::Dying) && conn.is_expired()
}

/// Removes an expired entry that was met on the way, unless it is another one by now.
#[cold]
pub(in crate::ct) fn reap(stale: Stale<'_>) -> bool {
    let rcu = stale.rcu();
    match stale.get_if(|_| true) {
        // Asked again with the reference held: the memory may have been used anew.
        Get::Hit(conn) => {
            is_due(&conn) && delete_inner(&conn, DestroyReason::TimedOut, Requester::default(), rcu)
        }
        Get::Recycled | Get::Dead => false,
    }
}

/// Frees an entry without references, and gives back what it held.
#[inline]
pub(in crate::ct) fn destroy(mut dead: Dead, rcu: Rcu<'_>) {
    let conn = dead.conn();
    let status = dead.status();
    if status.has(StatusBit::Template) {
        // Never counted, and no connection.
        drop(dead);
        return;
    }
    if !status.has(StatusBit::Confirmed) && conn.reservation_hash().is_some() {
        // What NAT had chosen for it is free again.
        reservation::release(conn, rcu);
    }
    // Its first packet may have announced something, and then was dropped.
    expect::remove_all(conn);
    let master = dead.take_master();
    if let Some(master) = &master {
        if dead.conn().protocol() == protocol::GRE {
            gre_keymap::remove_of_parent(master);
        }
    }
    dead.free(|net| net.state_in::<NetState>(rcu).release_entry());
    // Last, because it may end another entry, and so on up a chain of expectations.
    drop(master);
}
