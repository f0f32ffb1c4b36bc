// SPDX-License-Identifier: GPL-2.0

//! The fast path: header prediction.
//!
//! Most segments carry data or an acknowledgment, in an established connection and in window. They
//! update the windows, and nothing else. [`packet()`](super::packet()) does the same with them,
//! after all its other checks.

use super::{
    segment::Segment,
    timeout::{self, Timeouts},
    track::Track,
    window::{self, Numbers},
};
use crate::proto::{
    state::tcp::{Kind, State},
    types::direction::Direction,
};

/// Processes a segment of an established connection, if the fast path applies. Returns the entry's
/// new timeout in jiffies from now; nothing else changes about the entry.
///
/// [`None`]: nothing has changed, and [`packet()`](super::packet()) must process the segment.
///
/// The caller holds the entry's lock, and has made sure that
///
/// - the segment has passed [`check`](super::check),
/// - its options have no SACK block,
/// - its sequence numbers are not adjusted,
/// - the entry is confirmed, is assured, and has seen a reply.
///
/// `max_retrans` is [`Config::max_retrans`](super::Config::max_retrans).
#[inline(always)]
pub fn fast_path(
    track: &mut Track,
    segment: &Segment<'_>,
    direction: Direction,
    timeouts: &Timeouts,
    max_retrans: u8,
) -> Option<u32> {
    let applies = matches!(track.state(), State::Established) && advance(track, segment, direction);
    applies.then(|| lifetime(track, timeouts, max_retrans))
}

/// Completes a handshake with the opener's first ACK: the connection is established, and the caller
/// sets ASSURED. Parameters, result and preconditions are those of [`fast_path()`], except that the
/// entry is not assured yet.
#[inline]
pub fn complete_handshake(
    track: &mut Track,
    segment: &Segment<'_>,
    direction: Direction,
    timeouts: &Timeouts,
    max_retrans: u8,
) -> Option<u32> {
    let is_last = matches!(
        (track.state(), direction),
        (State::SynRecv, Direction::Original)
    );
    if !is_last || !advance(track, segment, direction) {
        return None;
    }
    track.set_state(State::Established);
    Some(lifetime(track, timeouts, max_retrans))
}

/// Updates the windows with a segment that is in window and has none of SYN, FIN and RST. Returns
/// whether it did; otherwise nothing has changed.
#[inline(always)]
fn advance(track: &mut Track, segment: &Segment<'_>, direction: Direction) -> bool {
    let header = &segment.header;
    if !header.flags().is_ack_alone() {
        return false;
    }
    let numbers = Numbers {
        seq: header.seq(),
        end: header.seq().add(segment.payload_len),
        ack: header.ack(),
        sack: header.ack(),
    };
    let (sender, receiver) = track.peers(direction);
    let is_known = sender.max_window != 0;
    if !is_known || window::check(&numbers, sender, receiver).is_err() {
        return false;
    }
    window::update(&numbers, sender, receiver, segment);
    window::count_repetition(track, segment, &numbers, direction);
    track.remember(Kind::Ack, direction);
    true
}

/// Returns the timeout of an established connection after an ACK, in jiffies.
#[inline(always)]
fn lifetime(track: &Track, timeouts: &Timeouts, max_retrans: u8) -> u32 {
    timeout::choose(track, Kind::Ack, State::Established, timeouts, max_retrans)
}
