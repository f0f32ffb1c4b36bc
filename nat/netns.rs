// SPDX-License-Identifier: GPL-2.0

//! The state of NAT in a namespace: the hooks of its families, its sysctls and counters.

use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};

use crate::nf::{
    kernel::{
        net::{
            Counter,
            ExitingNets,
            NewNet,
            Pernet,
            PernetOps, //
        },
        port_set::PortSet,
        sysctl::{
            self,
            Setting, //
        },
    },
    packet::nat_hook::Slot,
    prelude::*, //
};

/// The state of NAT in a namespace. Zeroed at first.
///
/// It lives as long as the namespace: nf_tables, which may have been loaded before this module,
/// unregisters its chains after [`Pernet::exit`].
#[derive(pin_init::Zeroable)]
pub(super) struct NatState {
    /// The IPv4 hooks.
    pub(super) ipv4: Slot,
    /// The IPv6 hooks.
    pub(super) ipv6: Slot,
    thorough: Switch,
    reserve: Switch,
    avoid_local: Switch,
    oldest_first: Switch,
    /// `nf_nat_excluded_ports`: ports that are never chosen.
    pub(super) excluded: PortSet,
    /// `nf_nat_exhausted`: new connections that were dropped because every allowed mapping was
    /// taken.
    pub(super) exhausted: Counter,
    /// `nf_nat_used_locally`: free ports that were not chosen because a local socket uses them.
    pub(super) used_locally: Counter,
    /// `nf_nat_gave_way`: closed connections that were deleted in favour of a new one.
    pub(super) gave_way: Counter,
    sysctls: sysctl::Slot,
}

/// A sysctl that is 0 or 1.
type Switch = Counter;

impl NatState {
    /// `nf_nat_thorough_search`: the search finds a free port if there is one; if there is none,
    /// the packet is dropped at once.
    #[inline]
    pub(super) fn is_thorough(&self) -> bool {
        self.thorough.load(Relaxed) != 0
    }

    /// `nf_nat_reserve`: a chosen mapping is reserved until the entry is confirmed or freed.
    #[inline]
    pub(super) fn reserves(&self) -> bool {
        self.reserve.load(Relaxed) != 0
    }

    /// `nf_nat_avoid_local_ports`: ports of local sockets, and those of
    /// `net.ipv4.ip_local_reserved_ports`, are not chosen.
    #[inline]
    pub(super) fn avoids_local(&self) -> bool {
        self.avoid_local.load(Relaxed) != 0
    }

    /// `nf_nat_oldest_first`: of the closed connections that may be deleted, the oldest one is.
    #[inline]
    pub(super) fn is_oldest_first(&self) -> bool {
        self.oldest_first.load(Relaxed) != 0
    }
}

fn state(net: &Net) -> &NatState {
    net.state()
}

fn sysctls(net: &Net) -> &sysctl::Slot {
    &state(net).sysctls
}

/// The sysctls `net.netfilter.nf_nat_*` of a namespace. With all switches at 0, ports are chosen as
/// the C module chooses them.
const SETTINGS: &[Setting] = &[
    Setting::option(c"nf_nat_thorough_search", |net| &state(net).thorough),
    Setting::option(c"nf_nat_reserve", |net| &state(net).reserve),
    Setting::option(c"nf_nat_avoid_local_ports", |net| &state(net).avoid_local),
    Setting::option(c"nf_nat_oldest_first", |net| &state(net).oldest_first),
    Setting::ports(c"nf_nat_excluded_ports", |net| &state(net).excluded),
    Setting::count(c"nf_nat_exhausted", |net| &state(net).exhausted),
    Setting::count(c"nf_nat_used_locally", |net| &state(net).used_locally),
    Setting::count(c"nf_nat_gave_way", |net| &state(net).gave_way),
];

impl Pernet for NatState {
    fn init(net: &NewNet<'_>) -> Result {
        let state = state(net);
        for switch in [
            &state.thorough,
            &state.reserve,
            &state.avoid_local,
            &state.oldest_first,
        ] {
            switch.store(1, Relaxed);
        }
        sysctl::inherit(net, SETTINGS, sysctls);
        state.excluded.allocate()?;
        state
            .sysctls
            .register(net, c"net/netfilter", SETTINGS)
            .inspect_err(|_| state.excluded.free())
    }

    fn exit(nets: &ExitingNets) {
        for net in nets.iter() {
            let state = state(&net);
            state.sysctls.clear();
            state.excluded.free();
        }
    }

    fn ops() -> &'static PernetOps<Self> {
        static OPS: PernetOps<NatState> = PernetOps::new();
        &OPS
    }
}
