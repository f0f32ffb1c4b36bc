// SPDX-License-Identifier: GPL-2.0

//! The states of a TCP connection as a tracker sees it, and the transitions between them.
//!
//! RFC 9293 gives each *peer* a state machine. A tracker sees the segments of both peers and cannot
//! know which of them arrive, so it follows the connection as a whole: SYN_SENT means that a SYN
//! has passed the tracker, FIN_WAIT that a FIN has, and so on.

use crate::proto::{types::direction::Direction, wire::tcp::Flags};

/// The state of a connection. The numbers are user-visible (`enum tcp_conntrack`, netlink).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// No segment seen.
    None = 0,
    /// A SYN from the opener.
    SynSent = 1,
    /// A SYN/ACK.
    SynRecv = 2,
    /// The handshake is complete, or was picked up in the middle.
    Established = 3,
    /// A FIN from either peer.
    FinWait = 4,
    /// An ACK after the FIN.
    CloseWait = 5,
    /// A second FIN.
    LastAck = 6,
    /// An ACK after the second FIN.
    TimeWait = 7,
    /// A RST.
    Close = 8,
    /// SYNs from both peers: simultaneous open (RFC 9293, section 3.5).
    SynSent2 = 9,
}

impl State {
    /// Number of states.
    pub const COUNT: usize = 10;

    /// All states, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT] = [
        Self::None,
        Self::SynSent,
        Self::SynRecv,
        Self::Established,
        Self::FinWait,
        Self::CloseWait,
        Self::LastAck,
        Self::TimeWait,
        Self::Close,
        Self::SynSent2,
    ];

    /// Returns the state with this number, or [`None`] if there is none.
    #[inline]
    pub const fn from_u8(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::None,
            1 => Self::SynSent,
            2 => Self::SynRecv,
            3 => Self::Established,
            4 => Self::FinWait,
            5 => Self::CloseWait,
            6 => Self::LastAck,
            7 => Self::TimeWait,
            8 => Self::Close,
            9 => Self::SynSent2,
            _ => return None,
        })
    }

    /// Returns the state's number.
    #[inline]
    pub const fn to_u8(self) -> u8 {
        // CAST: the discriminant, by `repr(u8)`.
        self as u8
    }

    /// Returns the name in `/proc/net/nf_conntrack`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::SynSent => "SYN_SENT",
            Self::SynRecv => "SYN_RECV",
            Self::Established => "ESTABLISHED",
            Self::FinWait => "FIN_WAIT",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
            Self::SynSent2 => "SYN_SENT2",
        }
    }

    /// Returns whether the connection is over: both sides have closed it, or one has reset it. The
    /// entry is kept for late segments only.
    #[inline]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::TimeWait | Self::Close)
    }

    /// Returns whether early drop may take the entry, assured or not, because the connection is
    /// ending.
    #[inline]
    pub const fn may_be_dropped_early(self) -> bool {
        matches!(
            self,
            Self::FinWait | Self::CloseWait | Self::LastAck | Self::TimeWait | Self::Close
        )
    }
}

/// The kind of a segment for the state machine: that of its most significant flag, in the order
/// RST, SYN, FIN, ACK.
///
/// The numbers are those of [`Track::last_index`](crate::proto::tcp::Track::last_index) and of the
/// C tracker's log (`enum tcp_bit_set`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// SYN without ACK.
    Syn = 0,
    /// SYN with ACK.
    SynAck = 1,
    /// FIN.
    Fin = 2,
    /// ACK alone, with or without data.
    Ack = 3,
    /// RST.
    Rst = 4,
    /// None of the four.
    None = 5,
}

impl Kind {
    /// Number of kinds.
    pub const COUNT: usize = 6;

    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Syn,
        Self::SynAck,
        Self::Fin,
        Self::Ack,
        Self::Rst,
        Self::None,
    ];

    /// Returns the kind of a segment with these flags.
    #[inline]
    pub const fn of(flags: Flags) -> Self {
        if flags.rst() {
            Self::Rst
        } else if flags.syn() {
            if flags.ack() {
                Self::SynAck
            } else {
                Self::Syn
            }
        } else if flags.fin() {
            Self::Fin
        } else if flags.ack() {
            Self::Ack
        } else {
            Self::None
        }
    }

    /// Returns the kind's number.
    #[inline]
    pub const fn to_u8(self) -> u8 {
        // CAST: the discriminant, by `repr(u8)`.
        self as u8
    }
}

/// The result of a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The connection moves to this state, if the segment passes the checks of its numbers.
    To(State),
    /// The state stays. The segment shows that the entry may be out of step with the peers; the
    /// reply of its receiver will tell.
    Ignore,
    /// The state stays. No peer sends this segment if the entry is in step with it.
    Invalid,
}

/// Returns the transition. This is the specification; [`TABLE`] is its expansion.
const fn rule(direction: Direction, kind: Kind, state: State) -> Next {
    use Direction::{Original, Reply};
    use State::*;

    let to = match (kind, direction, state) {
        // A segment without any of the four flags.
        (Kind::None, _, _) => return Next::Invalid,

        // The opener's SYN opens, repeats, or re-opens (RFC 9293, section 3.6.1). In other states
        // it comes from an opener that lost its state while the other peer kept it: the reply, a
        // challenge ACK (RFC 5961, section 4) or a SYN/ACK, shows which.
        (Kind::Syn, Original, None | SynSent | TimeWait | Close) => SynSent,
        (Kind::Syn, Original, SynSent2) => SynSent2,
        (Kind::Syn, Original, _) => return Next::Ignore,
        // The other peer's SYN crosses the opener's, or re-opens the connection with exchanged
        // roles.
        (Kind::Syn, Reply, SynSent | SynSent2) => SynSent2,
        (Kind::Syn, Reply, TimeWait) => SynSent,
        (Kind::Syn, Reply, _) => return Next::Invalid,

        // The opener acknowledges a SYN only when the two crossed.
        (Kind::SynAck, Original, SynSent2 | SynRecv) => SynRecv,
        (Kind::SynAck, Original, _) => return Next::Invalid,
        // The common reply. Later it may be a retransmission, or the reply to a SYN that was
        // ignored.
        (Kind::SynAck, Reply, SynSent | SynSent2) => SynRecv,
        (Kind::SynAck, Reply, None) => return Next::Invalid,
        (Kind::SynAck, Reply, _) => return Next::Ignore,

        // There is nothing to close before both SYNs were seen.
        (Kind::Fin, _, None | SynSent | SynSent2) => return Next::Invalid,
        (Kind::Fin, _, SynRecv | Established) => FinWait,
        // It may be a retransmission of the first FIN. Then LAST_ACK comes early; its shorter
        // timeout suits a peer that retransmits.
        (Kind::Fin, _, FinWait | CloseWait | LastAck) => LastAck,

        // The middle of an unknown connection: the caller decides whether to pick it up.
        (Kind::Ack, Original, None) => Established,
        (Kind::Ack, Original, SynSent | SynSent2) => return Next::Invalid,
        (Kind::Ack, Original, SynRecv) => Established,
        (Kind::Ack, Reply, None) => return Next::Invalid,
        // The opener's SYN hit a half-open connection (RFC 9293, section 3.5.1): RST will follow.
        (Kind::Ack, Reply, SynSent | SynSent2) => return Next::Ignore,
        // The reply to a late retransmission of the SYN; the handshake still lacks the opener's
        // ACK.
        (Kind::Ack, Reply, SynRecv) => SynRecv,
        (Kind::Ack, _, Established) => Established,
        (Kind::Ack, _, FinWait | CloseWait) => CloseWait,
        (Kind::Ack, _, LastAck) => TimeWait,

        // Retransmissions after the end.
        (Kind::Fin | Kind::Ack, _, TimeWait) => TimeWait,
        (Kind::Fin | Kind::Ack, _, Close) => Close,

        (Kind::Rst, _, None) => return Next::Invalid,
        (Kind::Rst, _, _) => Close,
    };
    Next::To(to)
}

/// [`rule`] for every direction, kind and state, so that the packet path has one load.
static TABLE: [[[Next; State::COUNT]; Kind::COUNT]; 2] = expand();

const fn expand() -> [[[Next; State::COUNT]; Kind::COUNT]; 2] {
    let mut table = [[[Next::Invalid; State::COUNT]; Kind::COUNT]; 2];
    let mut k = 0;
    while k < Kind::COUNT {
        let mut s = 0;
        while s < State::COUNT {
            let (kind, state) = (Kind::ALL[k], State::ALL[s]);
            table[0][k][s] = rule(Direction::Original, kind, state);
            table[1][k][s] = rule(Direction::Reply, kind, state);
            s += 1;
        }
        k += 1;
    }
    table
}

/// Returns the transition for a segment of `kind` that travels in `direction` and finds `state`.
#[inline]
pub fn next(direction: Direction, kind: Kind, state: State) -> Next {
    // The three numbers are in range by their types, and the optimiser knows it.
    TABLE
        .get(direction.index())
        .and_then(|by_kind| by_kind.get(usize::from(kind.to_u8())))
        .and_then(|by_state| by_state.get(usize::from(state.to_u8())))
        .copied()
        .unwrap_or(Next::Invalid)
}
