// SPDX-License-Identifier: GPL-2.0

//! Reservations: reply tuples of connections that are not in the table yet.
//!
//! NAT chooses a reply tuple while the first packet of a connection is in the hooks; the tuple gets
//! into the table when the packet has passed all rules. Between the two the tuple is reserved here,
//! so that a packet on another CPU cannot choose the same. An unconfirmed entry has one reservation
//! at most. Reservations are in a small hash table.
//!
//! # Order
//!
//! 1. NAT [reserves](reserve) a tuple first, and then looks it up in the table.
//! 2. Confirmation puts the entry into the table and removes its reservation, both under the lock
//!    of the reservation's bucket ([`consume`]).
//!
//! So of two connections that want the same tuple, the second one finds it in one of the two
//! places. At worst it finds it in both. The lock of the bucket is taken before those of the
//! table's buckets.
//!
//! # Examples
//!
//! NAT's choice of a tuple:
//!
//! ```ignore
//! entry.set_reply(&candidate);
//! if !reservation::reserve(conn, rcu) {
//!     return Claim::Taken;
//! }
//! if lookup::reply_tuple_owner(&candidate, conn, rcu).is_some() {
//!     reservation::release(conn, rcu);
//!     return Claim::Taken;
//! }
//! ```
//!
//! Confirmation:
//!
//! ```ignore
//! // Held until the entry is in the table.
//! let _reservation = reservation::consume(&conn, &bh, rcu);
//! let mut pair = table::lock_pair(&conn, hash, &bh, rcu)?;
//! index::insert(&mut pair, conn, &bh, rcu)
//! ```

use kernel::{
    prelude::*,
    sync::{
        Arc,
        SetOnce, //
    },
};

use crate::{
    ct::table,
    nf::{
        entry::{
            conn::Entry,
            reservations::{
                LockedReservations,
                Reservations, //
            },
        },
        kernel::rcu::RcuArc,
        prelude::*, //
    },
    proto::{
        hash::reciprocal_scale,
        nat::share::{
            admit,
            Admission,
            Other, //
        }, //
    }, //
};

use super::hash::{
    HashKind,
    TableHash, //
};

/// The least number of buckets. There are few reservations as a rule: those of first packets in the
/// hooks.
const MIN_BUCKETS: u32 = 1024;

/// Number of buckets of the connection table for each bucket here. Rules may put first packets into
/// queues, where a namespace can have as many as it may have entries.
const TABLE_BUCKETS: u32 = 8;

/// The table of reservations. Owned by [`ReservationTable`].
static TABLE: RcuArc<Reservations> = RcuArc::empty();

/// The hash, which selects the bucket.
static HASH: SetOnce<TableHash> = SetOnce::new();

/// Owner of the table of reservations: [`TABLE`] is set as long as this exists.
pub(in crate::ct) struct ReservationTable {
    /// Where the table is published.
    table: &'static RcuArc<Reservations>,
}

impl ReservationTable {
    /// Creates the table, by the size of the connection table, which exists. May sleep.
    ///
    /// `ENOMEM`: no memory.
    pub(in crate::ct) fn new() -> Result<Self> {
        HASH.populate(TableHash::random(HashKind::Jhash));
        let table = table::buckets(RcuGuard::new().token());
        let chains = Reservations::new((table / TABLE_BUCKETS).max(MIN_BUCKETS))?;
        drop(TABLE.replace(Some(Arc::new(chains, GFP_KERNEL)?)));
        Ok(Self { table: &TABLE })
    }
}

impl Drop for ReservationTable {
    /// Frees the table. All entries are freed before, and with them their reservations.
    fn drop(&mut self) {
        drop(self.table.replace(None));
    }
}

/// Returns the hash of an entry's reply tuple.
fn hash_of(conn: &Entry) -> u32 {
    HASH.as_ref()
        .map_or(0, |hash| hash.of_entry(conn, Direction::Reply))
}

/// Locks the bucket of a hash.
#[inline]
fn lock<'a>(hash: u32, bh: &'a BhDisabled, rcu: Rcu<'a>) -> Option<LockedReservations<'a>> {
    let chains = TABLE.load(rcu)?;
    Some(chains.lock(reciprocal_scale(hash, chains.len()), bh))
}

/// Reserves the reply tuple of an unconfirmed entry. Returns whether the entry may have it: `false`
/// if another entry has reserved the same tuple.
///
/// Where a chain is long, and the namespace has its [share](crate::proto::nat::share) of it, the
/// tuple is not reserved. Then another entry of the namespace may choose it at the same time, and
/// the packet of one of them is dropped when it is confirmed.
///
/// An entry with the same original tuple does not count: the two are one connection, and two of its
/// packets were in the hooks at the same time. Confirmation resolves their clash.
pub(crate) fn reserve(conn: &Entry, rcu: Rcu<'_>) -> bool {
    let (reply, zone) = (conn.tuple(Direction::Reply), conn.zone());
    let is_neighbour = |other: &Entry| core::ptr::eq(other.net(), conn.net());
    let conflicts = |other: &Entry| {
        let (other_reply, other_zone) = (other.tuple(Direction::Reply), other.zone());
        let is_in_zone = |dir| other_zone.id_for(dir) == zone.id_for(dir);
        other_reply.key() == reply.key()
            && is_in_zone(Direction::Reply)
            && is_neighbour(other)
            && (other.tuple(Direction::Original) != conn.tuple(Direction::Original)
                || !is_in_zone(Direction::Original))
    };
    let (hash, bh) = (hash_of(conn), BhDisabled::new());
    let Some(mut chain) = lock(hash, &bh, rcu) else {
        return true;
    };
    let seen_from_here = |other: &Entry| match () {
        () if conflicts(other) => Other::Conflicting,
        () if is_neighbour(other) => Other::Own,
        () => Other::Foreign,
    };
    match admit(chain.entries().map(seen_from_here)) {
        Admission::Taken => false,
        Admission::Unreserved => true,
        Admission::Joins => chain.reserve(conn, hash),
    }
}

/// Releases the reservation of an entry, if there is one.
pub(crate) fn release(conn: &Entry, rcu: Rcu<'_>) {
    if conn.reservation_hash().is_some() {
        let bh = BhDisabled::new();
        drop(consume(conn, &bh, rcu));
    }
}

/// Releases the reservation of an entry, but keeps its bucket locked until the returned guard is
/// dropped, so that the tuple cannot be reserved before the entry is in the table.
#[inline]
pub(in crate::ct) fn consume<'a>(
    conn: &Entry,
    bh: &'a BhDisabled,
    rcu: Rcu<'a>,
) -> Option<LockedReservations<'a>> {
    let mut chain = lock(conn.reservation_hash()?, bh, rcu)?;
    // Another CPU may have done so already, with a clone of the packet.
    chain.withdraw(conn);
    Some(chain)
}
