// SPDX-License-Identifier: GPL-2.0

//! Shifts the sequence numbers of segments whose stream a helper made longer or shorter.

use crate::{
    nf::{
        entry::ext::SeqAdjust,
        prelude::*, //
    },
    proto::{
        seqadj::Shift,
        tcp::SeqNum,
        wire::tcp::Header, //
    },
};

/// Offsets in a TCP header (RFC 9293, section 3.1).
mod field {
    pub(super) const SEQ: u32 = 4;
    pub(super) const ACK: u32 = 8;
    pub(in crate::ct) const CHECKSUM: u32 = 16;
    pub(super) const OPTIONS: u32 = 20;
}

/// Kinds of TCP options.
mod option {
    pub(in crate::ct) const END: u8 = 0;
    pub(super) const NOP: u8 = 1;
    pub(super) const SACK: u8 = 5;
}

/// How far the byte that its sender, in direction `dir`, calls `seq` is moved.
#[inline]
pub(in crate::ct) fn offset(conn: &Conn, dir: Direction, seq: SeqNum) -> i32 {
    match conn.extensions().find::<SeqAdjust>() {
        Some(adjust) => adjust.read::<Shift>(dir).at(seq),
        None => 0,
    }
}

/// All bytes of direction `dir` are moved by `by`.
pub(in crate::ct) fn init(conn: &Conn, dir: Direction, by: i32) {
    if by == 0 {
        return;
    }
    if let Some(adjust) = conn.extensions().find::<SeqAdjust>() {
        conn.set(StatusBit::SeqAdjust);
        adjust.change(conn, dir, |shift: &mut Shift| {
            shift.before = by;
            shift.after = by;
        });
    }
}

/// The bytes of direction `dir` behind `seq` are moved by `by` more.
pub(crate) fn add(conn: &Conn, dir: Direction, seq: SeqNum, by: i32) {
    if by == 0 {
        return;
    }
    if let Some(adjust) = conn.extensions().find::<SeqAdjust>() {
        conn.set(StatusBit::SeqAdjust);
        adjust.change(conn, dir, |shift: &mut Shift| shift.add(seq, by));
    }
}

/// Shifts a segment's numbers. [`None`]: it cannot be done, and the packet has to be dropped.
pub(in crate::ct) fn adjust(
    skb: &mut Skb,
    conn: &Conn,
    dir: Direction,
    transport: u32,
) -> Option<()> {
    let adjust = conn.extensions().find::<SeqAdjust>()?;
    let (own, peer): (Shift, Shift) = (adjust.read(dir), adjust.read(dir.opposite()));

    skb.ensure_writable(transport.checked_add(field::OPTIONS)?)
        .ok()?;
    let header = Header::parse(&skb.read(transport)?);
    let checksum = transport.checked_add(field::CHECKSUM)?;
    let set = |skb: &mut Skb, offset: u32, seq: SeqNum| {
        skb.replace4(offset, seq.0.to_be_bytes(), checksum)
    };

    set(
        skb,
        transport.checked_add(field::SEQ)?,
        own.apply(header.seq()),
    )?;
    if !header.flags().ack() {
        return Some(());
    }
    set(
        skb,
        transport.checked_add(field::ACK)?,
        peer.undo(header.ack()),
    )?;

    let end = transport.checked_add(header.header_len())?;
    skb.ensure_writable(end).ok()?;
    let mut at = transport.checked_add(field::OPTIONS)?;
    while at < end {
        match skb.read(at)? {
            [option::END] => break,
            [option::NOP] => at = at.checked_add(1)?,
            [kind] => {
                let [len] = skb.read(at.checked_add(1).filter(|&len| len < end)?)?;
                let next = at
                    .checked_add(u32::from(len))
                    .filter(|&next| len >= 2 && next <= end)?;
                // Pairs of edges (RFC 2018, section 3), behind kind and length.
                if kind == option::SACK && len > 2 && (len.wrapping_sub(2)) & 7 == 0 {
                    let mut edge = at.checked_add(2)?;
                    while edge < next {
                        let seq = SeqNum(u32::from_be_bytes(skb.read(edge)?));
                        set(skb, edge, peer.undo(seq))?;
                        edge = edge.checked_add(4)?;
                    }
                }
                at = next;
            }
        }
    }
    Some(())
}
