// SPDX-License-Identifier: GPL-2.0

//! A packet's way through the tracker: hooks, parsing, lookup, and the protocols' trackers.

pub(super) mod conntrack_in;
pub(crate) mod help;
pub(crate) mod hooks;
pub(super) mod icmp_error;
pub(crate) mod kernel_hook;
pub(crate) mod original_dst;
pub(crate) mod parse;
pub(crate) mod track;
