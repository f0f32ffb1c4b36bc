// SPDX-License-Identifier: GPL-2.0

//! Tuples: the addresses and keys that identify one direction of a connection.

use core::mem::{align_of, offset_of, size_of};

use super::{
    direction::Direction,
    family::Family,
    num::{u16_as_u32, u32_as_u64},
};

/// The transport protocol's part of a tuple: two bytes on either side, in network byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct L4Key {
    /// Source port, ICMP identifier or GRE key.
    pub src: [u8; 2],
    /// Destination port, ICMP type and code, or GRE key.
    pub dst: [u8; 2],
}

impl L4Key {
    /// The key of a protocol without ports.
    pub const NONE: Self = Self {
        src: [0; 2],
        dst: [0; 2],
    };

    /// Returns the key of two ports, which are in host byte order.
    #[inline]
    pub const fn ports(src: u16, dst: u16) -> Self {
        Self {
            src: src.to_be_bytes(),
            dst: dst.to_be_bytes(),
        }
    }

    /// Returns the key of two ports, from the first four bytes of a TCP, UDP or SCTP header.
    #[inline]
    pub const fn from_wire(header: &[u8; 4]) -> Self {
        let [src, dst] = split_short(u32::from_ne_bytes(*header));
        Self {
            src: src.to_ne_bytes(),
            dst: dst.to_ne_bytes(),
        }
    }

    /// Returns the key of an ICMP query: identifier (network byte order), type and code.
    #[inline]
    pub const fn icmp(id: [u8; 2], kind: u8, code: u8) -> Self {
        Self {
            src: id,
            dst: [kind, code],
        }
    }
}

/// The tuple that identifies one direction of a connection.
///
/// Layout twin of `struct nf_conntrack_tuple`: 40 bytes. All but the last byte (the direction) make
/// up the [`Key`]. An IPv4 address fills the first four bytes of an address field; the rest is
/// zero.
///
/// # Examples
///
/// ```
/// # use rust_ct_host::proto;
/// use proto::types::{
///     direction::Direction,
///     protocol,
///     tuple::{L4Key, Tuple},
/// };
///
/// let ports = L4Key::ports(40_000, 80);
/// let tuple = Tuple::ipv4([10, 0, 0, 1], [10, 0, 0, 2], ports, protocol::TCP);
/// assert_eq!((tuple.src_ipv4(), tuple.src_port()), ([10, 0, 0, 1], 40_000));
///
/// // The direction is no part of a tuple's identity.
/// let same = tuple.with_direction(Direction::Reply);
/// assert_eq!(same, tuple);
/// assert_eq!(same.key(), tuple.key());
/// assert_ne!(same.direction(), tuple.direction());
/// ```
#[derive(Clone, Copy, Debug)]
#[repr(C, align(4))]
pub struct Tuple {
    /// Source address, network byte order.
    pub src: [u8; 16],
    /// Source port, ICMP identifier or GRE key, network byte order.
    pub src_key: [u8; 2],
    /// Number of the address [`Family`], host byte order.
    pub l3num: u16,
    /// Destination address, network byte order.
    pub dst: [u8; 16],
    /// Destination port, ICMP type and code, or GRE key, network byte order.
    pub dst_key: [u8; 2],
    /// IP protocol number.
    pub protonum: u8,
    /// The direction's number; not part of the tuple's identity.
    pub dir: u8,
}

// Consumers written in C read tuples in place.
const _: () = {
    assert!(size_of::<Tuple>() == 40);
    assert!(align_of::<Tuple>() == 4);
    assert!(offset_of!(Tuple, src_key) == 16);
    assert!(offset_of!(Tuple, l3num) == 18);
    assert!(offset_of!(Tuple, dst) == 20);
    assert!(offset_of!(Tuple, dst_key) == 36);
    assert!(offset_of!(Tuple, protonum) == 38);
    assert!(offset_of!(Tuple, dir) == 39);
};

impl Tuple {
    /// Returns an IPv4 tuple in the original direction.
    #[inline]
    pub const fn ipv4(src: [u8; 4], dst: [u8; 4], key: L4Key, protonum: u8) -> Self {
        Self::new(Family::Ipv4.to_u16(), widen(src), widen(dst), key, protonum)
    }

    /// Returns an IPv6 tuple in the original direction.
    #[inline]
    pub const fn ipv6(src: [u8; 16], dst: [u8; 16], key: L4Key, protonum: u8) -> Self {
        Self::new(Family::Ipv6.to_u16(), src, dst, key, protonum)
    }

    /// Returns a tuple of any family in the original direction.
    #[inline]
    pub const fn new(l3num: u16, src: [u8; 16], dst: [u8; 16], key: L4Key, protonum: u8) -> Self {
        Self {
            src,
            src_key: key.src,
            l3num,
            dst,
            dst_key: key.dst,
            protonum,
            dir: Direction::Original.to_u8(),
        }
    }

    /// Returns the direction that the tuple belongs to.
    #[inline]
    pub const fn direction(&self) -> Direction {
        Direction::from_bit(self.dir != 0)
    }

    /// Returns the same tuple, belonging to `direction`.
    #[inline]
    #[must_use]
    pub const fn with_direction(mut self, direction: Direction) -> Self {
        self.dir = direction.to_u8();
        self
    }

    /// Returns the family of the addresses; [`None`] for one that is not tracked.
    #[inline]
    pub const fn family(&self) -> Option<Family> {
        Family::from_number(self.l3num)
    }

    /// Returns whether the addresses are of `family`.
    #[inline]
    pub const fn has_family(&self, family: Family) -> bool {
        self.l3num == family.to_u16()
    }

    /// Returns the transport protocol's part of the tuple.
    #[inline]
    pub const fn l4(&self) -> L4Key {
        L4Key {
            src: self.src_key,
            dst: self.dst_key,
        }
    }

    /// Returns the source port in host byte order.
    #[inline]
    pub const fn src_port(&self) -> u16 {
        u16::from_be_bytes(self.src_key)
    }

    /// Returns the destination port in host byte order.
    #[inline]
    pub const fn dst_port(&self) -> u16 {
        u16::from_be_bytes(self.dst_key)
    }

    /// Returns the ICMP identifier in host byte order.
    #[inline]
    pub const fn icmp_id(&self) -> u16 {
        u16::from_be_bytes(self.src_key)
    }

    /// Returns the ICMP type.
    #[inline]
    pub const fn icmp_type(&self) -> u8 {
        self.dst_key[0]
    }

    /// Returns the ICMP code.
    #[inline]
    pub const fn icmp_code(&self) -> u8 {
        self.dst_key[1]
    }

    /// Returns the source address of an IPv4 tuple.
    #[inline]
    pub const fn src_ipv4(&self) -> [u8; 4] {
        narrow(&self.src)
    }

    /// Returns the destination address of an IPv4 tuple.
    #[inline]
    pub const fn dst_ipv4(&self) -> [u8; 4] {
        narrow(&self.dst)
    }

    /// Returns the five words of the tuple in memory, the direction included.
    #[inline]
    pub const fn words(&self) -> [u64; 5] {
        let [a, b, c, d, last] = self.key().0;
        [a, b, c, d, last | last_byte(self.dir)]
    }

    /// Returns the tuple's identity, for hashing and comparing.
    #[inline]
    pub const fn key(&self) -> Key {
        let s = &self.src;
        let d = &self.dst;
        let protonum = u16::from_ne_bytes([self.protonum, 0]);
        let source = join_short(u16::from_ne_bytes(self.src_key), self.l3num);
        let last = join_short(u16::from_ne_bytes(self.dst_key), protonum);
        Key([
            u64::from_ne_bytes([s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]]),
            u64::from_ne_bytes([s[8], s[9], s[10], s[11], s[12], s[13], s[14], s[15]]),
            join(source, u32::from_ne_bytes([d[0], d[1], d[2], d[3]])),
            u64::from_ne_bytes([d[4], d[5], d[6], d[7], d[8], d[9], d[10], d[11]]),
            join(u32::from_ne_bytes([d[12], d[13], d[14], d[15]]), last),
        ])
    }
}

impl PartialEq for Tuple {
    /// Compares what identifies the connection; the direction is ignored.
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Tuple {}

/// The 39 bytes of a tuple that identify it, as the five machine words that hold them.
///
/// A reader of a recycled entry loads the tuple as five relaxed atomic words ([`Key::from_words`]):
/// the words may be torn, but comparing them is defined, and the caller repeats the comparison
/// after it has taken a reference.
#[derive(Clone, Copy, Debug)]
pub struct Key([u64; 5]);

impl Key {
    /// Returns the key of [`Tuple::ipv4`] without building the tuple.
    #[inline]
    pub const fn ipv4(src: [u8; 4], dst: [u8; 4], key: L4Key, protonum: u8) -> Self {
        let family = Family::Ipv4.to_u16();
        let protonum = u16::from_ne_bytes([protonum, 0]);
        let source = join_short(u16::from_ne_bytes(key.src), family);
        let last = join_short(u16::from_ne_bytes(key.dst), protonum);
        Self([
            join(u32::from_ne_bytes(src), 0),
            0,
            join(source, u32::from_ne_bytes(dst)),
            0,
            join(0, last),
        ])
    }

    /// Returns the tuple with this key, in the original direction.
    #[inline]
    pub const fn tuple(&self) -> Tuple {
        let [a, b, c, d, e] = self.0;
        let [a0, a1, a2, a3, a4, a5, a6, a7] = a.to_ne_bytes();
        let [b0, b1, b2, b3, b4, b5, b6, b7] = b.to_ne_bytes();
        let [s0, s1, l0, l1, c0, c1, c2, c3] = c.to_ne_bytes();
        let [d0, d1, d2, d3, d4, d5, d6, d7] = d.to_ne_bytes();
        let [e0, e1, e2, e3, t0, t1, protonum, _] = e.to_ne_bytes();
        Tuple::new(
            u16::from_ne_bytes([l0, l1]),
            [
                a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, b4, b5, b6, b7,
            ],
            [
                c0, c1, c2, c3, d0, d1, d2, d3, d4, d5, d6, d7, e0, e1, e2, e3,
            ],
            L4Key {
                src: [s0, s1],
                dst: [t0, t1],
            },
            protonum,
        )
    }

    /// Returns whether source and destination port (or the keys in their place) are equal.
    #[inline]
    pub const fn has_equal_ports(&self) -> bool {
        let [_, _, _, _, source, .., last] = self.halves();
        let ([source, _], [destination, _]) = (split_short(source), split_short(last));
        source == destination
    }

    /// Returns the key with source and destination exchanged.
    #[inline]
    #[must_use]
    pub const fn mirror(&self) -> Self {
        let [a, b, c, d, source, f, g, h, i, last] = self.halves();
        let ([source_port, family], [destination_port, protonum]) =
            (split_short(source), split_short(last));
        Self([
            join(f, g),
            join(h, i),
            join(join_short(destination_port, family), a),
            join(b, c),
            join(d, join_short(source_port, protonum)),
        ])
    }

    /// Mask of a tuple's last word: all bytes but the one with the direction.
    const LAST: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]);

    /// Returns the key of a tuple, from its five words in memory (native endian).
    #[inline]
    pub const fn from_words(words: [u64; 5]) -> Self {
        let [a, b, c, d, e] = words;
        Self([a, b, c, d, e & Self::LAST])
    }

    /// Returns `false` only if a tuple with these words has another key. `word` loads one of the
    /// five words by its index. The third word is compared first: it holds the source port and the
    /// beginning of the destination address, and rejects most other tuples. Then follow the first
    /// and the last. The two words that are not compared hold parts of IPv6 addresses only.
    #[inline(always)]
    pub fn may_have(&self, word: impl Fn(usize) -> u64) -> bool {
        let [a, _, c, _, e] = self.0;
        c == word(2) && a == word(0) && e == word(4) & Self::LAST
    }

    /// Returns the five words; the byte of the direction is zero.
    #[inline]
    pub const fn words(&self) -> &[u64; 5] {
        &self.0
    }

    /// Returns the five words of the tuple with this key that belongs to `direction`.
    #[inline]
    pub const fn tuple_words(&self, direction: Direction) -> [u64; 5] {
        let [a, b, c, d, last] = self.0;
        [a, b, c, d, last | last_byte(direction.to_u8())]
    }

    /// Returns the ten 32-bit words in memory order; the byte of the direction is zero.
    #[inline]
    pub const fn halves(&self) -> [u32; 10] {
        let [a, b, c, d, e] = self.0;
        let ([a0, a1], [b0, b1], [c0, c1], [d0, d1], [e0, e1]) =
            (split(a), split(b), split(c), split(d), split(e));
        [a0, a1, b0, b1, c0, c1, d0, d1, e0, e1]
    }
}

impl PartialEq for Key {
    /// Compares without branches, because most candidates in a chain differ in one word only.
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        let [a, b, c, d, e] = self.0;
        let [v, w, x, y, z] = other.0;
        ((a ^ v) | (b ^ w) | (c ^ x) | (d ^ y) | (e ^ z)) == 0
    }
}

impl Eq for Key {}

/// Returns the word whose last byte in memory this is; the others are zero.
#[inline]
const fn last_byte(byte: u8) -> u64 {
    u64::from_ne_bytes([0, 0, 0, 0, 0, 0, 0, byte])
}

/// Returns the two halves of a word in memory order.
#[inline]
const fn split(word: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();
    [
        u32::from_ne_bytes([a, b, c, d]),
        u32::from_ne_bytes([e, f, g, h]),
    ]
}

/// Returns the word that consists of these two halves in memory order. (Two halves, not eight
/// bytes: so the compiler loads each half with one instruction.)
#[inline]
const fn join(first: u32, second: u32) -> u64 {
    let (first, second) = (u32_as_u64(first), u32_as_u64(second));
    if cfg!(target_endian = "little") {
        first | second << 32
    } else {
        first << 32 | second
    }
}

/// Returns the two halves of a half word in memory order.
#[inline]
pub(crate) const fn split_short(half: u32) -> [u16; 2] {
    // CAST: the two halves.
    let (low, high) = (half as u16, (half >> 16) as u16);
    if cfg!(target_endian = "little") {
        [low, high]
    } else {
        [high, low]
    }
}

/// [`join`] for the halves of a half word.
#[inline]
pub(crate) const fn join_short(first: u16, second: u16) -> u32 {
    let (first, second) = (u16_as_u32(first), u16_as_u32(second));
    if cfg!(target_endian = "little") {
        first | second << 16
    } else {
        first << 16 | second
    }
}

/// Returns an IPv4 address in the layout of `union nf_inet_addr`: padded with zeroes.
#[inline]
pub const fn widen(address: [u8; 4]) -> [u8; 16] {
    let [a, b, c, d] = address;
    [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

#[inline]
const fn narrow(address: &[u8; 16]) -> [u8; 4] {
    [address[0], address[1], address[2], address[3]]
}
