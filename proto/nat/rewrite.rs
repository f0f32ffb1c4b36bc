// SPDX-License-Identifier: GPL-2.0

//! The translation of a packet's headers, including checksums.
//!
//! The transport header is changed first: its checksum covers the addresses (RFC 9293, section
//! 3.1), and the network header still has the old ones then.

use super::{checksum::Delta, manip::Manip};
use crate::proto::{
    types::{family::Family, num::u32_as_usize, protocol, tuple::Tuple},
    wire::{icmp, icmpv6},
};

/// Length of the transport header that an ICMP error quotes at least, in bytes (RFC 792).
const QUOTED_LEN: usize = 8;

/// The contents of the checksum field of a TCP, UDP or ICMPv6 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChecksumField {
    /// The complete checksum.
    Whole,
    /// The sum of the pseudo-header; the device adds the rest (`CHECKSUM_PARTIAL`).
    PseudoHeader,
}

/// The remaining update of a packet's checksums after its transport header was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChecksumFixup {
    /// Nothing is left to do.
    None,
    /// The sum of all bytes that the device reported (`CHECKSUM_COMPLETE`) is smaller by this
    /// difference.
    Delta(Delta),
    /// The CRC32c of SCTP (RFC 9260, section 6.8), which covers the whole packet, is to be computed
    /// and stored at [`SCTP_CHECKSUM`].
    Crc32c,
}

/// Offset of the checksum in an SCTP header, in bytes.
pub const SCTP_CHECKSUM: usize = 8;

/// The header cannot be changed: it is truncated, or its format is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// The translation of one end of a packet: old and new address, and new key.
#[derive(Clone, Copy, Debug)]
pub struct Rewrite {
    manip: Manip,
    l3num: u16,
    new: [u8; 16],
    key: [u8; 2],
    /// The difference of the sum over the addresses.
    addresses: Delta,
}

impl Rewrite {
    /// Returns the translation that gives a packet the source, or destination, of `target`.
    /// `source` and `destination` are the addresses in the packet; an IPv4 address ends in zeroes.
    #[inline]
    pub const fn new(
        target: &Tuple,
        manip: Manip,
        source: &[u8; 16],
        destination: &[u8; 16],
    ) -> Self {
        let is_icmp = matches!(target.protonum, protocol::ICMP | protocol::ICMPV6);
        let (old, new, key) = match manip {
            Manip::Source => (source, &target.src, target.src_key),
            // A query has one identifier, which a tuple stores as its source key.
            Manip::Destination if is_icmp => (destination, &target.dst, target.src_key),
            Manip::Destination => (destination, &target.dst, target.dst_key),
        };
        let addresses = if target.has_family(Family::Ipv6) {
            Delta::NONE.replace16(old, new)
        } else {
            Delta::NONE.replace4(ipv4(old), ipv4(new))
        };
        Self {
            manip,
            l3num: target.l3num,
            new: *new,
            key,
            addresses,
        }
    }

    /// Returns the length of the transport header that [`Rewrite::transport`] needs, in bytes, if
    /// `available` bytes are there. 0: it does not change the transport header.
    #[inline]
    pub const fn transport_len(&self, protocol: u8, available: u32) -> usize {
        let whole = match protocol {
            protocol::TCP => 20,
            protocol::SCTP => 12,
            protocol::UDP | protocol::ICMP | protocol::ICMPV6 => 8,
            // The packet has only the receiver's call ID.
            protocol::GRE => match self.manip {
                Manip::Source => 0,
                Manip::Destination => 8,
            },
            _ => 0,
        };
        if whole > QUOTED_LEN && u32_as_usize(available) < whole {
            QUOTED_LEN
        } else {
            whole
        }
    }

    /// Changes a transport header; `header` has [`Rewrite::transport_len`] bytes.
    #[inline]
    pub fn transport(
        &self,
        protocol: u8,
        header: &mut [u8],
        field: ChecksumField,
    ) -> Result<ChecksumFixup, Refused> {
        match protocol {
            protocol::TCP => self.tcp(header, field),
            protocol::UDP => self.udp(header, field),
            protocol::SCTP => self.sctp(header),
            protocol::ICMP => icmp_query(self.key, header),
            protocol::ICMPV6 => self.icmpv6(header, field),
            protocol::GRE => self.gre(header),
            // The protocol has no keys.
            _ => Ok(ChecksumFixup::None),
        }
    }

    /// Stores the new port, and returns the difference of the sum.
    #[inline]
    fn port(&self, header: &mut [u8]) -> Result<Delta, Refused> {
        let at = match self.manip {
            Manip::Source => 0,
            Manip::Destination => 2,
        };
        put(header, at, self.key)
    }

    /// Updates a checksum that covers the pseudo-header.
    #[inline]
    fn update(&self, old: [u8; 2], field: ChecksumField, ports: Delta) -> ([u8; 2], ChecksumFixup) {
        let addresses = self.addresses;
        match field {
            ChecksumField::Whole => {
                let new = addresses.and(ports).update(old);
                // The change of the port and that of the field cancel each other in the device's
                // sum. The change of the address does not: the sum excludes the IPv4 header. In
                // IPv6 it includes the addresses, and the change cancels as well.
                let left = if self.l3num == Family::Ipv6.to_u16() {
                    ChecksumFixup::None
                } else {
                    ChecksumFixup::Delta(addresses)
                };
                (new, left)
            }
            ChecksumField::PseudoHeader => (addresses.update_partial(old), ChecksumFixup::None),
        }
    }

    #[inline]
    fn tcp(&self, header: &mut [u8], field: ChecksumField) -> Result<ChecksumFixup, Refused> {
        const CHECKSUM: usize = 16;
        let ports = self.port(header)?;
        let Some(old) = get(header, CHECKSUM) else {
            return Ok(ChecksumFixup::None);
        };
        let (new, left) = self.update(old, field, ports);
        put(header, CHECKSUM, new)?;
        Ok(left)
    }

    #[inline]
    fn udp(&self, header: &mut [u8], field: ChecksumField) -> Result<ChecksumFixup, Refused> {
        const CHECKSUM: usize = 6;
        let old = get(header, CHECKSUM).ok_or(Refused)?;
        let ports = self.port(header)?;
        // Zero: the sender computed none (RFC 768).
        if old == [0; 2] {
            return Ok(ChecksumFixup::None);
        }
        let (new, left) = self.update(old, field, ports);
        put(
            header,
            CHECKSUM,
            if new == [0; 2] { [0xff; 2] } else { new },
        )?;
        Ok(left)
    }

    fn sctp(&self, header: &mut [u8]) -> Result<ChecksumFixup, Refused> {
        self.port(header)?;
        // A quoted header ends before the checksum, which is not verified there.
        Ok(if header.len() < SCTP_CHECKSUM + 4 {
            ChecksumFixup::None
        } else {
            ChecksumFixup::Crc32c
        })
    }

    fn icmpv6(&self, header: &mut [u8], field: ChecksumField) -> Result<ChecksumFixup, Refused> {
        const CHECKSUM: usize = 2;
        let kind = *header.first().ok_or(Refused)?;
        let old = get(header, CHECKSUM).ok_or(Refused)?;
        let id = if matches!(kind, icmpv6::kind::ECHO_REQUEST | icmpv6::kind::ECHO_REPLY) {
            put(header, 4, self.key)?
        } else {
            Delta::NONE
        };
        let (new, left) = self.update(old, field, id);
        put(header, CHECKSUM, new)?;
        Ok(left)
    }

    /// Changes the call ID of a PPTP call (RFC 2637, section 4.1); there is no checksum.
    fn gre(&self, header: &mut [u8]) -> Result<ChecksumFixup, Refused> {
        const VERSION: u8 = 0x07;
        if self.manip == Manip::Source {
            return Ok(ChecksumFixup::None);
        }
        let &[_, flags, ..] = &*header else {
            return Err(Refused);
        };
        match flags & VERSION {
            0 => {}
            1 => {
                put(header, 6, self.key)?;
            }
            _ => return Err(Refused),
        }
        Ok(ChecksumFixup::None)
    }

    /// Changes an IPv4 header, without its options. Its addresses are those that [`Rewrite::new`]
    /// was given.
    #[inline]
    pub fn ipv4(&self, header: &mut [u8]) -> Result<(), Refused> {
        const CHECKSUM: usize = 10;
        let at = match self.manip {
            Manip::Source => 12,
            Manip::Destination => 16,
        };
        let place = header.get_mut(at..).and_then(|rest| rest.first_chunk_mut());
        *place.ok_or(Refused)? = ipv4(&self.new);
        let old = get(header, CHECKSUM).ok_or(Refused)?;
        put(header, CHECKSUM, self.addresses.update(old))?;
        Ok(())
    }

    /// Changes an IPv6 header, without extension headers.
    #[inline]
    pub fn ipv6(&self, header: &mut [u8]) -> Result<(), Refused> {
        let at = match self.manip {
            Manip::Source => 8,
            Manip::Destination => 24,
        };
        let place = header.get_mut(at..).and_then(|rest| rest.first_chunk_mut());
        *place.ok_or(Refused)? = self.new;
        Ok(())
    }
}

/// Returns the four bytes of an IPv4 address.
#[inline]
const fn ipv4(address: &[u8; 16]) -> [u8; 4] {
    let [a, b, c, d, ..] = *address;
    [a, b, c, d]
}

/// Changes the identifier of an ICMP query or reply; other messages have none.
fn icmp_query(id: [u8; 2], header: &mut [u8]) -> Result<ChecksumFixup, Refused> {
    const CHECKSUM: usize = 2;
    let kind = *header.first().ok_or(Refused)?;
    if !matches!(
        icmp::classify(kind),
        icmp::Class::Request | icmp::Class::Reply
    ) {
        return Ok(ChecksumFixup::None);
    }
    let change = put(header, 4, id)?;
    let old = get(header, CHECKSUM).ok_or(Refused)?;
    put(header, CHECKSUM, change.update(old))?;
    Ok(ChecksumFixup::None)
}

/// Sets the total length (bytes) of an IPv4 header, and updates its checksum.
pub fn set_ipv4_len(header: &mut [u8], len: u16) -> Result<(), Refused> {
    let change = put(header, 2, len.to_be_bytes())?;
    let old = get(header, 10).ok_or(Refused)?;
    put(header, 10, change.update(old))?;
    Ok(())
}

/// Sets the payload length (bytes) of an IPv6 header.
pub fn set_ipv6_len(header: &mut [u8], len: u16) -> Result<(), Refused> {
    put(header, 4, len.to_be_bytes()).map(|_| ())
}

#[inline]
fn get(header: &[u8], at: usize) -> Option<[u8; 2]> {
    header.get(at..)?.first_chunk().copied()
}

/// Stores two bytes at an even offset, and returns the difference of the sum.
#[inline]
fn put(header: &mut [u8], at: usize, new: [u8; 2]) -> Result<Delta, Refused> {
    let place = header
        .get_mut(at..)
        .and_then(|rest| rest.first_chunk_mut::<2>());
    let place = place.ok_or(Refused)?;
    let change = Delta::NONE.replace(*place, new);
    *place = new;
    Ok(change)
}
