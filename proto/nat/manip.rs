// SPDX-License-Identifier: GPL-2.0

//! Which end of a connection NAT changes.

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
