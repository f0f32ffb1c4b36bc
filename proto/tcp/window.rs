// SPDX-License-Identifier: GPL-2.0

//! Window tracking: whether the receiver could accept a segment.
//!
//! The method is that of Guido van Rooij, "Real Stateful TCP Packet Filtering in IP Filter" (SANE
//! 2000), with the bounds of RFC 9293 (a segment need only *overlap* the window), window scaling
//! (RFC 7323) and selective acknowledgments (RFC 2018).
//!
//! For each sender, these quantities are maintained ([`Peer`]). `seq`, `len`, `ack` and `win`
//! describe a segment, `win` is scaled, and `sack` is the highest acknowledgment, selective or not:
//!
//! - `end`: the maximum of `seq + len` over the segments sent;
//! - `max_end`: the maximum of `sack + max(win, 1)` over the segments *received*;
//! - `max_window`: the maximum of `max(win, 1) + (sack - ack)` over the segments sent, increased by
//!   the number of bytes that the other peer sent beyond `max_end`.
//!
//! A segment is acceptable if
//!
//! - I: its data does not start beyond what the receiver allows:
//!   `seq <= sender.max_end`
//! - II: its data does not end before what the receiver may still lack:
//!   `seq + len >= sender.end - receiver.max_window`
//! - III: it acknowledges nothing that was not sent:
//!   `sack <= receiver.end`
//! - IV: it does not acknowledge what was acknowledged long ago:
//!   `sack >= receiver.end - max(sender.max_window, 66000)`
//!
//! A segment that violates only II or IV is old but harmless: it passes and updates nothing. One
//! that violates I or III is INVALID. A segment that violates I by no more than one window, and
//! nothing else, passes too, because some senders overrun windows.

use super::{
    config::Config,
    options,
    segment::Segment,
    track::{at_least_one, flag, Peer, Track},
};
use crate::proto::{
    state::tcp::{Kind, State},
    step::Reason,
    types::direction::Direction,
    wire::seq::SeqNum,
};

/// The least distance that inequality IV grants to a late acknowledgment, in bytes.
const MIN_ACK_DISTANCE: u32 = 66_000;

/// The result of the window check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// The segment is acceptable.
    Inside,
    /// The segment passes, but updates nothing.
    Ignored(Reason),
    /// The segment is INVALID.
    Outside(Reason),
}

/// A segment's numbers, in the terms of the inequalities.
#[derive(Clone, Copy)]
pub(super) struct Numbers {
    pub(super) seq: SeqNum,
    /// `seq + len`
    pub(super) end: SeqNum,
    pub(super) ack: SeqNum,
    pub(super) sack: SeqNum,
}

/// Checks a segment, and updates the windows if it is acceptable.
pub(super) fn admit(
    track: &mut Track,
    segment: &Segment<'_>,
    direction: Direction,
    kind: Kind,
    config: &Config<'_>,
) -> Fit {
    let state = track.state();
    let header = &segment.header;
    let (sender, receiver) = track.peers(direction);

    let mut sack = header.ack();
    if receiver.has(flag::SACK_PERMITTED) {
        sack = options::highest_acknowledged(sack, segment.options);
    }
    let mut numbers = Numbers {
        seq: header.seq(),
        end: segment.end(),
        // Converted back to the receiver's sequence space, if a NAT helper changed the length of
        // its data.
        ack: header.ack().unadjusted(segment.ack_offset),
        sack: sack.unadjusted(segment.ack_offset),
    };

    let crossing_syn = initialise(sender, receiver, segment, &numbers, direction, state);
    if crossing_syn {
        // Simultaneous open: a SYN has no acknowledgment to check.
        return Fit::Inside;
    }
    substitute(&mut numbers, sender, receiver, segment, state);

    if let Err(fit) = check(&numbers, sender, receiver) {
        let liberal = config.liberal || sender.has(flag::BE_LIBERAL);
        if let Fit::Ignored(Reason::TcpOvershot(_)) = fit {
            // The receiver may accept the excess. If it does, its ACK must not violate III.
            sender.end = numbers.end;
            sender.flags |= flag::DATA_UNACKNOWLEDGED;
        }
        return if liberal { Fit::Inside } else { fit };
    }
    update(&numbers, sender, receiver, segment);
    if matches!(kind, Kind::Ack) {
        count_repetition(track, segment, &numbers, direction);
    }
    Fit::Inside
}

/// Initialises a sender with its first segment, or anew with another SYN.
///
/// Returns whether the segment is a SYN that crosses the other peer's.
#[inline]
fn initialise(
    sender: &mut Peer,
    receiver: &mut Peer,
    segment: &Segment<'_>,
    numbers: &Numbers,
    direction: Direction,
    state: State,
) -> bool {
    let flags = segment.header.flags();
    let unknown = sender.max_window == 0;

    if unknown && !flags.syn() {
        // The history is unknown: start from this segment.
        sender.end = numbers.end;
        sender.max_window = at_least_one(sender.scaled(segment.header.window()));
        sender.max_end = numbers.end.add(sender.max_window);
        if receiver.max_window == 0 {
            // Nothing is known of the other peer either: make III and IV hold for now.
            receiver.end = numbers.sack;
            receiver.max_end = numbers.sack;
        } else if numbers.sack == receiver.end.add(1) {
            // A reply to a keep-alive, which repeats the byte before the first new one: make III
            // hold.
            receiver.end = receiver.end.add(1);
        }
        return false;
    }

    // RFC 9293, section 3.4.3: a peer may start over at once, with numbers beyond those that it
    // used before.
    let anew = flags.syn()
        && numbers.end.after(sender.end)
        && matches!(state, State::SynSent | State::SynRecv);
    if !(unknown || anew) {
        return false;
    }

    sender.end = numbers.end;
    sender.max_end = numbers.end;
    sender.max_window = at_least_one(u32::from(segment.header.window()));
    options::read_syn(sender, segment.options);
    if matches!(direction, Direction::Reply)
        && !(sender.has(flag::WINDOW_SCALE) && receiver.has(flag::WINDOW_SCALE))
    {
        // RFC 7323, section 1.3: scaling needs the offer of both peers.
        sender.scale = 0;
        receiver.scale = 0;
    }
    !flags.ack() && (unknown || matches!(direction, Direction::Reply))
}

/// Replaces the numbers that are not significant in this segment.
#[inline]
fn substitute(
    numbers: &mut Numbers,
    sender: &Peer,
    receiver: &Peer,
    segment: &Segment<'_>,
    state: State,
) {
    let flags = segment.header.flags();
    // Some stacks set ACK in a RST that acknowledges nothing.
    if !flags.ack() || (flags.rst() && numbers.ack == SeqNum(0)) {
        numbers.ack = receiver.end;
        numbers.sack = receiver.end;
    }
    if flags.rst() && numbers.seq == SeqNum(0) && matches!(state, State::SynSent) {
        // RFC 9293, section 3.5.2: a RST that refuses a SYN has sequence number zero.
        numbers.seq = sender.end;
        numbers.end = sender.end;
    }
}

/// Applies the inequalities.
#[inline(always)]
pub(super) fn check(numbers: &Numbers, sender: &Peer, receiver: &Peer) -> Result<(), Fit> {
    let &Numbers { seq, end, sack, .. } = numbers;
    let oldest_end = sender.end.sub(receiver.max_window);
    let oldest_ack = receiver.end.sub(sender.max_window.max(MIN_ACK_DISTANCE));
    let one = seq.at_or_before(sender.max_end);
    let two = end.at_or_after(oldest_end);
    let three = sack.at_or_before(receiver.end);
    let four = sack.at_or_after(oldest_ack);

    if !one {
        let overshot = end.since(sender.max_end).wrapping_add(1);
        let window = receiver.max_window;
        return Err(
            if window != 0 && two && three && four && overshot <= window {
                Fit::Ignored(Reason::TcpOvershot(overshot))
            } else {
                Fit::Outside(Reason::TcpSeqOver(sender.max_end.add(1).0))
            },
        );
    }
    if !three {
        return Err(Fit::Outside(Reason::TcpAckOver(receiver.end.add(1).0)));
    }
    // II needs a window; before the receiver has offered one it cannot be violated.
    if !two && receiver.max_window != 0 {
        return Err(Fit::Ignored(Reason::TcpSeqUnder(oldest_end.sub(1).0)));
    }
    if !four {
        return Err(Fit::Ignored(Reason::TcpAckUnder(oldest_ack.sub(1).0)));
    }
    Ok(())
}

/// Updates both peers with an acceptable segment.
#[inline(always)]
pub(super) fn update(
    numbers: &Numbers,
    sender: &mut Peer,
    receiver: &mut Peer,
    segment: &Segment<'_>,
) {
    let &Numbers { end, ack, sack, .. } = numbers;
    let flags = segment.header.flags();
    // RFC 7323, section 2.2: the window of a SYN is never scaled.
    let window = if flags.syn() {
        u32::from(segment.header.window())
    } else {
        sender.scaled(segment.header.window())
    };

    sender.max_window = sender.max_window.max(window.wrapping_add(sack.since(ack)));
    if end.after(sender.end) {
        sender.end = end;
        sender.flags |= flag::DATA_UNACKNOWLEDGED;
    }
    if flags.ack() && (!sender.has(flag::MAX_ACK_SET) || ack.after(sender.max_ack)) {
        sender.max_ack = ack;
        sender.flags |= flag::MAX_ACK_SET;
    }

    if receiver.max_window != 0 && end.after(sender.max_end) {
        let excess = end.since(sender.max_end);
        receiver.max_window = receiver.max_window.wrapping_add(excess);
    }
    let allowed = sack.add(window);
    if allowed.at_or_after(receiver.max_end) {
        // A closed window still admits a probe of one byte.
        receiver.max_end = sack.add(at_least_one(window));
    }
    if ack == receiver.end {
        receiver.flags &= !flag::DATA_UNACKNOWLEDGED;
    }
}

/// Counts the retransmissions of a segment in a row; any other segment restarts the count.
#[inline(always)]
pub(super) fn count_repetition(
    track: &mut Track,
    segment: &Segment<'_>,
    numbers: &Numbers,
    direction: Direction,
) {
    let window = segment.header.window();
    if track.last_went(direction)
        && track.last_seq == numbers.seq
        && track.last_ack == numbers.ack
        && track.last_end == numbers.end
        && track.last_win == window
    {
        track.retrans = track.retrans.saturating_add(1);
    } else {
        track.last_dir = direction.to_u8();
        track.last_seq = numbers.seq;
        track.last_ack = numbers.ack;
        track.last_end = numbers.end;
        track.last_win = window;
        track.retrans = 0;
    }
}
