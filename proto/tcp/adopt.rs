// SPDX-License-Identifier: GPL-2.0

//! The record of a connection that was not seen from its beginning, but of which there is a
//! socket: it knows what a tracker would have learnt.
//!
//! The socket is one peer, so what the other one sent lately may not have reached it. That does
//! no harm: such a segment lies within the window that the socket has offered, so it is
//! acceptable when it comes by, and the record moves on with it.
//!
//! While a process is at work on the socket, its numbers change, and are not of one moment. Then
//! the record says of each sender that it has sent whatever it was allowed to send; and windows are
//! larger, as an acknowledgment that opens one may be under way.

use super::{
    config::Config,
    timeout,
    track::{at_least_one, flag, unscaled, Peer, Track},
};
use crate::proto::{
    adopt::{state as socket, Side, Socket},
    state::tcp::{Kind, State},
    types::direction::Direction,
    wire::seq::SeqNum,
};

/// The window of a peer of which none is known, without scaling.
const ANY_WINDOW: u32 = 65_535;

/// The largest window that there can be (RFC 7323, section 2.3).
const MAX_WINDOW: u32 = 1 << 30;

/// The direction of what `side` sends, in a connection that `opener` opened.
pub fn direction(side: Side, opener: Side) -> Direction {
    if side == opener {
        Direction::Original
    } else {
        Direction::Reply
    }
}

/// The state of the connection, in a tracker's terms, and who closed it first.
fn state(socket: &Socket) -> Option<(State, Option<Side>)> {
    // The FIN stands behind what waits to be sent.
    let fin_waits = SeqNum(socket.write_seq).after(SeqNum(socket.snd_nxt));
    Some(match socket.state {
        socket::SYN_SENT => (State::SynSent, None),
        socket::SYN_RECEIVED | socket::REQUEST => (State::SynRecv, None),
        socket::ESTABLISHED => (State::Established, None),
        socket::FIN_WAIT_1 if fin_waits => (State::Established, None),
        socket::FIN_WAIT_1 => (State::FinWait, Some(Side::Local)),
        socket::FIN_WAIT_2 => (State::CloseWait, Some(Side::Local)),
        socket::TIME_WAIT => (State::TimeWait, Some(Side::Local)),
        socket::CLOSE_WAIT => (State::CloseWait, Some(Side::Remote)),
        socket::LAST_ACK | socket::CLOSING if fin_waits => (State::CloseWait, Some(Side::Remote)),
        socket::LAST_ACK => (State::LastAck, Some(Side::Remote)),
        // Two FINs crossed, and the peer's is acknowledged.
        socket::CLOSING => (State::TimeWait, Some(Side::Local)),
        _ => return None,
    })
}

/// What the socket's own side has sent.
fn sent(socket: &Socket, state: State) -> Peer {
    let (una, next) = (SeqNum(socket.snd_una), SeqNum(socket.snd_nxt));
    let allowed = una.add(socket.snd_wnd);
    let acked = SeqNum(socket.rcv_wup);
    let end = if socket.busy != 0 {
        next.max(allowed)
    } else {
        next
    };
    let edge = SeqNum(socket.rcv_edge);
    let mut max_window = at_least_one(socket.rcv_wnd);
    if edge.after(acked) {
        max_window = max_window.max(edge.since(acked));
    }
    let mut flags = options(socket);
    match state {
        // RFC 7323, section 2.2: the window of a SYN is never scaled.
        State::SynSent | State::SynRecv => max_window = max_window.min(ANY_WINDOW),
        _ if una != next && socket.busy == 0 => flags |= flag::DATA_UNACKNOWLEDGED,
        _ => {}
    }
    if state == State::SynSent {
        // The answer tells what was agreed upon; we do not know what was offered.
        flags = flag::WINDOW_SCALE | flag::SACK_PERMITTED;
    } else {
        flags |= flag::MAX_ACK_SET;
    }
    Peer {
        end,
        max_end: allowed.max(end).add(more(socket)),
        max_window: max_window.saturating_add(more(socket)),
        max_ack: acked,
        scale: if socket.has_scale != 0 || state == State::SynSent {
            socket.rcv_scale
        } else {
            0
        },
        flags,
    }
}

/// What the peer has sent.
fn received(socket: &Socket, state: State) -> Peer {
    if state == State::SynSent {
        return Peer::default();
    }
    let next = SeqNum(socket.rcv_nxt);
    let edge = SeqNum(socket.rcv_wup)
        .add(at_least_one(socket.rcv_wnd))
        .max(SeqNum(socket.rcv_edge))
        .max(next);
    let mut flags = options(socket);
    if socket.rcv_nxt != socket.rcv_wup && socket.busy == 0 {
        flags |= flag::DATA_UNACKNOWLEDGED;
    }
    if socket.state != socket::REQUEST {
        flags |= flag::MAX_ACK_SET;
    }
    let max_window = match socket.max_window {
        0 => ANY_WINDOW,
        window => window,
    };
    Peer {
        end: if socket.busy != 0 {
            edge
        } else {
            next.max(SeqNum(socket.rcv_last))
        },
        max_end: edge.max(SeqNum(socket.rcv_last)).add(more(socket)),
        max_window: max_window.saturating_add(more(socket)),
        max_ack: SeqNum(socket.snd_una),
        scale: if socket.has_scale != 0 {
            socket.snd_scale
        } else {
            0
        },
        flags,
    }
}

fn options(socket: &Socket) -> u8 {
    let scale = if socket.has_scale != 0 {
        flag::WINDOW_SCALE
    } else {
        0
    };
    let sack = if socket.has_sack != 0 {
        flag::SACK_PERMITTED
    } else {
        0
    };
    scale | sack
}

/// What a window may be more than the socket knows, if a process is at work on it.
fn more(socket: &Socket) -> u32 {
    if socket.busy != 0 {
        let known = socket.max_window.max(socket.rcv_wnd);
        known.clamp(ANY_WINDOW, MAX_WINDOW)
    } else {
        0
    }
}

/// The record of a socket's connection. [`None`]: it has none.
pub fn track(socket: &Socket, opener: Side) -> Option<Track> {
    let (state, closer) = state(socket)?;
    let mut local = sent(socket, state);
    let mut remote = received(socket, state);
    match closer {
        Some(Side::Local) => local.flags |= flag::CLOSE_INIT,
        Some(Side::Remote) => remote.flags |= flag::CLOSE_INIT,
        None => {}
    }
    let kind = match state {
        State::SynSent => Kind::Syn,
        State::SynRecv => Kind::SynAck,
        State::FinWait | State::LastAck => Kind::Fin,
        _ => Kind::Ack,
    };
    let closed = state == State::Established && socket.snd_wnd == 0;
    let mut track = Track {
        // As if the last segment had been ours, or the peer's that closed its window.
        last_seq: SeqNum(socket.snd_nxt),
        last_ack: SeqNum(socket.rcv_wup),
        last_end: SeqNum(socket.snd_nxt),
        last_win: if closed {
            0
        } else {
            unscaled(socket.rcv_wnd, local.scale)
        },
        ..Track::default()
    };
    let from = direction(Side::Local, opener);
    track.remember(kind, from);
    track.set_state(state);
    if socket.state == socket::SYN_RECEIVED && opener == Side::Local {
        track.last_flags |= flag::SIMULTANEOUS_OPEN;
    }
    let (sender, receiver) = track.peers(from);
    *sender = local;
    *receiver = remote;
    Some(track)
}

/// How many jiffies are left to the connection, as if the tracker had seen its last segment.
///
/// A tracker might have forgotten a connection that has been quiet for days. As there is a
/// socket for it, it stays for some minutes at least; one that is ending, for seconds.
pub fn remaining(track: &Track, socket: &Socket, config: &Config<'_>) -> u32 {
    let (state, timeouts) = (track.state(), config.timeouts);
    let whole = timeout::choose(track, Kind::Ack, state, timeouts, config.max_retrans);
    let least = match state {
        // The SYN of a socket that was never heard of has no time.
        State::SynSent => whole,
        State::Established => timeout::unacknowledged(timeouts),
        _ => timeout::of_state(timeouts, State::Close),
    };
    whole.saturating_sub(socket.idle).max(whole.min(least))
}

impl Track {
    /// Whether the record is that of a connection which was picked up by a segment in its
    /// middle, of whose beginning nothing is known.
    pub fn is_picked_up(&self) -> bool {
        let [original, reply] = &self.seen;
        self.state() == State::Established
            && original.has(flag::BE_LIBERAL)
            && reply.has(flag::BE_LIBERAL)
    }

    /// Takes over what another record of the same connection has seen sent, while this one was
    /// made. `turned`: its original direction is this one's reply.
    ///
    /// Only what the receiver allowed counts. What it allowed then is not known, but more by one
    /// window at most.
    pub fn catch_up(&mut self, other: &Self, turned: bool) {
        for way in [Direction::Original, Direction::Reply] {
            let seen = *other.seen(if turned { way.opposite() } else { way });
            let (sender, receiver) = self.peers(way);
            let news = seen.max_window != 0 && seen.end.after(sender.end);
            if news && seen.end.at_or_before(sender.max_end) {
                sender.end = seen.end;
                sender.flags |= flag::DATA_UNACKNOWLEDGED;
            }
            sender.max_end = sender.max_end.add(receiver.max_window);
        }
    }
}
