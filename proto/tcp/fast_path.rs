// SPDX-License-Identifier: GPL-2.0

//! The segments that nearly all are, in a short cut.
//!
//! Data or an acknowledgment, in the middle of a connection and in window: they move the record of
//! the windows on, and nothing else. [`packet`](super::packet) does the same with them, by way of
//! all that a segment may be. (Receivers have such a short cut, too: "header prediction".)

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

/// Moves an established connection on by one segment, if that is a usual one. Returns its entry's
/// new life time, in jiffies from now; nothing else changes about the entry.
///
/// [`None`]: it is for [`packet`](super::packet) to say what the segment is; nothing has changed.
///
/// The caller holds the entry's lock and knows that
///
/// - the segment has passed [`check`](super::check),
/// - its options have no SACK, whatever else they have,
/// - no NAT helper has moved its numbers,
/// - the entry is confirmed, assured, and has seen a reply.
///
/// `max_retrans` is that of [`Config`](super::Config).
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

/// Completes a handshake by the opener's first ACK: the connection is established, and assured from
/// now on. Returns as [`usual()`] does; the caller knows the same but that it is assured.
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

/// Moves the record of the windows on by a segment that is in them, and of which nothing else is to
/// be said: it has no flag but ACK. Otherwise nothing changes.
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
    if !is_known || window::judge(&numbers, sender, receiver).is_err() {
        return false;
    }
    window::learn(&numbers, sender, receiver, segment);
    window::count_repetition(track, segment, &numbers, direction);
    track.remember(Kind::Ack, direction);
    true
}

/// For how long the entry of an established connection lives after an ACK.
#[inline(always)]
fn lifetime(track: &Track, timeouts: &Timeouts, max_retrans: u8) -> u32 {
    timeout::choose(track, Kind::Ack, State::Established, timeouts, max_retrans)
}
