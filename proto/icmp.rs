// SPDX-License-Identifier: GPL-2.0

//! The ICMP tracker: queries and their answers.
//!
//! Errors never come here: they belong to the connection of the packet that they quote, which the
//! caller looks up ([`super::wire::icmp::Class::Error`]).

use super::{
    step::{Reason, Step, Update},
    types::{family::Family, tuple::Tuple},
    wire::icmp::{classify, Class},
};

pub use super::wire::icmp::answer;

/// Default timeout in seconds (`nf_conntrack_icmp_timeout`).
pub const DEFAULT_SECONDS: u32 = 30;

/// Moves a connection on by one packet. `family` is the hook's (`NFPROTO_*`), `original` the
/// entry's tuple in the original direction, `timeout` in jiffies.
///
/// An entry ends by its timeout alone, not with the answer: the network may repeat the answer.
#[inline]
pub const fn packet(family: u16, original: &Tuple, timeout: u32) -> Step {
    if family != Family::Ipv4.to_u16() {
        return Step::invalid(Reason::IcmpFamily);
    }
    match classify(original.icmp_type()) {
        Class::Request => Step::Accept(Update::refresh(timeout)),
        _ => Step::invalid(Reason::IcmpNew),
    }
}
