// SPDX-License-Identifier: GPL-2.0

//! The outcome of a tracker: what its caller does with the packet and the entry.

use super::{
    state::{
        sctp,
        tcp::{Kind, State},
    },
    time::Jiffies32,
    types::direction::Direction,
    wire::{
        error::Error,
        icmpv6::RedirectError,
        sctp::{ChunkError, Kind as ChunkKind},
    },
};

/// The outcome of a tracker.
///
/// | | packet | entry | C |
/// |---|---|---|---|
/// | [`Accept`](Step::Accept) | passes, attached | see [`Update`] | `NF_ACCEPT` after a refresh |
/// | [`Ignore`](Step::Ignore) | passes, attached | untouched, nothing counted | `NF_ACCEPT` |
/// | [`Invalid`](Step::Invalid) | passes, *not* attached | perhaps a shorter life | `-NF_ACCEPT` |
/// | [`Reopen`](Step::Reopen) | looked up again | killed | `-NF_REPEAT`, `NF_DROP` |
/// | [`Kill`](Step::Kill) | passes, attached | counted, then killed | `nf_ct_kill_acct()` |
///
/// No tracker drops a packet: what becomes of an INVALID one is the rule set's choice. The only
/// drop is in the caller, if it loses the race to kill the entry of a [`Step::Reopen`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the caller has to act on the outcome"]
pub enum Step {
    /// The packet belongs to the connection.
    Accept(Update),
    /// The packet belongs to the connection but proves nothing, so it must not keep the entry
    /// alive: no refresh, no accounting. A reason is logged if `nf_conntrack_log_invalid` asks for
    /// it.
    Ignore(Option<Reason>),
    /// The packet is INVALID: detach it, count `invalid`, and log the reason.
    Invalid {
        /// Why the packet is INVALID.
        reason: Reason,
        /// If set, the entry expires this many jiffies from now, although the packet does not
        /// belong to it, and [`Reason::TimeoutLowered`] is logged as well.
        lower_timeout: Option<u32>,
    },
    /// The packet opens a new connection over a closed one: kill the entry and look the packet up
    /// again. If another CPU kills the entry first, drop the packet; the sender repeats it, and
    /// finds the entry gone.
    Reopen,
    /// The packet ends the connection at once: account it, kill the entry, let the packet pass.
    Kill,
}

impl Step {
    /// Returns the outcome for an INVALID packet that does not affect the entry.
    #[inline]
    pub const fn invalid(reason: Reason) -> Self {
        Self::Invalid {
            reason,
            lower_timeout: None,
        }
    }
}

/// What an accepted packet changes about its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Update {
    /// The new timeout in jiffies from now; the packet is accounted. [`None`]: timeout and counters
    /// stay as they are.
    pub timeout: Option<u32>,
    /// ASSURED is set, and the event ASSURED is reported if it was not set before.
    pub assured: bool,
    /// The event PROTOINFO is reported.
    pub protoinfo: bool,
}

impl Update {
    /// Returns an update that restarts the entry's timer (jiffies) and changes nothing else.
    #[inline]
    pub const fn refresh(timeout: u32) -> Self {
        Self {
            timeout: Some(timeout),
            assured: false,
            protoinfo: false,
        }
    }
}

/// The facts about an entry that trackers need, from `nf_conn::status` and the extensions.
///
/// The caller takes the snapshot before the step. SEEN_REPLY describes the entry, not the packet:
/// it is set after the first reply has passed its tracker.
#[derive(Clone, Copy, Debug, Default)]
pub struct Status {
    /// IPS_CONFIRMED: the entry is in the table.
    pub confirmed: bool,
    /// IPS_SEEN_REPLY: an earlier packet travelled in the reply direction.
    pub seen_reply: bool,
    /// IPS_ASSURED.
    pub assured: bool,
    /// IPS_FIXED_TIMEOUT: packets do not change the entry's timeout.
    pub fixed_timeout: bool,
    /// IPS_NAT_CLASH: only the entry's reply tuple is in the table, because another entry won the
    /// race for the original one.
    pub nat_clash: bool,
    /// The entry has the SYNPROXY extension.
    pub synproxy: bool,
    /// The entry's deadline. Only the TCP tracker reads it, and only if `assured`.
    pub expires: Jiffies32,
}

/// Why a packet is INVALID or ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The packet cannot be parsed.
    Malformed(Error),
    /// TCP: a combination of flags that no segment may have.
    TcpFlags,
    /// TCP: a segment that cannot open a connection.
    TcpNew,
    /// TCP: the middle of a connection, and `nf_conntrack_tcp_loose` is off. Not logged.
    TcpMidStream,
    /// TCP: the segment may be valid, but shows that the entry and the peers disagree about the
    /// state.
    TcpStateIgnored {
        /// The kind of segment.
        kind: Kind,
        /// Its direction.
        direction: Direction,
        /// The state before it.
        state: State,
    },
    /// TCP: the segment cannot occur in this state.
    TcpState {
        /// The kind of segment.
        kind: Kind,
        /// Its direction.
        direction: Direction,
        /// The state before it.
        state: State,
    },
    /// TCP: a challenge ACK (RFC 5961, section 4), not the last ACK of the connection.
    TcpChallengeAck,
    /// TCP: a RST with a sequence number below the highest acknowledged one.
    TcpReset,
    /// TCP: more data than the receiver's window allowed; the number of bytes beyond it.
    TcpOvershot(u32),
    /// TCP: inequality I; the first sequence number over the bound.
    TcpSeqOver(u32),
    /// TCP: inequality II; the last sequence number under the bound.
    TcpSeqUnder(u32),
    /// TCP: inequality III; the first acknowledgment number over the bound.
    TcpAckOver(u32),
    /// TCP: inequality IV; the last acknowledgment number under the bound.
    TcpAckUnder(u32),
    /// TCP: FIN or RST out of window from both peers; the entry's timeout was lowered.
    TimeoutLowered,
    /// SCTP: a combination or a length of chunks that is not allowed.
    SctpChunks(ChunkError),
    /// SCTP: a packet that cannot open an association. Not logged.
    SctpNew,
    /// SCTP: the verification tag is not that of the association.
    SctpTag,
    /// SCTP: the verification tag does not fit the chunk's own rule (RFC 9260, section 8.5.1). Not
    /// logged.
    SctpChunkTag,
    /// SCTP: the chunk cannot occur in this state.
    SctpState {
        /// The kind of chunk.
        kind: ChunkKind,
        /// Its direction.
        direction: Direction,
        /// The state before it.
        state: sctp::State,
    },
    /// ICMP: an unknown type, to be discarded (RFC 1122, section 3.2.2).
    IcmpType,
    /// ICMP, ICMPv6: a type that cannot open a connection. Not logged.
    IcmpNew,
    /// ICMP in IPv6 or ICMPv6 in IPv4. Not logged.
    IcmpFamily,
    /// ICMP, ICMPv6: an error to a destination that is not an end of the connection that it quotes.
    QuotedDestination,
    /// ICMPv6: a Redirect that did not come from a neighbour (RFC 4861, section 8.1).
    RedirectSource,
    /// ICMPv6: a Redirect without options, or with an empty one.
    RedirectOptions,
}

impl Reason {
    /// Returns the text for the log, without the number that [`Reason::value`] has.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Malformed(error) => error.message(),
            Self::TcpFlags => "invalid tcp flag combination",
            Self::TcpNew => "invalid new",
            Self::TcpMidStream => "mid-stream packet, not picked up",
            Self::TcpStateIgnored { .. } => "packet ignored in this state",
            Self::TcpState { .. } => "packet invalid in this state",
            Self::TcpChallengeAck => "challenge-ack ignored",
            Self::TcpReset => "invalid rst",
            Self::TcpOvershot(_) => "more bytes than expected",
            Self::TcpSeqOver(_) => "SEQ is over upper bound (over the window of the receiver)",
            Self::TcpSeqUnder(_) => "SEQ is under lower bound (already ACKed data retransmitted)",
            Self::TcpAckOver(_) => "ACK is over upper bound (ACKed data not seen yet)",
            Self::TcpAckUnder(_) => "ignored ACK under lower bound (possible overly delayed)",
            Self::TimeoutLowered => "lowered timeout to UNACK",
            Self::SctpChunks(error) => error.message(),
            Self::SctpNew => "packet cannot open an association",
            Self::SctpTag | Self::SctpChunkTag => "verification tag check failed",
            Self::SctpState { .. } => "chunk invalid in this state",
            Self::IcmpType => "invalid icmp type",
            Self::IcmpNew => "icmp type cannot open a connection",
            Self::IcmpFamily => "icmp version does not match the ip version",
            Self::QuotedDestination => "outer daddr does not match the connection quoted",
            Self::RedirectSource => "invalid saddr or hoplimit for redirect",
            Self::RedirectOptions => "redirect without options",
        }
    }

    /// Returns the number that belongs to the text: the bound that was exceeded, or a number of
    /// bytes.
    pub const fn value(self) -> Option<u32> {
        match self {
            Self::TcpOvershot(value)
            | Self::TcpSeqOver(value)
            | Self::TcpSeqUnder(value)
            | Self::TcpAckOver(value)
            | Self::TcpAckUnder(value) => Some(value),
            _ => None,
        }
    }

    /// Returns whether `nf_conntrack_log_invalid` applies to this reason.
    pub const fn is_logged(self) -> bool {
        !matches!(
            self,
            Self::TcpMidStream
                | Self::SctpChunks(ChunkError::None)
                | Self::SctpNew
                | Self::SctpChunkTag
                | Self::IcmpNew
                | Self::IcmpFamily
        )
    }
}

impl From<Error> for Reason {
    fn from(error: Error) -> Self {
        Self::Malformed(error)
    }
}

impl From<RedirectError> for Reason {
    fn from(error: RedirectError) -> Self {
        match error {
            RedirectError::Short => Self::Malformed(Error::Short),
            RedirectError::Source => Self::RedirectSource,
            RedirectError::Options => Self::RedirectOptions,
        }
    }
}
