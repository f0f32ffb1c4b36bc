// SPDX-License-Identifier: GPL-2.0

//! Connections that are older than the tracker: what their sockets tell about them.
//!
//! A socket knows both ends of its connection, and how far each peer is. What it does not keep
//! is who opened it. [`tcp_opener`] and [`udp_opener`] find out, each by the first of its rules
//! that applies.

use super::types::{
    family::Family,
    protocol,
    tuple::{L4Key, Tuple},
};

const IPV4: u16 = Family::Ipv4.to_u16();
const IPV6: u16 = Family::Ipv6.to_u16();

/// What a socket knows of its connection; C code fills it in (`struct rct_socket`).
///
/// "Local" is the socket's own side. Sequence numbers are in host byte order, windows in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Socket {
    /// Local address, network byte order.
    pub local: [u8; 16],
    /// The peer's address, network byte order.
    pub remote: [u8; 16],
    /// Local port, host byte order.
    pub local_port: u16,
    /// The peer's port, host byte order.
    pub remote_port: u16,
    /// Number of the socket's [`Family`]. (One of IPv6 may have IPv4 addresses.)
    pub family: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Number of its [`state`].
    pub state: u8,
    /// The first octet that the peer has not acknowledged.
    pub snd_una: u32,
    /// Behind the last octet sent.
    pub snd_nxt: u32,
    /// Behind the last octet that waits to be sent.
    pub write_seq: u32,
    /// The window that the peer offers, from `snd_una` on. 0: also if that is not known.
    pub snd_wnd: u32,
    /// The largest window that the peer has offered. 0: not known.
    pub max_window: u32,
    /// The first octet that has not arrived.
    pub rcv_nxt: u32,
    /// Behind the last octet that has arrived, in order or not.
    pub rcv_last: u32,
    /// The last acknowledgment sent.
    pub rcv_wup: u32,
    /// The window that went with it.
    pub rcv_wnd: u32,
    /// The furthest that any window offered to the peer has reached.
    pub rcv_edge: u32,
    /// Jiffies since the last segment that the socket remembers the time of.
    pub idle: u32,
    /// Shift count of the peer's windows.
    pub snd_scale: u8,
    /// Shift count of the local windows.
    pub rcv_scale: u8,
    /// Not 0: both sides scale their windows.
    pub has_scale: u8,
    /// Not 0: both sides permit SACK.
    pub has_sack: u8,
    /// Not 0: something has arrived (UDP).
    pub heard: u8,
    /// Not 0: a process is at work on it. The numbers were not all read at the same moment.
    pub busy: u8,
    /// 0.
    pub reserved: [u8; 2],
}

/// The states of a TCP socket, by the kernel's numbers (RFC 9293, section 3.3.2). A UDP socket
/// is in the first one when it is connected.
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
    /// A SYN was answered; the socket itself comes with the next ACK.
    pub const REQUEST: u8 = 12;
}

/// The two ends of a connection, as its packets carry them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Number of the [`Family`].
    pub l3num: u16,
    /// As in a [`Tuple`]: an IPv4 address in the first four bytes.
    pub local: [u8; 16],
    /// Likewise.
    pub remote: [u8; 16],
    /// Host byte order.
    pub local_port: u16,
    /// Host byte order.
    pub remote_port: u16,
}

// Until `ct` uses the new name.
pub use Endpoints as Ends;

/// One of the two ends, as the socket sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The socket's own.
    Local,
    /// The peer's.
    Remote,
}

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opener {
    /// The end that sent the first packet.
    pub side: Side,
    /// Whether that is known, or only likely.
    pub certain: bool,
}

/// What there is to tell the opener by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hints {
    /// The kernel chose the local port when the process called `connect()`.
    pub chosen: bool,
    /// The process asked for the local port by `bind()`. (What `accept()` returns has the port,
    /// but never asked for it.)
    pub bound: bool,
    /// A socket that is connected to nobody waits at the local address and port.
    pub listener: bool,
    /// The first and the last of the ports that the kernel chooses from.
    pub range: [u16; 2],
}

/// `::ffff:0:0/96`: the IPv4 addresses of a socket that also speaks IPv6 (RFC 4291, 2.5.5.2).
const fn mapped(address: &[u8; 16]) -> Option<[u8; 16]> {
    match *address {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] => {
            Some([a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        }
        _ => None,
    }
}

impl Socket {
    /// The ends of the connection. [`None`]: there is none.
    pub fn ends(&self) -> Option<Endpoints> {
        let (l3num, local, remote) = match (self.family, mapped(&self.local), mapped(&self.remote))
        {
            (IPV6, Some(local), Some(remote)) => (IPV4, local, remote),
            (IPV6, None, None) => (IPV6, self.local, self.remote),
            (IPV4, _, _) => (IPV4, self.local, self.remote),
            _ => return None,
        };
        let endpoints = Endpoints {
            l3num,
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
    /// The tuple of what `opener` sends: the connection's original direction.
    pub const fn tuple(&self, opener: Side, protonum: u8) -> Tuple {
        match opener {
            Side::Local => {
                let key = L4Key::ports(self.local_port, self.remote_port);
                Tuple::new(self.l3num, self.local, self.remote, key, protonum)
            }
            Side::Remote => {
                let key = L4Key::ports(self.remote_port, self.local_port);
                Tuple::new(self.l3num, self.remote, self.local, key, protonum)
            }
        }
    }

    /// By the ports alone: a client's is one that its kernel chose, from the range from which
    /// this one chooses too; if that tells nothing, the higher one. The other socket of a
    /// connection within this machine comes to the same answer.
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

/// Who opened a TCP connection.
///
/// 1. A SYN that is not answered is our own; one that we answered is the peer's.
/// 2. A port that was chosen for `connect()` or asked for by `bind()` is that of a client: what
///    `accept()` returns has neither mark.
/// 3. Where a socket listens, the peer connected to it.
/// 4. Else the listener is gone, or the process called `bind()` with port 0 before `connect()`,
///    or the socket is in TIME_WAIT and remembers less: the ports decide.
pub const fn tcp_opener(state: u8, hints: &Hints, endpoints: &Endpoints) -> Opener {
    match state {
        state::SYN_SENT => LOCAL,
        state::REQUEST => REMOTE,
        _ if hints.chosen || hints.bound => LOCAL,
        _ if hints.listener => REMOTE,
        _ => endpoints.opener_by_ports(hints.range),
    }
}

/// Who sent the first datagram between a connected UDP socket and its peer.
///
/// 1. Who did not ask for a port is a client.
/// 2. A server may connect a socket to each of its clients; another one, connected to nobody,
///    goes on waiting at the same port.
/// 3. Else the ports decide.
pub const fn udp_opener(hints: &Hints, endpoints: &Endpoints) -> Opener {
    if !hints.bound {
        LOCAL
    } else if hints.listener {
        REMOTE
    } else {
        endpoints.opener_by_ports(hints.range)
    }
}

/// Whether there is a tracker for what sockets of this protocol tell.
pub const fn is_known(protonum: u8) -> bool {
    matches!(protonum, protocol::TCP | protocol::UDP)
}
