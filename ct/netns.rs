// SPDX-License-Identifier: GPL-2.0

//! A namespace's own: its count of entries, its users of hooks, its settings and views.

use kernel::sync::atomic::{
    Full,
    Relaxed, //
};

use crate::nf::{
    kernel::{
        net::Counter,
        sysctl::Slot, //
    },
    prelude::*, //
};

/// How many classes of zones there are: zones whose ids are equal modulo this share one. A power of
/// two, and a multiple of 32.
pub(super) const ZONE_CLASSES: u32 = 4096;

/// A bit for each class of zones, in words.
const CLASS_WORDS: usize = ZONE_CLASSES as usize / 32;

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
    users_ipv4: Counter,
    /// Users of the IPv6 hooks.
    users_ipv6: Counter,
    /// Users of the bridge's hooks.
    pub(super) users_bridge: Counter,
    /// The sysctls, once registered.
    pub(super) sysctls: Slot,
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
    pub(super) fn mark_class(&self, class: u32) {
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
    pub(super) fn next_class(&self, from: u32) -> Option<u32> {
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

    /// The users of a family's hooks.
    pub(super) fn users(&self, family: Family) -> &Counter {
        match family {
            Family::Ipv4 => &self.users_ipv4,
            Family::Ipv6 => &self.users_ipv6,
        }
    }

    /// Returns whether packets of a family are tracked.
    pub(super) fn is_tracking(&self, family: Family) -> bool {
        self.users(family).load(Relaxed) != 0
    }

    /// The count, for a sysctl to show.
    pub(super) fn entries_counter(&self) -> &Counter {
        &self.entries
    }
}
