// SPDX-License-Identifier: GPL-2.0

//! The kind of a translation: SNAT or DNAT.

/// The end of a connection that NAT changes (`enum nf_nat_manip_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manip {
    /// The source: SNAT, masquerading.
    Source,
    /// The destination: DNAT, redirection.
    Destination,
}

impl Manip {
    /// Returns the end that is changed in replies, if this one is changed in the packets of the
    /// original direction.
    #[inline]
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Source => Self::Destination,
            Self::Destination => Self::Source,
        }
    }
}
