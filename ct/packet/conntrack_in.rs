// SPDX-License-Identifier: GPL-2.0

//! The start of a packet's path: looks up its connection, or creates it (C: `nf_conntrack_in`).
//!
//! [`track_fast`] is for TCP and UDP packets without a template. It goes on in [`track_slow`],
//! which handles every packet, whenever its one search gives no answer. [`track_new`] handles
//! packets of no connection.

use kernel::{
    prelude::*,
    sync::aref::ARef, //
};

use crate::{
    ct::{
        figures::causes::{
            self,
            General,
            Particular,
            Refusal, //
        },
        life::{
            create,
            forgotten::{
                self,
                Way, //
            },
            lookup::{
                self,
                FastLookup,
                LookupKey, //
            },
            reconsider, //
        },
        table::TupleHash, //
    },
    nf::{
        entry::ecache::{
            self,
            Event, //
        },
        kernel::net::{
            Figure,
            Stat, //
        },
        packet::{
            hook::{
                HookState,
                InetHook, //
            },
            skb::Tracked, //
        },
        prelude::*, //
    },
    proto::{
        reconsider::Question,
        tcp,
        types::tuple::Key,
        wire, //
    },
};

use super::{
    icmp_error,
    parse::Packet,
    track::{
        Opening,
        PacketContext,
        TrackOutcome, //
    },
};

/// Attaches a connection to a packet that arrives or that this machine sends.
///
/// A packet that belongs to no connection and cannot begin one is accepted without: rules see it as
/// INVALID. A packet is dropped only if there is no room for its connection.
///
/// Everything that a TCP or UDP packet of a known connection needs is inlined here. Out-of-line
/// callees take their arguments by value: a reference to a larger struct would force it onto the
/// stack.
#[inline(always)]
pub(super) fn track_fast(
    skb: &mut Skb,
    family: Family,
    state: HookState<'_>,
    rcu: Rcu<'_>,
) -> Verdict {
    match skb.tracked() {
        Tracked::No => {}
        // Seen before (on loopback, for example), or excluded by a rule.
        Tracked::Yes(..) | Tracked::Untracked => return Verdict::Accept,
        Tracked::Template => return with_template(skb, family, state, rcu),
    }
    let net = state.net();
    let Some(packet) = parse(skb, family) else {
        return invalid(net, causes::invalid_for(Particular::IpHeaders));
    };
    if !packet.is_tcp_or_udp() {
        return track_slow(skb, packet, None, state, rcu);
    }
    let Some(key) = packet.port_key(skb) else {
        return invalid(net, causes::invalid(packet.protocol, General::Short));
    };
    let zone = Zone::DEFAULT;
    let (conn, info) = match lookup::lookup_fast(&key, zone, net, rcu) {
        FastLookup::Hit(conn, dir) => {
            let info = relation(&conn, dir);
            if info == CtInfo::New && reconsider::is_stale(conn.status(), net) {
                if let Some(verdict) = ask_again(skb, packet, &conn, state, rcu) {
                    return verdict;
                }
            }
            (conn, info)
        }
        FastLookup::Miss(hash) => {
            if packet.protocol == protocol::TCP {
                let wanted = LookupKey { key, zone, net };
                return track_new(skb, packet, None, wanted, hash, state, rcu);
            }
            match begin_default(net, key, hash, rcu) {
                NewConn::Entry(begun) => begun,
                NewConn::Nothing => {
                    return invalid(net, causes::invalid(packet.protocol, General::NoReply))
                }
                NewConn::NoRoom => return no_room(net),
            }
        }
        FastLookup::Retry => return track_slow(skb, packet, None, state, rcu),
    };
    let context = PacketContext {
        packet,
        state,
        info,
        rcu,
    };
    match context.track_tcp_or_udp(&conn, skb) {
        TrackOutcome::Accept => {
            attach(skb, conn, info);
            Verdict::Accept
        }
        TrackOutcome::Invalid => no_connection(net),
        TrackOutcome::Repeat => {
            // The deleted entry counts until its last reference is dropped.
            drop(conn);
            track_slow(skb, packet, None, state, rcu)
        }
        TrackOutcome::Drop => lost_to_former(net),
    }
}

/// Accepts a packet of an unsupported family without a connection.
pub(super) fn track_unsupported_family(skb: &mut Skb, state: HookState<'_>) -> Verdict {
    match skb.tracked() {
        Tracked::Yes(..) | Tracked::Untracked => return Verdict::Accept,
        Tracked::Template => drop(skb.detach()),
        Tracked::No => {}
    }
    invalid(state.net(), causes::invalid_for(Particular::Family))
}

/// Does the work of [`track_fast`] for a packet with a template of a rule.
#[cold]
#[inline(never)]
fn with_template(skb: &mut Skb, family: Family, state: HookState<'_>, rcu: Rcu<'_>) -> Verdict {
    let template = skb.detach();
    match parse(skb, family) {
        Some(packet) => track_slow(skb, packet, template.as_deref(), state, rcu),
        None => invalid(state.net(), causes::invalid_for(Particular::IpHeaders)),
    }
}

/// Returns the headers of a packet.
#[inline(always)]
fn parse(skb: &Skb, family: Family) -> Option<Packet> {
    Packet::parse(skb, family, skb.network_offset()?)
}

/// Attaches a connection to any packet: finds or creates its entry, and runs the protocol's
/// tracker.
#[cold]
#[inline(never)]
fn track_slow(
    skb: &mut Skb,
    packet: Packet,
    template: Option<&Conn>,
    state: HookState<'_>,
    rcu: Rcu<'_>,
) -> Verdict {
    let net = state.net();
    let zone = match template {
        Some(template) => template.zone().for_mark(skb.mark()),
        None => Zone::DEFAULT,
    };
    if matches!(packet.protocol, protocol::ICMP | protocol::ICMPV6) {
        match icmp_error::inspect(skb, &packet, zone, state, rcu) {
            icmp_error::Inspection::NotAnError => {}
            icmp_error::Inspection::Untracked | icmp_error::Inspection::Related => {
                return Verdict::Accept
            }
            icmp_error::Inspection::Invalid => {
                net.count_one(Stat::Error);
                return Verdict::Accept;
            }
        }
    }
    let Some(key) = packet.key(skb, net, rcu) else {
        return invalid(net, causes::invalid(packet.protocol, General::Short));
    };
    let wanted = LookupKey { key, zone, net };
    // Another turn follows only where an entry was deleted. Bounded, so that two packets that keep
    // deleting each other's connection cannot hold the CPU.
    for _ in 0..4 {
        let (conn, info) = match wanted.find(rcu) {
            (Some((conn, dir)), _) => {
                let info = relation(&conn, dir);
                let may_ask = info == CtInfo::New && template.is_none();
                if may_ask && reconsider::is_stale(conn.status(), net) {
                    if let Some(verdict) = ask_again(skb, packet, &conn, state, rcu) {
                        return verdict;
                    }
                }
                (conn, info)
            }
            (None, hash) => return track_new(skb, packet, template, wanted, hash, state, rcu),
        };
        let context = PacketContext {
            packet,
            state,
            info,
            rcu,
        };
        match context.track(&conn, skb) {
            TrackOutcome::Accept => {
                attach(skb, conn, info);
                return Verdict::Accept;
            }
            TrackOutcome::Invalid => return no_connection(net),
            TrackOutcome::Drop => break,
            TrackOutcome::Repeat => {}
        }
    }
    lost_to_former(net)
}

/// Counts and accepts a packet that is INVALID for a cause.
#[cold]
fn invalid(net: &Net, cause: Figure) -> Verdict {
    net.count_figure(cause);
    no_connection(net)
}

/// Counts and accepts an INVALID packet, whose cause was counted.
#[cold]
fn no_connection(net: &Net) -> Verdict {
    net.count_one(Stat::Invalid);
    Verdict::Accept
}

/// Counts and drops a packet that begins a connection while another CPU is still deleting the
/// former one. As for C, it is an INVALID one, too.
#[cold]
fn lost_to_former(net: &Net) -> Verdict {
    net.count_one(Stat::Invalid);
    net.count_figure(causes::invalid_for(Particular::TcpReopened));
    net.count_figure(causes::refused(Refusal::Reopened));
    no_room(net)
}

/// Counts and drops a packet that begins a connection for which there is no room.
#[cold]
fn no_room(net: &Net) -> Verdict {
    net.count_one(Stat::Drop);
    Verdict::Drop
}

/// Attaches its entry to a packet.
#[inline(always)]
fn attach(skb: &mut Skb, conn: ARef<Conn>, info: CtInfo) {
    if info == CtInfo::EstablishedReply && !conn.has(StatusBit::SeenReply) {
        note_reply(&conn);
    }
    skb.attach(conn, info);
}

/// Marks a connection as replied to.
#[inline(never)]
fn note_reply(conn: &Conn) {
    if !conn.test_and_set(StatusBit::SeenReply) {
        ecache::keep(conn, Event::Reply);
    }
}

/// Returns the relation of a packet to the entry that was found for it.
#[inline(always)]
fn relation(conn: &Conn, dir: Direction) -> CtInfo {
    match dir {
        Direction::Reply => CtInfo::EstablishedReply,
        Direction::Original => {
            let status = conn.status();
            if status.has(StatusBit::SeenReply) {
                CtInfo::Established
            } else if status.has(StatusBit::Expected) {
                CtInfo::Related
            } else {
                CtInfo::New
            }
        }
    }
}

/// Handles a packet of no connection: begins one, if the packet may.
///
/// UDP packets always may, and are handled in [`track_fast`].
#[inline(never)]
fn track_new(
    skb: &mut Skb,
    packet: Packet,
    template: Option<&Conn>,
    wanted: LookupKey<'_>,
    hash: TupleHash,
    state: HookState<'_>,
    rcu: Rcu<'_>,
) -> Verdict {
    let net = wanted.net;
    let context = PacketContext {
        packet,
        state,
        info: CtInfo::New,
        rcu,
    };
    let may_open = match context.opening(skb) {
        Opening::First => Ok(()),
        Opening::Later(may_open) => {
            if template.is_none() && forgotten::may_ask(net, hash, rcu) {
                if let Some(verdict) = with_socket(skb, packet, wanted, hash, state, rcu) {
                    return verdict;
                }
            }
            may_open
        }
        Opening::Invalid(reason) => Err(reason),
    };
    if let Err(reason) = may_open {
        context.note_invalid(skb, reason);
        return no_connection(net);
    }
    let (conn, info) = match begin(wanted, template, hash, rcu) {
        NewConn::Entry(begun) => begun,
        NewConn::Nothing => {
            return invalid(net, causes::invalid(packet.protocol, General::NoReply))
        }
        NewConn::NoRoom => return no_room(net),
    };
    match (PacketContext { info, ..context }).track_first(&conn, skb) {
        TrackOutcome::Accept => {
            skb.attach(conn, info);
            Verdict::Accept
        }
        TrackOutcome::Invalid => no_connection(net),
        // There is no former connection that could be replaced.
        TrackOutcome::Repeat | TrackOutcome::Drop => lost_to_former(net),
    }
}

/// Handles a segment of a connection whose entry is gone, if a socket of this machine still has the
/// connection: the socket tells its state.
#[cold]
#[inline(never)]
fn with_socket(
    skb: &mut Skb,
    packet: Packet,
    wanted: LookupKey<'_>,
    hash: TupleHash,
    state: HookState<'_>,
    rcu: Rcu<'_>,
) -> Option<Verdict> {
    let (way, device) = if state.is_at(InetHook::PreRouting) {
        (Way::In, state.input())
    } else if state.is_at(InetHook::LocalOut) {
        (Way::Out, state.out())
    } else {
        return None;
    };
    let (device, tuple) = (device?.index(), wanted.key.tuple());
    if !forgotten::adopt_by_segment(wanted.net, &tuple, way, device, hash, rcu) {
        return None;
    }
    let (conn, dir) = wanted.find(rcu).0?;
    let info = relation(&conn, dir);
    let context = PacketContext {
        packet,
        state,
        info,
        rcu,
    };
    match context.track(&conn, skb) {
        TrackOutcome::Accept => {
            attach(skb, conn, info);
            Some(Verdict::Accept)
        }
        TrackOutcome::Invalid => Some(no_connection(wanted.net)),
        // For a SYN alone.
        TrackOutcome::Repeat | TrackOutcome::Drop => None,
    }
}

/// Begins a second entry with a packet of an unreplied connection, so that NAT's rules are asked
/// about it again: see [`reconsider`]. `old` is its entry, of the default zone. [`None`]: the
/// packet goes on with that.
#[cold]
#[inline(never)]
fn ask_again(
    skb: &mut Skb,
    packet: Packet,
    old: &Conn,
    state: HookState<'_>,
    rcu: Rcu<'_>,
) -> Option<Verdict> {
    let net = state.net();
    let question = reconsider::question_about(old, net, rcu);
    if question == Question::Nothing {
        return None;
    }
    // Of TCP, a SYN alone begins a connection.
    if packet.protocol == protocol::TCP && !is_syn(skb, packet) {
        return None;
    }
    let wanted = LookupKey {
        key: packet.key(skb, net, rcu)?,
        zone: Zone::DEFAULT,
        net,
    };
    let (_, hash) = wanted.find(rcu);
    let verdict = track_new(skb, packet, None, wanted, hash, state, rcu);
    if question == Question::Source {
        reconsider::keep_destination(skb, old);
    }
    Some(verdict)
}

/// Returns whether a TCP segment is a SYN without ACK.
fn is_syn(skb: &Skb, packet: Packet) -> bool {
    skb.read(packet.transport).is_some_and(|bytes| {
        let header = wire::tcp::Header::parse(&bytes);
        matches!(tcp::Kind::of(header.flags()), tcp::Kind::Syn)
    })
}

/// The result of creating an entry for a packet.
enum NewConn {
    /// The entry, and the relation of the packet to it.
    Entry((ARef<Conn>, CtInfo)),
    /// The packet cannot begin a connection.
    Nothing,
    /// There is no room for the entry.
    NoRoom,
}

impl From<Result<Option<(ARef<Conn>, CtInfo)>>> for NewConn {
    #[inline(always)]
    fn from(result: Result<Option<(ARef<Conn>, CtInfo)>>) -> Self {
        match result {
            Ok(Some(begun)) => Self::Entry(begun),
            Ok(None) => Self::Nothing,
            Err(_) => Self::NoRoom,
        }
    }
}

/// Creates an entry for a key that was not found.
#[inline(never)]
fn begin(wanted: LookupKey<'_>, template: Option<&Conn>, hash: TupleHash, rcu: Rcu<'_>) -> NewConn {
    let LookupKey { key, zone, net } = wanted;
    create::create(net, template, zone, &key, hash, rcu).into()
}

/// Does the work of [`begin`] without template, in the default zone. A copy of its own, so that the
/// constants are folded.
#[inline(never)]
fn begin_default(net: &Net, key: Key, hash: TupleHash, rcu: Rcu<'_>) -> NewConn {
    create::create(net, None, Zone::DEFAULT, &key, hash, rcu).into()
}
