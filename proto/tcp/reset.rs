// SPDX-License-Identifier: GPL-2.0

//! Whether to believe a RST (RFC 9293, section 3.10.7.4; RFC 5961, section 3).
//!
//! A forged RST that only we believe would cut a connection that both peers consider alive. A
//! genuine one that we disbelieve would leave a dead entry behind. So its sequence number is
//! compared with what the receiver acknowledged last.

use super::{
    config::Config,
    segment::Segment,
    track::{flag, Track},
};
use crate::proto::{
    state::tcp::{Kind, State},
    step::{Reason, Status},
    types::direction::Direction,
};

/// What a RST that is not INVALID does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Ruling {
    /// The connection stays in its state: the receiver may answer with a challenge ACK.
    pub(super) keep_state: bool,
    /// The RST answers a segment that we let through unjudged, so its numbers cannot be judged
    /// either: skip window tracking.
    pub(super) skip_window: bool,
}

/// Judges a RST that finds the connection in `state`.
pub(super) fn judge(
    track: &Track,
    segment: &Segment<'_>,
    direction: Direction,
    state: State,
    status: &Status,
    config: &Config<'_>,
) -> Result<Ruling, Reason> {
    // The addresses may be in use again already, by peers whose numbers we do not know.
    if state.may_be_dropped_early() {
        return Ok(Ruling {
            skip_window: true,
            ..Ruling::default()
        });
    }

    let mut ruling = Ruling::default();
    let receiver = track.seen(direction.opposite());
    // After a SYN that we let through, the acknowledgment may be that of a former connection.
    if receiver.has(flag::MAX_ACK_SET) && !track.last_was(Kind::Syn) {
        let seq = segment.header.seq();
        let established = status.assured && matches!(state, State::Established);

        if seq.0 == 0 && !established {
            // Likely refuses a SYN that we let through; the window check knows this case.
            return Ok(ruling);
        }
        if seq.before(receiver.max_ack) && !config.ignore_invalid_rst {
            return Err(Reason::TcpReset);
        }
        let follows_last =
            track.last_was(Kind::Ack) && track.last_went(direction) && seq == track.last_end;
        if !established || seq == receiver.max_ack || follows_last {
            return Ok(ruling);
        }
        ruling.keep_state = true;
    }
    ruling.skip_window = answers_ignored(track, segment, direction, state, status);
    Ok(ruling)
}

/// Whether a RST answers a segment that we ignored.
fn answers_ignored(
    track: &Track,
    segment: &Segment<'_>,
    direction: Direction,
    state: State,
    status: &Status,
) -> bool {
    // A SYN from an opener that started over, or an ACK of a connection that is half open.
    let refusable =
        (status.seen_reply && track.last_was(Kind::Syn) && track.last_went(direction.opposite()))
            || (!status.assured && track.last_was(Kind::Ack));
    if refusable && segment.header.ack() == track.last_end {
        return true;
    }
    // A challenge ACK: the opener's RST takes its number from it.
    matches!(state, State::SynSent)
        && track.last_was(Kind::Ack)
        && track.last_went(Direction::Reply)
        && segment.header.seq() == track.last_ack
}
