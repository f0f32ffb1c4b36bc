// SPDX-License-Identifier: GPL-2.0

//! What a rule allows: addresses, ports, and how to choose among them.

use core::mem::{align_of, offset_of, size_of};

use super::manip::Manip;
use crate::proto::{
    hash::{jhash2_array, reciprocal_scale},
    types::{family::Family, protocol, tuple::Tuple},
};

/// The bits of [`Range::flags`] (`NF_NAT_RANGE_*`).
pub mod flag {
    /// The address is to come out of the range.
    pub const MAP_IPS: u32 = 1 << 0;
    /// The port, or other key, is to come out of the range.
    pub const PROTO_SPECIFIED: u32 = 1 << 1;
    /// Ports are chosen at random.
    pub const PROTO_RANDOM: u32 = 1 << 2;
    /// A client gets the same address whatever it connects to.
    pub const PERSISTENT: u32 = 1 << 3;
    /// Ports are chosen at random.
    pub const PROTO_RANDOM_FULLY: u32 = 1 << 4;
    /// The port is as far behind the first one as the packet's is behind `base_key`.
    pub const PROTO_OFFSET: u32 = 1 << 5;
    /// Either of the two random ones.
    pub const PROTO_RANDOM_ALL: u32 = PROTO_RANDOM | PROTO_RANDOM_FULLY;
}

/// What a rule allows. Layout twin of `struct nf_nat_range2`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(4))]
pub struct Range {
    /// Bits of [`flag`].
    pub flags: u32,
    /// The first address, network byte order; an IPv4 address fills the first four octets.
    pub min_addr: [u8; 16],
    /// The last address.
    pub max_addr: [u8; 16],
    /// The first port (or ICMP identifier, or GRE key), network byte order.
    pub min_key: [u8; 2],
    /// The last one.
    pub max_key: [u8; 2],
    /// The port that is mapped to the first one, with [`flag::PROTO_OFFSET`].
    pub base_key: [u8; 2],
}

const _: () = {
    assert!(size_of::<Range>() == 44);
    assert!(align_of::<Range>() == 4);
    assert!(offset_of!(Range, min_key) == 36);
};

/// The four 32-bit words of an address, as numbers.
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

/// The same words as memory holds them, for hashing.
#[inline]
fn native_words(address: &[u8; 16]) -> [u32; 4] {
    words(address).map(|word| u32::from_ne_bytes(word.to_be_bytes()))
}

fn octets(words: [u32; 4]) -> [u8; 16] {
    let [[a, b, c, d], [e, f, g, h], [i, j, k, l], [m, n, o, p]] = words.map(u32::to_be_bytes);
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}

impl Range {
    /// One address, and whatever key.
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

    /// Whether any of `flags` is set.
    #[inline]
    pub const fn has(&self, flags: u32) -> bool {
        self.flags & flags != 0
    }

    /// The same range with `address` as its only address.
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

    /// Whether the range has exactly one key, or names none.
    #[inline]
    pub fn has_one_key(&self) -> bool {
        self.min_key == self.max_key
    }

    /// Whether a key of `tuple` is inside; protocols without keys are inside of all ranges.
    #[inline]
    pub fn contains_key(&self, tuple: &Tuple, manip: Manip) -> bool {
        let key = match (tuple.protonum, manip) {
            // One identifier for both ways.
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
        // Network byte order compares as numbers do.
        self.min_key <= key && key <= self.max_key
    }

    /// Whether a connection from the source of `tuple` may stay, or be mapped, so.
    #[inline]
    pub fn suits_source(&self, tuple: &Tuple) -> bool {
        let address_fits = !self.has(flag::MAP_IPS)
            || if tuple.has_family(Family::Ipv4) {
                // The rest of an IPv4 address is zero, but of the range only as a rule.
                let first = |address: &[u8; 16]| words(address)[0];
                let own = first(&tuple.src);
                first(&self.min_addr) <= own && own <= first(&self.max_addr)
            } else {
                self.min_addr <= tuple.src && tuple.src <= self.max_addr
            };
        address_fits
            && (!self.has(flag::PROTO_SPECIFIED) || self.contains_key(tuple, Manip::Source))
    }

    /// The address for a connection, out of the range.
    ///
    /// It is spread by the two ends of the connection ([`flag::PERSISTENT`]: by its source
    /// alone), so a client meets the same server under the same address, even after a reboot.
    pub fn spread(&self, tuple: &Tuple, manip: Manip, zone_id: u16) -> Tuple {
        let mut spread = *tuple;
        if !self.has(flag::MAP_IPS) {
            return spread;
        }
        if self.min_addr == self.max_addr {
            place(&mut spread, manip, self.min_addr);
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
        // Below the last address's prefix all words are allowed.
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
        place(&mut spread, manip, octets(chosen));
        spread
    }

    /// The address of the range that follows the source of `tuple`; behind the last one, the
    /// first.
    pub fn address_after(&self, tuple: &Tuple) -> [u8; 16] {
        let used = if tuple.has_family(Family::Ipv4) {
            32
        } else {
            128
        };
        // The rest of an IPv4 address is zero, but of the range only as a rule.
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

fn place(tuple: &mut Tuple, manip: Manip, address: [u8; 16]) {
    match manip {
        Manip::Source => tuple.src = address,
        Manip::Destination => tuple.dst = address,
    }
}
