// SPDX-License-Identifier: GPL-2.0

//! Bob Jenkins's lookup3 in the kernel's variant (`jhash2`), and the hash of a tuple.
//!
//! C header: [`include/linux/jhash.h`](srctree/include/linux/jhash.h); the algorithm is described
//! at <https://burtleburtle.net/bob/hash/doobs.html>.

use super::types::{family::Family, num::u32_as_u64, tuple::Key};

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

/// One step of [`Lanes::mix`]: subtracts `y` from `x`, mixes its rotation in, and adds `z` to `y`.
#[inline(always)]
const fn subtract_rotated(x: u32, y: u32, by: u32, z: u32) -> (u32, u32) {
    (x.wrapping_sub(y) ^ y.rotate_left(by), y.wrapping_add(z))
}

/// One step of [`Lanes::finish`].
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

/// Returns `jhash_3words`: `jhash2` of exactly three words.
#[inline]
pub const fn jhash_3words(a: u32, b: u32, c: u32, initval: u32) -> u32 {
    Lanes::new(3, initval).absorb(a, b, c).finish()
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

/// Returns the hash of a tuple in a zone of a namespace. It hashes what differs between tuples of
/// one family: three words for IPv4, nine for IPv6. A tuple and its [mirror image](Key::mirror)
/// have the same hash, because the smaller of the two ends comes first.
///
/// `net_mix` is the namespace's `net_hash_mix()`, `seed` the table's hash seed. The seed is secret:
/// with it, an attacker can aim at one bucket. The table draws a new seed when a chain grows too
/// long.
#[inline(always)]
pub fn tuple_hash(key: &Key, zone_id: u16, net_mix: u32, seed: u32) -> u32 {
    let [a, b, c, d, e, f, g, h, i, last] = key.halves();
    let ([s0, s1, l0, l1], [d0, d1, protonum, _]) = (e.to_ne_bytes(), last.to_ne_bytes());
    // Zone ids and protocols are small; the odd multiplier spreads them over the word.
    let zone_and_protocol =
        (u32::from(zone_id) | u32::from(protonum).wrapping_shl(16)).wrapping_mul(0x9e37_79b9);
    let initval = seed ^ net_mix ^ zone_and_protocol;
    // The ends are ordered by their ports, or else by their addresses. There are no branches,
    // because random packets would mispredict them.
    let ports = u32::from_ne_bytes([s0, s1, d0, d1]);
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
    if u16::from_ne_bytes([l0, l1]) == Family::Ipv4.to_u16() {
        return jhash_3words(a, f, ports, initval);
    }
    let ((b, g), (c, h), (d, i)) = (pick(b, g), pick(c, h), pick(d, i));
    Lanes::new(9, initval)
        .absorb(a, b, c)
        .mix()
        .absorb(d, f, g)
        .mix()
        .absorb(h, i, ports)
        .finish()
}
