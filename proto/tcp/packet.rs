// SPDX-License-Identifier: GPL-2.0

//! The processing of a segment of a connection that has an entry.

use super::{
    config::Config,
    options, reset,
    segment::Segment,
    timeout,
    track::{at_least_one, flag, Peer, Track},
    window::{self, Fit},
};
use crate::proto::{
    state::tcp::{self as state, Kind, Next, State},
    step::{Reason, Status, Step, Update},
    time::Jiffies32,
    types::direction::Direction,
};

/// Processes one segment of a connection.
///
/// The segment has passed [`check`](super::check), and [`open()`](super::open()) if the entry is
/// not confirmed. The caller holds the entry's lock, and has read `status` before.
pub fn packet(
    track: &mut Track,
    segment: &Segment<'_>,
    direction: Direction,
    status: &Status,
    config: &Config<'_>,
    now: Jiffies32,
) -> Step {
    let kind = Kind::of(segment.header.flags());
    let mut transition = Transition {
        kind,
        direction,
        from: track.state(),
        skip_window: false,
    };

    let to = match state::next(direction, kind, transition.from) {
        Next::Invalid => return transition.refuse(track, segment, status),
        Next::Ignore => match transition.resynchronise(track, segment) {
            Some(state) => state,
            None => return transition.let_through(track, segment),
        },
        Next::To(State::SynSent) if transition.reopens() => {
            if may_reopen(track, direction) {
                return Step::Reopen;
            }
            return transition.let_through(track, segment);
        }
        Next::To(State::TimeWait) if transition.is_challenge_ack(track) => {
            track.last_flags &= !flag::EXPECT_CHALLENGE_ACK;
            return Step::Ignore(Some(Reason::TcpChallengeAck));
        }
        Next::To(State::SynSent2) => {
            track.last_flags |= flag::SIMULTANEOUS_OPEN;
            State::SynSent2
        }
        // Each peer acknowledges the other's SYN; the transition table has only the opener's ACK.
        Next::To(State::SynRecv)
            if matches!((direction, kind), (Direction::Reply, Kind::Ack))
                && track.last_flags & flag::SIMULTANEOUS_OPEN != 0 =>
        {
            State::Established
        }
        Next::To(State::Close) if matches!(kind, Kind::Rst) => {
            match reset::check(track, segment, direction, transition.from, status, config) {
                Ok(effect) => {
                    transition.skip_window = effect.skip_window;
                    if effect.keep_state {
                        transition.from
                    } else {
                        State::Close
                    }
                }
                Err(reason) => return Step::invalid(reason),
            }
        }
        Next::To(state) => state,
    };

    if !transition.skip_window {
        match window::admit(track, segment, direction, kind, config) {
            Fit::Inside => {}
            Fit::Ignored(reason) => return Step::Ignore(Some(reason)),
            Fit::Outside(reason) => {
                let left = status.expires.remaining(now);
                let lower_timeout = transition.shorten(track, status, config, left);
                return Step::Invalid {
                    reason,
                    lower_timeout,
                };
            }
        }
    }
    transition.complete(track, to, status, config)
}

/// Returns whether a SYN may replace a closed connection: one peer closed it, or the sender of the
/// SYN reset it. The receiver also checks the old sequence numbers (RFC 9293, section 3.6.1); the
/// tracker does not.
#[inline]
fn may_reopen(track: &Track, direction: Direction) -> bool {
    let [original, reply] = &track.seen;
    (original.flags | reply.flags) & flag::CLOSE_INIT != 0
        || (track.last_went(direction) && track.last_was(Kind::Rst))
}

/// One segment on its way through the state machine.
struct Transition {
    kind: Kind,
    direction: Direction,
    /// The state before the segment.
    from: State,
    /// The segment's numbers cannot be checked.
    skip_window: bool,
}

impl Transition {
    /// Returns whether the segment opens a connection where one has ended.
    #[inline]
    const fn reopens(&self) -> bool {
        matches!(self.from, State::TimeWait | State::Close | State::SynSent2)
    }

    /// Returns the outcome for a segment that the state does not allow.
    #[cold]
    fn refuse(&self, track: &Track, segment: &Segment<'_>, status: &Status) -> Step {
        let &Self {
            kind,
            direction,
            from: state,
            ..
        } = self;
        // SYNPROXY has completed the handshake with the client, but the server's SYN/ACK was lost:
        // the client's keep-alive must reach the proxy, which then repeats the SYN to the server.
        if status.synproxy
            && matches!(
                (state, kind, direction),
                (State::SynSent, Kind::Ack, Direction::Original)
            )
            && track.last_went(Direction::Original)
            && track.seen(direction).end.sub(1) == segment.header.seq()
        {
            return Step::Ignore(None);
        }
        Step::invalid(Reason::TcpState {
            kind,
            direction,
            state,
        })
    }

    /// Takes over the numbers of a SYN that was ignored, if this SYN/ACK acknowledges it: both
    /// peers are in step, and the entry was not.
    #[cold]
    fn resynchronise(&mut self, track: &mut Track, segment: &Segment<'_>) -> Option<State> {
        if !matches!(self.kind, Kind::SynAck)
            || !track.last_was(Kind::Syn)
            || track.last_went(self.direction)
            || segment.header.ack() != track.last_end
        {
            return None;
        }
        let end = track.last_end;
        let max_window = at_least_one(u32::from(track.last_win));
        let scale = track.last_wscale;
        track.last_flags &= !flag::EXPECT_CHALLENGE_ACK;
        let flags = track.last_flags;

        let (sender, opener) = track.peers(self.direction);
        opener.end = end;
        opener.max_end = end;
        opener.max_window = max_window;
        opener.scale = scale;
        opener.flags = flags;
        sender.reset();
        self.from = State::SynSent;
        Some(State::SynRecv)
    }

    /// Lets a segment pass that cannot be checked, and records it, so that the reply can be
    /// recognised.
    #[cold]
    fn let_through(&self, track: &mut Track, segment: &Segment<'_>) -> Step {
        let &Self {
            kind,
            direction,
            from: state,
            ..
        } = self;
        let header = &segment.header;
        track.remember(kind, direction);
        track.last_seq = header.seq();
        track.last_end = segment.end();
        track.last_win = header.window();

        match (kind, direction, state) {
            (Kind::Syn, Direction::Original, _) => {
                let mut offer = Peer::default();
                options::read_syn(&mut offer, segment.options);
                track.last_flags = offer.flags;
                track.last_wscale = offer.scale;
                if matches!(state, State::LastAck) {
                    track.last_flags |= flag::EXPECT_CHALLENGE_ACK;
                }
            }
            // It may be a challenge ACK; the RST that it provokes has this sequence number.
            (Kind::Ack, Direction::Reply, State::SynSent) => track.last_ack = header.ack(),
            _ => {}
        }
        Step::Ignore(Some(Reason::TcpStateIgnored {
            kind,
            direction,
            state,
        }))
    }

    /// Returns whether the segment is a challenge ACK to a SYN in LAST_ACK, which does not end the
    /// connection.
    #[inline]
    fn is_challenge_ack(&self, track: &Track) -> bool {
        matches!((self.from, self.kind), (State::LastAck, Kind::Ack))
            && track.last_was(Kind::Syn)
            && !track.last_went(self.direction)
            && track.last_flags & flag::EXPECT_CHALLENGE_ACK != 0
    }

    /// Returns a shorter timeout in jiffies after an INVALID FIN or RST from each peer. The
    /// connection of such an entry is most likely closed, and the entry out of step: it need not
    /// stay for days. `left` is the time left, in jiffies.
    #[cold]
    fn shorten(
        &self,
        track: &mut Track,
        status: &Status,
        config: &Config<'_>,
        left: u32,
    ) -> Option<u32> {
        if !status.assured || status.fixed_timeout || !matches!(self.kind, Kind::Fin | Kind::Rst) {
            return None;
        }
        let other_closed = (track.last_was(Kind::Fin) || track.last_was(Kind::Rst))
            && !track.last_went(self.direction);
        if !other_closed {
            track.remember(self.kind, self.direction);
            return None;
        }
        let unack = timeout::unacknowledged(config.timeouts);
        (left >= config.hz.saturating_mul(120) && left > unack).then_some(unack)
    }

    /// Moves to the new state after an acceptable segment, and returns the outcome.
    #[inline]
    fn complete(self, track: &mut Track, to: State, status: &Status, config: &Config<'_>) -> Step {
        let Self {
            kind,
            direction,
            from,
            ..
        } = self;
        let changed = to != from;
        track.remember(kind, direction);
        track.set_state(to);
        if changed && matches!(to, State::FinWait) {
            let (sender, _) = track.peers(direction);
            sender.flags |= flag::CLOSE_INIT;
        }

        let mut update = Update {
            timeout: Some(timeout::choose(
                track,
                kind,
                to,
                config.timeouts,
                config.max_retrans,
            )),
            assured: false,
            protoinfo: changed,
        };
        if status.seen_reply {
            // The handshake is complete, or the other peer of a picked-up connection has replied.
            update.assured = !status.assured
                && matches!(from, State::SynRecv | State::Established)
                && matches!(to, State::Established);
        } else {
            match (kind, from, to) {
                // The only reply is a refusal: there is no connection.
                (Kind::Rst, _, _) => return Step::Kill,
                // A retransmitted SYN must not keep the entry, and with it a NAT mapping, alive for
                // ever. A client that re-uses its port would have that effect.
                (Kind::Syn, State::SynSent, _) => update.timeout = None,
                // Picked up, and seen from one side only.
                (_, _, State::Established) => {
                    let unack = timeout::unacknowledged(config.timeouts);
                    update.timeout = update.timeout.map(|timeout| timeout.min(unack));
                }
                _ => {}
            }
        }
        Step::Accept(update)
    }
}
