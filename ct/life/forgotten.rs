// SPDX-License-Identifier: GPL-2.0

//! Forgotten sockets: adoption of one connection, when a TCP segment of it has no entry.
//!
//! A connection may go on without its entry: after `conntrack -F`, or when a checkpoint of its
//! process is restored in another place (CRIU). A rule that wants new connections to begin with a
//! SYN (`ct state new tcp flags != syn drop`) would cut it. So a segment that is no SYN and has no
//! entry makes the tracker ask the socket that it is for, or that it is from, and the connection
//! gets the entry that [adoption](super::adopt) gives it.
//!
//! # Translated connections
//!
//! The entry of a socket translates nothing. A segment that arrives with the addresses and ports of
//! a socket is not translated in either direction. A segment that leaves might have been: where the
//! namespace has NAT chains, it is left to their rules, as if it were the first one.
//!
//! # Races
//!
//! The socket is not locked: the sender of a segment may hold its lock. Its words may be of
//! different moments, so its windows are assumed larger, as for a socket that a process owns. A
//! packet on another CPU may create an entry meanwhile; that one stays.

use kernel::sync::atomic::Relaxed;

use crate::{
    ct::{
        netns::NetState,
        table::TupleHash, //
    },
    nf::{
        kernel::{
            endpoint::Endpoint,
            params,
            sockets::Socket,
            time::{
                self,
                HZ, //
            },
        },
        prelude::*, //
    },
    proto::adopt::{
        Endpoints,
        Misses, //
        RateLimit,
    },
};

use super::{
    adopt::{
        self,
        Adoption, //
    },
    sockets,
};

/// The way of a segment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::ct) enum Way {
    /// It arrives, and may be for a socket.
    In,
    /// It leaves, and may be from a socket.
    Out,
}

/// Returns whether a socket may be looked for, for a segment whose tuple has this hash: whether
/// sockets are adopted, and the lookups that found none have not reached their limit ([`Misses`]).
/// In a flood of segments that belong to no socket, this is all that is done.
#[inline]
pub(in crate::ct) fn may_ask(net: &Net, hash: TupleHash, rcu: Rcu<'_>) -> bool {
    params::adopt_sockets() && {
        let misses = net.state_in::<NetState>(rcu).socket_misses(hash.hash);
        let so_far: Misses = RateLimit(misses.load(Relaxed));
        so_far.allows(second())
    }
}

/// Counts a lookup that found no socket. Two CPUs may count one instead of two.
fn count_miss(state: &NetState, hash: TupleHash) {
    let misses = state.socket_misses(hash.hash);
    let so_far: Misses = RateLimit(misses.load(Relaxed));
    misses.store(so_far.count(second()).0, Relaxed);
}

/// Returns the number of the present second, for the limit.
#[inline]
fn second() -> u32 {
    time::jiffies32() / HZ
}

/// Adopts the connection of a TCP segment with this tuple, which has no entry, from its socket. The
/// caller has asked [`may_ask`].
///
/// `device`: the index of the interface through which the segment arrives or leaves. Returns
/// whether there is an entry now.
pub(in crate::ct) fn adopt_by_segment(
    net: &Net,
    tuple: &Tuple,
    way: Way,
    device: i32,
    hash: TupleHash,
    rcu: Rcu<'_>,
) -> bool {
    let state = net.state_in::<NetState>(rcu);
    if way == Way::Out && state.nat_chains.load(Relaxed) != 0 {
        return false;
    }
    let Some(family) = tuple.family() else {
        return false;
    };
    let (source, destination) = Endpoint::ends_of(tuple);
    let (local, remote) = match way {
        Way::In => (destination, source),
        Way::Out => (source, destination),
    };
    let Some(socket) = Socket::connected(net, family, &local, &remote, device, rcu) else {
        count_miss(state, hash);
        return false;
    };
    let (identity, progress) = socket.snapshot();
    let snapshot = sockets::state(&identity, &progress);
    let ends = Endpoints {
        family,
        local: local.address,
        remote: remote.address,
        local_port: local.host_port(),
        remote_port: remote.host_port(),
    };
    // The socket may have been connected anew since the lookup.
    if snapshot.endpoints() != Some(ends) {
        return false;
    }
    let Some(opener) = adopt::opener(&socket, &snapshot, &ends, rcu) else {
        return false;
    };
    match adopt::adopt_connection(net, &snapshot, &ends, opener, rcu) {
        // Busy: a packet has created an entry.
        Adoption::Adopted | Adoption::Busy => true,
        Adoption::Skipped | Adoption::NoRoom => false,
    }
}
