// SPDX-License-Identifier: GPL-2.0

//! The state of NAT in a namespace: the hooks of its families, and its sysctls. What it counts is
//! [`NatCounts`](crate::ct::figures::nat::NatCounts). Its beginning and its end are in
//! [`super::namespace`].

use kernel::sync::atomic::Relaxed;

use crate::nf::{
    kernel::{
        pernet::Counter,
        port_set::PortSet, //
    },
    packet::nat_hook::Slot, //
};

/// The state of NAT in a namespace. Zeroed at first.
///
/// It lives as long as the namespace: nf_tables, which may have been loaded before this module,
/// unregisters its chains after [`Pernet::empty`](crate::nf::kernel::pernet::Pernet::empty).
#[derive(pin_init::Zeroable)]
pub(super) struct NatState {
    /// The IPv4 hooks.
    pub(super) ipv4: Slot,
    /// The IPv6 hooks.
    pub(super) ipv6: Slot,
    /// The version of the IPv4 table of iptables that was seen last, or 0.
    pub(super) table_ipv4: Counter,
    /// The same for IPv6.
    pub(super) table_ipv6: Counter,
    /// Whether the IPv4 hooks have a user for null bindings.
    pub(super) null_ipv4: Counter,
    /// Whether the IPv6 hooks have a user for null bindings.
    pub(super) null_ipv6: Counter,
    pub(super) thorough: Switch,
    pub(super) reserve: Switch,
    pub(super) avoid_local: Switch,
    pub(super) oldest_first: Switch,
    /// `nf_nat_excluded_ports`: ports that are never chosen.
    pub(super) excluded: PortSet,
    pub(super) drop_early: Switch,
    pub(super) resolve_clashes: Switch,
    pub(super) forget_lost: Switch,
    /// The number of losses of addresses that are kept for the worker.
    pub(super) losses: Counter,
    /// Whether there were losses that are not kept: 0 or 1.
    pub(super) more_losses: Counter,
}

/// A sysctl that is 0 or 1.
type Switch = Counter;

impl NatState {
    /// Returns `nf_nat_thorough_search`: the search finds a free port also when few are left; if it
    /// finds none, the packet is dropped at once.
    #[inline]
    pub(super) fn is_thorough(&self) -> bool {
        self.thorough.load(Relaxed) != 0
    }

    /// Returns `nf_nat_reserve`: a chosen mapping is reserved until the entry is confirmed or
    /// freed.
    #[inline]
    pub(super) fn reserves(&self) -> bool {
        self.reserve.load(Relaxed) != 0
    }

    /// Returns `nf_nat_avoid_local_ports`: ports of local sockets, and those of
    /// `net.ipv4.ip_local_reserved_ports`, are not chosen.
    #[inline]
    pub(super) fn avoids_local(&self) -> bool {
        self.avoid_local.load(Relaxed) != 0
    }

    /// Returns `nf_nat_drop_early`: an unreplied entry for a packet to this machine that no socket
    /// wants gives way to a connection that needs its tuple.
    #[inline]
    pub(super) fn drops_early(&self) -> bool {
        self.drop_early.load(Relaxed) != 0
    }

    /// Returns `nf_nat_resolve_clashes`: after a clash that a null binding would have avoided,
    /// connections get null bindings where there are no NAT chains.
    #[inline]
    pub(super) fn resolves_clashes(&self) -> bool {
        self.resolve_clashes.load(Relaxed) != 0
    }

    /// Returns `nf_nat_forget_lost_addresses`: connections end when the machine loses the address
    /// to which a rule translated their source.
    #[inline]
    pub(super) fn forgets_lost_addresses(&self) -> bool {
        self.forget_lost.load(Relaxed) != 0
    }

    /// Returns `nf_nat_oldest_first`: of the closed connections that may be deleted, the oldest one
    /// is.
    #[inline]
    pub(super) fn is_oldest_first(&self) -> bool {
        self.oldest_first.load(Relaxed) != 0
    }
}
