// SPDX-License-Identifier: GPL-2.0

//! Local ports: lookups of the sockets of this machine that have a port.
//!
//! C headers: [`include/net/inet_hashtables.h`](srctree/include/net/inet_hashtables.h),
//! [`include/net/udp.h`](srctree/include/net/udp.h)

use core::{
    iter::successors,
    ops::ControlFlow,
    ptr::NonNull, //
};

use crate::{
    nf::bindings,
    proto::types::{
        family::Family,
        tuple::widen, //
    },
};

use super::{endpoint::Endpoint, lock, net::Net, rcu::Rcu};

/// The transport protocols whose sockets can be looked up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Transport {
    /// Returns the transport protocol with an IP protocol number.
    pub(crate) fn of(protonum: u8) -> Option<Self> {
        match u32::from(protonum) {
            bindings::IPPROTO_TCP => Some(Self::Tcp),
            bindings::IPPROTO_UDP => Some(Self::Udp),
            _ => None,
        }
    }
}

/// The address and port to which a socket is bound.
#[derive(Clone, Copy)]
pub(crate) struct Bound {
    /// The address, in network byte order; [`None`]: every address.
    pub(crate) address: Option<[u8; 16]>,
    /// The port, in network byte order.
    pub(crate) port: [u8; 2],
}

/// The state of a full socket that is neither connected nor listening.
// CAST: The number of a state.
const CLOSE: u8 = bindings::RCT_TCP_CLOSE as u8;

/// The interface index of a lookup for packets of any device outside of a VRF.
const ANY_DEVICE: i32 = 0;

/// A socket that is bound to a port, borrowed from a table of the kernel.
///
/// # Invariants
///
/// The pointer is to a socket, or to the rest of one in TIME_WAIT, that is not freed while this
/// value exists.
pub(crate) struct BoundSocket(NonNull<bindings::sock>);

impl BoundSocket {
    /// Returns the address, as one of `family`, and the port to which the socket is bound.
    pub(crate) fn bound(&self, family: Family) -> Bound {
        let sk = self.0.as_ptr();
        // SAFETY: By the type invariants; sockets of all kinds begin with these fields.
        let (address, port) = unsafe {
            let address = match family {
                Family::Ipv4 => widen(bindings::rct_sock_ipv4(sk).to_ne_bytes()),
                Family::Ipv6 => Endpoint::address_of_ipv6(bindings::rct_sock_ipv6(sk)),
            };
            (address, bindings::rct_sock_port(sk))
        };
        Bound {
            address: (address != [0; 16]).then_some(address),
            port: port.to_be_bytes(),
        }
    }

    /// Returns whether the socket is neither connected nor listening.
    pub(crate) fn is_idle(&self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_sock_state(self.0.as_ptr()) == CLOSE }
    }

    /// Returns whether the socket takes packets of a family: an IPv6 socket takes those of IPv4 as
    /// well, unless the process forbade it (`IPV6_V6ONLY`).
    pub(crate) fn takes(&self, family: Family) -> bool {
        let sk = self.0.as_ptr();
        // SAFETY: By the type invariants.
        let own = unsafe { bindings::rct_sock_family(sk) };
        own == family.to_u16()
            || own == Family::Ipv6.to_u16()
                // SAFETY: By the type invariants.
                && !unsafe { bindings::rct_sock_is_ipv6_only(sk) }
    }
}

impl Net {
    /// Returns whether a port (host byte order) is in `net.ipv4.ip_local_reserved_ports`.
    #[inline]
    pub(crate) fn is_reserved(&self, port: u16) -> bool {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_port_is_reserved(self.raw(), port) }
    }

    /// Returns which of the 64 ports from `64 * number` on are in
    /// `net.ipv4.ip_local_reserved_ports`: a bit for each, the first one lowest.
    #[inline]
    pub(crate) fn reserved_ports(&self, number: u16) -> u64 {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_reserved_ports(self.raw(), number) }
    }

    /// Returns whether an address is a local one of this namespace.
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

    /// Returns whether a TCP socket has the four-tuple of `local` and `remote`.
    pub(crate) fn is_connected(
        &self,
        family: Family,
        local: &Endpoint,
        remote: &Endpoint,
        rcu: Rcu<'_>,
    ) -> bool {
        let found = self.find_connected(family, local, remote, ANY_DEVICE, rcu);
        if let Some(found) = found {
            // SAFETY: The lookup of a connected socket took a reference.
            unsafe { bindings::sock_gen_put(found.as_ptr()) };
        }
        found.is_some()
    }

    /// Looks up the TCP socket with the four-tuple of `local` and `remote` that receives packets of
    /// a device, given by its interface index. The caller owns a reference to the socket, which may
    /// be a request, or the rest of one in TIME_WAIT.
    pub(super) fn find_connected(
        &self,
        family: Family,
        local: &Endpoint,
        remote: &Endpoint,
        device: i32,
        _rcu: Rcu<'_>,
    ) -> Option<NonNull<bindings::sock>> {
        let (net, remote_port, local_port) = (self.raw(), remote.network_port(), local.host_port());
        // SAFETY: By the type invariants, under RCU; the addresses are valid for the calls.
        NonNull::new(unsafe {
            match family {
                Family::Ipv4 => bindings::rct_tcp4_connected(
                    net,
                    remote.ipv4(),
                    remote_port,
                    local.ipv4(),
                    local_port,
                    device,
                ),
                Family::Ipv6 => bindings::rct_tcp6_connected(
                    net,
                    remote.ipv6(),
                    remote_port,
                    local.ipv6(),
                    local_port,
                    device,
                ),
            }
        })
    }

    /// Looks up the socket that receives packets from `remote` to `local`: a TCP socket that
    /// listens, or a UDP socket. Returns where it is bound.
    pub(crate) fn receiver(
        &self,
        family: Family,
        transport: Transport,
        local: &Endpoint,
        remote: &Endpoint,
        rcu: Rcu<'_>,
    ) -> Option<Bound> {
        let found = self.find_receiver(family, transport, local, remote, ANY_DEVICE, rcu)?;
        // INVARIANT: The socket is not freed in this RCU read-side critical section.
        Some(BoundSocket(found).bound(family))
    }

    /// Returns whether a socket receives packets from `remote` to `local` through a device, given
    /// by its interface index.
    pub(in crate::nf) fn has_receiver(
        &self,
        family: Family,
        transport: Transport,
        local: &Endpoint,
        remote: &Endpoint,
        device: i32,
        rcu: Rcu<'_>,
    ) -> bool {
        self.find_receiver(family, transport, local, remote, device, rcu)
            .is_some()
    }

    /// Does the lookup of [`Self::receiver`]. The socket is not freed before the RCU read-side
    /// critical section ends.
    fn find_receiver(
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

    /// Calls `f` with each TCP socket that is bound to a port (host byte order), under the lock of
    /// the port's chain, until `f` breaks. `f` must not sleep.
    pub(crate) fn for_each_bound(
        &self,
        port: u16,
        mut f: impl FnMut(&BoundSocket) -> ControlFlow<()>,
    ) {
        // SAFETY: By the type invariants the namespace exists, and its table with it.
        let (chain, lock) = unsafe {
            let chain = bindings::rct_bind_chain(self.raw(), port);
            (chain, lock::from_raw(bindings::rct_bind_lock(chain)))
        };
        let _guard = lock.lock();
        // SAFETY: What is linked into the chain stays so while its lock is held.
        let first = unsafe { bindings::rct_bind_first(chain) };
        // SAFETY: As above.
        let buckets = list(first, |bucket| unsafe { bindings::rct_bind_next(bucket) })
            // SAFETY: As above.
            .filter(|bucket| unsafe {
                bindings::rct_bind_port(bucket.as_ptr()) == port
                    && core::ptr::eq(bindings::rct_bind_net(bucket.as_ptr()), self.raw())
            });
        for bucket in buckets {
            // SAFETY: As above.
            let first = unsafe { bindings::rct_bind2_first(bucket.as_ptr()) };
            // SAFETY: As above.
            for place in list(first, |place| unsafe { bindings::rct_bind2_next(place) }) {
                // SAFETY: As above.
                let first = unsafe { bindings::rct_bind2_first_sock(place.as_ptr()) };
                // SAFETY: As above.
                for sk in list(first, |sk| unsafe { bindings::rct_bind2_next_sock(sk) }) {
                    // INVARIANT: Linked sockets are not freed.
                    if f(&BoundSocket(sk)).is_break() {
                        return;
                    }
                }
            }
        }
    }
}

/// Returns the elements of a list that ends with a null pointer.
fn list<T>(first: *mut T, next: impl Fn(*mut T) -> *mut T) -> impl Iterator<Item = NonNull<T>> {
    successors(NonNull::new(first), move |last| {
        NonNull::new(next(last.as_ptr()))
    })
}
