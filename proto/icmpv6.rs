// SPDX-License-Identifier: GPL-2.0

//! The ICMPv6 tracker: queries and their replies.
//!
//! Errors, Redirects and neighbour discovery are not processed here; see
//! [`super::wire::icmpv6::Class`].

use super::{
    step::{Reason, Status, Step, Update},
    types::{family::Family, tuple::Tuple},
    wire::icmpv6::{classify, Class},
};

/// Default timeout in seconds (`nf_conntrack_icmpv6_timeout`).
pub const DEFAULT_SECONDS: u32 = 30;

/// Processes one packet. `family` is that of the hook, `original` the entry's tuple in the original
/// direction; `timeout` is in jiffies.
#[inline]
pub const fn packet(family: Family, original: &Tuple, status: &Status, timeout: u32) -> Step {
    if !matches!(family, Family::Ipv6) {
        return Step::invalid(Reason::IcmpFamily);
    }
    // A confirmed entry may have been created through netlink, with any type.
    match classify(original.icmp_type()) {
        Class::Request => Step::Accept(Update::refresh(timeout)),
        _ if status.confirmed => Step::Accept(Update::refresh(timeout)),
        _ => Step::invalid(Reason::IcmpNew),
    }
}
