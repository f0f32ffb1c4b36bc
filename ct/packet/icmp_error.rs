// SPDX-License-Identifier: GPL-2.0

//! ICMP and ICMPv6 messages before tracking: errors are attached to the connection of the packet
//! that they quote, as RELATED, and never begin a connection; queries go on to the tracker.

use crate::{
    ct::{
        figures::causes::{
            self,
            Particular, //
        },
        life::lookup::LookupKey, //
    },
    nf::{
        kernel::settings,
        packet::hook::{
            HookState,
            InetHook, //
        },
        prelude::*, //
    },
    proto::{
        step::Reason,
        types::num::u32_as_usize,
        wire::{
            self,
            icmp,
            icmpv6, //
        },
    },
};

use super::{
    parse::Packet,
    track::note_invalid, //
};

/// The length of an ICMP or ICMPv6 header, in bytes.
const ICMP_HEADER_LEN: u32 = icmp::HEADER_LEN as u32; // CAST: 8.

const _: () = assert!(icmp::HEADER_LEN == icmpv6::HEADER_LEN);

/// The result of [`inspect`].
pub(super) enum Inspection {
    /// A query or a reply: to be tracked like other packets.
    NotAnError,
    /// Not to be tracked at all: neighbour discovery and multicast listener discovery.
    Untracked,
    /// Attached to the connection of the quoted packet.
    Related,
    /// INVALID: damaged, of an unknown type, or about no known connection.
    Invalid,
}

/// Inspects an ICMP or ICMPv6 message, and attaches it to a connection if it is an error about
/// that.
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
        // The protocol number of the other family's ICMP: no message that can be parsed.
        _ => return Inspection::NotAnError,
    };
    match kind {
        Ok(Message::NotAnError) => Inspection::NotAnError,
        Ok(Message::Untracked) => {
            skb.set_untracked();
            Inspection::Untracked
        }
        Ok(Message::Quotes(offset)) => {
            match attach(skb, packet, family, offset, zone, state, rcu) {
                Ok(()) => Inspection::Related,
                Err(Unrelated::Unknown) => {
                    let unknown = causes::invalid_for(Particular::IcmpUnknown);
                    state.net().count_figure(unknown);
                    Inspection::Invalid
                }
                Err(Unrelated::Destination) => {
                    note_invalid(skb, state, packet.protocol, Reason::QuotedDestination);
                    Inspection::Invalid
                }
            }
        }
        Err(reason) => {
            note_invalid(skb, state, packet.protocol, reason);
            Inspection::Invalid
        }
    }
}

/// Why an error is not attached to a connection.
enum Unrelated {
    /// It quotes a packet of no known connection.
    Unknown,
    /// Its destination is not an end of the connection.
    Destination,
}

/// The kind of a message.
enum Message {
    /// A query, a reply, or a message that is only counted.
    NotAnError,
    /// Neighbour discovery or multicast listener discovery.
    Untracked,
    /// An error that quotes a packet at this offset, in bytes.
    Quotes(u32),
}

/// Returns whether the checksum is to be verified, and is wrong.
fn has_bad_checksum(skb: &mut Skb, packet: &Packet, family: Family, state: HookState<'_>) -> bool {
    state.is_at(InetHook::PreRouting)
        && settings::CHECKSUM.read(state.net()) != 0
        && skb.checksum_is_bad(
            state.hooknum(),
            packet.transport,
            packet.protocol,
            family.to_u8(),
        )
}

/// Classifies an ICMP message.
fn inspect_v4(skb: &mut Skb, packet: &Packet, state: HookState<'_>) -> Result<Message, Reason> {
    let bytes = skb.read(packet.transport).ok_or(wire::Error::Short)?;
    if has_bad_checksum(skb, packet, Family::Ipv4, state) {
        return Err(wire::Error::Checksum.into());
    }
    match icmp::Header::parse(&bytes).class() {
        icmp::Class::Unknown => Err(Reason::IcmpType),
        icmp::Class::Error => Ok(Message::Quotes(
            packet.transport.saturating_add(ICMP_HEADER_LEN),
        )),
        icmp::Class::Request | icmp::Class::Reply | icmp::Class::Other => Ok(Message::NotAnError),
    }
}

/// Classifies an ICMPv6 message.
fn inspect_v6(skb: &mut Skb, packet: &Packet, state: HookState<'_>) -> Result<Message, Reason> {
    let bytes = skb.read(packet.transport).ok_or(wire::Error::Short)?;
    if has_bad_checksum(skb, packet, Family::Ipv6, state) {
        return Err(wire::Error::Checksum.into());
    }
    match icmpv6::Header::parse(&bytes).class() {
        icmpv6::Class::Untracked => Ok(Message::Untracked),
        icmpv6::Class::Error => Ok(Message::Quotes(
            packet.transport.saturating_add(ICMP_HEADER_LEN),
        )),
        icmpv6::Class::Redirect => inspect_redirect(skb, packet),
        icmpv6::Class::Request | icmpv6::Class::Reply | icmpv6::Class::Other => {
            Ok(Message::NotAnError)
        }
    }
}

/// Classifies an ICMPv6 redirect, which may quote a packet in an option.
fn inspect_redirect(skb: &Skb, packet: &Packet) -> Result<Message, Reason> {
    let Some(header) = packet.ipv6(skb) else {
        return Ok(Message::NotAnError);
    };
    let mut room = [0; icmpv6::REDIRECT_WINDOW];
    let there = (u32_as_usize(packet.transport_len(skb))).min(room.len());
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

/// Attaches the message to the connection of the packet that it quotes at `offset`. Returns whether
/// it did.
///
/// The quoted packet went in the opposite direction, so the message belongs to the direction of a
/// reply to it. Its destination must also be that of this direction. Otherwise any host could send
/// such messages into the networks behind this machine, marked RELATED, by quoting a connection of
/// another host.
fn attach(
    skb: &mut Skb,
    packet: &Packet,
    family: Family,
    offset: u32,
    zone: Zone,
    state: HookState<'_>,
    rcu: Rcu<'_>,
) -> Result<(), Unrelated> {
    let quoted = Packet::parse(skb, family, offset);
    let Some(answer) = quoted
        .and_then(|quoted| quoted.tuple(skb, state.net(), rcu))
        .and_then(|t| t.invert())
    else {
        return Err(Unrelated::Unknown);
    };
    let wanted = LookupKey {
        key: answer.key(),
        zone,
        net: state.net(),
    };
    let (Some((conn, dir)), _) = wanted.find(rcu) else {
        return Err(Unrelated::Unknown);
    };
    if Some(conn.tuple(dir).dst) != packet.destination(skb) {
        return Err(Unrelated::Destination);
    }
    skb.attach(
        conn,
        match dir {
            Direction::Original => CtInfo::Related,
            Direction::Reply => CtInfo::RelatedReply,
        },
    );
    Ok(())
}
