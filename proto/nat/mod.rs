// SPDX-License-Identifier: GPL-2.0

//! The pure part of NAT: the choice of an address and a key for a connection, and the changes to
//! the headers of its packets.
//!
//! - [`range`]: the addresses and keys that a rule allows;
//! - [`choose`]: the choice of a free tuple among them, by [`search`], which asks an
//!   [`Occupancy`](occupancy::Occupancy) and remembers crowded [`pool`]s;
//! - [`share`]: how many tuples a namespace may reserve where others do;
//! - [`rewrite`]: the new headers, with their [`checksum`]s.

pub mod checksum;
pub mod choose;
mod manip;
pub mod occupancy;
pub mod pool;
pub mod range;
pub mod rewrite;
pub mod search;
pub mod share;
pub mod window;

pub use manip::Manip;
