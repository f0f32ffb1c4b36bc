// SPDX-License-Identifier: GPL-2.0

//! The TCP state of an adopted connection, from its socket.
//!
//! The socket is one peer, and the latest segments of the other one may not have reached it. That
//! does no harm: such a segment lies within the window that the socket has offered, so it is
//! acceptable when the tracker sees it, and updates the state.
//!
//! While a process holds the socket's lock, the numbers change, and were not all read at one
//! moment. Then each peer is assumed to have sent all that its window allowed, and windows are
//! assumed larger, because an acknowledgment that opens one may be on its way.

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

/// The assumed window of a peer if none is known: the largest without scaling.
const ANY_WINDOW: u32 = 65_535;

/// The largest possible window (RFC 7323, section 2.3).
const MAX_WINDOW: u32 = 1 << 30;

/// Returns the direction of the packets from `side`, in a connection that `opener` opened.
pub fn direction(side: Side, opener: Side) -> Direction {
    if side == opener {
        Direction::Original
    } else {
        Direction::Reply
    }
}

/// Returns the state of the connection for the tracker, and the side that closed it first.
fn state(socket: &Socket) -> Option<(State, Option<Side>)> {
    // The FIN follows the data that waits to be sent.
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

/// Returns the peer of the socket's own side.
fn sent(socket: &Socket, state: State) -> Peer {
    let (una, next) = (SeqNum(socket.snd_una), SeqNum(socket.snd_nxt));
    let allowed = una.add(socket.snd_wnd);
    let acked = SeqNum(socket.rcv_wup);
    let end = if socket.busy { next.max(allowed) } else { next };
    let edge = SeqNum(socket.rcv_edge);
    let mut max_window = at_least_one(socket.rcv_wnd);
    if edge.after(acked) {
        max_window = max_window.max(edge.since(acked));
    }
    let mut flags = options(socket);
    match state {
        // RFC 7323, section 2.2: the window of a SYN is never scaled.
        State::SynSent | State::SynRecv => max_window = max_window.min(ANY_WINDOW),
        _ if una != next && !socket.busy => flags |= flag::DATA_UNACKNOWLEDGED,
        _ => {}
    }
    if state == State::SynSent {
        // The SYN/ACK will tell which options apply; which ones the SYN offered is unknown.
        flags = flag::WINDOW_SCALE | flag::SACK_PERMITTED;
    } else {
        flags |= flag::MAX_ACK_SET;
    }
    Peer {
        end,
        max_end: allowed.max(end).add(more(socket)),
        max_window: max_window.saturating_add(more(socket)),
        max_ack: acked,
        scale: if socket.has_scale || state == State::SynSent {
            socket.rcv_scale
        } else {
            0
        },
        flags,
    }
}

/// Returns the other peer.
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
    if socket.rcv_nxt != socket.rcv_wup && !socket.busy {
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
        end: if socket.busy {
            edge
        } else {
            next.max(SeqNum(socket.rcv_last))
        },
        max_end: edge.max(SeqNum(socket.rcv_last)).add(more(socket)),
        max_window: max_window.saturating_add(more(socket)),
        max_ack: SeqNum(socket.snd_una),
        scale: if socket.has_scale {
            socket.snd_scale
        } else {
            0
        },
        flags,
    }
}

fn options(socket: &Socket) -> u8 {
    let scale = if socket.has_scale {
        flag::WINDOW_SCALE
    } else {
        0
    };
    let sack = if socket.has_sack {
        flag::SACK_PERMITTED
    } else {
        0
    };
    scale | sack
}

/// Returns the number of bytes by which a window may be larger than the socket's snapshot says, if
/// a process holds the socket's lock.
fn more(socket: &Socket) -> u32 {
    if socket.busy {
        let known = socket.max_window.max(socket.rcv_wnd);
        known.clamp(ANY_WINDOW, MAX_WINDOW)
    } else {
        0
    }
}

/// Returns the state of a socket's connection, or [`None`] if it is in no state that can be
/// adopted.
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
        // As if the last segment had been the socket's, or the peer's that closed its window.
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

/// Returns the time left in jiffies, as if the tracker had seen the connection's last segment.
///
/// After days without a packet the entry would be gone. Because there is a socket, it stays for at
/// least some minutes, or for seconds if the connection is ending.
pub fn remaining(track: &Track, socket: &Socket, config: &Config<'_>) -> u32 {
    let (state, timeouts) = (track.state(), config.timeouts);
    let whole = timeout::choose(track, Kind::Ack, state, timeouts, config.max_retrans);
    let least = match state {
        // In SYN_SENT, the socket has no time stamp of a segment.
        State::SynSent => whole,
        State::Established => timeout::unacknowledged(timeouts),
        _ => timeout::of_state(timeouts, State::Close),
    };
    whole.saturating_sub(socket.idle).max(whole.min(least))
}

impl Track {
    /// Returns whether the connection was picked up in the middle, without knowledge of its
    /// beginning.
    pub fn is_picked_up(&self) -> bool {
        let [original, reply] = &self.seen;
        self.state() == State::Established
            && original.has(flag::BE_LIBERAL)
            && reply.has(flag::BE_LIBERAL)
    }

    /// Takes over what another entry of the same connection saw while this one was created.
    /// `turned`: the other one's original direction is this one's reply direction.
    ///
    /// Only segments within the receiver's window are taken over. The window of that moment is
    /// unknown, but larger by at most one window.
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
