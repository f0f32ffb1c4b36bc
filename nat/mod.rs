// SPDX-License-Identifier: GPL-2.0

//! Network address translation: connections that look different on their two sides.
//!
//! # A packet's way
//!
//! The modules that have rules register their chains here ([`hooks`]); with the first one of a
//! namespace and family come four hooks. At each the first packet of a connection is shown to
//! the chains, which may ask for a translation ([`setup`], [`masquerade`], [`redirect`]); if
//! none does, it is bound to stay what it is, unless that clashes with another connection. What
//! was decided ([`choose`], and [`pool`] where keys are scarce) is the reply tuple of the entry, from then on: every packet is
//! changed so that it, inverted, is what the other side expects ([`packet`], [`icmp`]).
//!
//! # Locks
//!
//! [`bysource`] and [`pool`] have locks of their own, under which no other one is taken; all
//! else is what
//! `ct` has. Of the two mutexes, that of chains is taken under nf_tables's, and that of who
//! masquerades before the lock of all devices; none of `ct`'s is held with them.
//!
//! # Unloading
//!
//! Chains are gone, as the modules that registered them are. `ct` ends first: freeing an entry
//! asks [`bysource`] to forget it, through the kernel's hook.

#![deny(unsafe_code)]

#[allow(unsafe_code)]
pub(crate) mod abi;
mod bysource;
mod choose;
mod helper;
mod hooks;
mod icmp;
mod kernel_hook;
mod local_ports;
mod masquerade;
mod netlink;
mod netns;
mod ovs;
mod packet;
mod pool;
mod redirect;
mod setup;

use kernel::prelude::*;

use crate::nf::{
    kernel::{
        net::PernetRegistration,
        work::WorkRegistration, //
    },
    packet::{
        nat::TranslatorRegistration,
        nat_hook, //
    }, //
};

/// Everything that is switched on, in the order in which it is switched off: fields are
/// dropped from first to last.
pub(crate) struct Nat {
    /// Nobody asks any more to forget an entry.
    _hook: TranslatorRegistration,
    /// Nobody masquerades any more.
    _masquerade: WorkRegistration,
    _namespaces: PernetRegistration,
    /// Waits for hooks that are still to be freed.
    _hooks: HooksBarrier,
    /// Empty by now.
    _sources: bysource::Owner,
    /// Empty by now, too.
    _pools: pool::Owner,
}

struct HooksBarrier;

impl Drop for HooksBarrier {
    fn drop(&mut self) {
        nat_hook::barrier();
    }
}

impl Nat {
    /// Switches everything on, in the opposite order. The tracker is there. May sleep.
    pub(crate) fn new() -> Result<Self> {
        let pools = pool::Owner::new();
        let sources = bysource::Owner::new()?;
        let hooks = HooksBarrier;
        let namespaces = PernetRegistration::new::<netns::NatState>()?;
        let masquerade = WorkRegistration::start::<masquerade::Cleaner>(None);
        abi::announce_follow_master();
        Ok(Self {
            _hook: TranslatorRegistration::new::<kernel_hook::RustNat>(),
            _masquerade: masquerade,
            _namespaces: namespaces,
            _hooks: hooks,
            _sources: sources,
            _pools: pools,
        })
    }
}
