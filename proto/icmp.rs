// SPDX-License-Identifier: GPL-2.0

//! The ICMP tracker: queries and their answers.
//!
//! Errors never come here: they belong to the connection of the packet that they quote, which the
//! caller looks up ([`super::wire::icmp::Class::Error`]).

use super::{
    step::{Reason, Step, Update},
    tuple::{Tuple, IPV4},
    wire::icmp::{classify, kind, Class},
};

/// Default timeout in seconds (`nf_conntrack_icmp_timeout`).
pub const DEFAULT_SECONDS: u32 = 30;

/// The type that answers `kind`, and the other way round; [`None`] if there is none.
#[inline]
pub const fn answer(kind: u8) -> Option<u8> {
    Some(match kind {
        kind::ECHO => kind::ECHO_REPLY,
        kind::ECHO_REPLY => kind::ECHO,
        kind::TIMESTAMP => kind::TIMESTAMP_REPLY,
        kind::TIMESTAMP_REPLY => kind::TIMESTAMP,
        kind::INFORMATION_REQUEST => kind::INFORMATION_REPLY,
        kind::INFORMATION_REPLY => kind::INFORMATION_REQUEST,
        kind::ADDRESS_MASK_REQUEST => kind::ADDRESS_MASK_REPLY,
        kind::ADDRESS_MASK_REPLY => kind::ADDRESS_MASK_REQUEST,
        _ => return None,
    })
}

/// Moves a connection on by one packet. `family` is the hook's (`NFPROTO_*`), `original` the
/// entry's tuple in the original direction, `timeout` in jiffies.
///
/// An entry ends by its timeout alone, not with the answer: the network may repeat the answer.
#[inline]
pub const fn packet(family: u16, original: &Tuple, timeout: u32) -> Step {
    if family != IPV4 {
        return Step::invalid(Reason::IcmpFamily);
    }
    match classify(original.icmp_type()) {
        Class::Request => Step::Accept(Update::refresh(timeout)),
        _ => Step::invalid(Reason::IcmpNew),
    }
}
