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

/// Whether a segment, which has passed [`check`], may be the first of a connection that we see. If
/// not it is INVALID.
///
/// `loose` is that of [`Config`].
#[inline]
pub fn may_open(header: &Header, loose: bool) -> Result<(), Reason> {
    match first_state(header) {
        Some(State::SynSent) => Ok(()),
        Some(_) if loose => Ok(()),
        Some(_) => Err(Reason::TcpMidStream),
        None => Err(Reason::TcpNew),
    }
}

/// Where a segment leads that is the first one.
#[inline]
fn first_state(header: &Header) -> Option<State> {
    match state::next(Direction::Original, Kind::of(header.flags()), State::None) {
        Next::To(state) => Some(state),
        Next::Ignore | Next::Invalid => None,
    }
}

/// Starts the record of a connection with its first segment, in the original direction.
///
/// After success, [`packet`] has to judge the same segment; it finds [`State::None`]. An error
/// means that no entry is to be made: the segment is INVALID. (For a SYN there is a short cut past
/// both, [`begin`].)
pub fn open(track: &mut Track, segment: &Segment<'_>, config: &Config<'_>) -> Result<(), Reason> {
    let header = &segment.header;
    may_open(header, config.loose)?;
    let picked_up = !matches!(first_state(header), Some(State::SynSent));

    let mut opener = Peer::by_first(segment);
    let mut other = Peer::default();
    if picked_up {
        // We missed the options of the SYNs: allow SACK, and any scale by not judging windows.
        opener.max_end = opener.end.add(opener.max_window);
        opener.flags = flag::SACK_PERMITTED | flag::BE_LIBERAL;
        other.flags = opener.flags;
    } else {
        options::learn(&mut opener, segment.options);
    }
    *track = Track {
        seen: [opener, other],
        last_index: Kind::None.to_u8(),
        ..Track::default()
    };
    Ok(())
}
