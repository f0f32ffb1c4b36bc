// SPDX-License-Identifier: GPL-2.0

//! The tracker: the table, an entry's life from first packet to last reference, the views.
//!
//! # A packet's way
//!
//! [`hooks`] → [`packet`] parses it ([`parse`]), looks its tuple up ([`table`]), makes an
//! entry if there is none ([`create`], [`early_drop`]), and shows it to the protocol's
//! tracker ([`track`]). When it has passed every rule, [`confirm`] puts a new entry into the
//! table. [`delete`] takes it out: when its time is over ([`gc`], or a lookup that comes by),
//! when its connection ends, or when room is needed. Connections that were there before the
//! tracker get their entries from their sockets ([`adopt`]). The table itself grows and shrinks
//! with its entries ([`autosize`], [`resize`]).
//!
//! # Locks
//!
//! Taken in this order, never the other way round:
//!
//! 1. the mutex of resizing, that of hooks, that of helpers (process context; one at a time);
//! 2. an RCU read-side section, bottom halves off;
//! 3. that of a socket: packets are sent under it, and sockets read ([`adopt`]);
//! 4. the lock of a promised tuple ([`reservation`]), then bucket locks: of the older table
//!    first, then by index ([`crate::nf::entry::pair`]);
//! 5. leaves, under which nothing else is taken: the locks of lists ([`index`]); the lock of an
//!    entry, and that of expectations (under which C code, when it is told of one, takes locks
//!    of its own).
//!
//! Readers of the table take none of them. No leaf is held together with a bucket lock, but for
//! those of lists. The
//! last reference to an entry is given back without any of them.
//!
//! # Unloading
//!
//! No module that uses our symbols is loaded any more, so the hooks are our own. Requests of
//! user space are no longer taken ([`netlink`]). Each namespace: hooks and files go, a grace period passes, entries are removed until none is
//! left, which includes those that packets in queues hold ([`netns`]). Only then is the
//! kernel's hook taken back, the collector stopped, the table freed, and, last, the slab:
//! see the order of fields in `rust_ct.rs`.

#![deny(unsafe_code)]

#[allow(unsafe_code)]
pub(crate) mod abi;
pub(crate) mod entry;
pub(crate) mod expect;
mod helper;
pub(crate) mod life;
mod namespace;
mod netlink;
mod netns;
pub(crate) mod packet;
mod procfs;
mod sysctl;
pub(crate) mod table;

use kernel::prelude::*;

use crate::nf::{
    entry::{
        ecache,
        slab::ConnCache, //
    },
    expect::{
        helper_table::HelperTable,
        table::ExpectTable, //
    },
    kernel::{
        net::PernetRegistration,
        time::HZ,
        work::WorkRegistration, //
    },
    packet::{
        original_dst::OriginRegistration,
        tracker::TrackerRegistration, //
    }, //
};

/// Everything that is switched on, in the order in which it is switched off: fields are
/// dropped from first to last.
pub(crate) struct Conntrack {
    /// Nobody asks for anything any more.
    _netlink: netlink::Netlink,
    /// The namespaces: no packet comes in any more, and no entry is left, when this is gone.
    _namespaces: PernetRegistration,
    /// Programs ask no more where a connection wanted to go.
    _origin: OriginRegistration,
    /// The machine's sysctl.
    _sysctl: sysctl::Global,
    /// Kept until here: the last packet's entry comes back through it.
    _tracker: TrackerRegistration,
    /// Nothing is untold any more: an untold entry would be left.
    _redelivery: WorkRegistration,
    /// Its rounds find an empty table by now.
    _collector: WorkRegistration,
    /// Empty by now: every expectation went with its master, every helper with its module.
    _expectations: ExpectTable,
    _helpers: HelperTable,
    _lists: table::index::IndexLists,
    _table: table::resize::ConnTable,
    _reservations: table::reservation::ReservationTable,
    /// Complains if an entry is missing.
    _cache: ConnCache,
}

impl Conntrack {
    /// Switches everything on, in the opposite order. May sleep.
    pub(crate) fn new() -> Result<Self> {
        let cache = ConnCache::create()?;
        let reservations = table::reservation::ReservationTable::new()?;
        let table = table::resize::ConnTable::new()?;
        let lists = table::index::IndexLists::new()?;
        let helpers = helper::create_table()?;
        let expectations = expect::create_table()?;
        let collector = WorkRegistration::start::<life::gc::Collector>(Some(HZ));
        ecache::DYING.init();
        let redelivery = WorkRegistration::start::<entry::events::Redelivery>(None);
        let tracker = TrackerRegistration::new::<packet::kernel_hook::ConntrackHook>()?;
        let sysctl = sysctl::Global::new()?;
        let origin = OriginRegistration::new::<packet::original_dst::OriginalDst>()?;
        let namespaces = PernetRegistration::new::<netns::NetState>()?;
        let netlink = netlink::Netlink::new()?;
        life::adopt::adopt_all();
        Ok(Self {
            _netlink: netlink,
            _namespaces: namespaces,
            _origin: origin,
            _sysctl: sysctl,
            _tracker: tracker,
            _redelivery: redelivery,
            _collector: collector,
            _expectations: expectations,
            _helpers: helpers,
            _lists: lists,
            _table: table,
            _reservations: reservations,
            _cache: cache,
        })
    }
}
