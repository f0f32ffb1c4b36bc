// SPDX-License-Identifier: GPL-2.0

//! The data of a namespace: the number of entries and of expectations, the classes of zones that
//! are in use, the dying list, the users of the hooks, the sysctls.
//!
//! This is the ground floor of the tracker: it knows no table and no entry. The life of a namespace
//! is in [`crate::ct::namespace`]. All counters are atomic; those of hooks are changed under the
//! mutex of hooks.

use kernel::{
    prelude::*,
    sync::atomic::{
        Full,
        Relaxed, //
    },
};

use crate::{
    nf::{
        entry::{
            dying::DyingList,
            index_keys::ZONE_CLASSES, //
        },
        kernel::{
            module_folder,
            params::{
                self,
                Inherit, //
            },
            pernet::{
                Counter,
                NewNet,
                Pernet, //
            },
            rcu::Rcu,
            sysctl::Setting, //
        },
        packet::{
            bridge::BridgeUsers,
            hook::HookSlot, //
        },
        prelude::*, //
    },
    proto::types::num::u32_as_usize, //
};

use super::figures::{
    census::Census,
    nat::NatCounts, //
};

/// The number of words of a bitmap of classes.
const CLASS_WORDS: usize = u32_as_usize(ZONE_CLASSES) / 32;

/// The number of classes of tuples that have a budget of lookups of sockets each.
const MISS_CLASSES: usize = 16;

/// The tracker's state of a namespace. Zeroed when the namespace is created.
#[derive(pin_init::Zeroable)]
pub(super) struct NetState {
    /// The number of entries, including those that are not in the table yet, or no longer.
    entries: Counter,
    /// The entries that left the table, and whose destroy event could not be sent yet.
    pub(super) dying: DyingList,
    /// The pause before the next attempt to send one of these events, in jiffies; 0: the first one
    /// of them.
    pub(super) retry_pause: Counter,
    /// The number of expectations in the table; changed under their lock.
    pub(super) expectations: Counter,
    /// A bitmap of the classes of zones that entries have had. Bits are never cleared.
    classes: [Counter; CLASS_WORDS],
    /// The number of users of the IPv4 hooks.
    users_ipv4: Counter,
    /// The number of users of the IPv6 hooks.
    users_ipv6: Counter,
    /// The registration of the IPv4 hooks, while they have users.
    hooks_ipv4: HookSlot,
    /// The registration of the IPv6 hooks, while they have users.
    hooks_ipv6: HookSlot,
    /// Whether a clash of IPv4 reply tuples is noted: 0 or 1.
    clashes_ipv4: Counter,
    /// Whether a clash of IPv6 reply tuples is noted: 0 or 1.
    clashes_ipv6: Counter,
    /// The budget of walks of the tables of sockets for this namespace alone:
    /// [`adopt::Walks`](crate::proto::adopt::Walks).
    pub(super) socket_walks: Counter,
    /// The number of NAT chains: with none, no connection is translated.
    pub(super) nat_chains: Counter,
    /// The budget of lookups of sockets: [`adopt::Misses`](crate::proto::adopt::Misses), by the
    /// hash of a tuple.
    socket_misses: [Counter; MISS_CLASSES],
    /// The entries by protocol and state.
    pub(super) census: Census,
    /// What NAT counts.
    pub(super) nat_counts: NatCounts,
    /// The users of the bridge's hooks, and their registration.
    pub(super) bridge_users: BridgeUsers,
    /// When unreplied connections are shown to NAT's rules again.
    pub(super) reconsider: Reconsider,
}

/// Settings of [`crate::ct::life::reconsider`] in a namespace.
#[derive(pin_init::Zeroable)]
pub(crate) struct Reconsider {
    /// `nf_nat_reconsider`: 1: unreplied connections are shown to changed rules again. 2: also UDP
    /// that is not answered any more. 0: none, as in C.
    pub(crate) level: Counter,
    /// `nf_nat_reconsider_after`: how long a mapping stays without a reply before that, in seconds.
    pub(crate) after: Counter,
    /// `nf_conntrack_udp_unreplied_max`: the age, in seconds, from which on the source of an
    /// unreplied UDP connection is chosen anew also by the same rules. 0: never.
    pub(crate) udp_max: Counter,
}

impl Reconsider {
    /// Returns that of a namespace.
    pub(crate) fn of(net: &Net) -> &Self {
        &net.state::<NetState>().reconsider
    }

    /// Does as [`Self::of`], without an RCU section of its own.
    pub(crate) fn of_in<'a>(net: &'a Net, rcu: Rcu<'_>) -> &'a Self {
        &net.state_in::<NetState>(rcu).reconsider
    }

    /// Sets the defaults.
    pub(crate) fn set_defaults(&self) {
        self.level.store(1, Relaxed);
        self.after.store(30, Relaxed);
        self.udp_max.store(300, Relaxed);
    }
}

impl NatCounts {
    /// Returns those of a namespace.
    pub(crate) fn of(net: &Net) -> &Self {
        &net.state::<NetState>().nat_counts
    }

    /// Does as [`Self::of`], without an RCU section of its own.
    #[inline]
    pub(crate) fn of_in<'a>(net: &'a Net, rcu: Rcu<'_>) -> &'a Self {
        &net.state_in::<NetState>(rcu).nat_counts
    }
}

impl NetState {
    /// Makes the places of hooks usable.
    ///
    /// `ENOMEM`: no memory.
    pub(super) fn open_slots(net: &NewNet<'_>) -> Result {
        HookSlot::open(net, |state: &Self| &state.hooks_ipv4)?;
        HookSlot::open(net, |state: &Self| &state.hooks_ipv6)?;
        BridgeUsers::open(net, |state: &Self| &state.bridge_users)
    }

    /// Counts an entry that is about to be created. Returns the number of entries, including it.
    #[inline]
    pub(super) fn take_entry(&self) -> u32 {
        self.entries.fetch_add(1, Relaxed).wrapping_add(1)
    }

    /// Uncounts an entry after its memory was freed.
    #[inline]
    pub(super) fn release_entry(&self) {
        // Fully ordered: the reader of a zero may free what was used to free the entry.
        self.entries.fetch_sub(1, Full);
    }

    /// Returns the number of entries.
    #[inline]
    pub(super) fn entries(&self) -> u32 {
        self.entries.load(Relaxed)
    }

    /// Marks a class of zones as used.
    #[inline]
    pub(super) fn mark_class(&self, class: u32) {
        let bit = 1 << (class & 31);
        let Some(word) = self.classes.get(u32_as_usize(class >> 5)) else {
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

    /// Returns the first used class of zones from `from` on. The class of the default zone counts
    /// as used.
    pub(super) fn next_class(&self, from: u32) -> Option<u32> {
        if from == 0 {
            return Some(0);
        }
        let (mut index, mut mask) = (from >> 5, u32::MAX << (from & 31));
        loop {
            let bits = self.classes.get(u32_as_usize(index))?.load(Relaxed) & mask;
            if bits != 0 {
                return Some(index << 5 | bits.trailing_zeros());
            }
            index = index.wrapping_add(1);
            mask = u32::MAX;
        }
    }

    /// Returns the budget of lookups of sockets for a tuple with this hash.
    pub(super) fn socket_misses(&self, hash: u32) -> &Counter {
        let [first, ..] = &self.socket_misses;
        let class = u32_as_usize(hash) % MISS_CLASSES;
        self.socket_misses.get(class).unwrap_or(first)
    }

    /// Returns the number of users of a family's hooks.
    pub(super) fn users(&self, family: Family) -> &Counter {
        match family {
            Family::Ipv4 => &self.users_ipv4,
            Family::Ipv6 => &self.users_ipv6,
        }
    }

    /// Returns the place of the registration of a family's hooks.
    pub(super) fn hooks(&self, family: Family) -> &HookSlot {
        match family {
            Family::Ipv4 => &self.hooks_ipv4,
            Family::Ipv6 => &self.hooks_ipv6,
        }
    }

    /// Returns whether a clash of a family's reply tuples is noted, see [`super::life::clash`].
    pub(super) fn clashes(&self, family: Family) -> &Counter {
        match family {
            Family::Ipv4 => &self.clashes_ipv4,
            Family::Ipv6 => &self.clashes_ipv6,
        }
    }

    /// Returns whether packets of a family are tracked.
    pub(super) fn is_tracking(&self, family: Family) -> bool {
        self.users(family).load(Relaxed) != 0
    }

    /// Returns the number of entries, for a sysctl.
    pub(super) fn entries_counter(&self) -> &Counter {
        &self.entries
    }
}

/// Gives a new namespace the settings of the one that the parameter `inherit` names. Called after
/// the defaults were set. The settings are in the namespace's `P`.
///
/// In the namespaces that are older than the module there is nothing to inherit yet.
pub(crate) fn inherit<P: Pernet>(net: &NewNet<'_>, settings: &[Setting]) {
    let copy = |from: &Net| {
        if from.is_set_up::<P>() {
            for setting in settings {
                setting.copy(from, net);
            }
        }
    };
    match params::inherit() {
        Inherit::Defaults => {}
        Inherit::First => copy(Net::init_net()),
        Inherit::Creator if module_folder::has_started() => {
            Net::with_current(copy);
        }
        Inherit::Creator => {}
    }
}
