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
pub mod pool;
pub mod range;
pub mod rewrite;
pub mod search;
pub mod window;

/// The end of a connection that is made to look like another one (`enum nf_nat_manip_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manip {
    /// Where it comes from: SNAT, masquerading.
    Source,
    /// Where it goes: DNAT, redirection.
    Destination,
}

impl Manip {
    /// What the answer to a packet that is changed so has changed.
    #[inline]
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Source => Self::Destination,
            Self::Destination => Self::Source,
        }
    }
}
