// SPDX-License-Identifier: GPL-2.0

//! Adopted connections: what the socket of a connection that is older than the tracker knows.
//!
//! A socket stores both endpoints of its connection and the progress of each peer, but not which
//! side opened it. [`tcp_opener`] and [`udp_opener`] infer that, each by the first of its rules
//! that applies.

use super::types::{
    family::Family,
    protocol,
    tuple::{L4Key, Tuple},
};

/// A snapshot of a connected socket.
///
/// "Local" is the side of the socket. Sequence numbers are in host byte order, windows in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Socket {
    /// Local address, network byte order.
    pub local: [u8; 16],
    /// The peer's address, network byte order.
    pub remote: [u8; 16],
    /// Local port, host byte order.
    pub local_port: u16,
    /// The peer's port, host byte order.
    pub remote_port: u16,
    /// Number of the socket's [`Family`]. (An IPv6 socket may have IPv4-mapped addresses.)
    pub family: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// The socket's [`state`].
    pub state: u8,
    /// Sequence number of the first byte that the peer has not acknowledged.
    pub snd_una: u32,
    /// Sequence number after the last byte sent.
    pub snd_nxt: u32,
    /// Sequence number after the last byte that waits to be sent.
    pub write_seq: u32,
    /// The window that the peer offers, from `snd_una` on; 0 also if it is not known.
    pub snd_wnd: u32,
    /// The largest window that the peer has offered; 0 if it is not known.
    pub max_window: u32,
    /// Sequence number of the first byte that has not arrived.
    pub rcv_nxt: u32,
    /// Sequence number after the last byte that has arrived, in order or not.
    pub rcv_last: u32,
    /// The last acknowledgment sent.
    pub rcv_wup: u32,
    /// The window sent with that acknowledgment.
    pub rcv_wnd: u32,
    /// The highest right edge of all windows offered to the peer (a sequence number).
    pub rcv_edge: u32,
    /// Jiffies since the last segment with a time stamp in the socket.
    pub idle: u32,
    /// Shift count of the peer's windows.
    pub snd_scale: u8,
    /// Shift count of the local windows.
    pub rcv_scale: u8,
    /// Both sides scale their windows.
    pub has_scale: bool,
    /// Both sides permit SACK.
    pub has_sack: bool,
    /// At least one packet has arrived (UDP).
    pub heard: bool,
    /// A process holds the socket's lock, and the numbers were not all read at one moment.
    pub busy: bool,
}

/// The states of a TCP socket (RFC 9293, section 3.3.2) by the kernel's numbers (`TCP_*`). A
/// connected UDP socket is in `ESTABLISHED`.
pub mod state {
    #![allow(missing_docs)]
    pub const ESTABLISHED: u8 = 1;
    pub const SYN_SENT: u8 = 2;
    pub const SYN_RECEIVED: u8 = 3;
    pub const FIN_WAIT_1: u8 = 4;
    pub const FIN_WAIT_2: u8 = 5;
    pub const TIME_WAIT: u8 = 6;
    pub const CLOSE_WAIT: u8 = 8;
    pub const LAST_ACK: u8 = 9;
    pub const CLOSING: u8 = 11;
    /// A request socket (`TCP_NEW_SYN_RECV`): the SYN/ACK was sent, and the full socket is created
    /// by the next ACK.
    pub const REQUEST: u8 = 12;
}

/// The two endpoints of a connection, as its packets carry them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// The family of the addresses.
    pub family: Family,
    /// Local address, in the format of a [`Tuple`]: an IPv4 address in the first four bytes.
    pub local: [u8; 16],
    /// The peer's address, in the same format.
    pub remote: [u8; 16],
    /// Local port, host byte order.
    pub local_port: u16,
    /// The peer's port, host byte order.
    pub remote_port: u16,
}

/// One of the two endpoints, from the socket's point of view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The endpoint of the socket.
    Local,
    /// The endpoint of the peer.
    Remote,
}

/// The side that opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opener {
    /// The side that sent the first packet.
    pub side: Side,
    /// Whether that is certain, or only likely.
    pub certain: bool,
}

/// The hints from which the opener is inferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hints {
    /// The kernel chose the local port when the process called `connect()`.
    pub chosen: bool,
    /// The process asked for the local port by `bind()`. (A socket from `accept()` has the port
    /// without having asked for it.)
    pub bound: bool,
    /// An unconnected socket is bound to the same local address and port.
    pub listener: bool,
    /// The first and the last port of the range for automatic choice (`ip_local_port_range`).
    pub range: [u16; 2],
}

/// Returns the IPv4 address within an IPv4-mapped one, `::ffff:0:0/96` (RFC 4291, section 2.5.5.2).
const fn mapped(address: &[u8; 16]) -> Option<[u8; 16]> {
    match *address {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] => {
            Some([a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        }
        _ => None,
    }
}

impl Socket {
    /// Returns the endpoints of the connection, or [`None`] if the socket is not connected.
    pub fn endpoints(&self) -> Option<Endpoints> {
        let family = Family::from_number(self.family)?;
        let (family, local, remote) = match (family, mapped(&self.local), mapped(&self.remote)) {
            (Family::Ipv6, Some(local), Some(remote)) => (Family::Ipv4, local, remote),
            (Family::Ipv6, None, None) | (Family::Ipv4, _, _) => (family, self.local, self.remote),
            _ => return None,
        };
        let endpoints = Endpoints {
            family,
            local,
            remote,
            local_port: self.local_port,
            remote_port: self.remote_port,
        };
        let complete = local != [0; 16]
            && remote != [0; 16]
            && endpoints.local_port != 0
            && endpoints.remote_port != 0;
        complete.then_some(endpoints)
    }
}

impl Endpoints {
    /// Returns the tuple of the original direction, which is that of the packets from `opener`.
    pub const fn tuple(&self, opener: Side, protonum: u8) -> Tuple {
        match opener {
            Side::Local => {
                let key = L4Key::ports(self.local_port, self.remote_port);
                Tuple::new(self.family.to_u16(), self.local, self.remote, key, protonum)
            }
            Side::Remote => {
                let key = L4Key::ports(self.remote_port, self.local_port);
                Tuple::new(self.family.to_u16(), self.remote, self.local, key, protonum)
            }
        }
    }

    /// Infers the opener from the ports alone. The port inside the range for automatic choice
    /// belongs to the client; if both or neither are inside, the higher one does. Both sockets of a
    /// connection within this machine lead to the same result.
    const fn opener_by_ports(&self, range: [u16; 2]) -> Opener {
        let [first, last] = range;
        let local = self.local_port >= first && self.local_port <= last;
        let remote = self.remote_port >= first && self.remote_port <= last;
        let is_local = if local == remote {
            self.local_port > self.remote_port
        } else {
            local
        };
        Opener {
            side: if is_local { Side::Local } else { Side::Remote },
            certain: false,
        }
    }
}

const LOCAL: Opener = Opener {
    side: Side::Local,
    certain: true,
};
const REMOTE: Opener = Opener {
    side: Side::Remote,
    certain: true,
};

/// Infers the opener of a TCP connection.
///
/// 1. In SYN_SENT the local side is the opener; a request socket was opened by the peer.
/// 2. A port that was chosen for `connect()` or requested by `bind()` belongs to a client: a socket
///    from `accept()` has neither mark.
/// 3. If a socket listens at the local address and port, the peer is the opener.
/// 4. Otherwise the listener is gone, or the process called `bind()` with port 0 before
///    `connect()`, or the socket is in TIME_WAIT and has no marks: the ports decide.
pub const fn tcp_opener(state: u8, hints: &Hints, endpoints: &Endpoints) -> Opener {
    match state {
        state::SYN_SENT => LOCAL,
        state::REQUEST => REMOTE,
        _ if hints.chosen || hints.bound => LOCAL,
        _ if hints.listener => REMOTE,
        _ => endpoints.opener_by_ports(hints.range),
    }
}

/// Infers which side sent the first datagram between a connected UDP socket and its peer.
///
/// 1. A socket that did not request its port belongs to a client.
/// 2. A server may connect one socket to each of its clients, while an unconnected one receives at
///    the same port: the peer is the opener.
/// 3. Otherwise the ports decide.
pub const fn udp_opener(hints: &Hints, endpoints: &Endpoints) -> Opener {
    if !hints.bound {
        LOCAL
    } else if hints.listener {
        REMOTE
    } else {
        endpoints.opener_by_ports(hints.range)
    }
}

/// How often something was done in the current period of time, in one word: the number of the
/// period in the upper half, how often in the lower half. `MOST` times are allowed.
///
/// # Examples
///
/// ```
/// # use rust_ct_host::proto;
/// use proto::adopt::RateLimit;
///
/// let mut limit = RateLimit::<3>::default();
/// let mut count = 0;
/// while limit.allows(7) {
///     limit = limit.count(7);
///     count += 1;
/// }
/// assert_eq!(count, 3);
/// assert!(limit.allows(8));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RateLimit<const MOST: u32>(pub u32);

/// The limit of lookups that find no socket, for each second: a flood of segments that belong to
/// no socket costs no more. A lookup that finds one is not counted.
pub type Misses = RateLimit<256>;

/// The limit of walks of the tables of sockets for one namespace, for each minute.
pub type Walks = RateLimit<8>;

impl<const MOST: u32> RateLimit<MOST> {
    const fn count_in(self, period: u32) -> u32 {
        if self.0 >> 16 == period & 0xffff {
            self.0 & 0xffff
        } else {
            0
        }
    }

    /// Returns whether it may be done once more in this period.
    pub const fn allows(self, period: u32) -> bool {
        self.count_in(period) < MOST
    }

    /// Counts one time.
    #[must_use = "the word is not changed in place"]
    pub const fn count(self, period: u32) -> Self {
        Self((period & 0xffff) << 16 | self.count_in(period).saturating_add(1))
    }
}

/// Returns whether sockets of this protocol can be adopted.
pub const fn is_known(protonum: u8) -> bool {
    matches!(protonum, protocol::TCP | protocol::UDP)
}
