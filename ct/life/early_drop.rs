// SPDX-License-Identifier: GPL-2.0

//! Early drop: makes room for a new connection in a full table by dropping the least valuable of
//! some entries.
//!
//! The candidates are in buckets that are spread over the table. Adjacent buckets would not do:
//! each search would drop one entry of a neighbourhood, whether that has many or few, so that
//! entries would pile up in some places, and in others there would be none to drop.

use kernel::sync::aref::ARef;

use crate::{
    ct::table::walk::{
        self,
        Cursor, //
    },
    nf::{
        entry::stale::{
            Get,
            Stale, //
        },
        kernel::{
            net::Stat,
            random, //
        },
        prelude::*, //
    },
};

use super::delete::{
    self,
    DestroyReason, //
};

/// The number of buckets that are scanned: enough to find a candidate if there are some, few enough
/// for the time of a packet.
const SCANNED_BUCKETS: u32 = 16;

/// The distance of two scanned buckets, in hashes: 2^32 divided by the golden ratio, which spreads
/// them evenly.
const STRIDE: u32 = 0x9e37_79b9;

/// The value of an entry that may be dropped; the smaller one is dropped first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    /// No reply has been seen.
    Unreplied,
    /// A reply has been seen, but the connection is not assured.
    Replied,
}

/// Returns the value of an entry; [`None`] if it must not be dropped.
fn value_of(status: crate::nf::entry::conn::Status) -> Option<Value> {
    if !status.has(StatusBit::Confirmed)
        || status.has(StatusBit::Dying)
        || status.has(StatusBit::Assured)
    {
        None
    } else if status.has(StatusBit::SeenReply) {
        Some(Value::Replied)
    } else {
        Some(Value::Unreplied)
    }
}

/// The order in which entries are dropped: by value, then by remaining life time in jiffies.
type Rank = (Value, u32);

/// The result of a scan so far.
#[derive(Default)]
struct Scan {
    /// Whether an expired entry of the namespace was removed.
    expired: bool,
    /// The entry to be dropped, with its rank.
    best: Option<(Rank, ARef<Conn>)>,
}

/// Visits one entry: removes it if it has expired, else keeps it if it is the best candidate so
/// far.
fn consider(stale: Stale<'_>, net: &Net, Scan { expired, best }: &mut Scan) {
    if stale.is_expired() {
        // The memory may have an entry of another namespace by now: the count is one too high for a
        // moment then.
        let is_in_net = stale.is_in(net);
        *expired |= delete::reap(stale) && is_in_net;
        return;
    }
    let Some(value) = value_of(stale.status()) else {
        return;
    };
    let rank = (value, stale.remaining());
    let better = match best {
        Some((so_far, _)) => rank < *so_far,
        None => true,
    };
    if !better || !stale.is_in(net) {
        return;
    }
    // Compared again with a reference held: the entry may be assured by now, or another one.
    let same = |stale: &Stale<'_>| stale.is_in(net) && value_of(stale.status()).is_some();
    if let Get::Hit(conn) = stale.get_if(same) {
        *best = Some((rank, conn));
    }
}

/// Makes room for one more entry of `net`: removes expired entries, or, if there are none among the
/// candidates, drops the least valuable one. Returns whether there is room.
#[cold]
pub(super) fn make_room(net: &Net, rcu: Rcu<'_>) -> bool {
    let mut scan = Scan::default();
    let mut hash = random::below(u32::MAX);
    for _ in 0..SCANNED_BUCKETS {
        // Either tuple of an entry will do.
        let _ = walk::walk_bucket(Cursor::of(hash), rcu, |stale| {
            consider(stale, net, &mut scan)
        });
        hash = hash.wrapping_add(STRIDE);
    }
    if scan.expired {
        return true;
    }
    // Another CPU may drop the same entry first; the room is that CPU's then.
    let dropped =
        (scan.best).is_some_and(|(_, conn)| delete::delete(&conn, DestroyReason::EarlyDrop));
    if dropped {
        net.count_one(Stat::EarlyDrop);
    }
    dropped
}
