// SPDX-License-Identifier: GPL-2.0

//! The UDP header (RFC 768).

use super::error::Error;

/// Octets of the header.
pub const HEADER_LEN: usize = 8;

/// A UDP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    source: u16,
    destination: u16,
    len: u16,
    checksum: u16,
}

impl Header {
    /// Splits the bytes into fields, without judging them.
    #[inline]
    pub const fn parse(bytes: &[u8; HEADER_LEN]) -> Self {
        let [s0, s1, d0, d1, l0, l1, c0, c1] = *bytes;
        Self {
            source: u16::from_be_bytes([s0, s1]),
            destination: u16::from_be_bytes([d0, d1]),
            len: u16::from_be_bytes([l0, l1]),
            checksum: u16::from_be_bytes([c0, c1]),
        }
    }

    /// Checks the length field against the `available` octets from this header on.
    ///
    /// A length of zero stands for "all of it" in a packet that segmentation offload has yet to
    /// split (`gso`), because such a packet may be longer than the field can say.
    #[inline]
    pub fn check(&self, available: u32, gso: bool) -> Result<(), Error> {
        let len = match self.len {
            0 if gso => available,
            len => u32::from(len),
        };
        if len < 8 || len > available {
            return Err(Error::Truncated);
        }
        Ok(())
    }

    /// Source port.
    #[inline]
    pub const fn source(&self) -> u16 {
        self.source
    }

    /// Destination port.
    #[inline]
    pub const fn destination(&self) -> u16 {
        self.destination
    }

    /// The length field: octets of header and data.
    #[inline]
    pub const fn len_field(&self) -> u16 {
        self.len
    }

    /// Whether the sender computed a checksum; zero says that it did not.
    #[inline]
    pub const fn has_checksum(&self) -> bool {
        self.checksum != 0
    }
}
