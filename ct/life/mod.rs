// SPDX-License-Identifier: GPL-2.0

//! An entry's life: lookup, creation, confirmation, removal, and the collector.
//!
//! 1. [`lookup`] finds the entry of a packet's tuple.
//! 2. [`create`] creates an entry for a tuple that is not in the table; it takes one place in the
//!    count of its namespace, if need be after an [`early_drop`].
//! 3. [`confirm`] inserts the entry when its first packet has passed all rules.
//! 4. [`delete`] removes it from the table: a lookup that meets it expired, the collector ([`gc`]),
//!    a packet that ends the connection, or user space. The memory is freed with the last
//!    reference.
//!
//! [`reconsider`] shows unreplied connections to NAT's rules again when those have changed.
//!
//! [`adopt`] creates entries of connections that are older than the tracker, from what it finds by
//! [`sockets`], and [`forgotten`] those of connections that go on without their entries; [`pptp`]
//! ends the calls of a PPTP connection.
//!
//! This floor is above the table, expectations and helpers, and below the packet path and the
//! views.

pub(super) mod adopt;
pub(crate) mod clash;
pub(crate) mod confirm;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod early_drop;
pub(super) mod forgotten;
pub(super) mod gc;
pub(crate) mod lookup;
pub(super) mod pptp;
pub(crate) mod reconsider;

mod sockets;
