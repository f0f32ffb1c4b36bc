// SPDX-License-Identifier: GPL-2.0

//! The protocol logic of rust_ct, compiled for the host, with what its tests share.

#![forbid(unsafe_code)]
#![warn(missing_docs, rust_2018_idioms, unreachable_pub)]

#[path = "../../../proto/mod.rs"]
pub mod proto;

pub mod chaos;
pub mod fuzzing;
pub mod peers;
pub mod player;
pub mod sctp_sim;
pub mod sim;
pub mod trace;
