// SPDX-License-Identifier: GPL-2.0

//! The IPv4 header (RFC 791, section 3.1).

use super::error::Error;

/// Length of a header without options, in bytes.
pub const HEADER_LEN: usize = 20;

/// The fixed part of an IPv4 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    version_ihl: u8,
    total_len: u16,
    fragment: u16,
    ttl: u8,
    protocol: u8,
    source: [u8; 4],
    destination: [u8; 4],
}

impl Header {
    /// Splits the bytes into fields, without checking them.
    #[inline]
    pub const fn parse(bytes: &[u8; HEADER_LEN]) -> Self {
        let [version_ihl, _, l0, l1, _, _, f0, f1, ttl, protocol, _, _, addresses @ ..] = *bytes;
        let [s0, s1, s2, s3, d0, d1, d2, d3] = addresses;
        Self {
            version_ihl,
            total_len: u16::from_be_bytes([l0, l1]),
            fragment: u16::from_be_bytes([f0, f1]),
            ttl,
            protocol,
            source: [s0, s1, s2, s3],
            destination: [d0, d1, d2, d3],
        }
    }

    /// Checks version, header length and total length. `available` is the number of bytes from this
    /// header to the end of the packet.
    #[inline]
    pub const fn check(&self, available: u32) -> Result<(), Error> {
        if self.version() != 4 {
            return Err(Error::Version);
        }
        let header_len = self.header_len();
        if header_len < 20 || available < header_len {
            return Err(Error::Truncated);
        }
        // A total length of zero stands for "more than 16 bits" (BIG TCP).
        let total_len = self.total_len();
        if total_len != 0 && (total_len < header_len || available < total_len) {
            return Err(Error::Truncated);
        }
        Ok(())
    }

    /// Returns the offset of the transport header in bytes from this header. `available` is the
    /// number of bytes from this header to the end of the packet.
    ///
    /// This check is laxer than [`Header::check`], because it also applies to the truncated packets
    /// that ICMP errors quote.
    #[inline]
    pub const fn transport_offset(&self, available: u32) -> Result<u32, Error> {
        if self.fragment_offset() != 0 {
            return Err(Error::Fragment);
        }
        let offset = self.header_len();
        if offset > available {
            return Err(Error::Truncated);
        }
        Ok(offset)
    }

    /// Returns the IP version: 4 in a valid header.
    #[inline]
    pub const fn version(&self) -> u8 {
        self.version_ihl >> 4
    }

    /// Returns the length of the header including options, in bytes: 0 to 60, at least 20 in a
    /// valid header.
    #[inline]
    pub const fn header_len(&self) -> u32 {
        u32::from_be_bytes([0, 0, 0, (self.version_ihl & 0x0f) << 2])
    }

    /// Returns the length of the packet including this header, in bytes; 0 in a packet of more than
    /// 64 KiB.
    #[inline]
    pub const fn total_len(&self) -> u32 {
        let [high, low] = self.total_len.to_be_bytes();
        u32::from_be_bytes([0, 0, high, low])
    }

    /// Returns the position of the fragment's data, in units of eight bytes.
    #[inline]
    pub const fn fragment_offset(&self) -> u16 {
        self.fragment & 0x1fff
    }

    /// Returns whether fragments follow this one.
    #[inline]
    pub const fn more_fragments(&self) -> bool {
        self.fragment & 0x2000 != 0
    }

    /// Returns the time to live.
    #[inline]
    pub const fn ttl(&self) -> u8 {
        self.ttl
    }

    /// Returns the number of the protocol that follows.
    #[inline]
    pub const fn protocol(&self) -> u8 {
        self.protocol
    }

    /// Returns the source address.
    #[inline]
    pub const fn source(&self) -> [u8; 4] {
        self.source
    }

    /// Returns the destination address.
    #[inline]
    pub const fn destination(&self) -> [u8; 4] {
        self.destination
    }
}
