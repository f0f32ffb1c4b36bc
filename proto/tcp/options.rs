// SPDX-License-Identifier: GPL-2.0

//! The options of a segment: window scale and SACK.

use super::track::{flag, Peer};
use crate::proto::wire::{
    seq::SeqNum,
    tcp::{is_timestamp_only, shift_of_common_syn, Options, TcpOption},
};

/// The largest shift count of a window (RFC 7323, section 2.3).
pub const MAX_SCALE: u8 = 14;

/// Takes window scale and SACK permission from the options of a SYN.
///
/// A SYN without options changes nothing: it may be a retransmission of one that had them.
pub(super) fn read_syn(sender: &mut Peer, options: &[u8]) {
    if options.is_empty() {
        return;
    }
    sender.flags &= flag::BE_LIBERAL;
    if let Some(shift) = shift_of_common_syn(options) {
        sender.scale = shift.min(MAX_SCALE);
        sender.flags |= flag::WINDOW_SCALE | flag::SACK_PERMITTED;
        return;
    }
    sender.scale = 0;
    for option in Options::new(options) {
        match option {
            TcpOption::WindowScale(shift) => {
                sender.scale = shift.min(MAX_SCALE);
                sender.flags |= flag::WINDOW_SCALE;
            }
            TcpOption::SackPermitted => sender.flags |= flag::SACK_PERMITTED,
            TcpOption::Sack(_) | TcpOption::Other(_) => {}
        }
    }
}

/// Returns the sequence number after the highest byte that a segment acknowledges, selectively or
/// not (RFC 2018).
///
/// Only the first SACK option is read; a sender sends one.
#[inline]
pub(super) fn highest_acknowledged(ack: SeqNum, options: &[u8]) -> SeqNum {
    if options.is_empty() || is_timestamp_only(options) || shift_of_common_syn(options).is_some() {
        return ack;
    }
    let blocks = Options::new(options).find_map(|option| match option {
        TcpOption::Sack(blocks) => Some(blocks),
        _ => None,
    });
    let mut highest = ack;
    let mut rest = blocks.unwrap_or_default();
    while let [_, _, _, _, r0, r1, r2, r3, ref tail @ ..] = *rest {
        highest = highest.max(SeqNum(u32::from_be_bytes([r0, r1, r2, r3])));
        rest = tail;
    }
    highest
}
