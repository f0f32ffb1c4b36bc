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
const BUCKETS: u32 = 16;

/// How far apart they are, in hashes: steps of the golden section come everywhere.
const STEP: u32 = 0x9e37_79b9;

/// How much an entry that may be dropped is worth; the smaller goes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// Nobody answered.
    Unreplied,
    /// Answered, but not proven to be a connection.
    Replied,
}

fn worth(status: crate::nf::entry::conn::Status) -> Option<Worth> {
    if !status.has(StatusBit::Confirmed)
        || status.has(StatusBit::Dying)
        || status.has(StatusBit::Assured)
    {
        None
    } else if status.has(StatusBit::SeenReply) {
        Some(Worth::Replied)
    } else {
        Some(Worth::Unreplied)
    }
}

/// The worth and the time left: what victims are chosen by.
type Rank = (Worth, u32);

/// What was found so far.
#[derive(Default)]
struct Search {
    /// Whether an expired entry of the namespace is gone.
    expired: bool,
    /// The best victim.
    best: Option<(Rank, ARef<Conn>)>,
}

/// Looks at one entry; keeps it if it is a better victim than the one so far.
fn consider(stale: Stale<'_>, net: &Net, Search { expired, best }: &mut Search) {
    if stale.is_expired() {
        // If it is another namespace's by now, there is one entry too many for a moment.
        let is_ours = stale.is_in(net);
        *expired |= delete::reap(stale) && is_ours;
        return;
    }
    let Some(worth_now) = worth(stale.status()) else {
        return;
    };
    let rank = (worth_now, stale.remaining());
    let better = match best {
        Some((so_far, _)) => rank < *so_far,
        None => true,
    };
    if !better || !stale.is_in(net) {
        return;
    }
    // It may have become another namespace's meanwhile, or assured.
    let same = |stale: &Stale<'_>| stale.is_in(net) && worth(stale.status()).is_some();
    if let Get::Hit(conn) = stale.get_if(same) {
        *best = Some((rank, conn));
    }
}

/// Makes room for one more entry of `net`: removes those that have expired, or if it meets none, drops
/// one that has not. Says whether it could.
#[cold]
pub(in crate::ct) fn make_room(net: &Net, rcu: Rcu<'_>) -> bool {
    let mut search = Search::default();
    let mut hash = random::below(u32::MAX);
    for _ in 0..BUCKETS {
        // By any of its tuples, where it stands by two.
        let _ = walk::walk_bucket(Cursor::of(hash), rcu, |stale| {
            consider(stale, net, &mut search)
        });
        hash = hash.wrapping_add(STEP);
    }
    if search.expired {
        return true;
    }
    // Someone may have been faster: then there is room all the same, but not for us.
    let dropped =
        (search.best).is_some_and(|(_, conn)| delete::delete(&conn, DestroyReason::EarlyDrop));
    if dropped {
        net.count_one(Stat::EarlyDrop);
    }
    dropped
}
