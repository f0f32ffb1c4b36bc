// SPDX-License-Identifier: GPL-2.0

//! The life of a namespace: what the tracker registers in it, and how it ends.
//!
//! [`NetState`] itself, the data, is in [`super::netns`]; this file is above all rooms that have
//! something in a namespace.

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

/// The default timeout of an ICMP or ICMPv6 query, in seconds.
const ICMP_SECONDS: u32 = 30;
/// The default timeout of a connection of a protocol without a tracker, in seconds.
const GENERIC_SECONDS: u32 = 600;
/// The default timeout of a connection that a flow table forwards, in seconds.
const OFFLOAD_SECONDS: u32 = 30;
/// The number of retransmissions of a TCP segment after which the timeout is cut.
const TCP_MAX_RETRANS: u8 = 3;

/// Converts timeouts from seconds to jiffies.
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
            hooks::get_without_adoption(net)?;
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
        // Packets in the hooks have left them after this, and no new ones enter.
        rcu::synchronize_expedited();
        for net in nets.iter() {
            remove_entries(net);
            net.free_stats();
        }
    }

    fn place() -> &'static PernetPlace {
        static PLACE: PernetPlace = PernetPlace::new();
        &PLACE
    }
}

/// Deletes a namespace's entries, and waits until all of them are freed: packets in queues hold
/// some, and are delivered or dropped in their own time.
fn remove_entries(net: &Net) {
    while net.state::<NetState>().entries() != 0 {
        index::for_each(net, Scope::Namespace, |conn| {
            delete::delete(conn, DestroyReason::NamespaceGone);
        });
        // Dying entries are released, without an event: the listener is gone with the namespace.
        events::retry_deferred();
        work::schedule();
    }
}
