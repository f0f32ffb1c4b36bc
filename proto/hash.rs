// SPDX-License-Identifier: GPL-2.0

//! Bob Jenkins's lookup3 in the kernel's variant (`jhash2`), and the hash of a tuple.
//!
//! C header: [`include/linux/jhash.h`](srctree/include/linux/jhash.h); the algorithm is described
//! at <https://burtleburtle.net/bob/hash/doobs.html>.

use super::types::{
    family::Family,
    num::{u16_as_u64, u32_as_u64},
    tuple::{join_short, split_short, Key},
};

/// The constant that `jhash2` starts from.
const INITVAL: u32 = 0xdead_beef;

/// The hash state: three words, which absorb three words of the key at a time.
#[derive(Clone, Copy)]
struct Lanes {
    a: u32,
    b: u32,
    c: u32,
}

impl Lanes {
    /// Returns the initial state. `words` is the key's length in 32-bit words; the initial state
    /// contains it in bytes.
    #[inline]
    const fn new(words: u32, initval: u32) -> Self {
        let start = INITVAL
            .wrapping_add(words.wrapping_shl(2))
            .wrapping_add(initval);
        Self {
            a: start,
            b: start,
            c: start,
        }
    }

    #[inline]
    const fn absorb(self, a: u32, b: u32, c: u32) -> Self {
        Self {
            a: self.a.wrapping_add(a),
            b: self.b.wrapping_add(b),
            c: self.c.wrapping_add(c),
        }
    }

    /// Mixes reversibly, between two blocks of the key.
    #[inline(always)]
    const fn mix(self) -> Self {
        let Self {
            mut a,
            mut b,
            mut c,
        } = self;
        (a, c) = subtract_rotated(a, c, 4, b);
        (b, a) = subtract_rotated(b, a, 6, c);
        (c, b) = subtract_rotated(c, b, 8, a);
        (a, c) = subtract_rotated(a, c, 16, b);
        (b, a) = subtract_rotated(b, a, 19, c);
        (c, b) = subtract_rotated(c, b, 4, a);
        Self { a, b, c }
    }

    /// Mixes after the last block, and returns the one word that is the hash.
    #[inline(always)]
    const fn finish(self) -> u32 {
        let Self {
            mut a,
            mut b,
            mut c,
        } = self;
        c = fold(c, b, 14);
        a = fold(a, c, 11);
        b = fold(b, a, 25);
        c = fold(c, b, 16);
        a = fold(a, c, 4);
        b = fold(b, a, 14);
        fold(c, b, 24)
    }
}

/// Does one step of [`Lanes::mix`]: subtracts `y` from `x`, mixes its rotation in, and adds `z` to
/// `y`.
#[inline(always)]
const fn subtract_rotated(x: u32, y: u32, by: u32, z: u32) -> (u32, u32) {
    (x.wrapping_sub(y) ^ y.rotate_left(by), y.wrapping_add(z))
}

/// Does one step of [`Lanes::finish`].
#[inline(always)]
const fn fold(x: u32, y: u32, by: u32) -> u32 {
    (x ^ y).wrapping_sub(y.rotate_left(by))
}

/// Returns `jhash2`: the hash of any number of words.
///
/// The words are in native byte order, as in C.
#[inline]
pub fn jhash2(key: &[u32], initval: u32) -> u32 {
    // CAST: no key has 4 Gi words; C's parameter type truncates as well.
    #[allow(clippy::cast_possible_truncation)]
    let mut lanes = Lanes::new(key.len() as u32, initval);
    let mut rest = key;
    loop {
        match *rest {
            [] => return lanes.c,
            [a] => return lanes.absorb(a, 0, 0).finish(),
            [a, b] => return lanes.absorb(a, b, 0).finish(),
            [a, b, c] => return lanes.absorb(a, b, c).finish(),
            [a, b, c, ref tail @ ..] => {
                lanes = lanes.absorb(a, b, c).mix();
                rest = tail;
            }
        }
    }
}

/// Returns `jhash2` of a key of constant length; the loop is unrolled.
#[inline(always)]
pub fn jhash2_array<const N: usize>(key: &[u32; N], initval: u32) -> u32 {
    jhash2(key, initval)
}

/// Maps a hash to `0..n` by multiplication; `n` need not be a power of two. Returns 0 if `n` is 0.
#[inline]
pub const fn reciprocal_scale(hash: u32, n: u32) -> u32 {
    let [_, _, _, _, a, b, c, d] = widening_product(hash, n).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// Returns the full product of two 32-bit numbers; it cannot overflow 64 bits.
#[inline]
const fn widening_product(a: u32, b: u32) -> u64 {
    u32_as_u64(a).wrapping_mul(u32_as_u64(b))
}

/// The seed of [`tuple_hash`]: a word for each that lookup3 mixes, and a factor for what is not in
/// the tuple.
///
/// All of it is secret: with it, an attacker can aim at one bucket. Zone, protocol and namespace
/// are multiplied by a secret factor, because no change of a tuple may make up for theirs: with one
/// word for all of them, or with a factor that is known, tuples of different zones can be chosen
/// that have the same hash under any seed.
#[derive(Clone, Copy)]
pub struct Seed {
    factor: u64,
    lanes: [u32; 3],
}

impl Seed {
    /// Makes a seed of random words.
    pub const fn new([factor, first, second]: [u64; 3]) -> Self {
        let [a0, a1, a2, a3, b0, b1, b2, b3] = first.to_ne_bytes();
        let [c0, c1, c2, c3, ..] = second.to_ne_bytes();
        Self {
            factor: factor | 1,
            lanes: [
                u32::from_ne_bytes([a0, a1, a2, a3]),
                u32::from_ne_bytes([b0, b1, b2, b3]),
                u32::from_ne_bytes([c0, c1, c2, c3]),
            ],
        }
    }

    /// Returns the initial state for a protocol in a zone of a namespace. `protocol` is the part of
    /// a tuple with the protocol number, and a zero behind it.
    #[inline(always)]
    const fn start(&self, zone_id: u16, protocol: u16, net_mix: u32) -> Lanes {
        let place = u16_as_u64(zone_id) | u16_as_u64(protocol) << 16 | u32_as_u64(net_mix) << 32;
        let [.., d0, d1, d2, d3] = place.wrapping_mul(self.factor).to_le_bytes();
        let [a, b, c] = self.lanes;
        Lanes {
            a,
            b,
            c: c.wrapping_add(u32::from_le_bytes([d0, d1, d2, d3])),
        }
    }
}

/// Returns the hash of a tuple in a zone of a namespace. It hashes what differs between tuples of
/// one family: three words for IPv4, nine for IPv6. A tuple and its [mirror image](Key::mirror)
/// have the same hash, because the smaller of the two ends comes first.
///
/// `net_mix` is the namespace's `net_hash_mix()`. The rounds are those of jhash; the initial state
/// is the secret `seed`.
#[inline(always)]
pub fn tuple_hash(key: &Key, zone_id: u16, net_mix: u32, seed: &Seed) -> u32 {
    let [a, b, c, d, e, f, g, h, i, last] = key.halves();
    let ([source, family], [destination, protocol]) = (split_short(e), split_short(last));
    let start = seed.start(zone_id, protocol, net_mix);
    // The ends are ordered by their ports, or else by their addresses. There are no branches,
    // because random packets would mispredict them.
    let ports = join_short(source, destination);
    let turned = ports.rotate_left(16);
    let is_turned = if ports == turned {
        [a, b, c, d] > [f, g, h, i]
    } else {
        ports > turned
    };
    let ports = ports.min(turned);
    let pick = |one: u32, other: u32| {
        if is_turned {
            (other, one)
        } else {
            (one, other)
        }
    };
    let (a, f) = pick(a, f);
    if family == Family::Ipv4.to_u16() {
        return start.absorb(a, f, ports).finish();
    }
    let ((b, g), (c, h), (d, i)) = (pick(b, g), pick(c, h), pick(d, i));
    start
        .absorb(a, b, c)
        .mix()
        .absorb(d, f, g)
        .mix()
        .absorb(h, i, ports)
        .finish()
}
