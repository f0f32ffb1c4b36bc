// SPDX-License-Identifier: GPL-2.0

//! Sequence adjustment: shifts the sequence numbers of a stream that a helper has made longer or
//! shorter.

use crate::{
    nf::{
        packet::skb_change::Writable,
        prelude::*, //
    },
    proto::{
        seqadj::Shift,
        tcp::SeqNum,
        wire::tcp::Header, //
    },
};

/// Offsets in a TCP header (RFC 9293, section 3.1), in bytes.
mod field {
    pub(super) const SEQ: u32 = 4;
    pub(super) const ACK: u32 = 8;
    pub(in crate::ct) const CHECKSUM: u32 = 16;
    pub(super) const OPTIONS: u32 = 20;
}

/// Kinds of TCP options (RFC 9293, section 3.2; RFC 2018).
mod option {
    pub(in crate::ct) const END: u8 = 0;
    pub(super) const NOP: u8 = 1;
    pub(super) const SACK: u8 = 5;
}

/// Returns the shift of the byte that its sender, in direction `dir`, numbers `seq`.
///
/// Takes the entry's lock only if a helper has shifted the connection's numbers.
#[inline]
pub(in crate::ct) fn offset(conn: &Conn, dir: Direction, seq: SeqNum) -> i32 {
    if !conn.has(StatusBit::SeqAdjust) {
        return 0;
    }
    let Some(adjust) = conn.seq_adjust() else {
        return 0;
    };
    let [original, reply]: [Shift; 2] = adjust.read();
    match dir {
        Direction::Original => original.at(seq),
        Direction::Reply => reply.at(seq),
    }
}

/// Shifts all bytes of direction `dir` by `by`.
pub(in crate::ct) fn init(conn: &Conn, dir: Direction, by: i32) {
    if by == 0 {
        return;
    }
    if let Some(adjust) = conn.seq_adjust() {
        conn.set(StatusBit::SeqAdjust);
        adjust.change(dir, |shift: &mut Shift| {
            shift.before = by;
            shift.after = by;
        });
    }
}

/// Shifts the bytes of direction `dir` behind `seq` by `by` more.
pub(crate) fn add(conn: &Conn, dir: Direction, seq: SeqNum, by: i32) {
    if by == 0 {
        return;
    }
    if let Some(adjust) = conn.seq_adjust() {
        conn.set(StatusBit::SeqAdjust);
        adjust.change(dir, |shift: &mut Shift| shift.add(seq, by));
    }
}

/// Adjusts the sequence and acknowledgment numbers of a segment, SACK edges included. [`None`]:
/// that cannot be done, and the packet must be dropped.
pub(in crate::ct) fn adjust(
    skb: &mut Skb,
    conn: &Conn,
    dir: Direction,
    transport: u32,
) -> Option<()> {
    let adjust = conn.seq_adjust()?;
    let [original, reply]: [Shift; 2] = adjust.read();
    let (own, peer) = match dir {
        Direction::Original => (original, reply),
        Direction::Reply => (reply, original),
    };

    let mut segment = skb
        .ensure_writable(transport.checked_add(field::OPTIONS)?)
        .ok()?;
    let header = Header::parse(&segment.read(transport)?);
    let checksum = transport.checked_add(field::CHECKSUM)?;
    let set = |segment: &mut Writable<'_>, offset: u32, seq: SeqNum| {
        segment.replace4(offset, seq.0.to_be_bytes(), checksum)
    };

    set(
        &mut segment,
        transport.checked_add(field::SEQ)?,
        own.apply(header.seq()),
    )?;
    if !header.flags().ack() {
        return Some(());
    }
    set(
        &mut segment,
        transport.checked_add(field::ACK)?,
        peer.undo(header.ack()),
    )?;

    let end = transport.checked_add(header.header_len())?;
    let mut segment = skb.ensure_writable(end).ok()?;
    let mut at = transport.checked_add(field::OPTIONS)?;
    while at < end {
        match segment.read(at)? {
            [option::END] => break,
            [option::NOP] => at = at.checked_add(1)?,
            [kind] => {
                let [len] = segment.read(at.checked_add(1).filter(|&len| len < end)?)?;
                let next = at
                    .checked_add(u32::from(len))
                    .filter(|&next| len >= 2 && next <= end)?;
                // Pairs of edges (RFC 2018, section 3) follow kind and length.
                if kind == option::SACK && len > 2 && (len.wrapping_sub(2)) & 7 == 0 {
                    let mut edge = at.checked_add(2)?;
                    while edge < next {
                        let seq = SeqNum(u32::from_be_bytes(segment.read(edge)?));
                        set(&mut segment, edge, peer.undo(seq))?;
                        edge = edge.checked_add(4)?;
                    }
                }
                at = next;
            }
        }
    }
    Some(())
}
