// SPDX-License-Identifier: GPL-2.0

//! ICMP errors about translated connections.
//!
//! An error quotes a packet in the form that it had where the error was created. Both are
//! translated: one end of the quoted packet, as it would be in a reply, and one end of the error,
//! so that it reaches the sender of the quoted packet.

use crate::{
    ct::packet::parse::Packet,
    nf::{
        packet::skb_change::IpSummed,
        prelude::*, //
    },
    proto::{
        nat::{
            checksum,
            Manip, //
        },
        wire::{
            icmp,
            icmpv6,
            ipv6, //
        },
    },
};

use super::{
    packet::{
        is_changed,
        rewrite,
        target,
        HeaderPos, //
    },
    setup::is_done, //
};

/// Offset of the checksum in ICMP and ICMPv6 messages.
const CHECKSUM: u32 = 2;

/// Returns the offset of the ICMP message in the packet. [`None`]: the packet is none.
pub(super) fn message_of(skb: &Skb, family: Family) -> Option<u32> {
    let wanted = match family {
        Family::Ipv4 => protocol::ICMP,
        Family::Ipv6 => protocol::ICMPV6,
    };
    let packet = Packet::parse(skb, family, skb.network_offset()?)?;
    (packet.protocol == wanted).then_some(packet.transport)
}

/// Returns whether an ICMP message, which is at `offset`, says that a destination is unreachable.
pub(super) fn is_unreachable(skb: &Skb, family: Family, offset: u32) -> bool {
    match family {
        Family::Ipv4 => skb
            .read(offset)
            .is_some_and(|bytes| icmp::Header::parse(&bytes).is_unreachable()),
        Family::Ipv6 => skb
            .read(offset)
            .is_some_and(|bytes| icmpv6::Header::parse(&bytes).is_unreachable()),
    }
}

/// Translates an ICMP error of direction `dir` about `conn`; its message is at `offset`.
///
/// [`None`]: it is damaged, or must not be forwarded.
pub(super) fn translate(
    skb: &mut Skb,
    conn: &Conn,
    dir: Direction,
    hooknum: u32,
    manip: Manip,
    family: Family,
    offset: u32,
) -> Option<()> {
    let (message_len, quoted_len, is_redirect, protocol) = match family {
        Family::Ipv4 => (icmp::HEADER_LEN, 20, icmp::kind::REDIRECT, protocol::ICMP),
        Family::Ipv6 => (
            icmpv6::HEADER_LEN,
            ipv6::HEADER_LEN,
            icmpv6::kind::REDIRECT,
            protocol::ICMPV6,
        ),
    };
    // The quoted header has to be complete.
    skb.writable(offset, message_len.wrapping_add(quoted_len))?;
    if skb.checksum_is_bad(hooknum, offset, protocol, family.to_u8()) {
        return None;
    }
    let status = conn.status();
    let [kind] = skb.read(offset)?;
    if kind == is_redirect {
        // A redirect names a route that exists on one side of the translation only.
        let decided = is_done(status, Manip::Source) && is_done(status, Manip::Destination);
        if !decided || status.has(StatusBit::SrcNat) || status.has(StatusBit::DstNat) {
            return None;
        }
    }
    if !is_changed(status, manip, dir) {
        return Some(());
    }

    // The quoted packet has the opposite direction: it gets the end that it arrived with.
    let quoted = conn.tuple(dir.opposite());
    let quoted_at = offset.checked_add(u32::try_from(message_len).ok()?)?;
    rewrite(skb, quoted_at, &quoted, manip.opposite(), HeaderPos::Inner)?;
    if skb.ip_summed() != IpSummed::Partial {
        update_checksum(skb, family, offset)?;
    }

    let mut outside = target(conn, dir)?;
    outside.protonum = protocol;
    rewrite(skb, 0, &outside, manip, HeaderPos::Outer)
}

/// Computes the checksum of the message, with the addresses that the packet has now.
fn update_checksum(skb: &mut Skb, family: Family, offset: u32) -> Option<()> {
    let field = offset.checked_add(CHECKSUM)?;
    *skb.writable(field, 2)?.first_chunk_mut()? = [0; 2];
    let mut sum = skb.sum_from(offset)?;
    if family == Family::Ipv6 {
        let header = ipv6::Header::parse(&skb.read(0)?);
        let len = skb.len().checked_sub(offset)?;
        let pseudo =
            checksum::pseudo_header(header.source(), header.destination(), protocol::ICMPV6, len);
        sum = checksum::add(sum, u16::from_ne_bytes(pseudo));
    }
    *skb.writable(field, 2)?.first_chunk_mut()? = (!sum).to_ne_bytes();
    Some(())
}
