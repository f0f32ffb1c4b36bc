// SPDX-License-Identifier: GPL-2.0

//! Sockets: the kernel's tables of connected TCP and UDP sockets, and the state of one socket.
//!
//! Most namespaces share their tables with the initial one. A bucket is walked under its lock, and
//! under that lock [`Table::collect`] takes references, no more. The state of a socket is read
//! later, with bucket and table unlocked; so packets wait no longer than for the walk of one
//! bucket, or for the reading of one socket.
//!
//! C headers: [`include/net/inet_hashtables.h`](srctree/include/net/inet_hashtables.h),
//! [`include/net/udp.h`](srctree/include/net/udp.h)

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

use kernel::prelude::*;

use crate::{
    nf::bindings,
    proto::types::{
        family::Family,
        tuple::widen, //
    },
};

use super::{
    endpoint::Endpoint,
    local_ports::Transport,
    lock::{
        self,
        BhDisabled,
        LockWith, //
    },
    net::{
        self,
        Net,
        NetRef, //
    },
    rcu::Rcu, //
};

pub(crate) use bindings::{
    rct_tcp_request as TcpRequest,
    rct_tcp_sock as TcpSock,
    rct_tcp_timewait as TcpTimewait, //
};

// CAST: The numbers of families, states, flags and protocols are small; so are the others below.
/// The number of `AF_INET6` in [`Identity::family`].
const AF_INET6: u16 = bindings::RCT_AF_INET6 as u16;
const TIME_WAIT: u8 = bindings::RCT_TCP_TIME_WAIT as u8;
const REQUEST: u8 = bindings::RCT_TCP_NEW_SYN_RECV as u8;
const ESTABLISHED: u8 = bindings::RCT_TCP_ESTABLISHED as u8;
const TCP: u8 = bindings::IPPROTO_TCP as u8;
const CONNECT_BIND: u32 = bindings::RCT_SOCK_CONNECT_BIND as u32;
const BINDPORT_LOCK: u32 = bindings::RCT_SOCK_BINDPORT_LOCK as u32;

/// The connection of a socket, and the state that every kind of socket has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    /// The number of the socket's address family. An IPv6 socket may have IPv4-mapped addresses.
    pub(crate) family: u16,
    /// The IP protocol number; 255 for one that needs more than eight bits (MPTCP).
    pub(crate) protocol: u8,
    /// The kernel's number of the state (`TCP_*`), also of UDP.
    pub(crate) state: u8,
    /// The local address and port.
    pub(crate) local: Endpoint,
    /// The peer's address and port; zeroes: the socket is not connected.
    pub(crate) remote: Endpoint,
}

/// The state of a socket that only its kind has.
#[derive(Clone, Copy)]
pub(crate) enum SocketState {
    /// A full TCP socket.
    Tcp {
        /// The fields of its `struct tcp_sock`.
        sock: TcpSock,
        /// The sequence number after the last byte of the out-of-order queue. [`None`]: the queue
        /// is empty, or cannot be looked into because the socket is owned by a process.
        out_of_order_end: Option<u32>,
        /// A process owns the socket: the fields were not all read at one moment.
        is_owned: bool,
    },
    /// The rest of a TCP socket in TIME_WAIT, or in FIN_WAIT_2 without a process.
    Timewait(TcpTimewait),
    /// A SYN that was answered with a SYN/ACK (`TCP_NEW_SYN_RECV`).
    Request(TcpRequest),
    /// A UDP socket, or one of another protocol.
    Other {
        /// At least one packet has arrived.
        has_received: bool,
        /// A process owns the socket.
        is_owned: bool,
    },
}

/// A connected socket: a full one, a request, or the rest of one in TIME_WAIT.
///
/// # Invariants
///
/// `sk` is a TCP or UDP socket of `net`, a request for a TCP one, or the rest of one in
/// TIME_WAIT, with a reference that this value owns.
pub(crate) struct Socket {
    sk: NonNull<bindings::sock>,
    net: NetRef,
}

impl Socket {
    /// Takes a reference. [`None`]: the last reference to the socket, or to its namespace, is gone.
    ///
    /// # Safety
    ///
    /// `sk` is linked into one of the kernel's tables, and the caller holds the bucket's lock.
    unsafe fn new(sk: NonNull<bindings::sock>) -> Option<Self> {
        // SAFETY: A linked socket has a namespace that is not freed.
        let net = unsafe { NetRef::new(bindings::rct_sock_net(sk.as_ptr())) }?;
        // SAFETY: A linked socket is not freed.
        if !unsafe { bindings::rct_sock_get(sk.as_ptr()) } {
            return None;
        }
        // INVARIANT: The kind is the caller's promise; both references were just taken.
        Some(Self { sk, net })
    }

    /// Looks up the TCP socket of `net` that is connected from `local` to `remote` and receives
    /// packets of a device, given by its interface index.
    pub(crate) fn connected(
        net: &Net,
        family: Family,
        local: &Endpoint,
        remote: &Endpoint,
        device: i32,
        rcu: Rcu<'_>,
    ) -> Option<Self> {
        let sk = net.find_connected(family, local, remote, device, rcu)?;
        // SAFETY: The namespace is not freed while it is borrowed.
        let Some(net) = (unsafe { NetRef::new(net.raw()) }) else {
            // SAFETY: The lookup took a reference.
            unsafe { bindings::sock_gen_put(sk.as_ptr()) };
            return None;
        };
        // INVARIANT: The table of connected TCP sockets has these kinds; the lookup took the
        // reference to the socket, and the one to the namespace was just taken.
        Some(Self { sk, net })
    }

    /// Returns the socket's namespace.
    pub(crate) fn net(&self) -> &Net {
        &self.net
    }

    fn state(&self) -> u8 {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_sock_state(self.sk.as_ptr()) }
    }

    /// Returns the socket's connection and state. Without the socket's lock each field is read by
    /// itself: a socket that is connected anew meanwhile may show one half of each connection.
    pub(crate) fn identity(&self) -> Identity {
        let sk = self.sk.as_ptr();
        let state = self.state();
        // SAFETY: By the type invariants; every kind has these fields, but for the protocol.
        unsafe {
            let family = bindings::rct_sock_family(sk);
            let (local, remote) = if family == AF_INET6 {
                let [local, remote] = [
                    bindings::rct_sock_ipv6(sk),
                    bindings::rct_sock_ipv6_peer(sk), //
                ];
                (
                    Endpoint::address_of_ipv6(local),
                    Endpoint::address_of_ipv6(remote),
                )
            } else {
                let [local, remote] = [
                    bindings::rct_sock_ipv4(sk),
                    bindings::rct_sock_ipv4_peer(sk), //
                ];
                (widen(local.to_ne_bytes()), widen(remote.to_ne_bytes()))
            };
            Identity {
                family,
                protocol: match state {
                    TIME_WAIT | REQUEST => TCP,
                    _ => u8::try_from(bindings::rct_sock_protocol(sk)).unwrap_or(u8::MAX),
                },
                state,
                local: Endpoint {
                    address: local,
                    port: bindings::rct_sock_port(sk).to_be_bytes(),
                },
                remote: Endpoint {
                    address: remote,
                    port: bindings::rct_sock_peer_port(sk).to_ne_bytes(),
                },
            }
        }
    }

    /// Reads what the socket's kind has. Unless `is_still`, the fields of a full socket may be of
    /// different moments, and its state says that a process owns it.
    ///
    /// # Safety
    ///
    /// If `is_still`: the caller holds the lock of a full socket.
    unsafe fn progress(&self, identity: &Identity, is_still: bool) -> SocketState {
        let sk = self.sk.as_ptr();
        // SAFETY: By the type invariants; each kind is asked for the fields that it has. Fields
        // that the lock does not protect are read word by word.
        unsafe {
            match identity.state {
                TIME_WAIT => SocketState::Timewait(filled(|to| bindings::rct_tcp_tw_read(sk, to))),
                REQUEST => {
                    SocketState::Request(filled(|to| bindings::rct_tcp_request_read(sk, to)))
                }
                _ => {
                    let is_owned = !is_still || bindings::rct_sock_is_owned(sk);
                    if identity.protocol != TCP {
                        return SocketState::Other {
                            has_received: bindings::rct_sock_has_received(sk),
                            is_owned,
                        };
                    }
                    SocketState::Tcp {
                        sock: filled(|to| bindings::rct_tcp_sock_read(sk, to)),
                        // An owner may free the queue's packets. Otherwise the lock keeps them.
                        out_of_order_end: (!is_owned && bindings::rct_tcp_is_out_of_order(sk))
                            .then(|| bindings::rct_tcp_out_of_order_end(sk)),
                        is_owned,
                    }
                }
            }
        }
    }

    /// Calls `f` with the socket's state while the socket stands still: it sends and receives
    /// nothing meanwhile, unless its state says that a process owns it. Bottom halves are off.
    pub(crate) fn with_locked<R>(&self, f: impl FnOnce(Identity, SocketState) -> R) -> R {
        let bh = BhDisabled::new();
        // A request, or the rest of a socket, changes little, and has no lock.
        // SAFETY: By the type invariants.
        let is_full = unsafe { bindings::rct_sock_is_full(self.sk.as_ptr()) };
        let _guard = is_full.then(|| {
            // SAFETY: By the type invariants; the lock was initialised with the socket.
            unsafe { lock::from_raw(bindings::rct_sock_lock(self.sk.as_ptr())) }.lock_with(&bh)
        });
        let identity = self.identity();
        // SAFETY: A full socket's lock was just taken.
        let progress = unsafe { self.progress(&identity, true) };
        f(identity, progress)
    }

    /// Returns the socket's state without taking its lock, which the caller may hold as the sender
    /// of a packet. What is read are single words, as if a process owned the socket.
    pub(crate) fn snapshot(&self) -> (Identity, SocketState) {
        let identity = self.identity();
        // SAFETY: Not still.
        let progress = unsafe { self.progress(&identity, false) };
        (identity, progress)
    }

    /// Returns whether the kernel chose the socket's port in `connect()`, and whether the process
    /// asked for the port in `bind()`.
    pub(crate) fn port_history(&self) -> (bool, bool) {
        let sk = self.sk.as_ptr();
        // SAFETY: By the type invariants; each kind is asked for the fields that it has.
        unsafe {
            match self.state() {
                TIME_WAIT => (bindings::rct_tw_chose_port(sk), false),
                REQUEST => (false, false),
                _ => {
                    let locks = bindings::rct_sock_userlocks(sk);
                    (locks & CONNECT_BIND != 0, locks & BINDPORT_LOCK != 0)
                }
            }
        }
    }

    /// Returns whether another, unconnected socket would receive packets from `remote` to `local`.
    pub(crate) fn has_listener(
        &self,
        family: Family,
        transport: Transport,
        local: &Endpoint,
        remote: &Endpoint,
        rcu: Rcu<'_>,
    ) -> bool {
        // The lookup of UDP prefers a socket that is connected to the remote endpoint, so it gets
        // one to which no socket is connected.
        let from = match transport {
            Transport::Tcp => remote,
            Transport::Udp => &Endpoint::UNSPECIFIED,
        };
        // SAFETY: By the type invariants.
        let device = unsafe { bindings::rct_sock_device(self.sk.as_ptr()) };
        self.net
            .has_receiver(family, transport, local, from, device, rcu)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // SAFETY: By the type invariants this value owns a reference. No lock is held.
        unsafe { bindings::sock_gen_put(self.sk.as_ptr()) };
    }
}

/// Returns a value that `fill` has written to.
fn filled<T: Default>(fill: impl FnOnce(&mut T)) -> T {
    let mut value = T::default();
    fill(&mut value);
    value
}

/// The time that a socket stays in TIME_WAIT, in jiffies.
// CAST: A minute.
pub(crate) const TIMEWAIT_LEN: u32 = bindings::RCT_TCP_TIMEWAIT_LEN as u32;

/// Returns the range from which a namespace chooses local ports: the first and the last one.
pub(crate) fn local_port_range(net: &Net) -> [u16; 2] {
    let (mut low, mut high) = (0, 0);
    // SAFETY: By the type invariants of `Net`; both pointers are valid for the call.
    unsafe { bindings::rct_local_port_range(net.raw(), &mut low, &mut high) };
    // Both are ports; the sysctl takes no other numbers.
    [low, high].map(|port| u16::try_from(port).unwrap_or(u16::MAX))
}

/// The hash table of a transport protocol.
///
/// # Invariants
///
/// The pointer is to the table of a namespace that exists for as long as this value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RawTable {
    Tcp(NonNull<bindings::inet_hashinfo>),
    Udp(NonNull<bindings::udp_table>),
}

impl RawTable {
    /// Returns the tables of a namespace.
    ///
    /// # Safety
    ///
    /// `net` points to a namespace that is not freed while the result is used.
    unsafe fn of(net: *mut bindings::net) -> impl Iterator<Item = Self> {
        // SAFETY: The caller's promise; a namespace has its tables from beginning to end.
        let (tcp, udp) = unsafe { (bindings::rct_tcp_table(net), bindings::rct_udp_table(net)) };
        // INVARIANT: The caller's promise.
        [
            NonNull::new(tcp).map(Self::Tcp),
            NonNull::new(udp).map(Self::Udp),
        ]
        .into_iter()
        .flatten()
    }
}

/// A hash table of sockets, or what one namespace has in it.
///
/// # Invariants
///
/// `raw` is a table of a namespace that exists for `'a`.
#[derive(Clone, Copy)]
pub(crate) struct Table<'a> {
    raw: RawTable,
    /// The namespace whose sockets are collected; [`None`]: those of all that share the table.
    net: Option<&'a Net>,
    lifetime: PhantomData<&'a Net>,
}

impl Table<'_> {
    /// Returns the number of buckets.
    pub(crate) fn buckets(self) -> u32 {
        // SAFETY: By the type invariants.
        unsafe {
            match self.raw {
                RawTable::Tcp(table) => bindings::rct_tcp_buckets(table.as_ptr()),
                RawTable::Udp(table) => bindings::rct_udp_buckets(table.as_ptr()),
            }
        }
    }

    /// Returns whether a bucket has no socket at the moment. Its number wraps around.
    pub(crate) fn is_empty(self, bucket: u32) -> bool {
        self.first(bucket).is_null()
    }

    /// Returns the first socket of a bucket, whose number wraps around. Without the bucket's lock
    /// the result is good for a comparison with null, and nothing else.
    fn first(self, bucket: u32) -> *mut bindings::sock {
        // SAFETY: By the type invariants.
        unsafe {
            match self.raw {
                RawTable::Tcp(table) => bindings::rct_tcp_first(table.as_ptr(), bucket),
                RawTable::Udp(table) => bindings::rct_udp_first(table.as_ptr(), bucket),
            }
        }
    }

    /// Returns the socket after `sk`, or null.
    ///
    /// # Safety
    ///
    /// `sk` is linked into this table, and the caller holds its bucket's lock.
    unsafe fn next(self, sk: NonNull<bindings::sock>) -> *mut bindings::sock {
        // SAFETY: The caller's promise.
        unsafe {
            match self.raw {
                RawTable::Tcp(_) => bindings::rct_tcp_next(sk.as_ptr()),
                RawTable::Udp(_) => bindings::rct_udp_next(sk.as_ptr()),
            }
        }
    }

    /// Returns the lock of a bucket, whose number wraps around.
    fn lock(&self, bucket: u32) -> &lock::SpinLockBh<()> {
        // SAFETY: By the type invariants; the locks were initialised with the table.
        unsafe {
            lock::from_raw(match self.raw {
                RawTable::Tcp(table) => bindings::rct_tcp_lock(table.as_ptr(), bucket),
                RawTable::Udp(table) => bindings::rct_udp_lock(table.as_ptr(), bucket),
            })
        }
    }

    /// Adds the connected sockets of a bucket to `batch`, up to its capacity, and returns the
    /// number of those for which there was no room. The bucket's number wraps around.
    pub(crate) fn collect(self, bucket: u32, batch: &mut KVVec<Socket>) -> usize {
        let mut left_out = 0_usize;
        let _guard = self.lock(bucket).lock();
        let mut next = self.first(bucket);
        while let Some(sk) = NonNull::new(next) {
            // SAFETY: Linked into the bucket, whose lock is held.
            if unsafe { self.is_wanted(sk) } {
                if batch.len() == batch.capacity() {
                    left_out = left_out.saturating_add(1);
                // SAFETY: As above.
                } else if let Some(socket) = unsafe { Socket::new(sk) } {
                    // There is room, as just seen. (To drop a socket here could sleep.)
                    let _ = batch.push_within_capacity(socket);
                }
            }
            // SAFETY: As above.
            next = unsafe { self.next(sk) };
        }
        left_out
    }

    /// Returns whether a socket is connected, and of the namespace whose sockets are collected.
    ///
    /// # Safety
    ///
    /// `sk` is linked into this table, and the caller holds its bucket's lock.
    unsafe fn is_wanted(self, sk: NonNull<bindings::sock>) -> bool {
        // SAFETY: The caller's promise.
        let (net, state) = unsafe {
            (
                bindings::rct_sock_net(sk.as_ptr()),
                bindings::rct_sock_state(sk.as_ptr()),
            )
        };
        // The table of UDP has unconnected sockets as well.
        let is_connected = match self.raw {
            RawTable::Tcp(_) => true,
            RawTable::Udp(_) => state == ESTABLISHED,
        };
        is_connected
            && self
                .net
                .is_none_or(|wanted| core::ptr::eq(wanted.raw(), net))
    }
}

/// Calls `f` with each table of sockets: of one namespace, or of all. May sleep.
///
/// `ENOMEM`: no memory; not all tables were seen. An error of `f` ends it as well.
pub(crate) fn for_each_table(net: Option<&Net>, mut f: impl FnMut(Table<'_>) -> Result) -> Result {
    let first = net.unwrap_or(Net::init_net());
    // SAFETY: The namespace exists while it is borrowed.
    let shared = || unsafe { RawTable::of(first.raw()) };
    for raw in shared() {
        // INVARIANT: `first` exists for the call.
        f(Table {
            raw,
            net,
            lifetime: PhantomData,
        })?;
    }
    if net.is_some() {
        return Ok(());
    }

    // `net.ipv4.tcp_child_ehash_entries` and its like of UDP: tables of a namespace's own.
    let is_own = |raw: &RawTable| !shared().any(|shared| shared == *raw);
    let others = net::hold_all(|net| {
        // SAFETY: `hold_all` shows namespaces that are not freed.
        unsafe { RawTable::of(net) }.any(|raw| is_own(&raw))
    })?;
    let Some(mut others) = others else {
        return Ok(());
    };
    while let Some(other) = others.pop() {
        // SAFETY: `other` is a reference to it.
        for raw in unsafe { RawTable::of(other.raw()) }.filter(is_own) {
            // INVARIANT: `other` exists for the call.
            f(Table {
                raw,
                net: Some(&other),
                lifetime: PhantomData,
            })?;
        }
    }
    Ok(())
}
