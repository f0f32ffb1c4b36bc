// SPDX-License-Identifier: GPL-2.0

//! `struct nf_conn`: the entry, its extensions, and the chains and lists that it is on.
//!
//! - An entry's stages: [`fresh`], [`conn`], [`stale`], [`end`]; its memory: [`slab`], [`object`].
//! - Its extensions: [`ext`], [`help`], [`timeout`], [`ecache`]; [`template`]s of entries.
//! - The buckets of a table: [`chain`], locked by [`pair`]; [`reservations`]; the lists of entries
//!   that left the table: [`dying`].
//! - The lists beside the table: [`index_lists`], by [`index_keys`]; the by-source table of NAT:
//!   [`bysource`].
//! - The algorithms of these, without the kernel: [`intrusive`].
//! - Protocols and user space: [`l4proto`], [`cta`], [`user`].

pub(crate) mod bysource;
pub(crate) mod chain;
pub(crate) mod conn;
pub(crate) mod cta;
pub(crate) mod dying;
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
