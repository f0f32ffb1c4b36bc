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
    proto::hash::reciprocal_scale, //
};

use super::hash::{
    HashKind,
    TableHash, //
};

/// The number of buckets. There are few reservations: those of first packets in the hooks or in a
/// queue.
const BUCKETS: u32 = 1024;

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
    /// Creates the table. May sleep.
    ///
    /// `ENOMEM`: no memory.
    pub(in crate::ct) fn new() -> Result<Self> {
        HASH.populate(TableHash::random(HashKind::Jhash));
        let chains = Reservations::new(BUCKETS)?;
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

/// Reserves the reply tuple of an unconfirmed entry. Returns whether it is reserved for this entry:
/// `false` if another entry has reserved the same tuple.
///
/// An entry with the same original tuple does not count: the two are one connection, and two of its
/// packets were in the hooks at the same time. Confirmation resolves their clash.
pub(crate) fn reserve(conn: &Entry, rcu: Rcu<'_>) -> bool {
    let (reply, zone) = (conn.tuple(Direction::Reply), conn.zone());
    let conflicts = |other: &Entry| {
        let (other_reply, other_zone) = (other.tuple(Direction::Reply), other.zone());
        let is_in_zone = |dir| other_zone.id_for(dir) == zone.id_for(dir);
        other_reply.key() == reply.key()
            && is_in_zone(Direction::Reply)
            && core::ptr::eq(other.net(), conn.net())
            && (other.tuple(Direction::Original) != conn.tuple(Direction::Original)
                || !is_in_zone(Direction::Original))
    };
    let (hash, bh) = (hash_of(conn), BhDisabled::new());
    let Some(mut chain) = lock(hash, &bh, rcu) else {
        return true;
    };
    if chain.entries().any(conflicts) {
        return false;
    }
    chain.reserve(conn, hash)
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
