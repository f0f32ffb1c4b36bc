// SPDX-License-Identifier: GPL-2.0

//! The life of a namespace, as NAT sees it: its sysctls, and what is taken from it at its end.

use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};

use crate::{
    ct::{
        figures::nat::NatCounts,
        netns::{
            self,
            Reconsider, //
        },
    },
    nf::{
        kernel::{
            pernet::{
                NewNet,
                Pernet,
                PernetOps, //
            },
            sysctl::{
                self,
                Setting, //
            },
        },
        packet::nat_hook::Slot,
        prelude::*, //
    },
};

use super::{
    hooks,
    lost,
    netns::NatState,
    pool, //
};

fn state(net: &Net) -> &NatState {
    net.state()
}

/// The sysctls `net.netfilter.nf_nat_*` of a namespace. With all switches at 0, ports are chosen as
/// the C module chooses them.
const SETTINGS: &[Setting] = &[
    Setting::option(c"nf_nat_thorough_search", |net| &state(net).thorough),
    Setting::option(c"nf_nat_reserve", |net| &state(net).reserve),
    Setting::option(c"nf_nat_avoid_local_ports", |net| &state(net).avoid_local),
    Setting::option(c"nf_nat_oldest_first", |net| &state(net).oldest_first),
    Setting::option(c"nf_nat_drop_early", |net| &state(net).drop_early),
    Setting::option(c"nf_nat_resolve_clashes", |net| &state(net).resolve_clashes),
    Setting::option(c"nf_nat_forget_lost_addresses", |net| {
        &state(net).forget_lost
    }),
    Setting::number_to(c"nf_nat_reconsider", &2, |net| &Reconsider::of(net).level),
    Setting::number(c"nf_nat_reconsider_after", |net| &Reconsider::of(net).after),
    Setting::number(c"nf_conntrack_udp_unreplied_max", |net| {
        &Reconsider::of(net).udp_max
    }),
    Setting::ports(c"nf_nat_excluded_ports", |net| &state(net).excluded),
    Setting::count(c"nf_nat_exhausted", |net| &NatCounts::of(net).exhausted),
    Setting::count(c"nf_nat_used_locally", |net| {
        &NatCounts::of(net).used_locally
    }),
    Setting::count(c"nf_nat_gave_way", |net| &NatCounts::of(net).gave_way),
    Setting::count(c"nf_nat_clashes", |net| &NatCounts::of(net).clashes),
    Setting::count(c"nf_nat_reconsidered", |net| {
        &NatCounts::of(net).reconsidered
    }),
    Setting::count(c"nf_nat_moved", |net| &NatCounts::of(net).moved),
];

impl Pernet for NatState {
    fn init(net: &NewNet<'_>) -> Result {
        Slot::open(net, |state: &Self| &state.ipv4)?;
        Slot::open(net, |state: &Self| &state.ipv6)?;
        let state = state(net);
        for switch in [
            &state.thorough,
            &state.reserve,
            &state.avoid_local,
            &state.oldest_first,
            &state.drop_early,
            &state.resolve_clashes,
        ] {
            switch.store(1, Relaxed);
        }
        Reconsider::of(net).set_defaults();
        netns::inherit::<Self>(net, SETTINGS);
        state.excluded.allocate()?;
        sysctl::register(net, c"net/netfilter", SETTINGS)
    }

    fn close(net: &Net) {
        hooks::remove_null_hooks(net);
    }

    fn empty(net: &Net) {
        let state = state(net);
        state.excluded.free();
        pool::remove_all(net, &NatCounts::of(net).pools);
        lost::remove_all(net);
    }

    fn ops() -> &'static PernetOps<Self> {
        static OPS: PernetOps<NatState> = PernetOps::new();
        &OPS
    }
}
