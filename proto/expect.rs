// SPDX-License-Identifier: GPL-2.0

//! Expectations: which tuples one matches, and when two clash.

use super::types::{
    mask::TupleMask,
    tuple::{L4Key, Tuple},
};

/// The connection that a helper announces. Addresses and keys are in network byte order.
///
/// # Examples
///
/// ```
/// # use rust_ct_host::proto;
/// use proto::{
///     expect::Announcement,
///     types::{family::Family, mask::TupleMask, protocol},
/// };
///
/// // A call to a known port, from a host that is not known.
/// let (tuple, mask) = Announcement {
///     l3num: Family::Ipv6.to_u16(),
///     protonum: protocol::UDP,
///     src: None,
///     src_key: None,
///     dst: [1; 16],
///     dst_key: 5060u16.to_be_bytes(),
/// }
/// .tuple_and_mask();
/// assert_eq!((tuple.dst, tuple.dst_port()), ([1; 16], 5060));
/// assert_eq!(mask, TupleMask::new([0; 16], [0; 2]));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Announcement {
    /// Number of the address family, host byte order.
    pub l3num: u16,
    /// IP protocol number.
    pub protonum: u8,
    /// Source address, if it is known.
    pub src: Option<[u8; 16]>,
    /// Source port, or the key in its place, if it is known.
    pub src_key: Option<[u8; 2]>,
    /// Destination address.
    pub dst: [u8; 16],
    /// Destination port, or the key in its place.
    pub dst_key: [u8; 2],
}

impl Announcement {
    /// Returns the expectation's tuple, in which an unknown source is zero, and its mask.
    pub fn tuple_and_mask(&self) -> (Tuple, TupleMask) {
        let key = L4Key {
            src: self.src_key.unwrap_or_default(),
            dst: self.dst_key,
        };
        let src = self.src.unwrap_or_default();
        (
            Tuple::new(self.l3num, src, self.dst, key, self.protonum),
            TupleMask::of_source(self.l3num, self.src.is_some(), self.src_key.is_some()),
        )
    }
}

/// The tuples that an expectation matches: one destination, and a source that may be known in part.
///
/// # Examples
///
/// ```
/// # use rust_ct_host::proto;
/// use proto::{
///     expect::Pattern,
///     types::{
///         mask::TupleMask,
///         protocol,
///         tuple::{L4Key, Tuple},
///     },
/// };
///
/// // FTP: a connection from the server, from any port, to the port of the PORT command.
/// let (server, client) = ([192, 0, 2, 1], [10, 0, 0, 1]);
/// let expected = Pattern {
///     tuple: Tuple::ipv4(server, client, L4Key::ports(0, 40_001), protocol::TCP),
///     mask: TupleMask::new([0xff; 16], [0; 2]),
///     zone_id: 0,
/// };
/// let data = Tuple::ipv4(server, client, L4Key::ports(20, 40_001), protocol::TCP);
/// assert!(expected.matches(&data, 0));
/// assert!(!expected.matches(&data, 7));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Pattern {
    /// The destination, the protocol, and the known part of the source.
    pub tuple: Tuple,
    /// The bits of the source that are known.
    pub mask: TupleMask,
    /// The id of the zone.
    pub zone_id: u16,
}

impl Pattern {
    /// Returns whether `tuple`, in zone `zone_id`, is expected.
    #[inline]
    pub fn matches(&self, tuple: &Tuple, zone_id: u16) -> bool {
        same_destination(&self.tuple, tuple)
            && self.mask.agrees(&self.tuple, tuple)
            && self.zone_id == zone_id
    }

    /// Returns whether some tuple matches both patterns.
    pub fn clashes(&self, other: &Self) -> bool {
        same_destination(&self.tuple, &other.tuple)
            && self.mask.and(&other.mask).agrees(&self.tuple, &other.tuple)
            && self.zone_id == other.zone_id
    }

    /// Returns whether both patterns match the same tuples by the same mask.
    pub fn equals(&self, other: &Self) -> bool {
        self.tuple == other.tuple
            && self.mask.has_bits_of(&other.mask)
            && self.zone_id == other.zone_id
    }
}

/// Returns whether family, protocol, destination address and destination port are the same.
#[inline]
fn same_destination(a: &Tuple, b: &Tuple) -> bool {
    a.dst == b.dst && a.dst_key == b.dst_key && a.protonum == b.protonum && a.l3num == b.l3num
}
