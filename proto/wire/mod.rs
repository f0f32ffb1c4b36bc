// SPDX-License-Identifier: GPL-2.0

//! Wire formats: headers as packets carry them.
//!
//! The caller copies a header of fixed size out of the packet and passes it as an array, so that
//! parsing cannot run past the end. A header is checked once, by a function that returns [`Error`];
//! accessors of a parsed header cannot fail. Lengths and offsets are in bytes.

pub mod error;
pub mod gre;
pub mod icmp;
pub mod icmpv6;
pub mod ipv4;
pub mod ipv6;
pub mod sctp;
pub mod seq;
pub mod tcp;
pub mod udp;

pub use error::Error;
