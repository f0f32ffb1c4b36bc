// SPDX-License-Identifier: GPL-2.0

//! The first segment of a connection.

use super::{
    config::Config,
    options,
    segment::Segment,
    track::{flag, Peer, Track},
};
use crate::proto::{
    state::tcp::{self as state, Kind, Next, State},
    step::Reason,
    types::direction::Direction,
    wire::tcp::Header,
};

/// Checks whether a segment may open an entry, or returns why it is INVALID. The segment has passed
/// [`check`](super::check).
///
/// `loose` is [`Config::loose`].
#[inline]
pub fn may_open(header: &Header, loose: bool) -> Result<(), Reason> {
    match first_state(header) {
        Some(State::SynSent) => Ok(()),
        Some(_) if loose => Ok(()),
        Some(_) => Err(Reason::TcpMidStream),
        None => Err(Reason::TcpNew),
    }
}

/// Returns the state after a first segment; [`None`] if it cannot be the first one.
#[inline]
fn first_state(header: &Header) -> Option<State> {
    match state::next(Direction::Original, Kind::of(header.flags()), State::None) {
        Next::To(state) => Some(state),
        Next::Ignore | Next::Invalid => None,
    }
}

/// Creates the state of an entry from its first segment, in the original direction.
///
/// After success, [`packet()`](super::packet()) must process the same segment; it finds
/// [`State::None`]. After an error no entry is created: the segment is INVALID. (For a SYN,
/// [`open_syn`](super::open_syn()) replaces both calls.)
pub fn open(track: &mut Track, segment: &Segment<'_>, config: &Config<'_>) -> Result<(), Reason> {
    let header = &segment.header;
    may_open(header, config.loose)?;
    let picked_up = !matches!(first_state(header), Some(State::SynSent));

    let mut opener = Peer::by_first(segment);
    let mut other = Peer::default();
    if picked_up {
        // The options of the SYNs are unknown: allow SACK, and any scale by not enforcing windows.
        opener.max_end = opener.end.add(opener.max_window);
        opener.flags = flag::SACK_PERMITTED | flag::BE_LIBERAL;
        other.flags = opener.flags;
    } else {
        options::read_syn(&mut opener, segment.options);
    }
    *track = Track {
        seen: [opener, other],
        last_index: Kind::None.to_u8(),
        ..Track::default()
    };
    Ok(())
}
