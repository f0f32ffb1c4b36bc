// SPDX-License-Identifier: GPL-2.0

//! Expectations, and the helpers that register them.

pub(crate) mod cache;
pub(crate) mod draft;
pub(crate) mod expectation;
pub(crate) mod expectfn;
pub(crate) mod gre_keymap;
pub(crate) mod helper;
pub(crate) mod helper_name;
pub(crate) mod helper_table;
pub(crate) mod linked;
pub(crate) mod listener;
pub(crate) mod lock;
pub(crate) mod module;
pub(crate) mod table;
