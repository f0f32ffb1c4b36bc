// SPDX-License-Identifier: GPL-2.0

//! The packet path: from a netfilter hook to an entry, and to the protocol's tracker.
//!
//! 1. [`hooks`] registers the hooks, and calls [`conntrack_in`] where packets come in.
//! 2. [`parse`] reads the tuple of a packet; [`icmp_error`] that of the packet that an ICMP error
//!    quotes.
//! 3. [`conntrack_in`] looks the tuple up or creates an entry, and attaches it to the packet.
//! 4. [`track`] runs the protocol's tracker, which updates the entry.
//! 5. [`help`] runs the connection's helper where packets leave, and confirms new entries.
//!
//! [`kernel_hook`] and [`original_dst`] answer requests of the rest of the kernel.
//!
//! Everything here runs in an RCU section, in softirq or process context, and must not sleep or
//! panic. Functions on the path of established connections are inlined into the hook; what is rare
//! is `#[cold]` and out of line.

mod conntrack_in;
pub(crate) mod help;
pub(crate) mod hooks;
mod icmp_error;
pub(crate) mod kernel_hook;
pub(crate) mod original_dst;
pub(crate) mod parse;
pub(crate) mod track;
