// SPDX-License-Identifier: GPL-2.0

//! ICMP messages that speak of another packet: they belong to that packet's connection,
//! as RELATED, and never begin one.

use crate::{
    ct::life::lookup::LookupKey,
    nf::{
        packet::hook::{
            HookState,
            Point, //
        },
        prelude::*, //
    },
    proto::{
        step::Reason,
        wire::{
            self,
            icmp,
            icmpv6, //
        },
    },
};

use super::{
    parse::Packet,
    track::log_invalid, //
};

/// What an ICMP message is to the tracker.
pub(super) enum Inspection {
    /// Speaks for itself: a query, or its answer.
    NotAnError,
    /// Not to be tracked at all: neighbours and multicast listeners.
    Untracked,
    /// Attached to the connection that it speaks of.
    Related,
    /// INVALID: damaged, unknown, or about nothing we know.
    Invalid,
}

/// Looks at an ICMP or ICMPv6 message, and attaches it where it is an error about a known
/// connection.
pub(super) fn inspect(
    skb: &mut Skb,
    packet: &Packet,
    zone: Zone,
    state: HookState<'_>,
    rcu: Rcu<'_>,
) -> Inspection {
    let family = packet.family;
    let kind = match (family, packet.protocol) {
        (Family::Ipv4, protocol::ICMP) => inspect_v4(skb, packet, state),
        (Family::Ipv6, protocol::ICMPV6) => inspect_v6(skb, packet, state),
        // The other family's protocol number: no message that we could read.
        _ => return Inspection::NotAnError,
    };
    match kind {
        Ok(Message::NotAnError) => Inspection::NotAnError,
        Ok(Message::Untracked) => {
            skb.set_untracked();
            Inspection::Untracked
        }
        Ok(Message::Quotes(offset)) => {
            if attach(skb, packet, family, offset, zone, state, rcu) {
                Inspection::Related
            } else {
                Inspection::Invalid
            }
        }
        Err(reason) => {
            log_invalid(skb, state, packet.protocol, reason);
            Inspection::Invalid
        }
    }
}

enum Message {
    NotAnError,
    Untracked,
    /// Quotes a packet, which begins at this offset.
    Quotes(u32),
}

fn has_bad_checksum(skb: &mut Skb, packet: &Packet, family: Family, state: HookState<'_>) -> bool {
    state.is_at(Point::PreRouting)
        && state.net().checksum() != 0
        && skb.checksum_is_bad(
            state.point(),
            packet.transport,
            packet.protocol,
            family as u8,
        )
}

fn inspect_v4(skb: &mut Skb, packet: &Packet, state: HookState<'_>) -> Result<Message, Reason> {
    let bytes = skb.read(packet.transport).ok_or(wire::Error::Short)?;
    if has_bad_checksum(skb, packet, Family::Ipv4, state) {
        return Err(wire::Error::Checksum.into());
    }
    match icmp::Header::parse(&bytes).class() {
        icmp::Class::Unknown => Err(Reason::IcmpType),
        icmp::Class::Error => Ok(Message::Quotes(
            packet.transport.saturating_add(icmp::HEADER_LEN as u32),
        )),
        icmp::Class::Request | icmp::Class::Reply | icmp::Class::Other => Ok(Message::NotAnError),
    }
}

fn inspect_v6(skb: &mut Skb, packet: &Packet, state: HookState<'_>) -> Result<Message, Reason> {
    let bytes = skb.read(packet.transport).ok_or(wire::Error::Short)?;
    if has_bad_checksum(skb, packet, Family::Ipv6, state) {
        return Err(wire::Error::Checksum.into());
    }
    match icmpv6::Header::parse(&bytes).class() {
        icmpv6::Class::Untracked => Ok(Message::Untracked),
        icmpv6::Class::Error => Ok(Message::Quotes(
            packet.transport.saturating_add(icmpv6::HEADER_LEN as u32),
        )),
        icmpv6::Class::Redirect => inspect_redirect(skb, packet),
        icmpv6::Class::Request | icmpv6::Class::Reply | icmpv6::Class::Other => {
            Ok(Message::NotAnError)
        }
    }
}

fn inspect_redirect(skb: &Skb, packet: &Packet) -> Result<Message, Reason> {
    let Some(header) = packet.ipv6(skb) else {
        return Ok(Message::NotAnError);
    };
    let mut room = [0; icmpv6::REDIRECT_WINDOW];
    let there = (packet.transport_len(skb) as usize).min(room.len());
    let message = room
        .get_mut(..there)
        .and_then(|room| skb.slice(packet.transport, room))
        .unwrap_or(&[]);
    let quoted = icmpv6::redirected(header.hop_limit(), header.source(), message)?;
    Ok(match quoted {
        Some(offset) => Message::Quotes(packet.transport.saturating_add(offset)),
        None => Message::NotAnError,
    })
}

/// Attaches the message to the connection of the packet that it quotes at `offset`.
///
/// The quoted packet went the other way than the message does, so the message belongs to
/// the direction that an answer to it would have. It must also have been sent to whom that
/// direction leads: else anybody could send such messages into networks behind us, marked
/// RELATED, by quoting a connection of somebody else.
fn attach(
    skb: &mut Skb,
    packet: &Packet,
    family: Family,
    offset: u32,
    zone: Zone,
    state: HookState<'_>,
    rcu: Rcu<'_>,
) -> bool {
    let quoted = Packet::parse(skb, family, offset);
    let Some(answer) = quoted
        .and_then(|quoted| quoted.tuple(skb, state.net(), rcu))
        .and_then(|t| t.invert())
    else {
        return false;
    };
    let wanted = LookupKey {
        key: answer.key(),
        zone,
        net: state.net(),
    };
    let (Some((conn, dir)), _) = wanted.find(rcu) else {
        return false;
    };
    if Some(conn.tuple(dir).dst) != packet.destination(skb) {
        log_invalid(skb, state, packet.protocol, Reason::QuotedDestination);
        return false;
    }
    skb.attach(
        conn,
        match dir {
            Direction::Original => CtInfo::Related,
            Direction::Reply => CtInfo::RelatedReply,
        },
    );
    true
}
