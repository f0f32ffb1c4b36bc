// SPDX-License-Identifier: GPL-2.0

//! The ground floor: types that both `nf` and the rest of `proto` name.

pub mod direction;
pub mod tuple;
pub mod zone;
