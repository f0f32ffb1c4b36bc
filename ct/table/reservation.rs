// SPDX-License-Identifier: GPL-2.0

//! Reply tuples that were promised to connections which are not in the table yet.
//!
//! NAT decides what a connection looks like while its first packet is on its way, and the
//! table hears of it when the packet has passed every rule. In between the tuple is on a chain
//! here, so that a packet on another CPU cannot choose the same.
//!
//! # Order
//!
//! Who claims a tuple enters it here, then asks the table. Who confirms an entry puts it into
//! the table and takes it off here, both under the chain's lock ([`consume`]). So whoever comes
//! second finds it in one of the two. The lock is taken before those of the table's buckets.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
};

use crate::{
    ct::table,
    nf::{
        entry::chain::{
            ChainArray,
            LockedChain, //
        },
        kernel::{
            random,
            rcu::RcuArc, //
        },
        prelude::*, //
    },
    proto::hash::reciprocal_scale, //
};

/// How many chains there are. Few entries stand on them: those whose first packet is on its
/// way, or in a queue.
const BUCKETS: u32 = 1024;

static TABLE: RcuArc<ChainArray> = RcuArc::empty();

/// The secret of the hash.
static SEED: Atomic<u32> = Atomic::new(0);

/// The life of the chains.
pub(in crate::ct) struct ReservationTable(());

impl ReservationTable {
    /// Makes them. May sleep.
    pub(in crate::ct) fn new() -> Result<Self> {
        SEED.store(random::below(u32::MAX), Relaxed);
        let chains = ChainArray::for_reservations(BUCKETS)?;
        drop(TABLE.replace(Some(Arc::new(chains, GFP_KERNEL)?)));
        Ok(Self(()))
    }
}

impl Drop for ReservationTable {
    /// Every entry is freed by now.
    fn drop(&mut self) {
        drop(TABLE.replace(None));
    }
}

/// The hash of the reply tuple that an entry has.
fn hash_of(conn: &Conn) -> u32 {
    table::hash_of(conn, Direction::Reply, SEED.load(Relaxed))
}

#[inline]
fn lock<'a>(hash: u32, bh: &'a BhDisabled, rcu: Rcu<'a>) -> Option<LockedChain<'a>> {
    let chains = TABLE.load(rcu)?;
    Some(chains.lock(reciprocal_scale(hash, chains.len()), bh))
}

/// Promises an entry that is not confirmed the reply tuple that it has. Says whether nobody
/// else has that promise.
///
/// An entry with the same original tuple is no other: the two are one connection, of which two
/// packets were on their way at once, and their clash is settled later.
pub(crate) fn reserve(conn: &Conn, rcu: Rcu<'_>) -> bool {
    let (reply, zone) = (conn.tuple(Direction::Reply), conn.zone());
    let id = |zone: Zone, dir| zone.id_for(dir);
    let conflicts = |other: &Conn| {
        let others: Tuple = other.tuple(Direction::Reply);
        let their_zone = other.zone();
        others.key() == reply.key()
            && id(their_zone, Direction::Reply) == id(zone, Direction::Reply)
            && core::ptr::eq(other.net(), conn.net())
            && (other.tuple(Direction::Original) != conn.tuple(Direction::Original)
                || id(their_zone, Direction::Original) != id(zone, Direction::Original))
    };
    let (hash, bh) = (hash_of(conn), BhDisabled::new());
    let Some(mut chain) = lock(hash, &bh, rcu) else {
        return true;
    };
    if chain.entries().any(|(other, _)| conflicts(other)) {
        return false;
    }
    chain.reserve(conn, hash);
    true
}

/// Gives the promise back, if there is one.
pub(crate) fn release(conn: &Conn, rcu: Rcu<'_>) {
    if conn.reservation_hash().is_some() {
        let bh = BhDisabled::new();
        drop(consume(conn, &bh, rcu));
    }
}

/// Gives the promise back, but lets nobody claim the tuple until the result is dropped: the
/// entry is to be put into the table meanwhile.
#[inline]
pub(in crate::ct) fn consume<'a>(
    conn: &Conn,
    bh: &'a BhDisabled,
    rcu: Rcu<'a>,
) -> Option<LockedChain<'a>> {
    let mut chain = lock(conn.reservation_hash()?, bh, rcu)?;
    // Another CPU, with a clone of the packet, may have been here before.
    chain.withdraw(conn);
    Some(chain)
}
