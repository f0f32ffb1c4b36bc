// SPDX-License-Identifier: GPL-2.0

//! The ground floor: types that both `nf` and the rest of `proto` name.
//!
//! They are layout twins of C types, or enumerations of C's numbers. Nothing here uses anything
//! but `core` and its siblings, and nothing interprets a packet.

pub mod direction;
pub mod family;
pub mod generation;
pub mod mask;
pub mod num;
pub mod protocol;
pub mod timeout;
pub mod tuple;
pub mod zone;
