// SPDX-License-Identifier: GPL-2.0

//! The netfilter layer that the `kernel` crate lacks: safe types around what the network
//! stack and C code share with a connection tracker.
//!
//! It knows no policy, and nothing of protocols. All unsafe code of the module is here
//! and in the C-callable doors (`ct/abi`, `nat/abi`).

pub(crate) mod bindings;
pub(crate) mod c_export;
pub(crate) mod entry;
pub(crate) mod expect;
pub(crate) mod kernel;
pub(crate) mod packet;
pub(crate) mod prelude;
