// SPDX-License-Identifier: GPL-2.0

//! What NAT counts in a namespace. NAT writes and its sysctls show it; here it is for the figures,
//! which are of one file.

use kernel::sync::atomic::Relaxed;

use crate::nf::kernel::pernet::Counter;

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
    /// `nf_nat_reconsidered`: connections that were shown to the rules again.
    pub(crate) reconsidered: Counter,
    /// `nf_nat_moved`: those of them that got another mapping.
    pub(crate) moved: Counter,
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

    /// Returns the counters of [`Self::EVENTS`], in their order.
    pub(in crate::ct) fn events(&self) -> [u32; 6] {
        [
            &self.exhausted,
            &self.used_locally,
            &self.gave_way,
            &self.clashes,
            &self.reconsidered,
            &self.moved,
        ]
        .map(|counter| counter.load(Relaxed))
    }
}
