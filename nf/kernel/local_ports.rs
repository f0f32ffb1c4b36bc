// SPDX-License-Identifier: GPL-2.0

//! Which ports this machine's own sockets use.
//!
//! C headers: [`include/net/inet_hashtables.h`](srctree/include/net/inet_hashtables.h),
//! [`include/net/udp.h`](srctree/include/net/udp.h)

use core::{
    ffi::c_void,
    ptr::{
        addr_of_mut,
        NonNull, //
    }, //
};

use crate::{
    nf::bindings,
    proto::types::family::Family, //
};

use super::{
    endpoint::Endpoint,
    net::Net,
    rcu::Rcu, //
};

/// The protocols whose sockets can be asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    /// The one with an IP protocol number.
    pub(crate) fn of(protonum: u8) -> Option<Self> {
        match u32::from(protonum) {
            bindings::IPPROTO_TCP => Some(Self::Tcp),
            bindings::IPPROTO_UDP => Some(Self::Udp),
            _ => None,
        }
    }
}

/// Where a socket takes packets.
#[derive(Clone, Copy)]
pub(crate) struct Bound {
    /// [`None`]: at every address.
    pub(crate) address: Option<[u8; 16]>,
    /// The port, in network byte order.
    pub(crate) port: [u8; 2],
}

/// Whatever device a packet comes through, but for those of a VRF.
pub(in crate::nf) const ANY_DEVICE: i32 = 0;

/// A socket that was found.
///
/// # Invariants
///
/// Points to a socket, or what is left of one, which is not freed while this exists.
struct Socket(NonNull<bindings::sock>);

impl Socket {
    fn bound(&self, family: Family) -> Bound {
        let sock = self.0.as_ptr();
        let mut address = [0; 16];
        // SAFETY: By the type invariants; all kinds of sockets begin with these fields.
        unsafe {
            match family {
                Family::Ipv4 => {
                    address[..4].copy_from_slice(&bindings::rct_sock_ipv4(sock).to_ne_bytes());
                }
                Family::Ipv6 => {
                    address = core::mem::transmute_copy(&bindings::rct_sock_ipv6(sock));
                }
            }
            Bound {
                address: (address != [0; 16]).then_some(address),
                port: bindings::rct_sock_port(sock).to_be_bytes(),
            }
        }
    }
}

impl Net {
    /// Whether `net.ipv4.ip_local_reserved_ports` has a port (host byte order).
    #[inline]
    pub(crate) fn is_reserved(&self, port: u16) -> bool {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_port_is_reserved(self.raw(), port) }
    }

    /// Whether an address is one of this machine's.
    pub(crate) fn is_local(&self, family: Family, address: &[u8; 16], _rcu: Rcu<'_>) -> bool {
        let end = Endpoint {
            address: *address,
            port: [0; 2],
        };
        // SAFETY: By the type invariants; the section is open.
        unsafe {
            match family {
                Family::Ipv4 => bindings::rct_ipv4_is_local(self.raw(), end.ipv4()),
                Family::Ipv6 => bindings::rct_ipv6_is_local(self.raw(), end.ipv6()),
            }
        }
    }

    /// Whether a socket has the four-tuple of `local` and `remote`, or has the port of `local`
    /// whatever the remote end is. The latter does not count where `is_own` says so.
    ///
    /// A TCP socket that is connected to somewhere else does not have the port: of TCP, those do
    /// that listen, or are bound and not connected.
    pub(crate) fn port_is_used(
        &self,
        family: Family,
        transport: Transport,
        local: &Endpoint,
        remote: &Endpoint,
        is_own: &dyn Fn(Bound) -> bool,
        rcu: Rcu<'_>,
    ) -> bool {
        if transport == Transport::Tcp && self.is_connected(family, local, remote, rcu) {
            return true;
        }
        if let Some(open) = self.receiver(family, transport, local, remote, ANY_DEVICE, rcu) {
            // INVARIANT: Under RCU the socket stays.
            if !is_own(Socket(open).bound(family)) {
                return true;
            }
        }
        transport == Transport::Tcp && self.port_is_bound(family, local, is_own)
    }

    /// Whether a TCP socket has this four-tuple.
    fn is_connected(
        &self,
        family: Family,
        local: &Endpoint,
        remote: &Endpoint,
        _rcu: Rcu<'_>,
    ) -> bool {
        let (net, remote_port, local_port) = (self.raw(), remote.network_port(), local.host_port());
        // SAFETY: By the type invariants, under RCU; the addresses are valid for the calls.
        let found = unsafe {
            match family {
                Family::Ipv4 => bindings::rct_tcp4_connected(
                    net,
                    remote.ipv4(),
                    remote_port,
                    local.ipv4(),
                    local_port,
                ),
                Family::Ipv6 => bindings::rct_tcp6_connected(
                    net,
                    remote.ipv6(),
                    remote_port,
                    local.ipv6(),
                    local_port,
                ),
            }
        };
        if !found.is_null() {
            // SAFETY: Whoever finds a connected socket gets a reference.
            unsafe { bindings::sock_gen_put(found) };
        }
        !found.is_null()
    }

    /// The socket that takes what comes from `remote` to `local` through a device (by its index, or
    /// [`ANY_DEVICE`]): of TCP, one that listens. It stays as long as the section.
    pub(in crate::nf) fn receiver(
        &self,
        family: Family,
        transport: Transport,
        local: &Endpoint,
        remote: &Endpoint,
        device: i32,
        _rcu: Rcu<'_>,
    ) -> Option<NonNull<bindings::sock>> {
        let (net, remote_port) = (self.raw(), remote.network_port());
        // SAFETY: By the type invariants, under RCU; the addresses are valid for the calls.
        NonNull::new(unsafe {
            match (transport, family) {
                (Transport::Tcp, Family::Ipv4) => bindings::rct_tcp4_listener(
                    net,
                    remote.ipv4(),
                    remote_port,
                    local.ipv4(),
                    local.host_port(),
                    device,
                ),
                (Transport::Tcp, Family::Ipv6) => bindings::rct_tcp6_listener(
                    net,
                    remote.ipv6(),
                    remote_port,
                    local.ipv6(),
                    local.host_port(),
                    device,
                ),
                (Transport::Udp, Family::Ipv4) => bindings::rct_udp4_receiver(
                    net,
                    remote.ipv4(),
                    remote_port,
                    local.ipv4(),
                    local.network_port(),
                    device,
                ),
                (Transport::Udp, Family::Ipv6) => bindings::rct_udp6_receiver(
                    net,
                    remote.ipv6(),
                    remote_port,
                    local.ipv6(),
                    local.network_port(),
                    device,
                ),
            }
        })
    }

    /// Whether a TCP socket is bound there that is not connected.
    fn port_is_bound(
        &self,
        family: Family,
        local: &Endpoint,
        is_own: &dyn Fn(Bound) -> bool,
    ) -> bool {
        let mut question = Question {
            family,
            local,
            is_own,
            left: MOST_SOCKETS,
            found: false,
        };
        // SAFETY: `visit` takes what is handed on; sockets stay during the call.
        unsafe {
            bindings::rct_tcp_each_bound(
                self.raw(),
                local.host_port(),
                Some(visit),
                addr_of_mut!(question).cast(),
            );
        }
        question.found
    }
}

/// Sockets of one port that are looked at: with more of them the port is a server's, which
/// would have been found listening.
const MOST_SOCKETS: u32 = 64;

struct Question<'a> {
    family: Family,
    local: &'a Endpoint,
    is_own: &'a dyn Fn(Bound) -> bool,
    left: u32,
    found: bool,
}

/// Looks at a socket with the port. Says whether to go on.
///
/// # Safety
///
/// `sock` is a socket, `question` a [`Question`].
unsafe extern "C" fn visit(sock: *mut bindings::sock, question: *mut c_void) -> bool {
    // SAFETY: The caller's promise.
    let question = unsafe { &mut *question.cast::<Question<'_>>() };
    question.left = question.left.saturating_sub(1);
    // SAFETY: The caller's promise.
    let is_idle = unsafe { bindings::rct_sock_is_idle(sock, question.family as u16) };
    if let (true, Some(sock)) = (is_idle, NonNull::new(sock)) {
        // INVARIANT: The caller's promise.
        let bound = Socket(sock).bound(question.family);
        let is_there = bound
            .address
            .is_none_or(|address| address == question.local.address);
        question.found = is_there && !(question.is_own)(bound);
    }
    !question.found && question.left != 0
}
