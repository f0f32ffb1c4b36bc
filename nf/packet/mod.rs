// SPDX-License-Identifier: GPL-2.0

//! Packets: `struct sk_buff`, the netfilter hooks, and the kernel's hooks for trackers and NAT.

pub(crate) mod bridge;
pub(crate) mod device;
pub(crate) mod fragments;
pub(crate) mod hook;
pub(crate) mod log;
pub(crate) mod nat;
pub(crate) mod nat_hook;
pub(crate) mod notify;
pub(crate) mod original_dst;
pub(crate) mod queue_hook;
pub(crate) mod route;
pub(crate) mod skb;
pub(crate) mod skb_change;
pub(crate) mod tracker;
