// SPDX-License-Identifier: GPL-2.0

//! Room for a new connection when the table is full: the least valuable one of some entries has
//! to go.
//!
//! They are those of some buckets, here and there in the table. Were those side by side, one entry of
//! a neighbourhood would go, whether it has many or few: they would gather somewhere, and elsewhere
//! none would be found.

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

/// How many buckets are looked at: enough to find a victim where there are some, few enough
/// for a packet's time.
const SCANNED_BUCKETS: u32 = 16;

/// How far apart they are, in hashes: steps of the golden section come everywhere.
const STRIDE: u32 = 0x9e37_79b9;

/// How much an entry that may be dropped is worth; the smaller goes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    /// Nobody answered.
    Unreplied,
    /// Answered, but not proven to be a connection.
    Replied,
}

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

/// The worth and the time left: what victims are chosen by.
type Rank = (Value, u32);

/// What was found so far.
#[derive(Default)]
struct Scan {
    /// Whether an expired entry of the namespace is gone.
    expired: bool,
    /// The best victim.
    best: Option<(Rank, ARef<Conn>)>,
}

/// Looks at one entry; keeps it if it is a better victim than the one so far.
fn consider(stale: Stale<'_>, net: &Net, Scan { expired, best }: &mut Scan) {
    if stale.is_expired() {
        // If it is another namespace's by now, there is one entry too many for a moment.
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
    // It may have become another namespace's meanwhile, or assured.
    let same = |stale: &Stale<'_>| stale.is_in(net) && value_of(stale.status()).is_some();
    if let Get::Hit(conn) = stale.get_if(same) {
        *best = Some((rank, conn));
    }
}

/// Makes room for one more entry of `net`: removes those that have expired, or if it meets none, drops
/// one that has not. Says whether it could.
#[cold]
pub(super) fn make_room(net: &Net, rcu: Rcu<'_>) -> bool {
    let mut scan = Scan::default();
    let mut hash = random::below(u32::MAX);
    for _ in 0..SCANNED_BUCKETS {
        // By any of its tuples, where it stands by two.
        let _ = walk::walk_bucket(Cursor::of(hash), rcu, |stale| {
            consider(stale, net, &mut scan)
        });
        hash = hash.wrapping_add(STRIDE);
    }
    if scan.expired {
        return true;
    }
    // Someone may have been faster: then there is room all the same, but not for us.
    let dropped =
        (scan.best).is_some_and(|(_, conn)| delete::delete(&conn, DestroyReason::EarlyDrop));
    if dropped {
        net.count_one(Stat::EarlyDrop);
    }
    dropped
}
