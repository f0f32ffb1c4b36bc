// SPDX-License-Identifier: GPL-2.0

//! The translation of packets, as decided for their connections.

use crate::{
    nf::{
        entry::conn::Status,
        packet::{
            skb::Tracked,
            skb_change::IpSummed, //
        },
        prelude::*, //
    },
    proto::{
        nat::{
            rewrite::{
                ChecksumField,
                ChecksumFixup,
                Rewrite,
                SCTP_CHECKSUM, //
            },
            Manip, //
        },
        types::{
            num::u32_as_usize,
            tuple::L4Key, //
        },
        wire::{
            ipv4,
            ipv6, //
        },
    },
};

use super::setup::changed_bit;

// CAST: Both are small numbers.
const IPV6_HEADER_LEN: u32 = ipv6::HEADER_LEN as u32;
const SCTP_CHECKSUM_OFFSET: u32 = SCTP_CHECKSUM as u32;

/// Returns whether packets of direction `dir` are changed at one end.
#[inline]
pub(super) fn is_changed(status: Status, manip: Manip, dir: Direction) -> bool {
    // The source of a packet is the destination of its reply.
    let original = match dir {
        Direction::Original => manip,
        Direction::Reply => manip.opposite(),
    };
    status.has(changed_bit(original))
}

/// Returns the form of packets of direction `dir` after translation.
#[inline]
pub(super) fn target(conn: &Conn, dir: Direction) -> Option<Tuple> {
    conn.tuple(dir.opposite()).invert()
}

/// Translates one end of a packet, as decided for its entry.
#[inline(always)]
pub(super) fn translate(skb: &mut Skb, manip: Manip) -> Verdict {
    let Tracked::Yes(conn, info) = skb.tracked() else {
        return Verdict::Accept;
    };
    let dir = info.dir();
    if !is_changed(conn.status(), manip, dir) {
        return Verdict::Accept;
    }
    let Some(target) = target(conn, dir) else {
        return Verdict::Accept;
    };
    change(skb, &target, manip)
}

/// Translates one end of a packet of direction `dir`, as decided for `conn`.
pub(super) fn translate_as(skb: &mut Skb, conn: &Conn, dir: Direction, manip: Manip) -> Verdict {
    if !is_changed(conn.status(), manip, dir) {
        return Verdict::Accept;
    }
    match target(conn, dir) {
        Some(target) => change(skb, &target, manip),
        None => Verdict::Accept,
    }
}

/// Changes one end of a packet to that of `target`.
#[inline]
fn change(skb: &mut Skb, target: &Tuple, manip: Manip) -> Verdict {
    match rewrite(skb, 0, target, manip, HeaderPos::Outer) {
        Some(()) => Verdict::Accept,
        None => Verdict::Drop,
    }
}

/// The position of headers in a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderPos {
    /// The headers of the packet itself.
    Outer,
    /// The headers that an ICMP error quotes. Their checksums are those of the quoted packet,
    /// whatever the checksum state of the error.
    Inner,
}

/// Changes the source or destination of the packet at `offset` to that of `target`. [`None`]: that
/// is not possible; the packet may be half changed, and has to be dropped.
#[inline]
pub(super) fn rewrite(
    skb: &mut Skb,
    offset: u32,
    target: &Tuple,
    manip: Manip,
    pos: HeaderPos,
) -> Option<()> {
    match target.family()? {
        Family::Ipv4 => {
            let header = ipv4::Header::parse(&skb.read(offset)?);
            let ends = Tuple::ipv4(header.source(), header.destination(), L4Key::NONE, 0);
            let rewrite = Rewrite::new(target, manip, &ends.src, &ends.dst);
            let header_len = header.header_len();
            let transport = Transport::new(skb, offset.checked_add(header_len)?, target, &rewrite)?;
            let start = u32_as_usize(header_len);
            let end = start.wrapping_add(transport.len);
            let bytes = skb.writable(offset, end.max(ipv4::HEADER_LEN))?;
            let fixup = match transport.len {
                0 => ChecksumFixup::None,
                _ => transport.rewrite(&rewrite, bytes.get_mut(start..end)?, pos)?,
            };
            rewrite.ipv4(bytes).ok()?;
            transport.finish(skb, fixup, pos)
        }
        Family::Ipv6 => {
            let header = ipv6::Header::parse(&skb.read(offset)?);
            let rewrite = Rewrite::new(target, manip, header.source(), header.destination());
            let start = offset.checked_add(IPV6_HEADER_LEN)?;
            let end = ipv6::skip_extensions(header.next_header(), start, |at| skb.read(at));
            // A fragment without a transport header is translated by its address alone.
            if let Ok(end) = end {
                let transport = Transport::new(skb, end.offset, target, &rewrite)?;
                if transport.len != 0 {
                    let bytes = skb.writable(transport.offset, transport.len)?;
                    let fixup = transport.rewrite(&rewrite, bytes, pos)?;
                    transport.finish(skb, fixup, pos)?;
                }
            }
            let network = skb.writable(offset, ipv6::HEADER_LEN)?;
            rewrite.ipv6(network).ok()
        }
    }
}

/// The bytes of a packet's transport header that are changed.
struct Transport {
    protocol: u8,
    offset: u32,
    /// The number of bytes; 0: none.
    len: usize,
    summed: IpSummed,
}

impl Transport {
    /// Returns [`None`] if the packet ends before.
    #[inline]
    fn new(skb: &Skb, offset: u32, target: &Tuple, rewrite: &Rewrite) -> Option<Self> {
        let available = skb.len().checked_sub(offset)?;
        let protocol = target.protonum;
        Some(Self {
            protocol,
            offset,
            len: rewrite.transport_len(protocol, available),
            summed: skb.ip_summed(),
        })
    }

    #[inline]
    fn rewrite(
        &self,
        rewrite: &Rewrite,
        bytes: &mut [u8],
        pos: HeaderPos,
    ) -> Option<ChecksumFixup> {
        let field = if pos == HeaderPos::Outer && self.summed == IpSummed::Partial {
            ChecksumField::PseudoHeader
        } else {
            ChecksumField::Whole
        };
        rewrite.transport(self.protocol, bytes, field).ok()
    }

    /// Applies the change of the checksum that is not in the header.
    #[inline]
    fn finish(&self, skb: &mut Skb, fixup: ChecksumFixup, pos: HeaderPos) -> Option<()> {
        match fixup {
            ChecksumFixup::None => {}
            // The sum over an ICMP error stays the same, as the checksum of the error changes with
            // its data.
            ChecksumFixup::Delta(_) if pos == HeaderPos::Inner => {}
            ChecksumFixup::Delta(delta) => {
                if self.summed == IpSummed::Complete {
                    skb.subtract_from_sum(delta.fold());
                }
            }
            // The device computes the checksum.
            ChecksumFixup::Crc32c if self.summed == IpSummed::Partial => {}
            ChecksumFixup::Crc32c => {
                let crc = skb.sctp_checksum(self.offset)?;
                let at = self.offset.checked_add(SCTP_CHECKSUM_OFFSET)?;
                *skb.writable(at, crc.len())?.first_chunk_mut()? = crc;
                skb.set_checksum_none();
            }
        }
        Some(())
    }
}
