// SPDX-License-Identifier: GPL-2.0

//! The states of an SCTP association as a tracker sees it, and the transitions between them.
//!
//! RFC 9260, section 4 gives each *endpoint* a state machine. A tracker sees the chunks of both
//! endpoints and cannot know which of them arrive, so it follows the association as a whole.

use crate::proto::{types::direction::Direction, wire::sctp::Kind};

/// The state of an association. The numbers are user-visible (`enum sctp_conntrack`, netlink).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// No packet seen.
    None = 0,
    /// An INIT from the opener, or the end.
    Closed = 1,
    /// An INIT ACK: the cookie is on its way to the opener.
    CookieWait = 2,
    /// A COOKIE ECHO: the cookie is on its way back.
    CookieEchoed = 3,
    /// A COOKIE ACK.
    Established = 4,
    /// A SHUTDOWN in the original direction.
    ShutdownSent = 5,
    /// A SHUTDOWN in the reply direction.
    ShutdownRecd = 6,
    /// A SHUTDOWN ACK.
    ShutdownAckSent = 7,
    /// A HEARTBEAT in a flow that has no other history: another path of a multi-homed
    /// association.
    HeartbeatSent = 8,
}

impl State {
    /// Number of states.
    pub const COUNT: usize = 9;

    /// All states, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT] = [
        Self::None,
        Self::Closed,
        Self::CookieWait,
        Self::CookieEchoed,
        Self::Established,
        Self::ShutdownSent,
        Self::ShutdownRecd,
        Self::ShutdownAckSent,
        Self::HeartbeatSent,
    ];

    /// Returns the state with this number, or [`State::None`] if there is none.
    #[inline]
    pub const fn from_u32(number: u32) -> Self {
        match number {
            1 => Self::Closed,
            2 => Self::CookieWait,
            3 => Self::CookieEchoed,
            4 => Self::Established,
            5 => Self::ShutdownSent,
            6 => Self::ShutdownRecd,
            7 => Self::ShutdownAckSent,
            8 => Self::HeartbeatSent,
            _ => Self::None,
        }
    }

    /// Returns the state's number.
    #[inline]
    pub const fn to_u32(self) -> u32 {
        // CAST: the discriminant, by `repr(u32)`.
        self as u32
    }

    /// Returns the name in `/proc/net/nf_conntrack`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Closed => "CLOSED",
            Self::CookieWait => "COOKIE_WAIT",
            Self::CookieEchoed => "COOKIE_ECHOED",
            Self::Established => "ESTABLISHED",
            Self::ShutdownSent => "SHUTDOWN_SENT",
            Self::ShutdownRecd => "SHUTDOWN_RECD",
            Self::ShutdownAckSent => "SHUTDOWN_ACK_SENT",
            Self::HeartbeatSent => "HEARTBEAT_SENT",
        }
    }

    /// Returns whether the association is over: it was shut down or aborted.
    #[inline]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Closed)
    }

    /// Returns whether early drop may take the entry, assured or not, because the association is
    /// ending.
    #[inline]
    pub const fn may_be_dropped_early(self) -> bool {
        matches!(
            self,
            Self::ShutdownSent | Self::ShutdownRecd | Self::ShutdownAckSent
        )
    }
}

/// Returns the state after a chunk that travels in `direction` and finds `state`. [`None`]: the
/// chunk is INVALID.
///
/// Most chunks that come out of order are retransmissions, and change nothing.
#[inline]
pub const fn next(direction: Direction, kind: Kind, state: State) -> Option<State> {
    use Direction::{Original, Reply};
    use State::{
        Closed, CookieEchoed, CookieWait, Established, HeartbeatSent, None as Unseen,
        ShutdownAckSent, ShutdownRecd, ShutdownSent,
    };

    Some(match (kind, direction, state) {
        (Kind::Data | Kind::Other, _, _) => state,

        // Only the opener sends the first packet. A HEARTBEAT needs no history: its reply proves
        // that there is an association, and that this is another path of it.
        (_, Reply, Unseen) => return None,
        (Kind::Heartbeat, _, Unseen | HeartbeatSent) => HeartbeatSent,
        (Kind::HeartbeatAck, Original, HeartbeatSent) => HeartbeatSent,
        (Kind::HeartbeatAck, Reply, HeartbeatSent) => Established,
        (_, Reply, HeartbeatSent) => return None,

        // Opening (section 5.1). An INIT may follow a shutdown that the other peer has yet to see.
        (Kind::Init, Original, HeartbeatSent) => CookieWait,
        (Kind::Init, Original, ShutdownSent | ShutdownRecd) => Closed,
        (Kind::InitAck, Reply, Closed) => CookieWait,
        // If INITs crossed, the cookie of either peer may be the valid one (section 5.2.4).
        (Kind::CookieEcho, _, CookieWait) => CookieEchoed,
        (Kind::CookieAck, _, CookieEchoed) => Established,
        // The cookie was stale (section 5.2.6).
        (Kind::Error, Reply, CookieEchoed) => Closed,

        // Ending (section 9). A SHUTDOWN ACK without history is a retransmission.
        (Kind::Abort, _, _) => Closed,
        (Kind::Shutdown, Original, Established) => ShutdownSent,
        (Kind::Shutdown, Reply, Established) => ShutdownRecd,
        (Kind::ShutdownAck, _, ShutdownSent | ShutdownRecd) => ShutdownAckSent,
        (Kind::ShutdownAck, Original, Unseen | HeartbeatSent) => ShutdownAckSent,
        (Kind::ShutdownComplete, _, ShutdownAckSent) => Closed,

        (_, Original, Unseen | HeartbeatSent) => Closed,
        _ => state,
    })
}
