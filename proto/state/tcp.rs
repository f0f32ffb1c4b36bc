// SPDX-License-Identifier: GPL-2.0

//! The states of a connection as seen from the middle, and how segments move between them.
//!
//! RFC 9293 gives each *peer* a state machine. We see both peers' segments, cannot know which of
//! them arrive, and so follow the connection as a whole: SYN_SENT means that a SYN has passed us,
//! FIN_WAIT that a FIN has, and so on.

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
    /// How many states there are.
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

    /// Reads a state back from its number.
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

    /// The state's number.
    #[inline]
    pub const fn to_u8(self) -> u8 {
        self as u8
    }

    /// The name in `/proc/net/nf_conntrack`.
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

    /// Whether a full table may drop the entry, assured or not: the connection is ending anyway.
    #[inline]
    pub const fn may_be_dropped_early(self) -> bool {
        matches!(
            self,
            Self::FinWait | Self::CloseWait | Self::LastAck | Self::TimeWait | Self::Close
        )
    }
}

/// What a segment is to the state machine. The most decisive flag names it: RST, SYN, FIN, ACK.
///
/// The numbers are those that an entry remembers of its last packet, and those of the log.
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
    /// How many kinds there are.
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

    /// Names a segment by its flags.
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

    /// The kind's number.
    #[inline]
    pub const fn to_u8(self) -> u8 {
        self as u8
    }
}

/// Where a segment leads from a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// To this state, if the segment passes the checks on its numbers.
    To(State),
    /// Nowhere yet: the segment shows that we may be out of step with the peers. Its receiver
    /// knows better, and its answer will tell us.
    Ignore,
    /// Nowhere: no peer that we follow correctly sends this.
    Invalid,
}

/// The transitions, written as rules; [`TABLE`] is their expansion.
const fn rule(direction: Direction, kind: Kind, state: State) -> Next {
    use Direction::{Original, Reply};
    use State::*;

    let to = match (kind, direction, state) {
        // A segment that is nothing.
        (Kind::None, _, _) => return Next::Invalid,

        // The opener's SYN opens, repeats, or re-opens (RFC 9293, section 3.6.1). Elsewhere it
        // comes from an opener that lost its state while the other peer kept it: the answer, a
        // challenge ACK (RFC 5961, section 4) or a SYN/ACK, shows which.
        (Kind::Syn, Original, None | SynSent | TimeWait | Close) => SynSent,
        (Kind::Syn, Original, SynSent2) => SynSent2,
        (Kind::Syn, Original, _) => return Next::Ignore,
        // The other peer's SYN crosses the opener's, or re-opens with roles changed.
        (Kind::Syn, Reply, SynSent | SynSent2) => SynSent2,
        (Kind::Syn, Reply, TimeWait) => SynSent,
        (Kind::Syn, Reply, _) => return Next::Invalid,

        // The opener acknowledges a SYN only when the two crossed.
        (Kind::SynAck, Original, SynSent2 | SynRecv) => SynRecv,
        (Kind::SynAck, Original, _) => return Next::Invalid,
        // The common answer. Later it may be a repetition, or answer a SYN that we ignored.
        (Kind::SynAck, Reply, SynSent | SynSent2) => SynRecv,
        (Kind::SynAck, Reply, None) => return Next::Invalid,
        (Kind::SynAck, Reply, _) => return Next::Ignore,

        // Nothing can be closed before both SYNs were seen.
        (Kind::Fin, _, None | SynSent | SynSent2) => return Next::Invalid,
        (Kind::Fin, _, SynRecv | Established) => FinWait,
        // Perhaps a repetition of the first FIN; then LAST_ACK comes early, and its shorter
        // timeout is what the repetition suggests anyway.
        (Kind::Fin, _, FinWait | CloseWait | LastAck) => LastAck,

        // A connection older than us: the caller decides whether to pick it up.
        (Kind::Ack, Original, None) => Established,
        (Kind::Ack, Original, SynSent | SynSent2) => return Next::Invalid,
        (Kind::Ack, Original, SynRecv) => Established,
        (Kind::Ack, Reply, None) => return Next::Invalid,
        // The opener's SYN hit a half-open connection (RFC 9293, section 3.5.1): RST will follow.
        (Kind::Ack, Reply, SynSent | SynSent2) => return Next::Ignore,
        // Answers a late repetition of the SYN; the handshake still lacks the opener's ACK.
        (Kind::Ack, Reply, SynRecv) => SynRecv,
        (Kind::Ack, _, Established) => Established,
        (Kind::Ack, _, FinWait | CloseWait) => CloseWait,
        (Kind::Ack, _, LastAck) => TimeWait,

        // Repetitions after the end.
        (Kind::Fin | Kind::Ack, _, TimeWait) => TimeWait,
        (Kind::Fin | Kind::Ack, _, Close) => Close,

        (Kind::Rst, _, None) => return Next::Invalid,
        (Kind::Rst, _, _) => Close,
    };
    Next::To(to)
}

/// [`rule`] for every direction, kind and state: one load on the packet path.
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

/// Where a segment of `kind` leads that travels in `direction` and finds `state`.
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
