// SPDX-License-Identifier: GPL-2.0

//! Functions for helpers that rewrite addresses in payloads (FTP, SIP): replacement of bytes, and
//! translation of expected connections.
//!
//! # Examples
//!
//! ```ignore
//! // `PORT 10,0,0,2,4,0` becomes `PORT 192,0,2,1,4,0`, 5 bytes behind the TCP header.
//! let replacement = Replacement { transport, offset: 5, len: 12, new: b"192,0,2,1,4,0" };
//! // The stream is one byte longer: sequence numbers behind the segment are adjusted.
//! helper::mangle_tcp(skb, conn, dir, &replacement, true).ok_or(ENOMEM)?;
//! ```

use crate::{
    ct::{
        entry::seqadj,
        expect::add::{
            self,
            RelateError, //
        }, //
    },
    nf::{
        expect::draft::Draft,
        kernel::{
            nfnetlink::Requester,
            random, //
        },
        packet::{
            nat::Unconfirmed,
            skb_change::IpSummed, //
        },
        prelude::*, //
    },
    proto::{
        nat::{
            checksum::{
                self,
                Delta, //
            },
            range::{
                flag,
                Range, //
            },
            rewrite,
            Manip, //
        },
        tcp::SeqNum,
        types::tuple::L4Key,
        wire::{
            ipv4,
            ipv6,
            tcp::Header, //
        },
    },
};

use super::setup;

/// Offsets of checksums in transport headers.
mod field {
    pub(super) const TCP: u32 = 16;
    pub(super) const UDP: u32 = 6;
}

// CAST: A small number.
const IPV6_HEADER_LEN: u16 = ipv6::HEADER_LEN as u16;

/// A replacement of bytes in a payload.
pub(super) struct Replacement<'a> {
    /// The offset of the transport header in the packet.
    pub(super) transport: u32,
    /// The offset of the old bytes in the payload.
    pub(super) offset: u32,
    /// The number of old bytes.
    pub(super) len: u32,
    /// The new bytes.
    pub(super) new: &'a [u8],
}

impl Replacement<'_> {
    /// Replaces the bytes; the payload begins `header` bytes behind the transport header's start.
    fn apply(&self, skb: &mut Skb, conn: &Conn, header: u32) -> Option<()> {
        let at = self
            .transport
            .checked_add(header)?
            .checked_add(self.offset)?;
        skb.splice(at, self.len, self.new)?;
        // A GSO packet has its length elsewhere.
        let len = u16::try_from(skb.len()).unwrap_or(0);
        if conn.tuple(Direction::Original).has_family(Family::Ipv4) {
            rewrite::set_ipv4_len(skb.writable(0, ipv4::HEADER_LEN)?, len)
        } else {
            let len = len.saturating_sub(IPV6_HEADER_LEN);
            rewrite::set_ipv6_len(skb.writable(0, ipv6::HEADER_LEN)?, len)
        }
        .ok()
    }
}

/// Updates the checksum at `field` of a transport header, after a change of the payload. `old_len`
/// is the former length from the transport header on.
fn update_checksum(
    skb: &mut Skb,
    conn: &Conn,
    transport: u32,
    field: u32,
    protocol: u8,
    old_len: u32,
) -> Option<()> {
    let len = skb.len().checked_sub(transport)?;
    let at = transport.checked_add(field)?;
    let new = if skb.ip_summed() == IpSummed::Partial {
        let [_, _, a, b] = old_len.to_be_bytes();
        let [_, _, c, d] = len.to_be_bytes();
        Delta::NONE
            .replace([a, b], [c, d])
            .update_partial(skb.read(at)?)
    } else {
        let (source, destination) = addresses(skb, conn)?;
        let pseudo = checksum::pseudo_header(&source, &destination, protocol, len);
        skb.set_checksum_partial(transport, field)?;
        pseudo
    };
    *skb.writable(at, 2)?.first_chunk_mut()? = new;
    Some(())
}

/// Returns the addresses of the packet.
fn addresses(skb: &Skb, conn: &Conn) -> Option<([u8; 16], [u8; 16])> {
    if conn.tuple(Direction::Original).has_family(Family::Ipv4) {
        let header = ipv4::Header::parse(&skb.read(0)?);
        let ends = Tuple::ipv4(header.source(), header.destination(), L4Key::NONE, 0);
        Some((ends.src, ends.dst))
    } else {
        let header = ipv6::Header::parse(&skb.read(0)?);
        Some((*header.source(), *header.destination()))
    }
}

/// Replaces bytes of a TCP segment (`__nf_nat_mangle_tcp_packet`). With `adjust`, later sequence
/// numbers are adjusted by the change of the length.
pub(super) fn mangle_tcp(
    skb: &mut Skb,
    conn: &Conn,
    dir: Direction,
    replacement: &Replacement<'_>,
    adjust: bool,
) -> Option<()> {
    let old_len = skb.len().checked_sub(replacement.transport)?;
    let header = Header::parse(&skb.read(replacement.transport)?);
    replacement.apply(skb, conn, header.header_len())?;
    update_checksum(
        skb,
        conn,
        replacement.transport,
        field::TCP,
        protocol::TCP,
        old_len,
    )?;
    let new_len = u32::try_from(replacement.new.len()).ok()?;
    if adjust && new_len != replacement.len {
        // CAST: Both are lengths inside a packet.
        let by = (new_len as i32).wrapping_sub(replacement.len as i32);
        seqadj::add(conn, dir, SeqNum(header.seq().0), by);
    }
    Some(())
}

/// Replaces bytes of a UDP datagram (`nf_nat_mangle_udp_packet`).
pub(super) fn mangle_udp(skb: &mut Skb, conn: &Conn, replacement: &Replacement<'_>) -> Option<()> {
    const HEADER_LEN: u32 = 8;
    const LENGTH: u32 = 4;
    let old_len = skb.len().checked_sub(replacement.transport)?;
    replacement.apply(skb, conn, HEADER_LEN)?;
    let len = u16::try_from(skb.len().checked_sub(replacement.transport)?).unwrap_or(0);
    let at = replacement.transport.checked_add(LENGTH)?;
    *skb.writable(at, 2)?.first_chunk_mut()? = len.to_be_bytes();
    let old: [u8; 2] = skb.read(replacement.transport.checked_add(field::UDP)?)?;
    // The sender computed no checksum (RFC 768).
    if old == [0; 2] && skb.ip_summed() != IpSummed::Partial {
        return Some(());
    }
    update_checksum(
        skb,
        conn,
        replacement.transport,
        field::UDP,
        protocol::UDP,
        old_len,
    )
}

/// Sets up the translation of an expected connection after its master (`nf_nat_follow_master`): its
/// source becomes the destination of the master's replies, its destination their source, with port
/// `port`.
pub(super) fn follow_master(mut entry: Unconfirmed<'_>, announced_in: Direction, port: [u8; 2]) {
    let Some(master) = entry.master() else {
        return;
    };
    let peer = master.tuple(announced_in.opposite());
    let source = Range::address(peer.dst);
    let from = setup::setup_info(entry.again(), &source, Manip::Source);
    let target = Range {
        flags: flag::MAP_IPS | flag::PROTO_SPECIFIED,
        min_key: port,
        max_key: port,
        ..Range::address(peer.src)
    };
    let to = setup::setup_info(entry.again(), &target, Manip::Destination);
    if from != Verdict::Accept || to != Verdict::Accept {
        // A connection that cannot be translated is not confirmed.
        entry.conn().set(StatusBit::Dying);
    }
}

/// Maximum number of ports that are tried after the wanted one.
const MAX_TRIES: u32 = 128;

/// Adds an expectation for port `wanted`, or for one above it (`nf_nat_exp_find_port`). Returns the
/// port; 0: none is free.
pub(super) fn expect_port(mut draft: Draft<'_>, wanted: u16) -> u16 {
    let above = u32::from(u16::MAX.wrapping_sub(wanted));
    let mut left = above.min(MAX_TRIES);
    let mut port = wanted;
    loop {
        draft.set_destination_port(port.to_be_bytes());
        match add::relate(draft, false, Requester::default()) {
            Ok(()) => return port,
            Err(refused) if refused.error == RelateError::Clash && left != 0 => {
                left = left.wrapping_sub(1);
                draft = refused.draft;
            }
            Err(_) => return 0,
        }
        // CAST: Below `above`, which is at most 65535.
        port = wanted.wrapping_add(random::below(above) as u16);
    }
}
