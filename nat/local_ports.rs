// SPDX-License-Identifier: GPL-2.0

//! Local ports: which endpoints of this machine's own sockets NAT must not give to a connection.

use core::ops::ControlFlow;

use crate::nf::{
    kernel::{
        endpoint::Endpoint,
        local_ports::{
            Bound,
            Transport, //
        }, //
    },
    prelude::*, //
};

/// The largest number of bound sockets of one port that are looked at. A port with more of them is
/// a server's, which the lookup of a listening socket has found before.
const MAX_BOUND_SOCKETS: u32 = 64;

/// Returns whether a socket has the four-tuple of `local` and `remote`, or has the port of `local`
/// whatever the remote endpoint is. Sockets of the latter kind do not count where `is_own` says so.
///
/// A TCP socket that is connected to another remote endpoint does not have the port: of TCP, those
/// sockets have it that listen, or that are bound and not connected.
pub(super) fn is_used(
    net: &Net,
    family: Family,
    transport: Transport,
    local: &Endpoint,
    remote: &Endpoint,
    is_own: impl Fn(Bound) -> bool,
    rcu: Rcu<'_>,
) -> bool {
    if transport == Transport::Tcp && net.is_connected(family, local, remote, rcu) {
        return true;
    }
    let receiver = net.receiver(family, transport, local, remote, rcu);
    receiver.is_some_and(|bound| !is_own(bound))
        || transport == Transport::Tcp && is_bound(net, family, local, is_own)
}

/// Returns whether a TCP socket is bound to `local` that is neither connected nor listening.
fn is_bound(net: &Net, family: Family, local: &Endpoint, is_own: impl Fn(Bound) -> bool) -> bool {
    let (mut left, mut is_found) = (MAX_BOUND_SOCKETS, false);
    net.for_each_bound(u16::from_be_bytes(local.port), |socket| {
        left = left.saturating_sub(1);
        if socket.is_idle() && socket.takes(family) {
            let bound = socket.bound(family);
            let is_there = bound.address.is_none_or(|address| address == local.address);
            is_found = is_there && !is_own(bound);
        }
        if is_found || left == 0 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    is_found
}
