// SPDX-License-Identifier: GPL-2.0

//! A packet's way in: find its connection, or begin one.

use kernel::{
    prelude::*,
    sync::aref::ARef, //
};

use crate::{
    nf::{
        conn::{
            Conn,
            Dir,
            StatusBit, //
        },
        ecache::{
            self,
            Event, //
        },
        hook::{
            Family,
            HookState,
            Verdict, //
        },
        net::Stat,
        rcu::Rcu,
        skb::{
            CtInfo,
            Skb,
            Tracked, //
        },
    },
    proto::{
        tuple::protocol,
        zone::Zone, //
    },
};

use super::{
    create,
    entry,
    icmp_error,
    parse::Packet,
    table::{
        TupleHash,
        Wanted, //
    },
    track::{
        Outcome,
        Passage, //
    }, //
};

/// Attaches a connection to a packet that arrives or that this machine sends.
///
/// Packets that belong to none and cannot begin one pass without: rules see them as
/// INVALID. Dropped are only packets for whose connection there is no room.
#[inline(always)]
pub(super) fn track(skb: &mut Skb, family: Family, state: HookState<'_>, rcu: Rcu<'_>) -> Verdict {
    match skb.tracked() {
        Tracked::No => way_in(skb, family, None, state, rcu),
        // Seen before (on loopback, say), or not to be seen.
        Tracked::Yes(..) | Tracked::Untracked => Verdict::Accept,
        Tracked::Template => with_template(skb, family, state, rcu),
    }
}

/// A packet of another family passes without.
pub(super) fn of_no_family(skb: &mut Skb, state: HookState<'_>) -> Verdict {
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
    way_in(skb, family, template.as_deref(), state, rcu)
}

#[inline(always)]
fn way_in(
    skb: &mut Skb,
    family: Family,
    template: Option<&Conn>,
    state: HookState<'_>,
    rcu: Rcu<'_>,
) -> Verdict {
    let zone = match template {
        Some(template) => entry::zone(template).for_mark(skb.mark()),
        None => Zone::DEFAULT,
    };
    let net = state.net();
    let offset = skb.network_offset();
    let Some(packet) = offset.and_then(|offset| Packet::parse(skb, family, offset)) else {
        net.count_one(Stat::Invalid);
        return Verdict::Accept;
    };

    if matches!(packet.protocol, protocol::ICMP | protocol::ICMPV6) {
        match icmp_error::inspect(skb, &packet, family, zone, state, rcu) {
            icmp_error::Kind::Own => {}
            icmp_error::Kind::Untracked | icmp_error::Kind::Related => return Verdict::Accept,
            icmp_error::Kind::Invalid => {
                net.count_one(Stat::Error);
                return Verdict::Accept;
            }
        }
    }
    let arrival = Arrival {
        packet: &packet,
        family,
        template,
        zone,
        state,
    };
    belong(skb, &arrival, rcu)
}

/// What is known of a packet before its connection is.
struct Arrival<'a> {
    packet: &'a Packet,
    family: Family,
    template: Option<&'a Conn>,
    zone: Zone,
    state: HookState<'a>,
}

/// Finds or makes the packet's entry and shows the packet to the protocol's tracker.
#[inline(always)]
fn belong(skb: &mut Skb, arrival: &Arrival<'_>, rcu: Rcu<'_>) -> Verdict {
    let net = arrival.state.net();
    // A second turn comes only after an entry was taken out of the table; bounded, so that
    // two packets that keep replacing each other's connection cannot hold the CPU.
    for _ in 0..4 {
        let (conn, info) = match resolve(skb, arrival, rcu) {
            Ok(Some(found)) => found,
            Ok(None) => {
                net.count_one(Stat::Invalid);
                return Verdict::Accept;
            }
            Err(_) => {
                net.count_one(Stat::Drop);
                return Verdict::Drop;
            }
        };
        let passage = Passage {
            packet: arrival.packet,
            state: arrival.state,
            family: arrival.family,
            info,
            rcu,
        };
        match passage.track(&conn, skb) {
            Outcome::Belongs => {
                if info == CtInfo::EstablishedReply
                    && !conn.has(StatusBit::SeenReply)
                    && !conn.test_and_set(StatusBit::SeenReply)
                {
                    ecache::keep(&conn, Event::Reply);
                }
                skb.attach(conn, info);
                return Verdict::Accept;
            }
            Outcome::Invalid => {
                net.count_one(Stat::Invalid);
                return Verdict::Accept;
            }
            Outcome::Drop => break,
            Outcome::BeginsAnew => {}
        }
    }
    net.count_one(Stat::Invalid);
    net.count_one(Stat::Drop);
    Verdict::Drop
}

/// Finds the packet's entry, or makes one, and says what the packet is to it.
///
/// `Ok(None)`: the packet cannot begin a connection. `Err`: there is no room for one.
#[inline(always)]
fn resolve(skb: &Skb, arrival: &Arrival<'_>, rcu: Rcu<'_>) -> Result<Option<(ARef<Conn>, CtInfo)>> {
    let (net, zone) = (arrival.state.net(), arrival.zone);
    let Some(key) = arrival.packet.key(skb, net, rcu) else {
        return Ok(None);
    };
    let wanted = Wanted { key, zone, net };
    let (found, hash) = wanted.find_at_once(rcu);
    let Some((conn, dir)) = found else {
        return begin(&wanted, arrival.template, hash, rcu);
    };
    let info = match dir {
        Dir::Reply => CtInfo::EstablishedReply,
        Dir::Original => {
            let status = conn.status();
            if status.has(StatusBit::SeenReply) {
                CtInfo::Established
            } else if status.has(StatusBit::Expected) {
                CtInfo::Related
            } else {
                CtInfo::New
            }
        }
    };
    Ok(Some((conn, info)))
}

/// Makes an entry for what was not found.
#[inline(never)]
fn begin(
    wanted: &Wanted<'_>,
    template: Option<&Conn>,
    hash: TupleHash,
    rcu: Rcu<'_>,
) -> Result<Option<(ARef<Conn>, CtInfo)>> {
    let tuple = wanted.key.tuple();
    let created = create::create(wanted.net, template, wanted.zone, &tuple, hash, rcu)?;
    Ok(created.map(|conn| {
        let expected = conn.has(StatusBit::Expected);
        let info = if expected {
            CtInfo::Related
        } else {
            CtInfo::New
        };
        (conn, info)
    }))
}
