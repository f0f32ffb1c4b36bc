// SPDX-License-Identifier: GPL-2.0

//! Early drop: makes room for a new connection in a full table by dropping the least valuable of
//! some entries.
//!
//! The candidates are in buckets that are spread over the table. Adjacent buckets would not do:
//! each search would drop one entry of a neighbourhood, whether that has many or few, so that
//! entries would pile up in some places, and in others there would be none to drop. Where a
//! namespace has few entries in such buckets, some of its lists ([`index`]) have candidates.
//!
//! Connections that are over go first: their entries wait for late packets only. So a client that
//! makes one request after the other always finds room. A connection that both sides use never
//! goes.

use kernel::sync::aref::ARef;

use crate::{
    ct::{
        entry::{
            events::{
                self,
                Retry, //
            },
            l4proto, //
        },
        netns::NetState,
        table::{
            index,
            walk::{
                self,
                Cursor, //
            }, //
        },
    },
    nf::{
        entry::{
            conn::Status,
            stale::{
                Get,
                Stale, //
            }, //
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

/// The number of entries of the namespace among which a candidate is as good as any. If the scanned
/// buckets have fewer, because the namespace has a small part of the table, its lists are looked
/// at.
const FAIR_SAMPLE: u32 = 8;

/// The value of an entry that may be dropped; the smaller one is dropped first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    /// It has expired.
    Expired,
    /// The connection is over, and the entry waits for late packets.
    Over,
    /// No reply has been seen.
    Unreplied,
    /// A reply has been seen, but the connection is not assured.
    Replied,
    /// The connection is assured, but one side has closed it.
    Closing,
}

/// The order in which entries are dropped: by value, then by remaining life time in jiffies.
type Rank = (Value, u32);

/// Returns whether an entry is in the table.
fn is_in_table(status: Status) -> bool {
    status.has(StatusBit::Confirmed) && !status.has(StatusBit::Dying)
}

/// Returns the lowest value that an entry with this status can have.
fn lowest_value(status: Status) -> Value {
    if status.has(StatusBit::Assured) {
        Value::Over
    } else if status.has(StatusBit::SeenReply) {
        Value::Replied
    } else {
        Value::Unreplied
    }
}

/// Returns the rank of an entry; [`None`] if it must not be dropped.
fn rank_of(conn: &Conn) -> Option<Rank> {
    let status = conn.status();
    if !is_in_table(status) {
        return None;
    }
    if conn.is_expired() {
        return Some((Value::Expired, 0));
    }
    let is_offloaded = status.has(StatusBit::Offload) || status.has(StatusBit::HwOffload);
    let value = match (lowest_value(status), conn.protocol()) {
        // Packets of an offloaded flow bypass the hooks, so its state here is stale.
        (Value::Over, _) if is_offloaded => return None,
        (Value::Over, protocol::TCP) => {
            let state = l4proto::tcp_state(conn);
            ending(state.is_over(), state.may_be_dropped_early())?
        }
        (Value::Over, protocol::SCTP) => {
            let state = l4proto::sctp_state(conn);
            ending(state.is_over(), state.may_be_dropped_early())?
        }
        (Value::Over, _) => return None,
        (value, _) => value,
    };
    Some((value, conn.remaining()))
}

/// Returns the value of an assured connection.
fn ending(is_over: bool, is_closing: bool) -> Option<Value> {
    match (is_over, is_closing) {
        (true, _) => Some(Value::Over),
        (false, true) => Some(Value::Closing),
        (false, false) => None,
    }
}

/// A scan for a candidate.
struct Scan<'n> {
    /// The namespace that needs room.
    net: &'n Net,
    /// Whether its listener is congested: an entry whose end must be told makes no room then.
    is_congested: bool,
    /// Whether an expired entry of the namespace was freed.
    has_freed: bool,
    /// How many entries of the namespace were met.
    met: u32,
    /// The entry to be dropped, with its rank.
    best: Option<(Rank, ARef<Conn>)>,
}

impl Scan<'_> {
    /// Returns whether an entry of this rank would be the best candidate so far.
    fn is_better(&self, rank: Rank) -> bool {
        match &self.best {
            Some((so_far, _)) => rank < *so_far,
            None => true,
        }
    }

    /// Visits one entry on a chain: removes it if it has expired, else keeps it if it is the best
    /// candidate so far.
    fn visit(&mut self, stale: Stale<'_>) {
        let net = self.net;
        if !stale.is_in(net) {
            if stale.is_expired() {
                delete::reap(stale);
            }
            return;
        }
        if stale.is_expired() {
            // The memory may have an entry of another namespace by now: the count is one too high
            // for a moment then.
            self.has_freed |= delete::reap(stale);
            return;
        }
        self.met = self.met.wrapping_add(1);
        if !self.is_better((lowest_value(stale.status()), stale.remaining())) {
            return;
        }
        // Compared again with a reference held: the memory may have another entry by now.
        if let Get::Hit(conn) = stale.get_if(|stale| stale.is_in(net)) {
            self.consider(conn);
        }
    }

    /// Keeps an entry if it is the best candidate so far.
    fn consider(&mut self, conn: ARef<Conn>) {
        if let Some(rank) = self.rank(&conn, 1).filter(|&rank| self.is_better(rank)) {
            self.best = Some((rank, conn));
        }
    }

    /// Returns the rank of an entry, to which the scan has so many references. [`None`]: to drop it
    /// would make no room.
    fn rank(&self, conn: &Conn, references: u32) -> Option<Rank> {
        // An entry that packets, or connections that it is the master of, hold is not freed when it
        // is dropped. The table has a reference, too.
        let would_be_freed = conn.use_count() <= references.wrapping_add(1);
        let has_room = core::ptr::eq(conn.net(), self.net)
            && would_be_freed
            && !(self.is_congested && events::is_end_wanted(conn));
        if has_room {
            rank_of(conn)
        } else {
            None
        }
    }
}

/// Makes room for one more entry of `net`: removes expired entries, or, if there are none among the
/// candidates, drops the least valuable one. Returns whether there is room.
///
/// Room is the memory of an entry: one that waits on the dying list makes none. So these come
/// first. While the listener is congested, no entry is dropped whose end it must be told: that
/// would only make the list longer.
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
        met: 0,
        best: None,
    };
    let mut hash = random::below(u32::MAX);
    for _ in 0..SCANNED_BUCKETS {
        // Either tuple of an entry will do.
        let _ = walk::walk_bucket(Cursor::of(hash), rcu, |stale| scan.visit(stale));
        hash = hash.wrapping_add(STRIDE);
    }
    if scan.has_freed {
        return true;
    }
    if scan.met < FAIR_SAMPLE {
        if let Some((rank, conn)) = index::lowest_of_some(net, rcu, |conn| scan.rank(conn, 0)) {
            if scan.is_better(rank) {
                scan.best = Some((rank, conn));
            }
        }
    }
    scan.best
        .is_some_and(|(rank, conn)| drop_entry(net, &conn, rank, rcu))
}

/// Drops the chosen entry. Returns whether this makes room: not if another CPU drops the same entry
/// first, since the room is that CPU's then.
fn drop_entry(net: &Net, conn: &Conn, (value, _): Rank, rcu: Rcu<'_>) -> bool {
    let reason = match value {
        Value::Expired => DestroyReason::TimedOut,
        _ => DestroyReason::EarlyDrop,
    };
    if delete::delete_inner(conn, reason, Requester::default(), rcu) != Deletion::Done {
        return false;
    }
    if value != Value::Expired {
        net.count_one(Stat::EarlyDrop);
    }
    true
}
