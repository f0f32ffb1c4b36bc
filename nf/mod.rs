// SPDX-License-Identifier: GPL-2.0

//! The netfilter layer that the `kernel` crate lacks: safe types around what the network
//! stack and C code share with a connection tracker.
//!
//! It has no policy, and of `proto` it uses [`types`](crate::proto::types) alone. All unsafe code
//! of the module is here and in the functions that C code calls (`ct/abi`, `nat/abi`).

pub(crate) mod bindings;
pub(crate) mod c_export;
pub(crate) mod entry;
pub(crate) mod expect;
pub(crate) mod kernel;
pub(crate) mod packet;
pub(crate) mod prelude;
