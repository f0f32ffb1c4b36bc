// SPDX-License-Identifier: GPL-2.0

//! An entry's life: lookup, creation, confirmation, removal, and the collector.

pub(crate) mod adopt;
pub(crate) mod confirm;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod early_drop;
pub(crate) mod gc;
pub(crate) mod lookup;
pub(crate) mod pptp;
mod sockets;
