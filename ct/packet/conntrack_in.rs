// SPDX-License-Identifier: GPL-2.0

//! A packet's way in: find its connection, or begin one.

use kernel::{
    prelude::*,
    sync::aref::ARef, //
};

use crate::{
    ct::{
        life::{
            create,
            lookup::{
                self,
                FastLookup,
                LookupKey, //
            },
        },
        table::TupleHash, //
    },
    nf::{
        entry::ecache::{
            self,
            Event, //
        },
        kernel::net::Stat,
        packet::{
            hook::HookState,
            skb::Tracked, //
        },
        prelude::*, //
    },
    proto::types::tuple::Key, //
};

use super::{
    icmp_error,
    parse::Packet,
    track::{
        PacketContext, //
        TrackOutcome,
    },
};

/// Attaches a connection to a packet that arrives or that this machine sends.
///
/// Packets that belong to none and cannot begin one pass without: rules see them as
/// INVALID. Dropped are only packets for whose connection there is no room.
///
/// TCP and UDP go straight through this and what is inlined into it. What is not gets small
/// values: a reference to a larger one would keep that in memory, where registers do.
#[inline(always)]
pub(super) fn track_fast(
    skb: &mut Skb,
    family: Family,
    state: HookState<'_>,
    rcu: Rcu<'_>,
) -> Verdict {
    match skb.tracked() {
        Tracked::No => {}
        // Seen before (on loopback, say), or not to be seen.
        Tracked::Yes(..) | Tracked::Untracked => return Verdict::Accept,
        Tracked::Template => return with_template(skb, family, state, rcu),
    }
    let net = state.net();
    let Some(packet) = parse(skb, family) else {
        return no_connection(net);
    };
    if !packet.is_tcp_or_udp() {
        return track_slow(skb, packet, None, state, rcu);
    }
    let Some(key) = packet.port_key(skb) else {
        return no_connection(net);
    };
    let zone = Zone::DEFAULT;
    let (conn, info) = match lookup::lookup_fast(&key, zone, net, rcu) {
        FastLookup::Hit(conn, dir) => {
            let info = relation(&conn, dir);
            (conn, info)
        }
        FastLookup::Miss(hash) => {
            if packet.protocol == protocol::TCP {
                let wanted = LookupKey { key, zone, net };
                return track_new(skb, packet, None, wanted, hash, state, rcu);
            }
            match begin_default(net, key, hash, rcu) {
                NewConn::Entry(begun) => begun,
                NewConn::Nothing => return no_connection(net),
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
    match context.track_common(&conn, skb) {
        TrackOutcome::Accept => {
            attach(skb, conn, info);
            Verdict::Accept
        }
        TrackOutcome::Invalid => no_connection(net),
        TrackOutcome::Repeat => {
            // The former entry counts as long as somebody has it.
            drop(conn);
            track_slow(skb, packet, None, state, rcu)
        }
        TrackOutcome::Drop => {
            net.count_one(Stat::Invalid);
            no_room(net)
        }
    }
}

/// A packet of another family passes without.
pub(super) fn track_unsupported_family(skb: &mut Skb, state: HookState<'_>) -> Verdict {
    match skb.tracked() {
        Tracked::Yes(..) | Tracked::Untracked => return Verdict::Accept,
        Tracked::Template => drop(skb.detach()),
        Tracked::No => {}
    }
    state.net().count_one(Stat::Invalid);
    Verdict::Accept
}

/// [`track`], for a rule that has wishes.
#[cold]
#[inline(never)]
fn with_template(skb: &mut Skb, family: Family, state: HookState<'_>, rcu: Rcu<'_>) -> Verdict {
    let template = skb.detach();
    match parse(skb, family) {
        Some(packet) => track_slow(skb, packet, template.as_deref(), state, rcu),
        None => no_connection(state.net()),
    }
}

#[inline(always)]
fn parse(skb: &Skb, family: Family) -> Option<Packet> {
    Packet::parse(skb, family, skb.network_offset()?)
}

/// Any packet: finds or makes its entry and shows the packet to the protocol's tracker.
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
        return no_connection(net);
    };
    let wanted = LookupKey { key, zone, net };
    // A second turn comes only after an entry was taken out of the table; bounded, so that
    // two packets that keep replacing each other's connection cannot hold the CPU.
    for _ in 0..4 {
        let (conn, info) = match wanted.find(rcu) {
            (Some((conn, dir)), _) => {
                let info = relation(&conn, dir);
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
    net.count_one(Stat::Invalid);
    no_room(net)
}

/// The packet is INVALID.
#[cold]
fn no_connection(net: &Net) -> Verdict {
    net.count_one(Stat::Invalid);
    Verdict::Accept
}

/// The packet begins a connection that cannot be.
#[cold]
fn no_room(net: &Net) -> Verdict {
    net.count_one(Stat::Drop);
    Verdict::Drop
}

/// Attaches its entry to a packet that belongs to it.
#[inline(always)]
fn attach(skb: &mut Skb, conn: ARef<Conn>, info: CtInfo) {
    if info == CtInfo::EstablishedReply && !conn.has(StatusBit::SeenReply) {
        note_reply(&conn);
    }
    skb.attach(conn, info);
}

/// A connection was answered.
#[inline(never)]
fn note_reply(conn: &Conn) {
    if !conn.test_and_set(StatusBit::SeenReply) {
        ecache::keep(conn, Event::Reply);
    }
}

/// What a packet is to the entry that was found for it.
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

/// A packet that belongs to no connection: begins one with it, if it may. (UDP always may, and goes
/// on in [`track`].)
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
    if !context.may_open(skb) {
        return no_connection(net);
    }
    let (conn, info) = match begin(wanted, template, hash, rcu) {
        NewConn::Entry(begun) => begun,
        NewConn::Nothing => return no_connection(net),
        NewConn::NoRoom => return no_room(net),
    };
    match (PacketContext { info, ..context }).track_first(&conn, skb) {
        TrackOutcome::Accept => {
            skb.attach(conn, info);
            Verdict::Accept
        }
        // There is nothing yet that could be replaced.
        TrackOutcome::Invalid | TrackOutcome::Repeat | TrackOutcome::Drop => no_connection(net),
    }
}

/// What came of the attempt to begin a connection.
enum NewConn {
    /// Its entry, and what the packet is to it.
    Entry((ARef<Conn>, CtInfo)),
    /// The packet cannot begin one.
    Nothing,
    /// There is no room for one.
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

/// Makes an entry for what was not found.
#[inline(never)]
fn begin(wanted: LookupKey<'_>, template: Option<&Conn>, hash: TupleHash, rcu: Rcu<'_>) -> NewConn {
    let LookupKey { key, zone, net } = wanted;
    create::create(net, template, zone, &key, hash, rcu).into()
}

/// [`begin`] in the default zone, for a packet of which no rule has said anything.
#[inline(never)]
fn begin_default(net: &Net, key: Key, hash: TupleHash, rcu: Rcu<'_>) -> NewConn {
    create::create(net, None, Zone::DEFAULT, &key, hash, rcu).into()
}
