// SPDX-License-Identifier: GPL-2.0

//! The life of a namespace: what the tracker registers in it, and how it ends.
//!
//! [`NetState`] itself, the data, is in [`super::netns`]; this file is above all rooms that have
//! something in a namespace.

use kernel::{
    prelude::*,
    time::{
        delay::fsleep,
        Delta, //
    },
};

use crate::{
    nf::{
        expect::listener,
        kernel::{
            log::pr_warn,
            params,
            pernet::{
                NewNet,
                Pernet,
                PernetOps, //
            },
            settings,
            time::{
                jiffies32,
                HZ, //
            },
            work, //
        },
        packet::log,
        prelude::*, //
    },
    proto::{
        generic,
        gre,
        icmp,
        icmpv6,
        sctp,
        tcp,
        types::timeout::Timeout,
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

/// The default timeout of a connection that a flow table forwards, in seconds.
#[cfg(CONFIG_NF_FLOW_TABLE)]
const OFFLOAD_SECONDS: u32 = 30;
/// The number of retransmissions of a TCP segment after which the timeout is cut.
const TCP_MAX_RETRANS: u8 = 3;
/// `nf_conntrack_events`: events are kept where there is a listener.
const EVENTS_FOR_LISTENERS: u8 = 2;

/// Sets timeouts, given in seconds.
fn set_timeouts<'a>(timeouts: impl IntoIterator<Item = &'a Timeout>, seconds: &[u32]) {
    for (timeout, seconds) in timeouts.into_iter().zip(seconds) {
        timeout.set(seconds.saturating_mul(HZ));
    }
}

/// Gives a namespace its initial settings.
fn set_defaults(net: &NewNet<'_>) {
    settings::CHECKSUM.set_initial(net, 1);
    settings::ACCT.set_initial(net, params::acct().into());
    settings::TSTAMP.set_initial(net, params::tstamp().into());
    settings::LOG_INVALID.set_initial(net, 0);
    settings::EVENTS.set_initial(net, EVENTS_FOR_LISTENERS);
    settings::TCP_LOOSE.set_initial(net, 1);
    settings::TCP_BE_LIBERAL.set_initial(net, 0);
    settings::TCP_MAX_RETRANS.set_initial(net, TCP_MAX_RETRANS);
    settings::TCP_IGNORE_INVALID_RST.set_initial(net, 0);

    let tcp = settings::TCP_TIMEOUTS.of(net);
    set_timeouts(tcp, &tcp::timeout::DEFAULT_SECONDS);
    set_timeouts(settings::UDP_TIMEOUTS.of(net), &udp::DEFAULT_SECONDS);
    set_timeouts(settings::SCTP_TIMEOUTS.of(net), &sctp::DEFAULT_SECONDS);
    set_timeouts(settings::GRE_TIMEOUTS.of(net), &gre::DEFAULT_SECONDS);
    let single = [
        (settings::ICMP_TIMEOUT, icmp::DEFAULT_SECONDS),
        (settings::ICMPV6_TIMEOUT, icmpv6::DEFAULT_SECONDS),
        (settings::GENERIC_TIMEOUT, generic::DEFAULT_SECONDS),
        #[cfg(CONFIG_NF_FLOW_TABLE)]
        (settings::TCP_OFFLOAD_TIMEOUT, OFFLOAD_SECONDS),
        #[cfg(CONFIG_NF_FLOW_TABLE)]
        (settings::UDP_OFFLOAD_TIMEOUT, OFFLOAD_SECONDS),
    ];
    for (timeout, seconds) in single {
        timeout.of(net).set(seconds.saturating_mul(HZ));
    }
}

/// Logs that a namespace is not tracked until a rule asks for it. What its owner has registered
/// there (1024 chains at one hook, for example) does not keep the module from being loaded.
#[cold]
fn warn_untracked(net: &Net, error: Error) {
    if log::ratelimit() {
        pr_warn!(
            "netns {} is not tracked: no room for hooks, errno {}\n",
            net.inum(),
            error.to_errno().wrapping_neg()
        );
    }
}

impl Pernet for NetState {
    fn init(net: &NewNet<'_>) -> Result {
        set_defaults(net);
        NetState::open_slots(net)?;
        sysctl::register(net)?;
        procfs::register(net)?;
        listener::register::<netlink::events::Multicast>(net)?;
        if params::enable_hooks() {
            let result = hooks::get_without_adoption(net);
            if net.is_init() {
                result?;
            } else if let Err(error) = result {
                warn_untracked(net, error);
            }
        }
        Ok(())
    }

    fn close(net: &Net) {
        if params::enable_hooks() {
            hooks::put(net, HookFamilies::Inet);
        }
    }

    /// Hooks that were registered before others could not be have seen packets: there may be
    /// entries also after `init` has failed.
    fn empty(net: &Net) {
        remove_entries(net);
    }

    fn work(net: &Net) -> Option<u32> {
        events::redeliver(net)
    }

    fn ops() -> &'static PernetOps<Self> {
        static OPS: PernetOps<NetState> = PernetOps::new();
        &OPS
    }
}

/// The rounds of [`remove_entries`] that only let other tasks run: nearly always enough.
const SHORT_ROUNDS: u32 = 16;
/// The pause between two later rounds, in milliseconds.
const PAUSE: i64 = 10;
/// The time after which there is a warning, in jiffies.
const LONG: u32 = 60 * HZ;

/// Deletes a namespace's entries, and waits until all of them are freed: packets in queues hold
/// some, and are delivered or dropped in their own time. The entries on the dying list are dropped
/// without an event: the listener is gone with the namespace.
fn remove_entries(net: &Net) {
    let begin = jiffies32();
    let mut round = 0_u32;
    let mut has_warned = false;
    while net.state::<NetState>().entries() != 0 {
        index::for_each(net, Scope::Namespace, |conn| {
            delete::delete(conn, DestroyReason::NamespaceGone);
        });
        events::forget_ends(net);
        // The kernel has one thread that ends namespaces: while this waits, no other one ends.
        if round < SHORT_ROUNDS {
            round = round.wrapping_add(1);
            work::schedule();
        } else {
            fsleep(Delta::from_millis(PAUSE));
        }
        if !has_warned && jiffies32().wrapping_sub(begin) > LONG {
            has_warned = true;
            warn_held(net);
        }
    }
}

/// Logs that something holds entries of a namespace that is ending.
#[cold]
fn warn_held(net: &Net) {
    pr_warn!(
        "netns {} cannot end: something holds {} entries of it\n",
        net.inum(),
        net.state::<NetState>().entries()
    );
}
