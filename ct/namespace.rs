// SPDX-License-Identifier: GPL-2.0

//! A namespace's life: what the tracker sets up in it, and its end.

use kernel::{
    prelude::*,
    types::ScopeGuard, //
};

use crate::{
    nf::{
        expect::listener,
        kernel::{
            net::{
                ExitingNets,
                Pernet,
                PernetPlace, //
            },
            params,
            rcu,
            settings::Defaults,
            time::HZ,
            work, //
        },
        prelude::*, //
    },
    proto::{
        gre,
        sctp,
        tcp,
        udp, //
    },
};

use super::{
    entry::events,
    life::delete::{
        self,
        DestroyReason, //
    },
    netlink,
    netns::NetState,
    packet::hooks::{
        self,
        HookFamilies, //
    },
    procfs, sysctl,
    table::index::{
        self,
        Scope, //
    },
};

/// Seconds that an ICMP or ICMPv6 query lives without another packet.
const ICMP_SECONDS: u32 = 30;
/// Seconds that a connection of an unknown protocol lives without another packet.
const GENERIC_SECONDS: u32 = 600;
/// Seconds that a connection which a flow table forwards lives without another packet.
const OFFLOAD_SECONDS: u32 = 30;
/// Retransmissions of a TCP segment until the timeout is cut.
const TCP_MAX_RETRANS: u8 = 3;

fn jiffies<const N: usize>(seconds: [u32; N]) -> [u32; N] {
    seconds.map(|seconds| seconds.saturating_mul(HZ))
}

impl Pernet for NetState {
    fn init(net: &'static Net) -> Result {
        net.set_defaults(&Defaults {
            tcp: jiffies(tcp::timeout::DEFAULT_SECONDS),
            udp: jiffies(udp::DEFAULT_SECONDS),
            sctp: jiffies(sctp::DEFAULT_SECONDS),
            gre: jiffies(gre::DEFAULT_SECONDS),
            offload: OFFLOAD_SECONDS * HZ,
            icmp: ICMP_SECONDS * HZ,
            icmpv6: ICMP_SECONDS * HZ,
            generic: GENERIC_SECONDS * HZ,
            tcp_max_retrans: TCP_MAX_RETRANS,
            acct: params::acct(),
            tstamp: params::tstamp(),
        });
        net.allocate_stats()?;
        let stats = ScopeGuard::new(|| net.free_stats());
        sysctl::register(net)?;
        let sysctls = ScopeGuard::new(|| sysctl::unregister(net));
        procfs::register(net)?;
        let files = ScopeGuard::new(|| procfs::unregister(net));
        listener::register::<netlink::events::Multicast>(net);
        let listener = ScopeGuard::new(|| listener::unregister(net));
        if params::enable_hooks() {
            hooks::get_from_start(net)?;
        }
        listener.dismiss();
        files.dismiss();
        sysctls.dismiss();
        stats.dismiss();
        Ok(())
    }

    fn exit(nets: &ExitingNets) {
        for net in nets.iter() {
            if params::enable_hooks() {
                hooks::put(net, HookFamilies::Inet);
            }
            listener::unregister(net);
            procfs::unregister(net);
            sysctl::unregister(net);
        }
        // Packets that are in our hooks now have left them then; no new ones come in.
        rcu::synchronize_expedited();
        for net in nets.iter() {
            empty(net);
            net.free_stats();
        }
    }

    fn place() -> &'static PernetPlace {
        static PLACE: PernetPlace = PernetPlace::new();
        &PLACE
    }
}

/// Removes a namespace's entries, and waits until the last one is freed: some are held by
/// packets in queues, which are delivered or dropped in their own time.
fn empty(net: &Net) {
    while net.state::<NetState>().entries() != 0 {
        index::for_each(net, Scope::Namespace, |conn| {
            delete::delete(conn, DestroyReason::NamespaceGone);
        });
        // Ends that are still untold are forgotten: the listener is gone with the namespace.
        events::retry_deferred();
        work::schedule();
    }
}
