// SPDX-License-Identifier: GPL-2.0

//! The IPv6 header and the walk over its extension headers (RFC 8200).

use super::error::Error;

/// Length of the fixed header in bytes.
pub const HEADER_LEN: usize = 40;

/// Maximum number of extension headers that a walk passes (`IP6_MAX_EXT_HDRS_CNT`).
pub const MAX_EXTENSIONS: u32 = 12;

/// Numbers of the headers that may stand between the IPv6 header and the transport's.
mod extension {
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const AUTHENTICATION: u8 = 51;
    pub(super) const NONE: u8 = 59;
    pub(super) const DESTINATION: u8 = 60;
}

/// The fixed IPv6 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    version: u8,
    payload_len: u16,
    next_header: u8,
    hop_limit: u8,
    source: [u8; 16],
    destination: [u8; 16],
}

impl Header {
    /// Splits the bytes into fields, without checking them.
    #[inline]
    pub fn parse(bytes: &[u8; HEADER_LEN]) -> Self {
        let [v, _, _, _, l0, l1, next_header, hop_limit, addresses @ ..] = *bytes;
        let mut source = [0; 16];
        let mut destination = [0; 16];
        let mut rest = addresses.iter();
        for (to, from) in source.iter_mut().zip(&mut rest) {
            *to = *from;
        }
        for (to, from) in destination.iter_mut().zip(rest) {
            *to = *from;
        }
        Self {
            version: v >> 4,
            payload_len: u16::from_be_bytes([l0, l1]),
            next_header,
            hop_limit,
            source,
            destination,
        }
    }

    /// Checks version and payload length. `available` is the number of bytes from this header to
    /// the end of the packet.
    #[inline]
    pub fn check(&self, available: u32) -> Result<(), Error> {
        if self.version != 6 {
            return Err(Error::Version);
        }
        // A length of zero stands for a jumbogram or BIG TCP; then the packet's own length applies.
        match available.checked_sub(40) {
            Some(payload) if payload >= u32::from(self.payload_len) => Ok(()),
            _ => Err(Error::Truncated),
        }
    }

    /// Returns the IP version: 6 in a valid header.
    #[inline]
    pub const fn version(&self) -> u8 {
        self.version
    }

    /// Returns the number of bytes after this header, as the length field has it.
    #[inline]
    pub const fn payload_len(&self) -> u16 {
        self.payload_len
    }

    /// Returns the number of the header that follows.
    #[inline]
    pub const fn next_header(&self) -> u8 {
        self.next_header
    }

    /// Returns the hop limit.
    #[inline]
    pub const fn hop_limit(&self) -> u8 {
        self.hop_limit
    }

    /// Returns the source address.
    #[inline]
    pub const fn source(&self) -> &[u8; 16] {
        &self.source
    }

    /// Returns the destination address.
    #[inline]
    pub const fn destination(&self) -> &[u8; 16] {
        &self.destination
    }
}

/// Returns whether an address is link-local unicast (RFC 4291, section 2.5.6).
#[inline]
pub const fn is_link_local(address: &[u8; 16]) -> bool {
    address[0] == 0xfe && address[1] & 0xc0 == 0x80
}

/// Returns whether this number is that of an extension header (or of none at all), for
/// [`skip_extensions`] to walk over.
#[inline]
pub const fn is_extension(number: u8) -> bool {
    matches!(
        number,
        extension::HOP_BY_HOP
            | extension::ROUTING
            | extension::FRAGMENT
            | extension::AUTHENTICATION
            | extension::NONE
            | extension::DESTINATION
    )
}

/// The transport header at the end of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// Its protocol number.
    pub protocol: u8,
    /// Its offset in bytes, relative to the same point as `start`.
    pub offset: u32,
}

/// Walks over the extension headers. The first one has number `first` and offset `start`.
///
/// `read` copies two bytes at an offset out of the packet. The walk ends at the first header that
/// is no extension; it may be empty, at the very end of the packet. A first fragment is passed. A
/// later one is [`Error::Fragment`], because no transport header follows it.
///
/// # Examples
///
/// ```
/// # use rust_ct_host::proto;
/// use proto::wire::ipv6::{skip_extensions, Transport};
///
/// // Destination options (60) of eight bytes, followed by TCP (6).
/// let packet = [6, 0, 1, 4, 0, 0, 0, 0];
/// let read = |offset: u32| {
///     let rest = packet.get(usize::try_from(offset).ok()?..)?;
///     rest.first_chunk().copied()
/// };
/// let transport = Transport {
///     protocol: 6,
///     offset: 8,
/// };
/// assert_eq!(skip_extensions(60, 0, read), Ok(transport));
/// ```
#[inline]
pub fn skip_extensions(
    first: u8,
    start: u32,
    mut read: impl FnMut(u32) -> Option<[u8; 2]>,
) -> Result<Transport, Error> {
    let mut protocol = first;
    let mut offset = start;
    for _ in 0..=MAX_EXTENSIONS {
        let unit = match protocol {
            extension::NONE => return Err(Error::Extensions),
            extension::AUTHENTICATION => Unit::Words,
            extension::FRAGMENT => Unit::Fixed,
            extension::HOP_BY_HOP | extension::ROUTING | extension::DESTINATION => Unit::Octuples,
            _ => return Ok(Transport { protocol, offset }),
        };
        let [next, len] = read(offset).ok_or(Error::Extensions)?;
        let len = u32::from(len);
        let bytes = match unit {
            // RFC 4302: in 32-bit words, minus two.
            Unit::Words => (len << 2).wrapping_add(8),
            // RFC 8200: in 64-bit words, not counting the first.
            Unit::Octuples => (len << 3).wrapping_add(8),
            Unit::Fixed => {
                let position = offset.checked_add(2).and_then(&mut read);
                let position = u16::from_be_bytes(position.ok_or(Error::Extensions)?);
                // RFC 8200, section 4.5: the low three bits are not part of the position.
                if position & !7 != 0 {
                    return Err(Error::Fragment);
                }
                8
            }
        };
        offset = offset.checked_add(bytes).ok_or(Error::Extensions)?;
        protocol = next;
    }
    Err(Error::Extensions)
}

/// The unit of an extension header's length field.
enum Unit {
    Words,
    Octuples,
    Fixed,
}
