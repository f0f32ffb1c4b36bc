// SPDX-License-Identifier: GPL-2.0

//! Changes packets as it was decided about their connections.

use crate::{
    nf::{
        entry::conn::Status,
        packet::skb_change::Summed,
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
        types::tuple::L4Key,
        wire::{
            ipv4,
            ipv6, //
        },
    },
};

use super::setup::changed_bit;

/// Whether packets of direction `dir` are changed at one end.
#[inline]
pub(super) fn is_changed(status: Status, manip: Manip, dir: Direction) -> bool {
    // What is the source of a packet is the destination of its answer.
    let original = match dir {
        Direction::Original => manip,
        Direction::Reply => manip.opposite(),
    };
    status.has(changed_bit(original))
}

/// What packets of direction `dir` look like behind us: as the other side expects.
#[inline]
pub(super) fn target(conn: &Conn, dir: Direction) -> Option<Tuple> {
    conn.tuple(dir.opposite()).invert()
}

/// Changes one end of a packet of `conn`, if it was decided so.
#[inline]
pub(super) fn translate(skb: &mut Skb, plan: Option<Tuple>, manip: Manip) -> Verdict {
    match plan {
        None => Verdict::Accept,
        Some(target) => match rewrite(skb, 0, &target, manip, HeaderPos::Outer) {
            Some(()) => Verdict::Accept,
            None => Verdict::Drop,
        },
    }
}

/// What a packet of `conn` is to look like at one end; [`None`]: as it does.
#[inline]
pub(super) fn plan(conn: &Conn, manip: Manip, dir: Direction) -> Option<Tuple> {
    is_changed(conn.status(), manip, dir)
        .then(|| target(conn, dir))
        .flatten()
}

/// Where the headers are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderPos {
    /// The packet's own.
    Outer,
    /// Those that an ICMP error quotes. Their checksums are what they were when the packet was
    /// seen, whatever is to be done about that of the error.
    Inner,
}

/// Gives the packet whose network header is at `offset` the source, or destination, of
/// `target`. [`None`]: that cannot be done, and some of it may have been.
#[inline]
pub(super) fn rewrite(
    skb: &mut Skb,
    offset: u32,
    target: &Tuple,
    manip: Manip,
    place: HeaderPos,
) -> Option<()> {
    match target.family()? {
        Family::Ipv4 => {
            let header = ipv4::Header::parse(&skb.read(offset)?);
            let ends = Tuple::ipv4(header.source(), header.destination(), L4Key::NONE, 0);
            let rewrite = Rewrite::new(target, manip, &ends.src, &ends.dst);
            let header_len = header.header_len();
            let transport = Transport::new(skb, offset.checked_add(header_len)?, target, &rewrite)?;
            let start = header_len as usize;
            let end = start.wrapping_add(transport.len);
            let bytes = skb.writable(offset, end.max(ipv4::HEADER_LEN))?;
            let left = match transport.len {
                0 => ChecksumFixup::None,
                _ => transport.rewrite(&rewrite, bytes.get_mut(start..end)?, place)?,
            };
            rewrite.ipv4(bytes).ok()?;
            transport.finish(skb, left, place)
        }
        Family::Ipv6 => {
            let header = ipv6::Header::parse(&skb.read(offset)?);
            let rewrite = Rewrite::new(target, manip, header.source(), header.destination());
            let start = offset.checked_add(ipv6::HEADER_LEN as u32)?;
            let end = ipv6::skip_extensions(header.next_header(), start, |at| skb.read(at));
            // Of a fragment without a transport header the address is all there is.
            if let Ok(end) = end {
                let transport = Transport::new(skb, end.offset, target, &rewrite)?;
                if transport.len != 0 {
                    let bytes = skb.writable(transport.offset, transport.len)?;
                    let left = transport.rewrite(&rewrite, bytes, place)?;
                    transport.finish(skb, left, place)?;
                }
            }
            let network = skb.writable(offset, ipv6::HEADER_LEN)?;
            rewrite.ipv6(network).ok()
        }
    }
}

/// The part of a packet's transport header that is to be changed.
struct Transport {
    protocol: u8,
    offset: u32,
    /// 0: none.
    len: usize,
    summed: Summed,
}

impl Transport {
    /// [`None`]: the packet ends before.
    #[inline]
    fn new(skb: &Skb, offset: u32, target: &Tuple, rewrite: &Rewrite) -> Option<Self> {
        let available = skb.len().checked_sub(offset)?;
        let protocol = target.protonum;
        Some(Self {
            protocol,
            offset,
            len: rewrite.transport_len(protocol, available),
            summed: skb.summed(),
        })
    }

    #[inline]
    fn rewrite(
        &self,
        rewrite: &Rewrite,
        bytes: &mut [u8],
        place: HeaderPos,
    ) -> Option<ChecksumFixup> {
        let field = if place == HeaderPos::Outer && self.summed == Summed::Device {
            ChecksumField::PseudoHeader
        } else {
            ChecksumField::Whole
        };
        rewrite.transport(self.protocol, bytes, field).ok()
    }

    /// Does what the changed header leaves to do.
    #[inline]
    fn finish(&self, skb: &mut Skb, left: ChecksumFixup, place: HeaderPos) -> Option<()> {
        match left {
            ChecksumFixup::None => {}
            // The sum over an ICMP error stays what it is: its own checksum is mended.
            ChecksumFixup::Delta(_) if place == HeaderPos::Inner => {}
            ChecksumFixup::Delta(change) => {
                if self.summed == Summed::Reported {
                    skb.shrink_sum(change.fold());
                }
            }
            // Either the device computes it, or we.
            ChecksumFixup::Crc32c if self.summed == Summed::Device => {}
            ChecksumFixup::Crc32c => {
                let crc = skb.sctp_checksum(self.offset)?;
                let at = self.offset.checked_add(SCTP_CHECKSUM as u32)?;
                *skb.writable(at, crc.len())?.first_chunk_mut()? = crc;
                skb.forget_sum();
            }
        }
        Some(())
    }
}
