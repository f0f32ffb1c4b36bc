// SPDX-License-Identifier: GPL-2.0

//! The ICMP tracker: queries and their replies.
//!
//! ICMP errors are not processed here: they belong to the connection of the packet that they quote,
//! which the caller looks up ([`super::wire::icmp::Class::Error`]).

use super::{
    step::{Reason, Step, Update},
    types::{family::Family, tuple::Tuple},
    wire::icmp::{classify, Class},
};

/// Default timeout in seconds (`nf_conntrack_icmp_timeout`).
pub const DEFAULT_SECONDS: u32 = 30;

/// Processes one packet. `family` is that of the hook, `original` the entry's tuple in the original
/// direction; `timeout` is in jiffies.
///
/// An entry ends by its timeout only, not with the reply, because the network may duplicate the
/// reply.
#[inline]
pub const fn packet(family: Family, original: &Tuple, timeout: u32) -> Step {
    if !matches!(family, Family::Ipv4) {
        return Step::invalid(Reason::IcmpFamily);
    }
    match classify(original.icmp_type()) {
        Class::Request => Step::Accept(Update::refresh(timeout)),
        _ => Step::invalid(Reason::IcmpNew),
    }
}
