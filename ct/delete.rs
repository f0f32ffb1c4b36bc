// SPDX-License-Identifier: GPL-2.0

//! The end of an entry: out of the table first, out of memory with its last reference.

use crate::{
    nf::{
        conn::{
            Conn,
            Doomed,
            Get,
            Stale,
            StatusBit, //
        },
        ecache::{
            Event,
            Requester, //
        },
        lock::BhDisabled,
        rcu::RcuGuard, //
    },
    proto::tuple::protocol, //
};

use super::{
    entry,
    events,
    expect,
    gre_keymap,
    helper,
    index,
    netns::NetState,
    reservation,
    table, //
};

/// Why an entry ends. The numbers are those of the events.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(crate) enum Why {
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
    /// Its namespace ends. (Nobody is there to be told.)
    NamespaceGone = 12,
}

/// Takes an entry out of the table. Says whether this call did it: of several that try at
/// the same time, one does.
///
/// Packets that hold a reference go on using the entry; no new packet finds it.
pub(crate) fn delete(conn: &Conn, why: Why) -> bool {
    delete_for(conn, why, Requester::default())
}

/// [`delete`], on somebody's behalf, who is told of it.
pub(super) fn delete_for(conn: &Conn, why: Why, by: Requester) -> bool {
    if !conn.doom(why as u8) {
        return false;
    }
    entry::note_stop(conn);
    let told = events::report(conn, Event::Destroy.mask(), by);

    let table_reference = {
        let rcu = RcuGuard::new();
        helper::clean_up(conn, rcu.token());
        let bh = BhDisabled::new();
        // An unconfirmed entry is in no bucket; DYING keeps it from getting into one.
        let removed =
            table::lock_pair(conn, None, &bh, rcu.token()).and_then(|mut pair| pair.remove(conn));
        if removed.is_some() {
            index::leave(conn, &bh, rcu.token());
        }
        removed
    };
    expect::remove_all(conn);
    // Without the locks: this may be the last reference, and freeing runs other code.
    match (told, table_reference) {
        (Err(_), Some(reference)) => events::tell_later(reference),
        (_, reference) => {
            drop(reference);
            events::listener_has_room();
        }
    }
    true
}

/// Whether an entry on which the caller has a reference is due for removal.
pub(super) fn is_due(conn: &Conn) -> bool {
    let status = conn.status();
    status.has(StatusBit::Confirmed) && !status.has(StatusBit::Dying) && conn.is_expired()
}

/// Removes an expired entry that was met on the way, unless it is another one by now.
#[cold]
pub(super) fn reap(stale: Stale<'_>) -> bool {
    match stale.get_if(|_| true) {
        // Asked again with the reference held: the memory may have been used anew.
        Get::Hit(conn) => is_due(&conn) && delete(&conn, Why::TimedOut),
        Get::Recycled | Get::Dead => false,
    }
}

/// Frees an entry without references, and gives back what it held.
pub(super) fn destroy(mut doomed: Doomed) {
    if doomed.is_template() {
        // Never counted, and no connection.
        drop(doomed);
        return;
    }
    if !doomed.conn().is_confirmed() {
        // What NAT had chosen for it is free again.
        reservation::release(doomed.conn(), RcuGuard::new().token());
    }
    // Its first packet may have announced something, and then was dropped.
    expect::remove_all(doomed.conn());
    let is_gre = entry::protocol(doomed.conn()) == protocol::GRE;
    let master = doomed.take_master();
    if let Some(master) = master.as_ref().filter(|_| is_gre) {
        gre_keymap::remove_of_parent(master);
    }
    doomed.free(|net| net.state::<NetState>().release_entry());
    // Last, because it may end another entry, and so on up a chain of expectations.
    drop(master);
}
