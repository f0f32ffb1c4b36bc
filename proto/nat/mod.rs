// SPDX-License-Identifier: GPL-2.0

//! NAT, as far as it is arithmetic: which address and key a connection gets, and what that
//! changes in its packets.
//!
//! - [`range`]: what a rule allows;
//! - [`choose`]: one out of it that nobody else has, found by [`search`], with what is known
//!   about crowded [`pool`]s;
//! - [`rewrite`]: the packet's headers, with their [`checksum`]s.

pub mod checksum;
pub mod choose;
mod manip;
mod occupancy;
pub mod pool;
pub mod range;
pub mod rewrite;
pub mod search;
pub mod window;

pub use manip::Manip;
