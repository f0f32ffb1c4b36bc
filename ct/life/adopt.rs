// SPDX-License-Identifier: GPL-2.0

//! Connections that were there before the tracker: their sockets know them.
//!
//! When the hooks of a namespace are switched on, and packets that had passed before have
//! reached their sockets, every connected socket is asked, and gets the entry that it would
//! have if it had been tracked from its beginning. It is read, and its entry put in, while it
//! stands still, so what it sends passes the hooks either before that or after.
//!
//! Packets come meanwhile, and are not stopped:
//!
//! 1. One that made an entry before it was the socket's turn. All that such an entry knows is a
//!    packet in the middle of a connection, and it may have the wrong direction. It is put right
//!    by what the socket knows, or replaced ([`is_guess`]).
//! 2. One that is between lookup and confirmation when the entry comes in: it joins that
//!    ([`crate::ct::life::confirm`]).
//! 3. One that made no entry, and was INVALID for that reason (a FIN or RST, or any, if
//!    connections are not to be picked up), while on its way to the socket when that is read.
//!    At worst the acknowledgment of that FIN is INVALID too, and the FIN is sent again; or the
//!    entry of a connection that was reset just then lives until its time is over.
//!
//! Both sockets of a connection within a namespace ask for the same entry; the second finds it.
//! Of two ends in two namespaces, each has an entry in its own. All are in the default zone.

use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
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
            params,
            rcu,
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
            Side, //
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

/// What became of a socket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It has an entry now.
    Adopted,
    /// It has no connection, or one that has an entry.
    Passed,
    /// A process, or a packet, is at work on it.
    Busy,
    /// There is no room for its entry.
    NoRoom,
}

/// Adopts the connections of all namespaces. May sleep.
pub(in crate::ct) fn everywhere() {
    if params::enable_hooks() {
        adopt(None);
    }
}

/// Adopts the connections of a namespace whose hooks were switched on. May sleep.
pub(in crate::ct) fn namespace(net: &Net) {
    adopt(Some(net));
}

fn adopt(net: Option<&Net>) {
    if !params::adopt_sockets() {
        return;
    }
    let begin = time::jiffies32();
    // What the hooks did not see is in its socket then.
    rcu::synchronize();
    let (mut adopted, mut refused) = (0_usize, 0_usize);
    let shown = sockets::for_each(net, |socket, is_last| {
        match consider(socket, is_last) {
            Outcome::Busy => return Next::Again,
            Outcome::Adopted => adopted = adopted.wrapping_add(1),
            Outcome::NoRoom => refused = refused.wrapping_add(1),
            Outcome::Passed => {}
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

/// Who opened the socket's connection. [`None`]: it is of no protocol that we know sockets of.
fn opener(
    socket: &Socket,
    known: &adopt::Socket,
    ends: &Endpoints,
    rcu: Rcu<'_>,
) -> Option<Opener> {
    let (chosen, bound) = socket.port_history();
    let (family, transport) = (ends.family, Transport::of(known.protocol)?);
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
        Transport::Tcp => adopt::tcp_opener(known.state, &hints, ends),
        Transport::Udp => adopt::udp_opener(&hints, ends),
    })
}

fn consider(socket: &Socket, is_last: bool) -> Outcome {
    let rcu = RcuGuard::new();
    let glance = sockets::identity(&socket.identity());
    let Some(ends) = glance.endpoints() else {
        return Outcome::Passed;
    };
    if !socket
        .net()
        .state::<NetState>()
        .is_tracking(ends.family.to_u16())
    {
        return Outcome::Passed;
    }
    let Some(opener) = opener(socket, &glance, &ends, rcu.token()) else {
        return Outcome::Passed;
    };
    socket.with_locked(|identity, progress| {
        let known = sockets::state(&identity, &progress);
        if known.busy && !is_last {
            return Outcome::Busy;
        }
        // It was connected anew meanwhile, which the hooks have seen.
        if known.endpoints() != Some(ends) {
            return Outcome::Passed;
        }
        take(socket.net(), &known, &ends, opener, rcu.token())
    })
}

/// Whether an entry that is there knows less than the socket does: a packet made it, but not a
/// connection's first one, or (of UDP, where it cannot be told) one in the wrong direction.
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
        protocol::TCP => conn.with_proto(|track: &mut tcp::Track| track.is_picked_up()),
        _ => dir == Direction::Reply,
    }
}

/// Gives a connection the entry that it ought to have.
fn take(
    net: &Net,
    known: &adopt::Socket,
    ends: &Endpoints,
    opener: Opener,
    rcu: Rcu<'_>,
) -> Outcome {
    let tuple = ends.tuple(opener.side, known.protocol);
    let rival = lookup::find_tuple(net, &tuple, rcu);
    let mut known = *known;
    if let Some((rival, dir)) = &rival {
        if !is_guess(rival, *dir, opener) {
            return Outcome::Passed;
        }
        // Packets have been seen, of which the socket may not know yet.
        known.busy = true;
        // One that has the right direction stays, with the packets that are on their way with it.
        if *dir == Direction::Original {
            return match describe(rival, net, &known, opener.side) {
                Some(timeout) => {
                    entry::refresh(rival, timeout);
                    Outcome::Adopted
                }
                None => Outcome::Passed,
            };
        }
    }
    let conn = match create::create_adopted(net, &tuple) {
        Ok(conn) => conn,
        // Better than no entry.
        Err(_) if rival.is_some() => return Outcome::Passed,
        Err(_) => return Outcome::NoRoom,
    };
    let Some(timeout) = describe(&conn, net, &known, opener.side) else {
        return Outcome::Passed;
    };
    conn.set_timeout(timeout);
    if let Some((rival, _)) = &rival {
        delete::delete(rival, DestroyReason::Replaced);
    }
    if confirm::insert_adopted(conn, rcu) {
        Outcome::Adopted
    } else {
        // A packet was faster.
        Outcome::Busy
    }
}

/// Has an entry say what the socket knows, and returns how many jiffies it has left. [`None`]:
/// the socket has no connection.
fn describe(conn: &Conn, net: &Net, known: &adopt::Socket, opener: Side) -> Option<u32> {
    let timeout = match known.protocol {
        protocol::TCP => describe_tcp(conn, net, known, opener)?,
        _ => describe_udp(conn, net, known, opener),
    };
    conn.set(StatusBit::Adopted);
    Some(timeout)
}

fn describe_tcp(conn: &Conn, net: &Net, known: &adopt::Socket, opener: Side) -> Option<u32> {
    let track = tcp::adopt::track(known, opener)?;
    let policy = tcp::Config {
        timeouts: net.tcp_timeouts(),
        hz: time::HZ,
        loose: false,
        liberal: false,
        ignore_invalid_rst: false,
        max_retrans: net.tcp_max_retrans(),
    };
    let is_described = conn.with_proto(|place: &mut tcp::Track| {
        // A packet may have moved an entry on that is in the table.
        let is_open = !conn.is_confirmed() || place.is_picked_up();
        if is_open {
            *place = track;
        }
        is_open
    });
    if !is_described {
        return None;
    }
    if track.state() != tcp::State::SynSent {
        conn.set(StatusBit::SeenReply);
    }
    if !matches!(track.state(), tcp::State::SynSent | tcp::State::SynRecv) {
        conn.set(StatusBit::Assured);
    }
    Some(tcp::adopt::remaining(&track, known, &policy))
}

fn describe_udp(conn: &Conn, net: &Net, known: &adopt::Socket, opener: Side) -> u32 {
    let (replied, timeout) = udp::adopt(known, opener, net.udp_timeouts());
    if replied {
        conn.set(StatusBit::SeenReply);
        conn.set(StatusBit::Assured);
    }
    // A stream, from the first answer on.
    conn.proto_word().store(time::jiffies(), Relaxed);
    timeout
}
