// SPDX-License-Identifier: GPL-2.0

//! Adoption: entries of connections that existed before the tracker did, from their sockets.
//!
//! When the hooks of a namespace are registered, and the packets that had passed before have
//! reached their sockets, every connected socket is visited, and gets the entry that it would have
//! if it had been tracked from the start. A socket is read, and its entry inserted, under the lock
//! of the socket, so a packet that it sends passes the hooks either before that or after.
//!
//! # Races
//!
//! Packets pass meanwhile and are not held up:
//!
//! 1. A packet has created an entry before the socket's turn. Such an entry only knows a packet
//!    from the middle of the connection, and may have the wrong direction. It is corrected by the
//!    state of the socket, or replaced ([`is_guess`]).
//! 2. A packet is between lookup and confirmation when the entry is inserted: it joins the entry
//!    ([`crate::ct::life::confirm`]).
//! 3. A packet has created no entry and was INVALID for that reason (a FIN or RST, or any packet if
//!    `nf_conntrack_tcp_loose` is off), and is on its way to the socket when that is read. At worst
//!    the ACK of that FIN is INVALID too, and the FIN is retransmitted; or the entry of a
//!    connection that has just been reset lives until it expires.
//!
//! Both sockets of a connection within one namespace lead to the same entry; the second one finds
//! it. Of a connection between two namespaces each has an entry. All entries are in the default
//! zone.

use kernel::sync::{
    atomic::Relaxed,
    rcu::synchronize_rcu, //
};

use crate::{
    ct::{
        entry,
        netns::NetState, //
    },
    nf::{
        kernel::{
            endpoint::Endpoint,
            local_ports::Transport,
            log::{
                pr_info,
                pr_warn, //
            },
            params,
            settings,
            sockets::{
                local_port_range,
                Socket, //
            },
            time, //
        },
        prelude::*, //
    },
    proto::{
        adopt::{
            self,
            Endpoints,
            Hints,
            Opener,
            RateLimit,
            Side,
            Walks, //
        },
        tcp,
        udp, //
    },
};

use super::{
    confirm, create,
    delete::{
        self,
        DestroyReason, //
    },
    lookup,
    sockets::{
        self,
        Next, //
    },
};

/// The time in which a namespace gets so many [`Walks`], in jiffies.
const PERIOD: u32 = 60 * time::HZ;

/// The result for one socket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Adoption {
    /// Its connection has an entry now.
    Adopted,
    /// It has no connection, or one that has an entry already.
    Skipped,
    /// A process or a packet is using the socket; it is visited again.
    Busy,
    /// The table is full.
    NoRoom,
}

/// Adopts the connections of all namespaces, when the module is loaded. May sleep.
pub(in crate::ct) fn adopt_all() {
    if params::enable_hooks() {
        adopt(None);
    }
}

/// Adopts the connections of a namespace, when its hooks have been registered. May sleep.
///
/// Most namespaces share their tables with others, and a walk visits all buckets. So a namespace in
/// which rules come and go all the time gets a limited number of [`Walks`]. What is left out is
/// adopted by its next segment ([`super::forgotten`]).
pub(in crate::ct) fn adopt_namespace(net: &Net) {
    let walks = &net.state::<NetState>().socket_walks;
    let so_far: Walks = RateLimit(walks.load(Relaxed));
    let period = time::jiffies32() / PERIOD;
    // Two tasks may count one walk instead of two.
    if so_far.allows(period) {
        walks.store(so_far.count(period).0, Relaxed);
        adopt(Some(net));
    }
}

/// Adopts the connections of one namespace, or of all, and logs how many. May sleep.
fn adopt(net: Option<&Net>) {
    if !params::adopt_sockets() {
        return;
    }
    let begin = time::jiffies32();
    // Packets that the hooks have not seen are in their sockets after this.
    synchronize_rcu();
    let (mut adopted, mut refused) = (0_usize, 0_usize);
    let shown = sockets::for_each(net, |socket, is_last| {
        match adopt_socket(socket, is_last) {
            Adoption::Busy => return Next::Again,
            Adoption::Adopted => adopted = adopted.wrapping_add(1),
            Adoption::NoRoom => refused = refused.wrapping_add(1),
            Adoption::Skipped => {}
        }
        Next::Done
    });
    let ms = time::jiffies_to_ns(time::jiffies32().wrapping_sub(begin)) / 1_000_000;
    if adopted != 0 {
        pr_info!("adopted {adopted} connections from their sockets in {ms} ms\n");
    }
    if refused != 0 {
        pr_warn!("table full: no room for the connections of {refused} sockets\n");
    }
    if shown.is_err() {
        pr_warn!("no memory to adopt the connections of all sockets\n");
    }
}

/// Returns which end opened the connection of a socket. [`None`]: its protocol is not adopted.
pub(super) fn opener(
    socket: &Socket,
    state: &adopt::Socket,
    ends: &Endpoints,
    rcu: Rcu<'_>,
) -> Option<Opener> {
    let (chosen, bound) = socket.port_history();
    let (family, transport) = (ends.family, Transport::of(state.protocol)?);
    let end = |address, port: u16| Endpoint {
        address,
        port: port.to_be_bytes(),
    };
    let hints = Hints {
        chosen,
        bound,
        listener: socket.has_listener(
            family,
            transport,
            &end(ends.local, ends.local_port),
            &end(ends.remote, ends.remote_port),
            rcu,
        ),
        range: local_port_range(socket.net()),
    };
    Some(match transport {
        Transport::Tcp => adopt::tcp_opener(state.state, &hints, ends),
        Transport::Udp => adopt::udp_opener(&hints, ends),
    })
}

/// Adopts the connection of one socket. `is_last`: the socket is not visited again, even if it is
/// busy.
fn adopt_socket(socket: &Socket, is_last: bool) -> Adoption {
    let rcu = RcuGuard::new();
    let snapshot = sockets::identity(&socket.identity());
    let Some(ends) = snapshot.endpoints() else {
        return Adoption::Skipped;
    };
    if !socket.net().state::<NetState>().is_tracking(ends.family) {
        return Adoption::Skipped;
    }
    let Some(opener) = opener(socket, &snapshot, &ends, rcu.token()) else {
        return Adoption::Skipped;
    };
    socket.with_locked(|identity, progress| {
        let state = sockets::state(&identity, &progress);
        if state.busy && !is_last {
            return Adoption::Busy;
        }
        // The socket was connected anew meanwhile, and the hooks have seen that.
        if state.endpoints() != Some(ends) {
            return Adoption::Skipped;
        }
        adopt_connection(socket.net(), &state, &ends, opener, rcu.token())
    })
}

/// Returns whether an existing entry knows less than the socket does: it was created by a packet,
/// but not by the first one of the connection, or, with UDP, where that cannot be told, in the
/// wrong direction.
fn is_guess(conn: &Conn, dir: Direction, opener: Opener) -> bool {
    let status = conn.status();
    let is_plain = ![
        StatusBit::Adopted,
        StatusBit::Expected,
        StatusBit::SrcNat,
        StatusBit::DstNat,
        StatusBit::Offload,
    ]
    .into_iter()
    .any(|bit| status.has(bit));
    if !opener.certain || !is_plain {
        return false;
    }
    match conn.protocol() {
        protocol::TCP => {
            conn.with_proto(|track: &mut tcp::Track| track.is_picked_up()) == Some(true)
        }
        _ => dir == Direction::Reply,
    }
}

/// Creates, corrects or replaces the entry of a connection. The socket is locked.
pub(super) fn adopt_connection(
    net: &Net,
    state: &adopt::Socket,
    ends: &Endpoints,
    opener: Opener,
    rcu: Rcu<'_>,
) -> Adoption {
    let tuple = ends.tuple(opener.side, state.protocol);
    let existing = lookup::find_tuple(net, &tuple, rcu);
    let mut state = *state;
    if let Some((existing, dir)) = &existing {
        if !is_guess(existing, *dir, opener) {
            return Adoption::Skipped;
        }
        // Packets have passed that may not have reached the socket.
        state.busy = true;
        // An entry with the right direction stays, together with the packets that hold it.
        if *dir == Direction::Original {
            return match apply(existing, net, &state, opener.side) {
                Some(timeout) => {
                    entry::refresh(existing, timeout);
                    Adoption::Adopted
                }
                None => Adoption::Skipped,
            };
        }
    }
    let conn = match create::create_adopted(net, &tuple) {
        Ok(conn) => conn,
        // The existing entry is better than none.
        Err(_) if existing.is_some() => return Adoption::Skipped,
        Err(_) => return Adoption::NoRoom,
    };
    let Some(timeout) = apply(&conn, net, &state, opener.side) else {
        return Adoption::Skipped;
    };
    conn.set_timeout(timeout);
    if let Some((existing, _)) = &existing {
        delete::delete(existing, DestroyReason::Replaced);
    }
    if confirm::insert_adopted(conn, rcu) {
        Adoption::Adopted
    } else {
        // A packet has created an entry meanwhile.
        Adoption::Busy
    }
}

/// Sets the state of an entry by that of the socket, and returns its timeout in jiffies. [`None`]:
/// the socket has no connection.
fn apply(conn: &Conn, net: &Net, state: &adopt::Socket, opener: Side) -> Option<u32> {
    let timeout = match state.protocol {
        protocol::TCP => apply_tcp(conn, net, state, opener)?,
        _ => apply_udp(conn, net, state, opener),
    };
    conn.set(StatusBit::Adopted);
    Some(timeout)
}

/// Does the work of [`apply`] for TCP. `None` as well if packets have moved the entry on from its
/// first guess.
fn apply_tcp(conn: &Conn, net: &Net, state: &adopt::Socket, opener: Side) -> Option<u32> {
    let track = tcp::adopt::track(state, opener)?;
    let config = tcp::Config {
        timeouts: settings::TCP_TIMEOUTS.of(net),
        hz: time::HZ,
        loose: false,
        liberal: false,
        ignore_invalid_rst: false,
        max_retrans: settings::TCP_MAX_RETRANS.read(net),
    };
    let is_applied = conn.with_proto(|place: &mut tcp::Track| {
        // Packets may have moved on an entry that is in the table.
        let is_open = !conn.is_confirmed() || place.is_picked_up();
        if is_open {
            *place = track;
        }
        is_open
    });
    if is_applied != Some(true) {
        return None;
    }
    if track.state() != tcp::State::SynSent {
        conn.set(StatusBit::SeenReply);
    }
    if !matches!(track.state(), tcp::State::SynSent | tcp::State::SynRecv) {
        conn.set(StatusBit::Assured);
    }
    Some(tcp::adopt::remaining(&track, state, &config))
}

/// Does the work of [`apply`] for UDP.
fn apply_udp(conn: &Conn, net: &Net, state: &adopt::Socket, opener: Side) -> u32 {
    let (replied, timeout) = udp::adopt(state, opener, settings::UDP_TIMEOUTS.of(net));
    if replied {
        conn.set(StatusBit::SeenReply);
        conn.set(StatusBit::Assured);
    }
    // The connection is a stream from the next reply on.
    conn.set_proto_word(time::jiffies());
    timeout
}
