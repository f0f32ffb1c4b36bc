// SPDX-License-Identifier: GPL-2.0

//! Early drop: makes room for a new connection in a full table by dropping the least valuable of
//! some entries.
//!
//! The candidates are in buckets that are spread over the table. Adjacent buckets would not do:
//! each search would drop one entry of a neighbourhood, whether that has many or few, so that
//! entries would pile up in some places, and in others there would be none to drop.

use kernel::sync::aref::ARef;

use crate::{
    ct::{
        entry::events::{
            self,
            Retry, //
        },
        netns::NetState,
        table::walk::{
            self,
            Cursor, //
        },
    },
    nf::{
        entry::stale::{
            Get,
            Stale, //
        },
        kernel::{
            net::Stat,
            nfnetlink::Requester,
            random, //
        },
        prelude::*, //
    },
};

use super::delete::{
    self,
    Deletion,
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

/// A scan for a candidate.
struct Scan<'n> {
    /// The namespace that needs room.
    net: &'n Net,
    /// Whether its listener is congested: an entry whose end must be told makes no room then.
    is_congested: bool,
    /// Whether an expired entry of the namespace was freed.
    has_freed: bool,
    /// The entry to be dropped, with its rank.
    best: Option<(Rank, ARef<Conn>)>,
}

/// The references to an entry that nothing else uses: the table's, and that of the scan.
const UNUSED: u32 = 2;

/// Visits one entry: removes it if it has expired, else keeps it if it is the best candidate so
/// far.
fn consider(stale: Stale<'_>, scan: &mut Scan<'_>) {
    let net = scan.net;
    if stale.is_expired() {
        // The memory may have an entry of another namespace by now: the count is one too high for a
        // moment then.
        let is_in_net = stale.is_in(net);
        scan.has_freed |= delete::reap(stale) && is_in_net;
        return;
    }
    let Some(value) = value_of(stale.status()) else {
        return;
    };
    let rank = (value, stale.remaining());
    let better = match &scan.best {
        Some((so_far, _)) => rank < *so_far,
        None => true,
    };
    if !better || !stale.is_in(net) {
        return;
    }
    // Compared again with a reference held: the entry may be assured by now, or another one.
    let same = |stale: &Stale<'_>| stale.is_in(net) && value_of(stale.status()).is_some();
    if let Get::Hit(conn) = stale.get_if(same) {
        // An entry that packets, or connections that it is the master of, hold is not freed when it is
        // dropped.
        let would_be_freed = conn.use_count() <= UNUSED;
        if would_be_freed && !(scan.is_congested && events::is_end_wanted(&conn)) {
            scan.best = Some((rank, conn));
        }
    }
}

/// Makes room for one more entry of `net`: removes expired entries, or, if there are none among the
/// candidates, drops the least valuable one. Returns whether there is room.
///
/// Room is the memory of an entry: one that waits on the dying list makes none. So these come first.
/// While the listener is congested, no entry is dropped whose end it must be told: that would only
/// make the list longer.
#[cold]
pub(super) fn make_room(net: &Net, rcu: Rcu<'_>) -> bool {
    let is_congested = match events::retry_oldest(net, rcu) {
        Retry::Empty => false,
        Retry::Congested => true,
        Retry::Sent(removed) => {
            net.hasten_work::<NetState>();
            if removed.use_count() == 1 {
                return true;
            }
            false
        }
    };
    let mut scan = Scan {
        net,
        is_congested,
        has_freed: false,
        best: None,
    };
    let mut hash = random::below(u32::MAX);
    for _ in 0..SCANNED_BUCKETS {
        // Either tuple of an entry will do.
        let _ = walk::walk_bucket(Cursor::of(hash), rcu, |stale| consider(stale, &mut scan));
        hash = hash.wrapping_add(STRIDE);
    }
    if scan.has_freed {
        return true;
    }
    // Another CPU may drop the same entry first; the room is that CPU's then.
    let dropped = scan.best.is_some_and(|(_, conn)| {
        let by = Requester::default();
        delete::delete_inner(&conn, DestroyReason::EarlyDrop, by, rcu) == Deletion::Done
    });
    if dropped {
        net.count_one(Stat::EarlyDrop);
    }
    dropped
}
