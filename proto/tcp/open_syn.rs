// SPDX-License-Identifier: GPL-2.0

//! The SYN that begins a connection, in a short cut.
//!
//! No window is known that it could miss, and no state that it could contradict. So
//! [`open`](super::open) and [`packet`](super::packet) come to the same record for each, of which
//! only the SYN's own numbers and options differ.

use super::{
    options,
    segment::Segment,
    timeout::{self, Timeouts},
    track::{Peer, Track},
};
use crate::proto::{
    state::tcp::{Kind, State},
    types::direction::Direction,
    wire::seq::SeqNum,
};

/// More octets of data than a packet can have. With them, a sequence number may seem to lie behind
/// the end of its own segment.
const NO_PACKET: u32 = 1 << 30;

/// Begins the record of a connection with a SYN, in the original direction. Returns the record, and
/// the entry's life time in jiffies from now; PROTOINFO is to be reported.
///
/// [`None`]: the segment is no SYN, and it is for [`open`](super::open) to say whether it may begin
/// a connection.
///
/// The caller knows that the segment has passed [`check`](super::check). `max_retrans` is that of
/// [`Config`](super::Config).
#[inline]
pub fn open_syn(
    segment: &Segment<'_>,
    timeouts: &Timeouts,
    max_retrans: u8,
) -> Option<(Track, u32)> {
    let header = &segment.header;
    if !matches!(Kind::of(header.flags()), Kind::Syn) || segment.payload_len >= NO_PACKET {
        return None;
    }
    let mut opener = Peer::by_first(segment);
    options::learn(&mut opener, segment.options);
    let other = Peer {
        // It has acknowledged nothing: the window that it is offered begins at zero.
        max_end: SeqNum(opener.max_window),
        ..Peer::default()
    };
    let track = Track {
        seen: [opener, other],
        state: State::SynSent.to_u8(),
        last_dir: Direction::Original.to_u8(),
        last_index: Kind::Syn.to_u8(),
        ..Track::default()
    };
    let timeout = timeout::choose(&track, Kind::Syn, State::SynSent, timeouts, max_retrans);
    Some((track, timeout))
}
