// SPDX-License-Identifier: GPL-2.0

//! For the modules that translate addresses in what connections say (FTP, SIP, …): other words
//! in a packet, and the translation of what was announced.

use kernel::prelude::*;

use crate::{
    ct::{
        entry::seqadj,
        expect::add, //
    },
    nf::{
        expect::draft::Draft,
        kernel::{
            nfnetlink::Requester,
            random, //
        },
        packet::{
            nat::Unconfirmed,
            skb_change::Summed, //
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

/// Offsets of the checksums.
mod field {
    pub(super) const TCP: u32 = 16;
    pub(super) const UDP: u32 = 6;
}

/// What is to be said instead.
pub(super) struct Words<'a> {
    /// Where the transport header begins.
    pub(super) transport: u32,
    /// Bytes from the beginning of the payload to what goes.
    pub(super) at: u32,
    /// Bytes that go.
    pub(super) len: u32,
    /// What comes.
    pub(super) new: &'a [u8],
}

impl Words<'_> {
    /// Says it, behind `header` bytes of a transport header.
    fn put(&self, skb: &mut Skb, conn: &Conn, header: u32) -> Option<()> {
        let at = self.transport.checked_add(header)?.checked_add(self.at)?;
        skb.splice(at, self.len, self.new)?;
        // Of a packet of several segments the length is told elsewhere.
        let len = u16::try_from(skb.len()).unwrap_or(0);
        if conn.tuple(Direction::Original).has_family(Family::Ipv4) {
            rewrite::set_ipv4_len(skb.writable(0, ipv4::HEADER_LEN)?, len)
        } else {
            let len = len.saturating_sub(ipv6::HEADER_LEN as u16);
            rewrite::set_ipv6_len(skb.writable(0, ipv6::HEADER_LEN)?, len)
        }
        .ok()
    }
}

/// Mends the checksum at `field` of a transport header after the packet's length, from there
/// on, was `old_len`.
fn sum_up(
    skb: &mut Skb,
    conn: &Conn,
    transport: u32,
    field: u32,
    protocol: u8,
    old_len: u32,
) -> Option<()> {
    let len = skb.len().checked_sub(transport)?;
    let at = transport.checked_add(field)?;
    let new = if skb.summed() == Summed::Device {
        let [_, _, a, b] = old_len.to_be_bytes();
        let [_, _, c, d] = len.to_be_bytes();
        Delta::NONE
            .replace([a, b], [c, d])
            .update_partial(skb.read(at)?)
    } else {
        let (source, destination) = ends(skb, conn)?;
        let pseudo = checksum::pseudo_header(&source, &destination, protocol, len);
        skb.leave_checksum_to_device(transport, field)?;
        pseudo
    };
    *skb.writable(at, 2)?.first_chunk_mut()? = new;
    Some(())
}

/// The addresses that the packet has.
fn ends(skb: &Skb, conn: &Conn) -> Option<([u8; 16], [u8; 16])> {
    if conn.tuple(Direction::Original).has_family(Family::Ipv4) {
        let header = ipv4::Header::parse(&skb.read(0)?);
        let ends = Tuple::ipv4(header.source(), header.destination(), L4Key::NONE, 0);
        Some((ends.src, ends.dst))
    } else {
        let header = ipv6::Header::parse(&skb.read(0)?);
        Some((*header.source(), *header.destination()))
    }
}

/// Has a TCP segment say something else. With `adjust`, the numbers of all that follows are
/// shifted, if that is longer or shorter.
pub(super) fn mangle_tcp(
    skb: &mut Skb,
    conn: &Conn,
    dir: Direction,
    words: &Words<'_>,
    adjust: bool,
) -> Option<()> {
    let old_len = skb.len().checked_sub(words.transport)?;
    let header = Header::parse(&skb.read(words.transport)?);
    words.put(skb, conn, header.header_len())?;
    sum_up(
        skb,
        conn,
        words.transport,
        field::TCP,
        protocol::TCP,
        old_len,
    )?;
    let new_len = u32::try_from(words.new.len()).ok()?;
    if adjust && new_len != words.len {
        // CAST: both are lengths inside a packet.
        let by = (new_len as i32).wrapping_sub(words.len as i32);
        seqadj::add(conn, dir, SeqNum(header.seq().0), by);
    }
    Some(())
}

/// Has a UDP datagram say something else.
pub(super) fn mangle_udp(skb: &mut Skb, conn: &Conn, words: &Words<'_>) -> Option<()> {
    const HEADER_LEN: u32 = 8;
    const LENGTH: u32 = 4;
    let old_len = skb.len().checked_sub(words.transport)?;
    words.put(skb, conn, HEADER_LEN)?;
    let len = u16::try_from(skb.len().checked_sub(words.transport)?).unwrap_or(0);
    let at = words.transport.checked_add(LENGTH)?;
    *skb.writable(at, 2)?.first_chunk_mut()? = len.to_be_bytes();
    let old: [u8; 2] = skb.read(words.transport.checked_add(field::UDP)?)?;
    // The sender computed none (RFC 768).
    if old == [0; 2] && skb.summed() != Summed::Device {
        return Some(());
    }
    sum_up(
        skb,
        conn,
        words.transport,
        field::UDP,
        protocol::UDP,
        old_len,
    )
}

/// Translates a connection that its master announced: it comes from where the master's
/// answers go, and goes to where they come from, to the port that `port` says.
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
        // That is not to be had, so the connection is not to be confirmed.
        entry.conn().set(StatusBit::Dying);
    }
}

/// Ports tried after the wanted one.
const MOST_TRIES: u32 = 128;

/// Adds an expectation of a connection to port `wanted`, or to one above. Returns the port; 0
/// if none can be expected.
pub(super) fn expect_port(mut draft: Draft<'_>, wanted: u16) -> u16 {
    let above = u32::from(u16::MAX.wrapping_sub(wanted));
    let mut left = above.min(MOST_TRIES);
    let mut port = wanted;
    loop {
        draft.set_destination_port(port.to_be_bytes());
        match add::relate(draft, false, Requester::default()) {
            Ok(()) => return port,
            Err(refused) if refused.error == EBUSY && left != 0 => {
                left = left.wrapping_sub(1);
                draft = refused.draft;
            }
            Err(_) => return 0,
        }
        // CAST: below `above`, which is one of a port's.
        port = wanted.wrapping_add(random::below(above) as u16);
    }
}
