// SPDX-License-Identifier: GPL-2.0

//! What NAT counts in a namespace. NAT writes and its sysctls show it; here it is for the figures,
//! which are of one file.

use kernel::sync::atomic::Relaxed;

use crate::{
    ct::netns::{
        NetState,
        Reconsider, //
    },
    nf::{
        kernel::pernet::Counter,
        prelude::*, //
    },
};

/// Counters of NAT in a namespace. Zeroed at first.
#[derive(pin_init::Zeroable)]
pub(crate) struct NatCounts {
    /// `nf_nat_exhausted`: new connections that were dropped because every allowed mapping was
    /// taken.
    pub(crate) exhausted: Counter,
    /// `nf_nat_used_locally`: free ports that were not chosen because a local socket uses them.
    pub(crate) used_locally: Counter,
    /// `nf_nat_gave_way`: closed connections and early packets' entries that were deleted in favour
    /// of a new connection.
    pub(crate) gave_way: Counter,
    /// `nf_nat_clashes`: connections that no rule translates, and that got another source, as their
    /// reply tuple was in use.
    pub(crate) clashes: Counter,
    /// The number of crowded pools.
    pub(crate) pools: Counter,
}

impl NatCounts {
    /// The names of the counters that never fall.
    pub(in crate::ct) const EVENTS: [&'static str; 6] = [
        "exhausted",
        "used_locally",
        "gave_way",
        "clash",
        "reconsidered",
        "moved",
    ];

    /// Returns those of a namespace.
    pub(crate) fn of(net: &Net) -> &Self {
        &net.state::<NetState>().nat_counts
    }

    /// Does as [`Self::of`], without an RCU section of its own.
    #[inline]
    pub(crate) fn of_in<'a>(net: &'a Net, rcu: Rcu<'_>) -> &'a Self {
        &net.state_in::<NetState>(rcu).nat_counts
    }

    /// Returns the counters of [`Self::EVENTS`], in their order.
    pub(in crate::ct) fn events(net: &Net) -> [u32; 6] {
        let (counts, reconsider) = (Self::of(net), Reconsider::of(net));
        [
            &counts.exhausted,
            &counts.used_locally,
            &counts.gave_way,
            &counts.clashes,
            &reconsider.asked,
            &reconsider.moved,
        ]
        .map(|counter| counter.load(Relaxed))
    }
}
