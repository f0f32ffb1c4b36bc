// SPDX-License-Identifier: GPL-2.0

//! Protocol families.

/// The network protocol of a packet or a connection: IPv4 or IPv6.
///
/// The discriminants are `NFPROTO_IPV4` and `NFPROTO_IPV6`, which equal `AF_INET` and `AF_INET6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Family {
    /// IPv4 (RFC 791).
    Ipv4 = 2,
    /// IPv6 (RFC 8200).
    Ipv6 = 10,
}

impl Family {
    /// Returns the family with this `NFPROTO_*` or `AF_*` number, as `l3num` holds it (host byte
    /// order). [`None`] for a family that is not tracked.
    #[inline]
    pub const fn from_number(l3num: u16) -> Option<Self> {
        match l3num {
            2 => Some(Self::Ipv4),
            10 => Some(Self::Ipv6),
            _ => None,
        }
    }

    /// Returns the family of an EtherType (`ETH_P_*`, host byte order). [`None`] for a protocol
    /// that is not tracked.
    #[inline]
    pub const fn from_ethertype(number: u16) -> Option<Self> {
        match number {
            0x0800 => Some(Self::Ipv4),
            0x86dd => Some(Self::Ipv6),
            _ => None,
        }
    }

    /// Returns the `NFPROTO_*` number.
    #[inline]
    pub const fn to_u8(self) -> u8 {
        match self {
            Self::Ipv4 => 2,
            Self::Ipv6 => 10,
        }
    }

    /// Returns the number in the width that a tuple's `l3num` has (host byte order).
    #[inline]
    pub const fn to_u16(self) -> u16 {
        match self {
            Self::Ipv4 => 2,
            Self::Ipv6 => 10,
        }
    }
}
