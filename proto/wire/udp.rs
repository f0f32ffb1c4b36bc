// SPDX-License-Identifier: GPL-2.0

//! The UDP header (RFC 768).

use super::error::Error;

/// Length of the header in bytes.
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
    /// Splits the bytes into fields, without checking them.
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

    /// Checks the length field. `available` is the number of bytes from this header to the end of
    /// the packet.
    ///
    /// In a packet that segmentation offload has yet to split (`gso`), a length of zero stands for
    /// all available bytes, because such a packet may be longer than the field can express.
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

    /// Returns the source port in host byte order.
    #[inline]
    pub const fn source(&self) -> u16 {
        self.source
    }

    /// Returns the destination port in host byte order.
    #[inline]
    pub const fn destination(&self) -> u16 {
        self.destination
    }

    /// Returns the length field: the length of header and data, in bytes.
    #[inline]
    pub const fn len_field(&self) -> u16 {
        self.len
    }

    /// Returns whether the sender computed a checksum; zero says that it did not.
    #[inline]
    pub const fn has_checksum(&self) -> bool {
        self.checksum != 0
    }
}
