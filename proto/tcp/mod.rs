// SPDX-License-Identifier: GPL-2.0

//! The TCP tracker.
//!
//! [`check`] looks at one segment by itself, [`open`] starts an entry with it, and [`packet`]
//! moves the entry on; for most segments there is a short cut, [`usual()`], and for the first one,
//! [`begin`]. The parts: [`state`] is the state machine, `window` judges sequence numbers, `reset`
//! judges RSTs, [`timeout`] chooses how long the entry lives, [`adopt`] starts the entry of a
//! connection that a socket tells about.
//!
//! We may be out of step with the peers: a host rebooted, we did, packets took another way. So a
//! segment that makes no sense to us but may make sense to its receiver is let through and
//! remembered, and the answer is believed:
//!
//! - a SYN on a live connection, answered by a SYN/ACK that acknowledges it: both peers started
//!   over, and we take over their numbers;
//! - the same SYN, answered by a challenge ACK (RFC 5961, section 4): the receiver still has the
//!   old connection. That ACK must not be mistaken for the last one of LAST_ACK;
//! - any of them, answered by a RST: the connection is gone.
//!
//! Every decision is that of the kernel's C tracker, which `selftests/host` compares segment by
//! segment, but for one: the count of repetitions stops at 255, where C's starts again from zero
//! and so gives a connection that repeats itself for ever its long timeout back.

use super::{
    direction::Direction,
    step::{Reason, Status, Step, Update},
    time::Jiffies32,
    wire::{self, tcp::Header},
};

pub mod adopt;
mod begin;
mod options;
mod reset;
pub mod timeout;
pub mod track;
mod usual;
mod window;

pub use begin::begin;
pub use super::state::tcp::{self as state, Kind, Next, State};
pub use super::wire::seq::SeqNum;
pub use timeout::Timeouts;
pub use track::{flag, Seen, Track};
pub use usual::{complete_handshake, usual};

use window::{at_least_one, Fit};

/// A segment, as the trackers want it.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// The fixed part of the header, which has passed [`check`].
    pub header: Header,
    /// The octets between the fixed header and the data; empty if the packet could not be read.
    pub options: &'a [u8],
    /// Octets of data, without header and options.
    pub payload_len: u32,
    /// How far a NAT helper has moved the octet that this segment acknowledges, from the sequence
    /// space of the other peer into the one that this segment's sender sees. 0 without one.
    pub ack_offset: i32,
}

impl Segment<'_> {
    /// The sequence number after the segment; SYN and FIN take one each.
    #[inline]
    pub const fn end(&self) -> SeqNum {
        let flags = self.header.flags();
        let mut end = self.header.seq().add(self.payload_len);
        if flags.syn() {
            end = end.add(1);
        }
        if flags.fin() {
            end = end.add(1);
        }
        end
    }
}

/// The switches of a namespace, and the timeouts that apply to an entry.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// Jiffies, by state; see [`timeout`].
    pub timeouts: &'a Timeouts,
    /// Jiffies in a second.
    pub hz: u32,
    /// `nf_conntrack_tcp_loose`: pick up connections in the middle.
    pub loose: bool,
    /// `nf_conntrack_tcp_be_liberal`: do not enforce the window; only impossible transitions and
    /// stale RSTs are INVALID.
    pub liberal: bool,
    /// `nf_conntrack_tcp_ignore_invalid_rst`: do not call a RST INVALID for its number.
    pub ignore_invalid_rst: bool,
    /// `nf_conntrack_tcp_max_retrans`: after so many repetitions in a row, live shorter.
    pub max_retrans: u8,
}

/// Checks what can be checked without knowing the connection, except the checksum.
///
/// `available` is the number of octets of the packet from the TCP header on.
#[inline]
pub fn check(header: &Header, available: u32) -> Result<(), Reason> {
    let header_len = header.header_len();
    if header_len < 20 || available < header_len {
        return Err(Reason::Malformed(wire::Error::Truncated));
    }
    if !header.flags().is_valid() {
        return Err(Reason::TcpFlags);
    }
    Ok(())
}

/// Whether a segment, which has passed [`check`], may be the first of a connection that we see. If
/// not it is INVALID.
///
/// `loose` is that of [`Policy`].
#[inline]
pub fn may_begin(header: &Header, loose: bool) -> Result<(), Reason> {
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
pub fn open(track: &mut Track, segment: &Segment<'_>, policy: &Policy<'_>) -> Result<(), Reason> {
    let header = &segment.header;
    may_begin(header, policy.loose)?;
    let picked_up = !matches!(first_state(header), Some(State::SynSent));

    let mut opener = Seen::by_first(segment);
    let mut other = Seen::default();
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

/// Moves a connection on by one segment.
///
/// The segment has passed [`check`], and [`open`] if the entry is not confirmed. The caller holds
/// the entry's lock, so that `track` is its own, and has taken `status` before.
pub fn packet(
    track: &mut Track,
    segment: &Segment<'_>,
    direction: Direction,
    status: &Status,
    policy: &Policy<'_>,
    now: Jiffies32,
) -> Step {
    let kind = Kind::of(segment.header.flags());
    let mut passage = Passage {
        kind,
        direction,
        from: track.state(),
        skip_window: false,
    };

    let to = match state::next(direction, kind, passage.from) {
        Next::Invalid => return passage.refuse(track, segment, status),
        Next::Ignore => match passage.resynchronise(track, segment) {
            Some(state) => state,
            None => return passage.let_through(track, segment),
        },
        Next::To(State::SynSent) if passage.reopens() => {
            if may_reopen(track, direction) {
                return Step::Reopen;
            }
            return passage.let_through(track, segment);
        }
        Next::To(State::TimeWait) if passage.is_challenge_ack(track) => {
            track.last_flags &= !flag::EXPECT_CHALLENGE_ACK;
            return Step::Ignore(Some(Reason::TcpChallengeAck));
        }
        Next::To(State::SynSent2) => {
            track.last_flags |= flag::SIMULTANEOUS_OPEN;
            State::SynSent2
        }
        // Each peer acknowledges the other's SYN: the table knows only the opener's ACK.
        Next::To(State::SynRecv)
            if matches!((direction, kind), (Direction::Reply, Kind::Ack))
                && track.last_flags & flag::SIMULTANEOUS_OPEN != 0 =>
        {
            State::Established
        }
        Next::To(State::Close) if matches!(kind, Kind::Rst) => {
            match reset::judge(track, segment, direction, passage.from, status, policy) {
                Ok(ruling) => {
                    passage.skip_window = ruling.skip_window;
                    if ruling.keep_state {
                        passage.from
                    } else {
                        State::Close
                    }
                }
                Err(reason) => return Step::invalid(reason),
            }
        }
        Next::To(state) => state,
    };

    if !passage.skip_window {
        match window::admit(track, segment, direction, kind, policy) {
            Fit::Inside => {}
            Fit::Ignored(reason) => return Step::Ignore(Some(reason)),
            Fit::Outside(reason) => {
                let left = status.expires.remaining(now);
                let lower_timeout = passage.shorten(track, status, policy, left);
                return Step::Invalid {
                    reason,
                    lower_timeout,
                };
            }
        }
    }
    passage.complete(track, to, status, policy)
}

/// Whether a SYN may replace a closed connection: one peer closed it, or the sender of the SYN
/// reset it. We do not ask whether the old sequence numbers allow it (RFC 9293, section 3.6.1),
/// as the receiver does.
#[inline]
fn may_reopen(track: &Track, direction: Direction) -> bool {
    let [original, reply] = &track.seen;
    (original.flags | reply.flags) & flag::CLOSE_INIT != 0
        || (track.last_went(direction) && track.last_was(Kind::Rst))
}

/// One segment's way through the state machine.
struct Passage {
    kind: Kind,
    direction: Direction,
    /// The state that the segment found.
    from: State,
    /// The segment's numbers cannot be judged, and need not be.
    skip_window: bool,
}

impl Passage {
    /// The segment opens a connection where one has ended.
    #[inline]
    const fn reopens(&self) -> bool {
        matches!(self.from, State::TimeWait | State::Close | State::SynSent2)
    }

    /// A segment that the state does not allow.
    #[cold]
    fn refuse(&self, track: &Track, segment: &Segment<'_>, status: &Status) -> Step {
        let &Self {
            kind,
            direction,
            from: state,
            ..
        } = self;
        // SYNPROXY has answered the client for a server whose SYN/ACK got lost: the client's
        // keep-alive has to reach the proxy, which then repeats the SYN.
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

    /// Takes over the numbers of a SYN that we ignored, if this SYN/ACK acknowledges it: both
    /// peers are in step, and we were not.
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

    /// Lets a segment through that we cannot judge, and remembers it for the sake of the answer.
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
                let mut offer = Seen::default();
                options::learn(&mut offer, segment.options);
                track.last_flags = offer.flags;
                track.last_wscale = offer.scale;
                if matches!(state, State::LastAck) {
                    track.last_flags |= flag::EXPECT_CHALLENGE_ACK;
                }
            }
            // Perhaps a challenge ACK; the RST that it provokes takes its number from here.
            (Kind::Ack, Direction::Reply, State::SynSent) => track.last_ack = header.ack(),
            _ => {}
        }
        Step::Ignore(Some(Reason::TcpStateIgnored {
            kind,
            direction,
            state,
        }))
    }

    /// An ACK in LAST_ACK that challenges a SYN instead of ending the connection.
    #[inline]
    fn is_challenge_ack(&self, track: &Track) -> bool {
        matches!((self.from, self.kind), (State::LastAck, Kind::Ack))
            && track.last_was(Kind::Syn)
            && !track.last_went(self.direction)
            && track.last_flags & flag::EXPECT_CHALLENGE_ACK != 0
    }

    /// After an INVALID FIN or RST from each peer, an assured entry is most likely dead, and we
    /// are out of step: it need not wait for days. Returns the shorter timeout, in jiffies.
    #[cold]
    fn shorten(
        &self,
        track: &mut Track,
        status: &Status,
        policy: &Policy<'_>,
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
        let unack = timeout::unacknowledged(policy.timeouts);
        (left >= policy.hz.saturating_mul(120) && left > unack).then_some(unack)
    }

    /// The segment is acceptable: move to the new state.
    #[inline]
    fn complete(self, track: &mut Track, to: State, status: &Status, policy: &Policy<'_>) -> Step {
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
                policy.timeouts,
                policy.max_retrans,
            )),
            assured: false,
            protoinfo: changed,
        };
        if status.seen_reply {
            // The handshake is complete, or the other peer has answered a picked-up connection.
            update.assured = !status.assured
                && matches!(from, State::SynRecv | State::Established)
                && matches!(to, State::Established);
        } else {
            match (kind, from, to) {
                // The only answer is a refusal: there is no connection.
                (Kind::Rst, _, _) => return Step::Kill,
                // A repeated SYN must not keep the entry, and with it a NAT mapping, alive for
                // ever: a client that re-uses its port would do just that.
                (Kind::Syn, State::SynSent, _) => update.timeout = None,
                // Picked up, seen from one side only.
                (_, _, State::Established) => {
                    let unack = timeout::unacknowledged(policy.timeouts);
                    update.timeout = update.timeout.map(|timeout| timeout.min(unack));
                }
                _ => {}
            }
        }
        Step::Accept(update)
    }
}
