// SPDX-License-Identifier: GPL-2.0

//! The check of a RST (RFC 9293, section 3.10.7.4; RFC 5961, section 3).
//!
//! A forged RST that the tracker accepts, but the receiver does not, would cut a live connection. A
//! genuine one that the tracker rejects would leave a dead entry. So the sequence number is
//! compared with the receiver's last acknowledgment.

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

/// The effect of a RST that is not INVALID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Effect {
    /// The connection stays in its state: the receiver may answer with a challenge ACK.
    pub(super) keep_state: bool,
    /// The RST replies to a segment that passed unchecked, so its numbers cannot be checked either:
    /// the window check is skipped.
    pub(super) skip_window: bool,
}

/// Checks a RST that finds the connection in `state`.
pub(super) fn check(
    track: &Track,
    segment: &Segment<'_>,
    direction: Direction,
    state: State,
    status: &Status,
    config: &Config<'_>,
) -> Result<Effect, Reason> {
    // The addresses may be in use again by a new connection with unknown sequence numbers.
    if state.may_be_dropped_early() {
        return Ok(Effect {
            skip_window: true,
            ..Effect::default()
        });
    }

    let mut effect = Effect::default();
    let receiver = track.seen(direction.opposite());
    // After a SYN that was ignored, the acknowledgment may belong to a former connection.
    if receiver.has(flag::MAX_ACK_SET) && !track.last_was(Kind::Syn) {
        let seq = segment.header.seq();
        let established = status.assured && matches!(state, State::Established);

        if seq.0 == 0 && !established {
            // It likely refuses a SYN that was ignored; the window check handles this case.
            return Ok(effect);
        }
        if seq.before(receiver.max_ack) && !config.ignore_invalid_rst {
            return Err(Reason::TcpReset);
        }
        let follows_last =
            track.last_was(Kind::Ack) && track.last_went(direction) && seq == track.last_end;
        if !established || seq == receiver.max_ack || follows_last {
            return Ok(effect);
        }
        effect.keep_state = true;
    }
    effect.skip_window = answers_ignored(track, segment, direction, state, status);
    Ok(effect)
}

/// Returns whether a RST replies to a segment that was ignored.
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
