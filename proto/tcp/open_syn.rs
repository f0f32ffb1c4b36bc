// SPDX-License-Identifier: GPL-2.0

//! The first SYN of a connection, in one step.
//!
//! There is no window that a first SYN could miss, and no state that it could contradict. So the
//! state that [`open()`](super::open()) and [`packet()`](super::packet()) create depends on the
//! SYN's numbers and options only, and is written at once.

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

/// More bytes of data than a packet can have. With as many, a segment's end would compare as before
/// its beginning.
const NO_PACKET: u32 = 1 << 30;

/// Creates the state of an entry from a SYN, in the original direction. Returns the state and the
/// timeout in jiffies from now; the caller reports PROTOINFO.
///
/// [`None`]: the segment is no SYN, and [`open()`](super::open()) decides whether it may open an
/// entry.
///
/// The segment has passed [`check`](super::check). `max_retrans` is
/// [`Config::max_retrans`](super::Config::max_retrans).
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
    options::read_syn(&mut opener, segment.options);
    let other = Peer {
        // It has acknowledged nothing, so the window that it is offered begins at zero.
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
