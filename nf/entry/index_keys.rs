// SPDX-License-Identifier: GPL-2.0

//! Keys: what the entries of a list or chain have in common, beside the namespace, and how they are
//! hashed.

use crate::{
    nf::kernel::{
        net::Net,
        random, //
    },
    proto::types::{
        direction::Direction,
        tuple::Tuple,
        zone::Zone, //
    },
};

use super::{
    conn::{
        Entry,
        StatusBit, //
    },
    object::IndexKind, //
};

/// The number of classes of zones: zones with ids that are equal modulo this share one. A power of
/// two, and a multiple of 32.
pub(crate) const ZONE_CLASSES: u32 = 4096;

/// Returns the class that a zone is in.
#[inline]
pub(crate) fn zone_class(id: u16) -> u32 {
    u32::from(id) & (ZONE_CLASSES - 1)
}

/// An address, as two words.
pub(crate) type Address = [u64; 2];

/// Returns the two words of an address.
pub(crate) fn address_words(bytes: [u8; 16]) -> Address {
    let [a, b, c, d, e, f, g, h, rest @ ..] = bytes;
    [
        u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
        u64::from_ne_bytes(rest),
    ]
}

/// Returns the source and the destination of an entry's tuple.
#[inline]
fn addresses(entry: &Entry, dir: Direction) -> [Address; 2] {
    let tuple = entry.tuple(dir);
    [address_words(tuple.src), address_words(tuple.dst)]
}

/// What the entries of a list have in common.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum IndexKey {
    /// The class of the zone.
    ZoneClass(u32),
    /// The source of the original tuple.
    Source(Address),
    /// The destination of the original tuple.
    Destination(Address),
    /// The source of the reply tuple. The destination is translated to it, the source is not
    /// translated.
    ReplySource(Address),
    /// The destination of the reply tuple. The source is translated to it, the destination is not
    /// translated.
    ReplyDestination(Address),
    /// Both ends are translated.
    TranslatedTwice,
}

impl IndexKey {
    /// Returns the key of an entry's zone.
    #[inline(always)]
    pub(super) fn zone_of(entry: &Entry) -> Self {
        Self::ZoneClass(zone_class(entry.zone().id))
    }

    /// Returns the keys of an entry's source and destination.
    #[inline(always)]
    pub(super) fn ends_of(entry: &Entry) -> [Self; 2] {
        let [source, destination] = addresses(entry, Direction::Original);
        [Self::Source(source), Self::Destination(destination)]
    }

    /// Returns the key of what an entry is translated to; [`None`]: it is not translated.
    #[inline(always)]
    pub(super) fn translation_of(entry: &Entry) -> Option<Self> {
        if entry.has(StatusBit::Mirrored) {
            return None;
        }
        let [source, destination] = addresses(entry, Direction::Original);
        let [reply_source, reply_destination] = addresses(entry, Direction::Reply);
        match (reply_destination != source, reply_source != destination) {
            (false, false) => None,
            (true, false) => Some(Self::ReplyDestination(reply_destination)),
            (false, true) => Some(Self::ReplySource(reply_source)),
            (true, true) => Some(Self::TranslatedTwice),
        }
    }

    /// Returns the kind of lists that this is a key of.
    pub(crate) fn kind(&self) -> IndexKind {
        match self {
            Self::ZoneClass(_) => IndexKind::Zone,
            Self::Source(_) => IndexKind::Source,
            Self::Destination(_) => IndexKind::Destination,
            Self::ReplySource(_) | Self::ReplyDestination(_) | Self::TranslatedTwice => {
                IndexKind::Translated
            }
        }
    }

    /// Returns whether an entry of the namespace has this key.
    pub(crate) fn matches(&self, entry: &Entry) -> bool {
        match self {
            Self::ZoneClass(_) => *self == Self::zone_of(entry),
            Self::Source(_) | Self::Destination(_) => Self::ends_of(entry).contains(self),
            _ => Self::translation_of(entry) == Some(*self),
        }
    }
}

/// The hash of keys: a sum of products with secret factors, which are odd.
///
/// An attacker that knew the factors could make lists long, at the expense of requests that walk
/// them.
#[derive(Clone, Copy)]
pub(super) struct Hasher {
    factors: [u64; 4],
}

impl Hasher {
    /// Draws the factors.
    pub(super) fn new() -> Self {
        let factor = || {
            let (high, low) = (random::below(u32::MAX), random::below(u32::MAX));
            u64::from(high) << 32 | u64::from(low) | 1
        };
        Self {
            factors: core::array::from_fn(|_| factor()),
        }
    }

    /// Returns the hash for the keys of a namespace.
    #[inline(always)]
    pub(super) fn in_net(&self, net: &Net) -> NetHasher<'_> {
        let [_, _, third, _] = self.factors;
        NetHasher {
            factors: &self.factors,
            net: u64::from(net.hash_mix()).wrapping_mul(third),
        }
    }
}

/// The hash for the keys of a namespace.
#[derive(Clone, Copy)]
pub(super) struct NetHasher<'a> {
    factors: &'a [u64; 4],
    net: u64,
}

impl NetHasher<'_> {
    /// Returns a hash; its high bits depend on all of the input.
    #[inline(always)]
    fn mix(&self, domain: u64, [a, b]: Address) -> u64 {
        let [first, second, ..] = *self.factors;
        let a = (a ^ domain).wrapping_mul(first);
        a.wrapping_add(b.wrapping_mul(second))
            .wrapping_add(self.net)
    }

    /// Returns the hash of a key.
    #[inline(always)]
    pub(super) fn hash(&self, key: &IndexKey) -> u64 {
        // Each kind has lists of its own, so only keys of one kind have different domains.
        match *key {
            IndexKey::ZoneClass(class) => self.mix(0, [class.into(), 0]),
            IndexKey::Source(address) | IndexKey::Destination(address) => self.mix(0, address),
            IndexKey::ReplySource(address) => self.mix(1 << 63, address),
            IndexKey::ReplyDestination(address) => self.mix(0, address),
            IndexKey::TranslatedTwice => self.mix(1 << 62, [0, 0]),
        }
    }

    /// Returns the hash of a source: of address, port, protocol and zone.
    #[inline]
    pub(super) fn hash_source(&self, source: &SourceKey) -> u64 {
        let [.., last] = *self.factors;
        self.mix(0, source.address)
            .wrapping_add(source.rest.wrapping_mul(last))
    }
}

/// A source of connections, for NAT.
#[derive(Clone, Copy)]
pub(crate) struct SourceKey {
    address: Address,
    /// The port, the protocol and the zone.
    rest: u64,
}

impl SourceKey {
    /// Returns the source of a tuple in a zone.
    pub(crate) fn new(zone: Zone, tuple: &Tuple) -> Self {
        // A zone of one direction only may be another one for replies.
        let zone_id = if zone.dir == Zone::BOTH { zone.id } else { 0 };
        let port = u64::from(u16::from_ne_bytes(tuple.src_key));
        Self {
            address: address_words(tuple.src),
            rest: port | u64::from(tuple.protonum) << 16 | u64::from(zone_id) << 32,
        }
    }

    /// Returns the source of an entry: of what does not change while the entry is shared.
    pub(super) fn of(entry: &Entry) -> Self {
        Self::new(entry.zone(), &entry.tuple(Direction::Original))
    }
}
