// SPDX-License-Identifier: GPL-2.0

//! Figures of a namespace for its administrator: what happened ([`causes`]), and what there is
//! ([`census`]). `/proc/net/rust_conntrack.prom` and `/proc/net/stat/rust_conntrack` show them
//! ([`crate::ct::procfs`]).
//!
//! Nothing is counted for a packet of a known connection.

pub(crate) mod causes;
pub(super) mod census;
pub(crate) mod nat;

use crate::nf::prelude::*;

/// A protocol, as far as figures tell it apart.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Class {
    Other,
    Tcp,
    Udp,
    Icmp,
    Icmpv6,
    Sctp,
    Gre,
}

impl Class {
    /// Their names, in the order of the discriminants.
    pub(in crate::ct) const NAMES: [&'static str; 7] =
        ["other", "tcp", "udp", "icmp", "icmpv6", "sctp", "gre"];

    /// The class of each protocol number: a load instead of comparisons.
    const OF: [Self; 256] = {
        let mut classes = [Self::Other; 256];
        classes[protocol::TCP as usize] = Self::Tcp;
        classes[protocol::UDP as usize] = Self::Udp;
        classes[protocol::ICMP as usize] = Self::Icmp;
        classes[protocol::ICMPV6 as usize] = Self::Icmpv6;
        classes[protocol::SCTP as usize] = Self::Sctp;
        classes[protocol::GRE as usize] = Self::Gre;
        classes
    };

    /// Returns the class of a protocol number.
    #[inline]
    pub(in crate::ct) fn of(protocol: u8) -> Self {
        Self::OF[usize::from(protocol)]
    }
}
