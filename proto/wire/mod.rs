// SPDX-License-Identifier: GPL-2.0

//! Headers as they stand on the wire.
//!
//! The caller copies a header of fixed size out of the packet and hands it in as an array, so
//! that parsing cannot run past an end. What can be wrong with a header is checked once, in a
//! function that returns [`Error`]; accessors of a parsed header cannot fail.

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
