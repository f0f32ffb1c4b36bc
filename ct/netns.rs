// SPDX-License-Identifier: GPL-2.0

//! A namespace's own: its count of entries, its users of hooks, its settings and views.

use kernel::{
    prelude::*,
    sync::atomic::{
        Full,
        Relaxed, //
    },
    types::ScopeGuard, //
};

use crate::{
    nf::{
        entry::ecache,
        kernel::{
            net::{
                Counter,
                ExitingNets,
                Net,
                Pernet,
                PernetPlace, //
            },
            params,
            rcu,
            settings::Defaults,
            time::HZ,
            work, //
        },
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
        Why, //
    },
    netlink,
    packet::hooks::{
        self,
        Wish, //
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

/// A bit for each class of zones, in words.
const CLASS_WORDS: usize = index::CLASSES as usize / 32;

/// What the tracker keeps for a namespace. Zeroed at first.
#[derive(pin_init::Zeroable)]
pub(super) struct NetState {
    /// Entries, those included that no longer are, or not yet are, in the table.
    entries: Counter,
    /// Expectations in the table; changed under their lock.
    pub(super) expectations: Counter,
    /// The classes of zones that entries have been in.
    classes: [Counter; CLASS_WORDS],
    /// Users of the IPv4 hooks.
    pub(super) users_ipv4: Counter,
    /// Users of the IPv6 hooks.
    pub(super) users_ipv6: Counter,
    /// Users of the bridge's hooks.
    pub(super) users_bridge: Counter,
    /// The sysctls, once registered.
    pub(super) sysctls: sysctl::Slot,
}

impl NetState {
    /// Counts an entry that is about to be made. Returns the count with it.
    #[inline]
    pub(super) fn take_entry(&self) -> u32 {
        self.entries.fetch_add(1, Relaxed).wrapping_add(1)
    }

    /// Counts an entry off, whose memory has been freed.
    #[inline]
    pub(super) fn release_entry(&self) {
        // Full order: who sees zero may free what freeing the entry used.
        self.entries.fetch_sub(1, Full);
    }

    /// How many entries there are.
    #[inline]
    pub(super) fn entries(&self) -> u32 {
        self.entries.load(Relaxed)
    }

    /// Notes that there is an entry in a class of zones.
    #[inline]
    pub(super) fn note_class(&self, class: u32) {
        let bit = 1 << (class & 31);
        let Some(word) = self.classes.get((class >> 5) as usize) else {
            return;
        };
        let mut old = word.load(Relaxed);
        while old & bit == 0 {
            match word.cmpxchg(old, old | bit, Full) {
                Ok(_) => return,
                Err(other) => old = other,
            }
        }
    }

    /// The first class of zones, not below `from`, in which there may be entries. The default
    /// zone's always may have some.
    pub(super) fn class_from(&self, from: u32) -> Option<u32> {
        if from == 0 {
            return Some(0);
        }
        let (mut index, mut mask) = (from >> 5, u32::MAX << (from & 31));
        loop {
            let bits = self.classes.get(index as usize)?.load(Relaxed) & mask;
            if bits != 0 {
                return Some(index << 5 | bits.trailing_zeros());
            }
            index = index.wrapping_add(1);
            mask = u32::MAX;
        }
    }

    /// The count, for a sysctl to show.
    pub(super) fn entries_counter(&self) -> &Counter {
        &self.entries
    }
}

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
        ecache::listen::<netlink::Multicast>(net);
        let listener = ScopeGuard::new(|| ecache::leave(net));
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
                hooks::put(net, Wish::Inet);
            }
            ecache::leave(net);
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
            delete::delete(conn, Why::NamespaceGone);
        });
        // Ends that are still untold are forgotten: the listener is gone with the namespace.
        events::listener_has_room();
        work::give_way();
    }
}
