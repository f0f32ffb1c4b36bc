// SPDX-License-Identifier: GPL-2.0

//! The connection tracker: the table, an entry's life from its first packet to its last reference,
//! and the views.
//!
//! # Floors
//!
//! Each floor uses only those below it (`scripts/check-floors`):
//!
//! - [`netlink`], [`abi`], [`procfs`]: the views for user space, and the interface for C modules;
//! - [`packet`]: hooks, parsing, the protocols' trackers;
//! - [`life`]: lookup, creation, confirmation, removal, the collector;
//! - [`helper`] and [`expect`]: helpers, and the connections that they announce;
//! - [`table`]: the hash table, its size, walks and the index; [`sysctl`] sets some of it;
//! - [`entry`]: an entry's state and extensions;
//! - [`netns`]: the data of a namespace. Its life is in [`namespace`], which is above all of these;
//! - [`figures`]: what is counted in a namespace for its administrator.
//!
//! Below are [`crate::nf`], the safe layer over the kernel's netfilter, and [`crate::proto`], the
//! logic of protocols, which knows no kernel.
//!
//! # The path of a packet
//!
//! 1. [`packet::hooks`] receives it, [`packet::parse`] reads its tuple, [`life::lookup`] finds its
//!    entry.
//! 2. Without an entry, [`life::create`] creates one, if need be after an [`life::early_drop`], and
//!    [`packet::track`] shows the packet to the protocol's tracker, which sets state and timeout.
//! 3. Rules and NAT see the packet with its connection attached.
//! 4. At the last hook [`packet::help`] runs helpers, and [`life::confirm`] inserts a new entry
//!    into the table.
//! 5. [`life::delete`] takes the entry out again: when it has expired ([`life::gc`], or a lookup
//!    that meets it), when the connection ends, or when room is needed.
//!
//! Connections that are older than the tracker get their entries from their sockets
//! ([`life::adopt`]). The table grows and shrinks with the number of entries ([`table::autosize`],
//! [`table::resize`]).
//!
//! # Lock order
//!
//! Locks are taken in this order, never in the opposite one:
//!
//! 1. the mutex of hooks or that of helpers, then that of resizing (process context);
//! 2. an RCU read-side section, bottom halves off;
//! 3. the lock of a socket: packets are sent under it, and sockets are read under it
//!    ([`life::adopt`]);
//! 4. the lock of a reservation's bucket ([`table::reservation`]), then those of the table's
//!    buckets: of the older table first, then by index ([`crate::nf::entry::pair`]);
//! 5. leaves, under which no other lock of the tracker is taken: the locks of the index's lists
//!    ([`table::index`]), the lock of an entry, and that of expectations. (C code that is notified
//!    of an expectation under that lock takes locks of its own.)
//!
//! Readers of the table take no lock. Of the leaves only the index's are held together with bucket
//! locks. The last reference to an entry is dropped without any of these locks, as that frees the
//! entry and runs other code.
//!
//! # Unloading
//!
//! No module that uses the exported symbols is loaded any more, so the only hooks are the tracker's
//! own. Then, in the order of the fields of [`Conntrack`]:
//!
//! 1. Netlink requests are no longer accepted ([`netlink`]).
//! 2. In each namespace hooks and files are unregistered, a grace period passes, and entries are
//!    deleted until none is left, which includes those that packets in queues hold; those on the
//!    dying list are dropped ([`namespace`]).
//! 3. The kernel's hook pointer is cleared, the collector is stopped, the table is freed, and,
//!    last, the slab.

#![deny(unsafe_code)]

#[allow(unsafe_code)]
pub(crate) mod abi;
pub(crate) mod entry;
pub(crate) mod expect;
pub(crate) mod figures;
mod helper;
pub(crate) mod life;
mod names;
mod namespace;
mod netlink;
pub(crate) mod netns;
pub(crate) mod packet;
mod procfs;
mod sysctl;
pub(crate) mod table;

use kernel::prelude::*;

use crate::nf::{
    entry::slab::ConnCache,
    expect::{
        helper_table::HelperTable,
        table::ExpectTable, //
    },
    kernel::{
        pernet::PernetRegistration,
        time::HZ,
        work::WorkRegistration, //
    },
    packet::{
        original_dst::OriginRegistration,
        tracker::TrackerRegistration, //
    },
};

pub(crate) use self::names::ModuleNames;

/// The running tracker.
///
/// Fields are dropped in declaration order, which is the order of ending; [`Conntrack::new`] starts
/// everything in the opposite order. Packets reach the fields that own a table (`_lists`, `_table`,
/// `_reservations`) through statics, one load each; the fields are the owners of these statics.
///
/// One pointer to a value with all of them would add a load to each access, on which the next one
/// depends: one instruction for a packet of a known connection, about three for a new one, which is
/// about 0.3 % of either; and the latency of the cache that has the pointer. (Derived from the
/// accesses on the path, not measured.)
pub(crate) struct Conntrack {
    /// No netlink request is served any more.
    _netlink: netlink::Netlink,
    /// All namespaces have ended: no packet enters a hook any more, and no entry is left.
    _namespaces: PernetRegistration,
    /// `SO_ORIGINAL_DST` is unregistered.
    _origin: OriginRegistration,
    /// The sysctls that exist once, not per namespace, are unregistered.
    _sysctl: sysctl::Global,
    /// The kernel's hook pointer is cleared. Kept until here because the entries of queued packets
    /// are freed through it.
    _tracker: TrackerRegistration,
    /// The collector is stopped. Its rounds find an empty table by now.
    _collector: WorkRegistration,
    /// The table of expectations is freed. It is empty: expectations end with their masters.
    _expectations: ExpectTable,
    /// The registry of helpers is freed. It is empty: helpers end with their modules.
    _helpers: HelperTable,
    /// The index is freed. It is empty.
    _lists: table::index::IndexLists,
    /// The table of reservations is freed. It is empty: reservations end with their entries.
    _reservations: table::reservation::ReservationTable,
    /// The connection table is freed. It is empty.
    _table: table::resize::ConnTable,
    /// The slab of entries is destroyed. It complains about an entry that is left.
    _cache: ConnCache,
}

impl Conntrack {
    /// Starts the tracker. May sleep.
    ///
    /// `ENOMEM`: no memory. `EBUSY` and other errors are those of the registrations.
    pub(crate) fn new() -> Result<Self> {
        entry::id::draw_key();
        let cache = ConnCache::create()?;
        let table = table::resize::ConnTable::new()?;
        let reservations = table::reservation::ReservationTable::new()?;
        let lists = table::index::IndexLists::new()?;
        let helpers = helper::create_table()?;
        let expectations = expect::create_table()?;
        let collector = WorkRegistration::start::<life::gc::Collector>(Some(HZ))?;
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
            _collector: collector,
            _expectations: expectations,
            _helpers: helpers,
            _lists: lists,
            _reservations: reservations,
            _table: table,
            _cache: cache,
        })
    }
}
