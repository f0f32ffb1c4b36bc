// SPDX-License-Identifier: GPL-2.0

//! Expectations: which tuples one matches, and when two clash.

use core::mem::{align_of, offset_of, size_of};

use super::{
    hash::{jhash2_array, reciprocal_scale},
    types::tuple::Tuple,
};

/// The mask of an expectation: the bits of a tuple's source that are compared.
///
/// Layout twin of `struct nf_conntrack_tuple_mask`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(4))]
pub struct Mask {
    /// Bits of the source address.
    pub src: [u8; 16],
    /// Bits of the source port, or of the key in its place.
    pub src_key: [u8; 2],
    /// Padding of the C type; zero.
    pub unused: [u8; 2],
}

const _: () = {
    assert!(size_of::<Mask>() == 20);
    assert!(align_of::<Mask>() == 4);
    assert!(offset_of!(Mask, src_key) == 16);
};

impl Mask {
    /// Returns the bits that are set in both masks.
    #[must_use]
    pub const fn and(&self, other: &Self) -> Self {
        let src = u128::from_ne_bytes(self.src) & u128::from_ne_bytes(other.src);
        let key = u16::from_ne_bytes(self.src_key) & u16::from_ne_bytes(other.src_key);
        Self {
            src: src.to_ne_bytes(),
            src_key: key.to_ne_bytes(),
            unused: [0; 2],
        }
    }

    /// Returns whether the sources of two tuples are equal in the masked bits.
    #[inline]
    const fn agrees(&self, a: &Tuple, b: &Tuple) -> bool {
        let address = (u128::from_ne_bytes(a.src) ^ u128::from_ne_bytes(b.src))
            & u128::from_ne_bytes(self.src);
        let key = (u16::from_ne_bytes(a.src_key) ^ u16::from_ne_bytes(b.src_key))
            & u16::from_ne_bytes(self.src_key);
        address == 0 && key == 0
    }

    const fn counts_same(&self, other: &Self) -> bool {
        u128::from_ne_bytes(self.src) == u128::from_ne_bytes(other.src)
            && u16::from_ne_bytes(self.src_key) == u16::from_ne_bytes(other.src_key)
    }
}

/// The tuples that an expectation matches: one destination, and a source that may be known in part.
///
/// # Examples
///
/// ```
/// # use rust_ct_host::proto;
/// use proto::{
///     expect::{Mask, Pattern},
///     types::{
///         protocol,
///         tuple::{L4Key, Tuple},
///     },
/// };
///
/// // FTP: a connection from the server, from any port, to the port of the PORT command.
/// let (server, client) = ([192, 0, 2, 1], [10, 0, 0, 1]);
/// let expected = Pattern {
///     tuple: Tuple::ipv4(server, client, L4Key::ports(0, 40_001), protocol::TCP),
///     mask: Mask {
///         src: [0xff; 16],
///         src_key: [0; 2],
///         unused: [0; 2],
///     },
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
    pub mask: Mask,
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
            && self.mask.counts_same(&other.mask)
            && self.zone_id == other.zone_id
    }
}

/// Returns whether family, protocol, destination address and destination port are the same.
#[inline]
fn same_destination(a: &Tuple, b: &Tuple) -> bool {
    a.dst == b.dst && a.dst_key == b.dst_key && a.protonum == b.protonum && a.l3num == b.l3num
}

/// Returns the bucket, from 0 to `buckets - 1`, of all expectations with the destination of
/// `tuple`.
///
/// The source is not hashed, because it may be unknown. `net_mix` is the namespace's
/// `net_hash_mix()`, `seed` the random hash seed.
#[inline]
pub fn bucket(tuple: &Tuple, net_mix: u32, seed: u32, buckets: u32) -> u32 {
    let [a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3] = tuple.dst;
    let [k0, k1] = tuple.dst_key;
    let [l0, _] = tuple.l3num.to_le_bytes();
    let words = [
        u32::from_ne_bytes([a0, a1, a2, a3]),
        u32::from_ne_bytes([b0, b1, b2, b3]),
        u32::from_ne_bytes([c0, c1, c2, c3]),
        u32::from_ne_bytes([d0, d1, d2, d3]),
        u32::from_ne_bytes([k0, k1, tuple.protonum, l0]),
        net_mix,
    ];
    reciprocal_scale(jhash2_array(&words, seed), buckets)
}
