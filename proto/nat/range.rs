// SPDX-License-Identifier: GPL-2.0

//! NAT ranges: the addresses and ports that a rule allows.

use core::mem::{align_of, offset_of, size_of};

use super::manip::Manip;
use crate::proto::{
    hash::{jhash2_array, reciprocal_scale},
    types::{family::Family, protocol, tuple::Tuple},
};

/// The bits of [`Range::flags`] (`NF_NAT_RANGE_*`).
pub mod flag {
    /// The address is chosen from the range.
    pub const MAP_IPS: u32 = 1 << 0;
    /// The port, or other key, is chosen from the range.
    pub const PROTO_SPECIFIED: u32 = 1 << 1;
    /// Ports are chosen at random.
    pub const PROTO_RANDOM: u32 = 1 << 2;
    /// A client gets the same address for all destinations.
    pub const PERSISTENT: u32 = 1 << 3;
    /// Ports are chosen at random.
    pub const PROTO_RANDOM_FULLY: u32 = 1 << 4;
    /// The offset of the port from the first one is that of the packet's port from `base_key`.
    pub const PROTO_OFFSET: u32 = 1 << 5;
    /// Mask of both random flags.
    pub const PROTO_RANDOM_ALL: u32 = PROTO_RANDOM | PROTO_RANDOM_FULLY;
}

/// The addresses and keys that a rule allows. Layout twin of `struct nf_nat_range2`.
///
/// # Examples
///
/// ```
/// # use rust_ct_host::proto;
/// use proto::{
///     nat::{
///         range::{flag, Range},
///         Manip,
///     },
///     types::{
///         protocol,
///         tuple::{L4Key, Tuple},
///     },
/// };
///
/// // `snat to 192.0.2.1-192.0.2.6:2000-2999`
/// let address = |last| [192, 0, 2, last, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// let range = Range {
///     flags: flag::MAP_IPS | flag::PROTO_SPECIFIED,
///     min_addr: address(1),
///     max_addr: address(6),
///     min_key: 2000_u16.to_be_bytes(),
///     max_key: 2999_u16.to_be_bytes(),
///     base_key: [0; 2],
/// };
/// let ports = L4Key::ports(40_000, 80);
/// let tuple = Tuple::ipv4([10, 0, 0, 1], [198, 51, 100, 1], ports, protocol::TCP);
/// assert!(!range.suits_source(&tuple));
///
/// // The hash chooses the address; the port is not chosen here.
/// let spread = range.spread(&tuple, Manip::Source, 0);
/// assert!((1..=6).contains(&spread.src_ipv4()[3]));
/// assert_eq!(spread, range.spread(&tuple, Manip::Source, 0));
/// assert!(!range.contains_key(&spread, Manip::Source));
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(4))]
pub struct Range {
    /// Bits of [`flag`].
    pub flags: u32,
    /// The first address, network byte order; an IPv4 address fills the first four bytes, and the
    /// rest is zero ([`Range::of_family`]).
    pub min_addr: [u8; 16],
    /// The last address, in the same format.
    pub max_addr: [u8; 16],
    /// The first port (or ICMP identifier, or GRE key), network byte order.
    pub min_key: [u8; 2],
    /// The last port, network byte order.
    pub max_key: [u8; 2],
    /// The port that is mapped to the first one, with [`flag::PROTO_OFFSET`].
    pub base_key: [u8; 2],
}

const _: () = {
    assert!(size_of::<Range>() == 44);
    assert!(align_of::<Range>() == 4);
    assert!(offset_of!(Range, min_key) == 36);
};

/// Returns the four 32-bit words of an address in host byte order.
#[inline]
fn words(address: &[u8; 16]) -> [u32; 4] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *address;
    [
        u32::from_be_bytes([a, b, c, d]),
        u32::from_be_bytes([e, f, g, h]),
        u32::from_be_bytes([i, j, k, l]),
        u32::from_be_bytes([m, n, o, p]),
    ]
}

/// Returns the four words in native memory order, for hashing.
#[inline]
fn native_words(address: &[u8; 16]) -> [u32; 4] {
    words(address).map(|word| u32::from_ne_bytes(word.to_be_bytes()))
}

/// Returns an address with the bytes behind the first four zeroed.
#[inline]
const fn ipv4_part(address: &[u8; 16]) -> [u8; 16] {
    let [a, b, c, d, ..] = *address;
    [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

fn bytes(words: [u32; 4]) -> [u8; 16] {
    let [[a, b, c, d], [e, f, g, h], [i, j, k, l], [m, n, o, p]] = words.map(u32::to_be_bytes);
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}

impl Range {
    /// Returns the range of one address and any key.
    pub const fn address(address: [u8; 16]) -> Self {
        Self {
            flags: flag::MAP_IPS,
            min_addr: address,
            max_addr: address,
            min_key: [0; 2],
            max_key: [0; 2],
            base_key: [0; 2],
        }
    }

    /// Returns the same range for connections of `family`. The bytes behind an IPv4 address, which
    /// user space may not have zeroed, are zero in the result, as they are in a tuple.
    #[inline]
    #[must_use]
    pub const fn of_family(&self, family: Option<Family>) -> Self {
        let mut range = *self;
        if matches!(family, Some(Family::Ipv4)) {
            range.min_addr = ipv4_part(&self.min_addr);
            range.max_addr = ipv4_part(&self.max_addr);
        }
        range
    }

    /// Returns whether any of `flags` is set.
    #[inline]
    pub const fn has(&self, flags: u32) -> bool {
        self.flags & flags != 0
    }

    /// Returns the same range with `address` as its only address.
    #[must_use]
    pub const fn at(&self, address: [u8; 16]) -> Self {
        Self {
            flags: self.flags | flag::MAP_IPS,
            min_addr: address,
            max_addr: address,
            min_key: self.min_key,
            max_key: self.max_key,
            base_key: [0; 2],
        }
    }

    /// Returns whether the range has exactly one key, or none.
    #[inline]
    pub fn has_one_key(&self) -> bool {
        self.min_key == self.max_key
    }

    /// Returns whether the rule names one key, and leaves no choice of keys.
    #[inline]
    pub fn names_key(&self) -> bool {
        self.has(flag::PROTO_SPECIFIED) && self.has_one_key()
    }

    /// Returns whether the key of `tuple` is in the range. Protocols without keys are in every
    /// range.
    #[inline]
    pub fn contains_key(&self, tuple: &Tuple, manip: Manip) -> bool {
        let key = match (tuple.protonum, manip) {
            // A query and its reply have the same identifier.
            (protocol::ICMP | protocol::ICMPV6, _) => tuple.src_key,
            (protocol::TCP | protocol::UDP | protocol::SCTP | protocol::GRE, Manip::Source) => {
                tuple.src_key
            }
            (
                protocol::TCP | protocol::UDP | protocol::SCTP | protocol::GRE,
                Manip::Destination,
            ) => tuple.dst_key,
            _ => return true,
        };
        // Byte arrays in network byte order compare like numbers.
        self.min_key <= key && key <= self.max_key
    }

    /// Returns whether the rule allows the source of `tuple` as the translated source.
    #[inline]
    pub fn suits_source(&self, tuple: &Tuple) -> bool {
        let address_fits =
            !self.has(flag::MAP_IPS) || self.min_addr <= tuple.src && tuple.src <= self.max_addr;
        address_fits
            && (!self.has(flag::PROTO_SPECIFIED) || self.contains_key(tuple, Manip::Source))
    }

    /// Returns `tuple` with an address from the range.
    ///
    /// The address depends on a hash of source and destination ([`flag::PERSISTENT`]: of the source
    /// alone) without a seed. So a client gets the same address for the same server, even after a
    /// reboot.
    pub fn spread(&self, tuple: &Tuple, manip: Manip, zone_id: u16) -> Tuple {
        let mut spread = *tuple;
        if !self.has(flag::MAP_IPS) {
            return spread;
        }
        if self.min_addr == self.max_addr {
            set_address(&mut spread, manip, self.min_addr);
            return spread;
        }

        let used = if tuple.has_family(Family::Ipv4) { 1 } else { 4 };
        let persistent = self.has(flag::PERSISTENT);
        let mut destination = native_words(&tuple.dst);
        let last = if tuple.has_family(Family::Ipv4) {
            destination[0]
        } else {
            destination[3]
        };
        let salt = if persistent {
            0
        } else {
            last ^ u32::from(zone_id)
        };
        let mut hash = jhash2_array(&native_words(&tuple.src), salt);

        let (min, max) = (words(&self.min_addr), words(&self.max_addr));
        let mut chosen = words(match manip {
            Manip::Source => &tuple.src,
            Manip::Destination => &tuple.dst,
        });
        // Once a word is below that of the last address, the following words are unrestricted.
        let mut below = false;
        let words = chosen
            .iter_mut()
            .zip(min.iter().zip(&max))
            .zip(&mut destination);
        for ((word, (&min, &max)), destination) in words.take(used) {
            let (first, count) = if below {
                (0, u32::MAX)
            } else {
                (min, max.wrapping_sub(min).wrapping_add(1))
            };
            *word = first.wrapping_add(reciprocal_scale(hash, count));
            below |= *word != max;
            if !persistent {
                if manip == Manip::Destination {
                    *destination = u32::from_ne_bytes(word.to_be_bytes());
                }
                hash ^= *destination;
            }
        }
        set_address(&mut spread, manip, bytes(chosen));
        spread
    }

    /// Returns the address of the range that follows the source of `tuple`; after the last one, the
    /// first.
    pub fn address_after(&self, tuple: &Tuple) -> [u8; 16] {
        let used = if tuple.has_family(Family::Ipv4) {
            32
        } else {
            128
        };
        let number = |address: &[u8; 16]| u128::from_be_bytes(*address) >> (128 - used);
        let own = number(&tuple.src);
        let next = if own >= number(&self.max_addr) {
            number(&self.min_addr)
        } else {
            own.wrapping_add(1)
        };
        (next << (128 - used)).to_be_bytes()
    }
}

/// Sets the address of one end.
fn set_address(tuple: &mut Tuple, manip: Manip, address: [u8; 16]) {
    match manip {
        Manip::Source => tuple.src = address,
        Manip::Destination => tuple.dst = address,
    }
}
