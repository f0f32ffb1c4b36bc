// SPDX-License-Identifier: GPL-2.0

//! `struct nf_conn`: the entry, its extensions, and the chains and lists that it stands on.

pub(crate) mod by_source;
pub(crate) mod chain;
pub(crate) mod conn;
pub(crate) mod detached;
pub(crate) mod ecache;
pub(crate) mod end;
pub(crate) mod ext;
pub(crate) mod fresh;
pub(crate) mod help;
pub(crate) mod index_keys;
pub(crate) mod index_lists;
mod intrusive;
pub(crate) mod l4proto;
pub(crate) mod object;
pub(crate) mod pair;
pub(crate) mod reservations;
pub(crate) mod slab;
pub(crate) mod stale;
pub(crate) mod template;
pub(crate) mod timeout;
pub(crate) mod user;
