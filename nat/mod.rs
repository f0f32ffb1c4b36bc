// SPDX-License-Identifier: GPL-2.0

//! Network address translation: SNAT, DNAT, masquerading and redirection.
//!
//! # The path of a packet
//!
//! Modules with rules register their chains here ([`hooks`]). The first chain of a namespace and
//! family registers four hooks. At each hook the first packet of a connection passes the chains,
//! which may ask for a translation ([`setup`], [`masquerade`], [`redirect`]); if none does, the
//! connection gets a null binding: it keeps its addresses and ports, unless they clash with another
//! connection. The result ([`choose`], and [`pool`] where keys are scarce) is stored in the entry's
//! reply tuple: the inverse of it is the form of the packets behind the hooks. Each packet is
//! rewritten to it ([`packet`], [`icmp`]).
//!
//! ```text
//! original   10.0.0.2:1024 -> 198.51.100.7:80     packets of the original direction arrive
//! reply      198.51.100.7:80 -> 192.0.2.1:1024    replies arrive, after SNAT to 192.0.2.1
//! inverse    192.0.2.1:1024 -> 198.51.100.7:80    packets of the original direction leave
//! ```
//!
//! # Locks
//!
//! [`bysource`], [`pool`] and [`lost`] have spinlocks, under which no other lock is taken; all
//! other locks are those of `ct`. There is one mutex, that of the chains, which is taken under
//! nf_tables's mutex. No mutex of `ct` is held with it.
//!
//! # Unloading
//!
//! The chains are gone with the modules that registered them. `ct` ends first: freeing an entry
//! removes it from [`bysource`], through `nf_nat_hook`.

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
mod lost;
mod masquerade;
mod namespace;
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
        pernet::PernetRegistration,
        work::WorkRegistration, //
    },
    packet::{
        nat::TranslatorRegistration,
        nat_hook,
        notify::NotifierRegistration, //
    },
};

/// The running NAT. Fields are dropped from first to last, which is the order of ending.
pub(crate) struct Nat {
    /// No entry is left that would have to be removed from the table by source.
    _hook: TranslatorRegistration,
    /// No address is lost any more.
    _notifier: NotifierRegistration,
    _cleaner: WorkRegistration,
    /// No namespace gets hooks for null bindings any more.
    _null_hooks: WorkRegistration,
    _namespaces: PernetRegistration,
    /// Waits for the hooks that are still to be freed.
    _hooks: HooksBarrier,
    /// The table is empty.
    _sources: bysource::BySourceTable,
    /// The pools are empty.
    _pools: pool::Pools,
}

struct HooksBarrier;

impl Drop for HooksBarrier {
    fn drop(&mut self) {
        nat_hook::barrier();
    }
}

impl Nat {
    /// Starts everything, in the opposite order. The tracker is running. May sleep.
    pub(crate) fn new() -> Result<Self> {
        let pools = pool::Pools::new();
        let sources = bysource::BySourceTable::new()?;
        let hooks = HooksBarrier;
        let namespaces = PernetRegistration::new::<netns::NatState>()?;
        let cleaner = WorkRegistration::start::<lost::Cleaner>(None)?;
        let null_hooks = WorkRegistration::start::<hooks::NullHooks>(None)?;
        let notifier = NotifierRegistration::new::<lost::Losses>()?;
        abi::register_follow_master();
        Ok(Self {
            _hook: TranslatorRegistration::new::<kernel_hook::RustNat>(),
            _notifier: notifier,
            _cleaner: cleaner,
            _null_hooks: null_hooks,
            _namespaces: namespaces,
            _hooks: hooks,
            _sources: sources,
            _pools: pools,
        })
    }
}
