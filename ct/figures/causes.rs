// SPDX-License-Identifier: GPL-2.0

//! Counters of what happened in a namespace, and why, for each CPU.
//!
//! C counts INVALID packets, and drops, each as one number. These tell the causes apart, and they
//! add up: the entries that were created, less those that ended, are the entries that there are
//! ([`created`], [`ended`]); the INVALID packets by cause are C's `invalid` and `icmp_error`, the
//! refused ones by cause are its `drop` and `insert_failed`.
//!
//! # Examples
//!
//! ```ignore
//! net.count_figure(causes::refused(Refusal::TableFull));
//! let refused: u64 = net.figure(causes::refused(Refusal::TableFull));
//! ```

use crate::{
    nf::kernel::net::Figure,
    proto::{
        step::Reason,
        types::num::u8_as_usize,
        wire, //
    },
};

use super::Class;

/// Why a packet was dropped: its connection could not begin, or go on.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Refusal {
    /// There are as many entries as the limit allows, and none gave way.
    TableFull,
    /// There was no memory for the entry.
    NoMemory,
    /// Another connection has one of its tuples.
    Clash,
    /// A chain of the table was too long.
    LongChain,
    /// The entry was deleted before it was in the table.
    Deleted,
    /// Another CPU was still deleting the closed connection of the same tuple.
    Reopened,
    /// A helper refused the packet.
    Helper,
    /// NAT's rule has no free port.
    NoPort,
}

impl Refusal {
    /// Their names, in the order of the discriminants.
    pub(in crate::ct) const NAMES: [&'static str; 8] = [
        "table_full",
        "no_memory",
        "clash",
        "long_chain",
        "deleted",
        "reopened",
        "helper",
        "no_port",
    ];
}

/// A cause for which packets of any protocol are INVALID.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum General {
    /// The header is cut off.
    Short,
    /// A length contradicts another one, or the packet's.
    Length,
    /// The checksum is wrong.
    Checksum,
    /// The packet cannot be replied to.
    NoReply,
}

impl General {
    /// Their names, in the order of the discriminants.
    const NAMES: [&'static str; 4] = ["short", "length", "checksum", "no_reply"];
}

/// A cause for which packets of one protocol are INVALID.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Particular {
    /// The headers of IP do not lead to a transport header.
    IpHeaders,
    /// No protocol that is tracked.
    Family,
    TcpFlags,
    TcpNotSyn,
    TcpMidStream,
    TcpState,
    TcpReset,
    TcpWindow,
    TcpSeqOver,
    TcpSeqUnder,
    TcpAckOver,
    TcpAckUnder,
    TcpReopened,
    SctpChunks,
    SctpNotInit,
    SctpTag,
    SctpState,
    IcmpType,
    IcmpNotRequest,
    IcmpFamily,
    /// An error that quotes a packet of no connection.
    IcmpUnknown,
    IcmpDestination,
    IcmpRedirect,
}

impl Particular {
    /// Their protocols and names, in the order of the discriminants. ICMP and ICMPv6 share
    /// counters.
    const NAMES: [(&'static str, &'static str); 23] = [
        ("other", "headers"),
        ("other", "family"),
        ("tcp", "flags"),
        ("tcp", "not_syn"),
        ("tcp", "mid_stream"),
        ("tcp", "state"),
        ("tcp", "rst"),
        ("tcp", "window"),
        ("tcp", "seq_over"),
        ("tcp", "seq_under"),
        ("tcp", "ack_over"),
        ("tcp", "ack_under"),
        ("tcp", "reopened"),
        ("sctp", "chunks"),
        ("sctp", "not_init"),
        ("sctp", "tag"),
        ("sctp", "state"),
        ("icmp", "type"),
        ("icmp", "not_request"),
        ("icmp", "family"),
        ("icmp", "unknown"),
        ("icmp", "destination"),
        ("icmp", "redirect"),
    ];
}

// The groups of figures: where each begins.
const CREATED: usize = 0;
const ENDED: usize = CREATED + Class::NAMES.len();
const REFUSED: usize = ENDED + ENDS.len();
const GENERAL: usize = REFUSED + Refusal::NAMES.len();
const PARTICULAR: usize = GENERAL + Class::NAMES.len() * General::NAMES.len();
const COUNT: usize = PARTICULAR + Particular::NAMES.len();

const _: () = assert!(COUNT <= Figure::COUNT);

/// The names of the reasons for an entry's end, by their number in the `DESTROY` event; the last
/// one is that of all higher numbers. 0: the entry was never in the table, since its first packet
/// was dropped.
const ENDS: [&str; 14] = [
    "first_packet_dropped",
    "timeout",
    "table_full",
    "deleted",
    "flushed",
    "replaced",
    "gave_way",
    "reopened",
    "reset",
    "address_gone",
    "parent_gone",
    "module",
    "reconsidered",
    "namespace_gone",
];

/// Returns the figure of the entries of a protocol that were created.
#[inline]
pub(in crate::ct) fn created(protocol: u8) -> Figure {
    Figure::new(CREATED + u8_as_usize(Class::of(protocol) as u8))
}

/// Returns the figure of the entries that were freed after an end of this reason, see
/// [`DestroyReason`](crate::ct::life::delete::DestroyReason).
#[inline]
pub(in crate::ct) fn ended(reason: u8) -> Figure {
    Figure::new(ENDED + u8_as_usize(reason).min(ENDS.len() - 1))
}

/// Returns the figure of the packets that were dropped for a cause.
#[inline]
pub(crate) fn refused(cause: Refusal) -> Figure {
    Figure::new(REFUSED + u8_as_usize(cause as u8))
}

/// Returns the figure of the packets of a protocol that were INVALID for a general cause.
pub(in crate::ct) fn invalid(protocol: u8, cause: General) -> Figure {
    let class = u8_as_usize(Class::of(protocol) as u8);
    Figure::new(GENERAL + class * General::NAMES.len() + u8_as_usize(cause as u8))
}

/// Returns the figure of the packets that were INVALID for a cause of one protocol.
pub(in crate::ct) fn invalid_for(cause: Particular) -> Figure {
    Figure::new(PARTICULAR + u8_as_usize(cause as u8))
}

/// Returns the figure of the packets of a protocol that were INVALID for the reason of a tracker.
pub(in crate::ct) fn invalid_by(protocol: u8, reason: Reason) -> Figure {
    use Particular as P;
    invalid_for(match reason {
        Reason::Malformed(error) => match error {
            wire::Error::Short => return invalid(protocol, General::Short),
            wire::Error::Truncated => return invalid(protocol, General::Length),
            wire::Error::Checksum => return invalid(protocol, General::Checksum),
            wire::Error::Version | wire::Error::Fragment | wire::Error::Extensions => P::IpHeaders,
        },
        Reason::TcpFlags => P::TcpFlags,
        Reason::TcpNew => P::TcpNotSyn,
        Reason::TcpMidStream => P::TcpMidStream,
        Reason::TcpStateIgnored { .. } | Reason::TcpState { .. } | Reason::TcpChallengeAck => {
            P::TcpState
        }
        Reason::TcpReset => P::TcpReset,
        Reason::TcpOvershot(_) => P::TcpWindow,
        Reason::TcpSeqOver(_) | Reason::TimeoutLowered => P::TcpSeqOver,
        Reason::TcpSeqUnder(_) => P::TcpSeqUnder,
        Reason::TcpAckOver(_) => P::TcpAckOver,
        Reason::TcpAckUnder(_) => P::TcpAckUnder,
        Reason::SctpChunks(_) => P::SctpChunks,
        Reason::SctpNew => P::SctpNotInit,
        Reason::SctpTag | Reason::SctpChunkTag => P::SctpTag,
        Reason::SctpState { .. } => P::SctpState,
        Reason::IcmpType => P::IcmpType,
        Reason::IcmpNew => P::IcmpNotRequest,
        Reason::IcmpFamily => P::IcmpFamily,
        Reason::QuotedDestination => P::IcmpDestination,
        Reason::RedirectSource | Reason::RedirectOptions => P::IcmpRedirect,
    })
}

/// What a figure counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::ct) enum Group {
    /// Entries that were created.
    Created,
    /// Entries that ended.
    Ended,
    /// Packets that were dropped.
    Refused,
    /// Packets that were INVALID.
    Invalid,
}

/// A figure, and what it counts.
#[derive(Clone, Copy)]
pub(in crate::ct) struct Series {
    pub(in crate::ct) figure: Figure,
    pub(in crate::ct) group: Group,
    /// The protocol; empty: any.
    pub(in crate::ct) protocol: &'static str,
    /// The reason or the cause; empty: none.
    pub(in crate::ct) cause: &'static str,
}

impl Series {
    /// The number of figures.
    pub(in crate::ct) const COUNT: usize = COUNT;

    /// Returns the figure of this number, from 0 on. [`None`]: there are no more.
    pub(in crate::ct) fn nth(number: usize) -> Option<Self> {
        let in_group = |first: usize| number.checked_sub(first);
        let series = |group, protocol, cause| Self {
            figure: Figure::new(number),
            group,
            protocol,
            cause,
        };
        Some(if let Some(index) = in_group(PARTICULAR) {
            let &(protocol, cause) = Particular::NAMES.get(index)?;
            series(Group::Invalid, protocol, cause)
        } else if let Some(index) = in_group(GENERAL) {
            let protocol = Class::NAMES.get(index / General::NAMES.len())?;
            let cause = General::NAMES.get(index % General::NAMES.len())?;
            series(Group::Invalid, protocol, cause)
        } else if let Some(index) = in_group(REFUSED) {
            series(Group::Refused, "", Refusal::NAMES.get(index)?)
        } else if let Some(index) = in_group(ENDED) {
            series(Group::Ended, "", ENDS.get(index)?)
        } else {
            series(Group::Created, Class::NAMES.get(number)?, "")
        })
    }
}
