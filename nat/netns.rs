// SPDX-License-Identifier: GPL-2.0

//! A namespace's own: the hooks of its families, its settings and what was counted.

use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};

use crate::nf::{
    kernel::{
        net::{
            Counter,
            ExitingNets,
            Pernet,
            PernetPlace, //
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

/// What NAT keeps for a namespace. Zeroed at first.
///
/// It lives as long as the namespace: nf_tables, which may have been there before us, takes its
/// chains back when it wants.
#[derive(pin_init::Zeroable)]
pub(super) struct NatState {
    /// The hooks of IPv4.
    pub(super) ipv4: Slot,
    /// The hooks of IPv6.
    pub(super) ipv6: Slot,
    thorough: Switch,
    reserve: Switch,
    avoid_local: Switch,
    oldest_first: Switch,
    /// Ports that are never given.
    pub(super) excluded: PortSet,
    /// New connections that were dropped because all they could be mapped to is taken.
    pub(super) exhausted: Counter,
    /// How often a free port was not given, because a socket uses it.
    pub(super) used_locally: Counter,
    /// Connections that were over and gave way.
    pub(super) gave_way: Counter,
    sysctls: sysctl::Slot,
}

/// A setting that is 0 or 1.
type Switch = Counter;

impl NatState {
    /// `nf_nat_thorough_search`: a free port is found if there is one; if there is none, the
    /// packet is dropped at once.
    #[inline]
    pub(super) fn is_thorough(&self) -> bool {
        self.thorough.load(Relaxed) != 0
    }

    /// `nf_nat_reserve`: what was chosen for one connection is not chosen for another one.
    #[inline]
    pub(super) fn reserves(&self) -> bool {
        self.reserve.load(Relaxed) != 0
    }

    /// `nf_nat_avoid_local_ports`: ports of sockets, and those of
    /// `net.ipv4.ip_local_reserved_ports`, are not given.
    #[inline]
    pub(super) fn avoids_local(&self) -> bool {
        self.avoid_local.load(Relaxed) != 0
    }

    /// `nf_nat_oldest_first`: of connections that are over, the oldest gives way.
    #[inline]
    pub(super) fn is_oldest_first(&self) -> bool {
        self.oldest_first.load(Relaxed) != 0
    }
}

fn state(net: &Net) -> &NatState {
    net.state()
}

/// `net.netfilter.nf_nat_*`, for every namespace. With all switches at 0 ports are chosen as
/// the C engine chooses them.
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
    fn init(net: &'static Net) -> Result {
        let state = state(net);
        for switch in [
            &state.thorough,
            &state.reserve,
            &state.avoid_local,
            &state.oldest_first,
        ] {
            switch.store(1, Relaxed);
        }
        state.excluded.allocate()?;
        state
            .sysctls
            .register(net, c"net/netfilter", SETTINGS)
            .inspect_err(|_| state.excluded.free())
    }

    fn exit(nets: &ExitingNets) {
        for net in nets.iter() {
            let state = state(net);
            state.sysctls.clear();
            state.excluded.free();
        }
    }

    fn place() -> &'static PernetPlace {
        static PLACE: PernetPlace = PernetPlace::new();
        &PLACE
    }
}
