// SPDX-License-Identifier: GPL-2.0

//! Tuples, keys, zones, times, hashes, and permutations.

use rust_ct_host::proto::{
    hash::{jhash2, jhash2_array, reciprocal_scale, tuple_hash, Seed},
    permutation::{Permutation, ROUNDS},
    time::Jiffies32,
    types::{
        direction::Direction,
        family::Family,
        protocol,
        tuple::{Key, L4Key, Tuple},
        zone::Zone,
    },
};

/// `jhash2()` over the first n words of `key()`, with three start values. Made by a C program that
/// includes the text of Linux 7.3's include/linux/jhash.h (x86-64, little endian).
const JHASH2: [[u32; 3]; 14] = [
    [0xdeadbeef, 0xbd5b7dde, 0xf0e21567],
    [0x5ae9ac0c, 0x3b708079, 0xb5584aef],
    [0xfbe3b85e, 0x8e090690, 0x00d2701b],
    [0x2809b2bf, 0x8a4231c4, 0x4aecc9d0],
    [0x704b6e72, 0xbb5425dc, 0xfc4e9195],
    [0xf5e5051a, 0x4aaf7c81, 0x80febfc3],
    [0x49ac3312, 0xa2249dc7, 0x54c701fa],
    [0x871cdc4a, 0x7823537f, 0x55da3941],
    [0x4ecf5188, 0x6f8e0c89, 0x96d27063],
    [0x94f0f884, 0xc64ccf7a, 0xadd2cb29],
    [0x4a636bf2, 0x82f4c426, 0x45d1a0bc],
    [0x83e12700, 0xa82e7d91, 0x0239b500],
    [0x3d0f3f35, 0xb7ff1e01, 0x2467c9bf],
    [0xd11f10ff, 0x3ae91bf5, 0x826dc0ce],
];

fn key() -> [u32; 13] {
    let mut key = [0; 13];
    for (i, word) in (0_u32..).zip(&mut key) {
        *word = 0x9e37_79b9_u32.wrapping_mul(i + 1) ^ i;
    }
    key
}

#[test]
fn jhash2_vectors() {
    for (n, expected) in JHASH2.iter().enumerate() {
        for (initval, hash) in [0, 0xdead_beef, 0x1234_5678].into_iter().zip(expected) {
            assert_eq!(
                jhash2(&key()[..n], initval),
                *hash,
                "{n} words from {initval:#x}"
            );
        }
    }
    let ten: [u32; 10] = *key().first_chunk().unwrap();
    assert_eq!(jhash2_array(&ten, 0), JHASH2[10][0]);
}

/// From the same program.
#[test]
fn other_vectors() {
    assert_eq!(jhash2(&[1, 2, 3], 4), 0x8103_143f);
    assert_eq!(jhash2(&[u32::MAX, 0x8000_0000, 0], 0x5eed), 0x926c_cc13);
    for (hash, n, scaled) in [
        (u32::MAX, 10, 9),
        (0x8000_0000, 10, 5),
        (0, 5, 0),
        (0x1234_5678, 65_536, 4660),
        (u32::MAX, 0, 0),
    ] {
        assert_eq!(reciprocal_scale(hash, n), scaled);
    }
}

fn tcp() -> Tuple {
    Tuple::ipv4(
        [10, 0, 0, 1],
        [10, 0, 0, 2],
        L4Key::ports(12345, 80),
        protocol::TCP,
    )
}

/// A seed with which the initial state of a namespace is that of jhash, for `words` words.
fn seed_of_jhash(words: u32, initval: u32, net_mix: u32) -> Seed {
    let start = u64::from(
        0xdead_beef_u32
            .wrapping_add(4 * words)
            .wrapping_add(initval),
    );
    let last = u64::from((start as u32).wrapping_sub(net_mix));
    // With a factor of one, the namespace alone counts.
    Seed::new([1, start << 32 | start, last])
}

/// The hash is jhash of the words that differ between tuples of one family, the end with the
/// smaller port first; of equal ports, the one with the smaller address.
#[test]
#[cfg(target_endian = "little")]
fn tuple_hash_is_jhash() {
    const NET: u32 = 0xa0b0_c0d0;
    let hash = |key: &Key| tuple_hash(key, 0, NET, &seed_of_jhash(3, 0x0102_0304, NET));
    let word = u32::from_ne_bytes;
    // As numbers of this machine: 0x3930 and 0x5000.
    let ports = word([0, 80, 0x30, 0x39]);
    let (src, dst) = (word([10, 0, 0, 1]), word([10, 0, 0, 2]));
    for tuple in [
        tcp(),
        tcp().with_direction(Direction::Reply),
        tcp().invert().unwrap(),
    ] {
        assert_eq!(hash(&tuple.key()), jhash2(&[dst, src, ports], 0x0102_0304));
    }
    let same_port = |src, dst| Tuple::ipv4(src, dst, L4Key::ports(7, 7), protocol::TCP);
    for tuple in [
        same_port([10, 0, 0, 1], [10, 0, 0, 2]),
        same_port([10, 0, 0, 2], [10, 0, 0, 1]),
    ] {
        assert_eq!(
            hash(&tuple.key()),
            jhash2(&[src, dst, word([0, 7, 0, 7])], 0x0102_0304)
        );
    }

    let bytes: [u8; 32] = core::array::from_fn(|i| i as u8);
    let address = |from: usize| -> [u8; 16] { bytes[from..from + 16].try_into().unwrap() };
    let six = Tuple::ipv6(
        address(16),
        address(0),
        L4Key::ports(12345, 80),
        protocol::TCP,
    );
    let mut words: Vec<u32> = bytes
        .chunks(4)
        .map(|b| word(b.try_into().unwrap()))
        .collect();
    words.push(ports);
    let seed = seed_of_jhash(9, 0x0102_0304, NET);
    assert_eq!(
        tuple_hash(&six.key(), 0, NET, &seed),
        jhash2(&words, 0x0102_0304)
    );
}

/// Random numbers that are the same in each run (xorshift).
fn numbers(mut state: u64) -> impl Iterator<Item = u64> {
    core::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    })
}

fn seeds(count: usize) -> Vec<Seed> {
    let mut words = numbers(4711);
    (0..count)
        .map(|_| Seed::new(core::array::from_fn(|_| words.next().unwrap())))
        .collect()
}

/// Tuples that were made to share a bucket under one secret do not under the next.
#[test]
fn a_new_secret_scatters_a_flood() {
    const BUCKETS: u32 = 1 << 16;
    let bucket = |tuple: &Tuple, seed: &Seed| {
        reciprocal_scale(tuple_hash(&tuple.key(), 0, 1, seed), BUCKETS)
    };
    let seeds = seeds(6);
    for family in [Family::Ipv4.to_u16(), Family::Ipv6.to_u16()] {
        let flood: Vec<Tuple> = (0..1 << 22)
            .map(|i: u32| {
                let [_, a, b, c] = i.to_be_bytes();
                let key = L4Key::ports(u16::from_be_bytes([b, c]), 443);
                if family == Family::Ipv4.to_u16() {
                    Tuple::ipv4([10, a, c, b], [192, 0, 2, 1], key, protocol::UDP)
                } else {
                    let mut source = [0x20; 16];
                    source[13..].copy_from_slice(&[a, b, c]);
                    Tuple::ipv6(source, [0x30; 16], key, protocol::UDP)
                }
            })
            .filter(|tuple| bucket(tuple, &seeds[0]) == 99)
            .collect();
        assert!(flood.len() > 30, "{}", flood.len());
        for (number, seed) in seeds.iter().enumerate().skip(1) {
            let mut chains = std::collections::HashMap::new();
            for tuple in &flood {
                *chains.entry(bucket(tuple, seed)).or_insert(0) += 1;
            }
            let longest = chains.values().max().copied().unwrap_or(0);
            assert!(longest <= 3, "family {family}, seed {number}: {longest}");
        }
    }
}

/// No change of a tuple makes up for another zone, protocol or namespace without the secret. With
/// one secret word for all three that jhash mixes, one of these eight tuples had the hash of the
/// first one, whatever the secret was.
#[test]
fn zones_do_not_cancel() {
    let tuple = |difference: u32, protonum| {
        let [src, dst, ports] = [0x0100_000a_u32, 0x0200_000a, 0x0007_3419]
            .map(|word| word.wrapping_sub(difference).to_ne_bytes());
        let [s0, s1, d0, d1] = ports;
        let key = L4Key {
            src: [s0, s1],
            dst: [d0, d1],
        };
        Tuple::ipv4(src, dst, key, protonum)
    };
    const ZONE: u16 = 46368;
    const ODD: u32 = 0x9e37_79b9;
    let place = |zone: u16| (u32::from(zone) | 17 << 16).wrapping_mul(ODD);
    let apart = place(ZONE) ^ place(0);
    let bits: Vec<u32> = (0..32)
        .map(|n| 1 << n)
        .filter(|bit| apart & bit != 0)
        .collect();
    assert_eq!(bits.len(), 3);
    let differences: Vec<u32> = (0..8_u32)
        .map(|signs| {
            bits.iter().enumerate().fold(0_u32, |sum, (n, &bit)| {
                if signs >> n & 1 == 0 {
                    sum.wrapping_add(bit)
                } else {
                    sum.wrapping_sub(bit)
                }
            })
        })
        .collect();
    // So it was: a word for all, in which the zone is mixed by a known factor.
    let old = |difference: u32, zone: u16, secret: u32| {
        let start = secret ^ place(zone);
        [0x0100_000a_u32, 0x0200_000a, 0x0007_3419]
            .map(|word| word.wrapping_sub(difference).wrapping_add(start))
    };
    let mut found = [0; 2];
    for (seed, secret) in seeds(1000).iter().zip(numbers(99)) {
        let hash = |tuple: Tuple, zone, net| tuple_hash(&tuple.key(), zone, net, seed);
        let first = hash(tuple(0, 17), 0, 7);
        for &difference in &differences {
            found[0] += u32::from(old(difference, ZONE, secret as u32) == old(0, 0, secret as u32));
            found[1] += u32::from(hash(tuple(difference, 17), ZONE, 7) == first);
        }
        assert_ne!(hash(tuple(0, 17), 1, 7), first);
        assert_ne!(hash(tuple(0, 6), 0, 7), first);
        assert_ne!(hash(tuple(0, 17), 0, 8), first);
    }
    assert_eq!(found, [1000, 0]);
}

/// Why no listing is in the order of hashes: the order of some entries tells the seed. Played with
/// a seed of which all but 16 bits are known.
#[test]
fn the_order_of_hashes_tells_the_seed() {
    let seed = |unknown: u64| Seed::new([0x1234_5677, unknown << 20, 0x5eed]);
    let hash = |tuple: &Tuple, unknown| tuple_hash(&tuple.key(), 0, 1, &seed(unknown));
    let entries: Vec<Tuple> = (1000..1024)
        .map(|port| {
            Tuple::ipv4(
                [10, 0, 0, 1],
                [10, 0, 0, 2],
                L4Key::ports(port, 53),
                protocol::UDP,
            )
        })
        .collect();
    let seeds_by = |listing: &[Tuple]| -> Vec<u64> {
        (0..1 << 16)
            .filter(|&unknown| listing.is_sorted_by_key(|tuple| hash(tuple, unknown)))
            .collect()
    };
    let mut by_hash = entries.clone();
    by_hash.sort_by_key(|tuple| hash(tuple, 0xbeef));
    assert_eq!(seeds_by(&by_hash), [0xbeef]);
    // The order in which they were made, which is that of a listing, fits no seed.
    let latest_first: Vec<Tuple> = entries.into_iter().rev().collect();
    assert!(seeds_by(&latest_first).is_empty());
}

/// The hash spreads the tuples of one client over the buckets.
#[test]
fn tuple_hash_spreads() {
    let mut buckets = [0_u32; 256];
    for port in 1024..=u16::MAX {
        let key = L4Key::ports(port, 443);
        let tuple = Tuple::ipv4([10, 0, 0, 1], [1, 1, 1, 1], key, protocol::TCP);
        let bucket = reciprocal_scale(tuple_hash(&tuple.key(), 0, 1, &seeds(1)[0]), 256);
        buckets[bucket as usize] += 1;
    }
    // 252 on average, deviation 16.
    assert!(
        buckets.iter().all(|n| (160..=350).contains(n)),
        "{buckets:?}"
    );
}

#[test]
fn accessors() {
    let tuple = tcp();
    assert_eq!((tuple.src_port(), tuple.dst_port()), (12345, 80));
    assert_eq!(
        (tuple.src_ipv4(), tuple.dst_ipv4()),
        ([10, 0, 0, 1], [10, 0, 0, 2])
    );
    assert_eq!((tuple.l3num, tuple.protonum), (Family::Ipv4.to_u16(), 6));
    assert_eq!(tuple.l4(), L4Key::from_wire(&[0x30, 0x39, 0, 80]));
    assert_eq!(tuple.direction(), Direction::Original);
    let icmp = Tuple::ipv4(
        [1; 4],
        [2; 4],
        L4Key::icmp([0x12, 0x34], 8, 3),
        protocol::ICMP,
    );
    assert_eq!(
        (icmp.icmp_id(), icmp.icmp_type(), icmp.icmp_code()),
        (0x1234, 8, 3)
    );
}

#[test]
fn inverse() {
    let answer = tcp().invert().unwrap();
    assert_eq!(answer.direction(), Direction::Reply);
    let expected = Tuple::ipv4(
        [10, 0, 0, 2],
        [10, 0, 0, 1],
        L4Key::ports(80, 12345),
        protocol::TCP,
    );
    assert_eq!(answer, expected);

    let pairs = [(8, 0), (13, 14), (15, 16), (17, 18)];
    for kind in 0..=255 {
        let ask = Tuple::ipv4([1; 4], [2; 4], L4Key::icmp([1, 2], kind, 0), protocol::ICMP);
        let partner = pairs.iter().find_map(|&(a, b)| match kind {
            kind if kind == a => Some(b),
            kind if kind == b => Some(a),
            _ => None,
        });
        assert_eq!(
            ask.invert().map(|answer| answer.icmp_type()),
            partner,
            "type {kind}"
        );
        if let Some(answer) = ask.invert() {
            assert_eq!(answer.icmp_id(), 0x0102);
            assert_eq!(answer.src_ipv4(), [2; 4]);
            assert_eq!(answer.invert(), Some(ask));
        }
    }
    let pairs = [(128, 129), (139, 140)];
    for kind in 0..=255 {
        let ask = Tuple::ipv6(
            [1; 16],
            [2; 16],
            L4Key::icmp([1, 2], kind, 0),
            protocol::ICMPV6,
        );
        let partner = pairs.iter().find_map(|&(a, b)| match kind {
            kind if kind == a => Some(b),
            kind if kind == b => Some(a),
            _ => None,
        });
        assert_eq!(
            ask.invert().map(|answer| answer.icmp_type()),
            partner,
            "type {kind}"
        );
    }
}

/// The words of a tuple as a reader of the slot would load them.
fn words(tuple: &Tuple) -> [u64; 5] {
    let mut bytes = Vec::new();
    bytes.extend(tuple.src);
    bytes.extend(tuple.src_key);
    bytes.extend(tuple.l3num.to_ne_bytes());
    bytes.extend(tuple.dst);
    bytes.extend(tuple.dst_key);
    bytes.extend([tuple.protonum, tuple.dir]);
    let mut words = [0; 5];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_ne_bytes(bytes.try_into().unwrap());
    }
    words
}

#[test]
fn keys_from_memory() {
    let mut tuple = Tuple::ipv6([0xfe; 16], [0x20; 16], L4Key::ports(1, 2), protocol::UDP);
    tuple.dir = 0xff;
    assert_eq!(tuple.l3num, Family::Ipv6.to_u16());
    assert_eq!(Key::from_words(words(&tuple)), tuple.key());
    assert_eq!(
        tuple.key().words()[4] & u64::from_ne_bytes([0, 0, 0, 0, 0, 0, 0, 0xff]),
        0
    );
    let halves: Vec<u8> = tuple
        .key()
        .halves()
        .iter()
        .flat_map(|h| h.to_ne_bytes())
        .collect();
    let bytes: Vec<u8> = words(&tuple).iter().flat_map(|w| w.to_ne_bytes()).collect();
    assert_eq!(halves[..39], bytes[..39]);
    assert_eq!(halves[39], 0);
}

/// Each byte but the direction counts.
#[test]
fn keys_differ_in_any_byte() {
    let tuple = tcp();
    for byte in 0..40 {
        let mut changed: Vec<u8> = words(&tuple)
            .iter()
            .flat_map(|word| word.to_ne_bytes())
            .collect();
        changed[byte] ^= 0x40;
        let mut other = [0; 5];
        for (word, bytes) in other.iter_mut().zip(changed.chunks_exact(8)) {
            *word = u64::from_ne_bytes(bytes.try_into().unwrap());
        }
        assert_eq!(
            Key::from_words(other) == tuple.key(),
            byte == 39,
            "byte {byte}"
        );
    }
}

#[test]
fn zones() {
    let zone = Zone::new(7, Zone::REPLY);
    assert_eq!(zone.id_for(Direction::Original), 0);
    assert_eq!(zone.id_for(Direction::Reply), 7);
    let template = Zone {
        flags: Zone::MARK,
        ..Zone::new(0, Zone::BOTH)
    };
    assert_eq!(template.for_mark(0x000a_0009), Zone::new(9, Zone::BOTH));
    assert_eq!(zone.for_mark(5), zone);
    assert_eq!(Zone::DEFAULT, Zone::new(0, 3));
}

#[test]
fn directions() {
    for direction in [Direction::Original, Direction::Reply] {
        assert_eq!(Direction::from_u8(direction.to_u8()), Some(direction));
        assert_eq!(usize::from(direction.to_u8()), direction.index());
        assert_ne!(direction, direction.opposite());
        assert_eq!(direction, direction.opposite().opposite());
        assert_eq!(Direction::from_bit(direction.to_u8() != 0), direction);
        // The C twin stores the number; `nf` casts it.
        assert_eq!(direction as usize, direction.index());
    }
    assert_eq!(Direction::from_u8(2), None);
}

#[test]
fn families() {
    for (family, number, ethertype) in [(Family::Ipv4, 2, 0x0800), (Family::Ipv6, 10, 0x86dd)] {
        assert_eq!(family as u16, number);
        assert_eq!(family.to_u16(), number);
        assert_eq!(u16::from(family.to_u8()), number);
        assert_eq!(Family::from_number(number), Some(family));
        assert_eq!(Family::from_ethertype(ethertype), Some(family));
    }
    // Bridged frames (NFPROTO_BRIDGE) and ARP belong to no family that is tracked; nor does a
    // number that agrees with one in its low byte alone.
    for number in [0, 1, 3, 7, 0x0102, 0x010a] {
        assert_eq!(Family::from_number(number), None);
    }
    assert_eq!(Family::from_ethertype(0x0806), None);
    let v6 = Tuple::ipv6([1; 16], [2; 16], L4Key::NONE, protocol::UDP);
    assert!(v6.has_family(Family::Ipv6) && !v6.has_family(Family::Ipv4));
}

#[test]
fn times_wrap() {
    let start = Jiffies32(u32::MAX - 9);
    let end = start.add(20);
    assert_eq!(end, Jiffies32(10));
    assert!(start.before(end) && end.after(start) && !start.after(end));
    assert_eq!(end.since(start), 20);
    assert_eq!(end.remaining(start), 20);
    assert_eq!(start.remaining(end), 0);
    assert_eq!(end.remaining(end), 0);
    assert!(end.is_expired(end) && start.is_expired(end) && !end.is_expired(start));
}

/// Keys of permutations; the first ones are those with the least mixing.
fn permutation_keys(count: usize) -> Vec<[u64; ROUNDS]> {
    let mut words = numbers(815);
    let random = (0..count).map(|_| core::array::from_fn(|_| words.next().unwrap()));
    [[0; ROUNDS], [u64::MAX; ROUNDS]]
        .into_iter()
        .chain(random)
        .collect()
}

#[test]
fn a_permutation_has_each_number_once() {
    let limits = (1..600).chain([1023, 1024, 1025, 7680, 65536, 66048, 262_144]);
    for limit in limits {
        for key in permutation_keys(3) {
            let order = Permutation::new(limit, key);
            let mut numbers: Vec<u32> = (0..=order.last()).filter_map(|i| order.at(i)).collect();
            assert!(order.last() < 2 * limit, "{limit}: {}", order.last());
            numbers.sort_unstable();
            assert!(numbers.into_iter().eq(0..limit), "{limit}, {key:?}");
        }
    }
}

/// The rank correlation of the orders that two keys give is that of chance, and so is how often a
/// number follows a smaller one: neither the order of the numbers is to be seen, nor a common one.
#[test]
fn permutations_have_nothing_in_common() {
    const LIMIT: u32 = 7680;
    let places = |key| {
        let order = Permutation::new(LIMIT, key);
        let numbers: Vec<u32> = (0..=order.last()).filter_map(|i| order.at(i)).collect();
        let mut places = vec![0.0; LIMIT as usize];
        for (place, &number) in (0_u32..).zip(&numbers) {
            places[number as usize] = f64::from(place);
        }
        let rises = numbers.windows(2).filter(|pair| pair[0] < pair[1]).count();
        (places, rises)
    };
    let correlation = |a: &[f64], b: &[f64]| {
        let (n, mean) = (f64::from(LIMIT), f64::from(LIMIT - 1) / 2.0);
        let covariance: f64 = a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum();
        covariance / (n * (n * n - 1.0) / 12.0)
    };
    let identity: Vec<f64> = (0..LIMIT).map(f64::from).collect();
    assert!((correlation(&identity, &identity) - 1.0).abs() < 1e-9);
    let mut others = vec![identity];
    for key in &permutation_keys(40)[2..] {
        let (places, rises) = places(*key);
        // Five standard deviations of chance.
        let chance = 5.0 * (f64::from(LIMIT) / 12.0).sqrt();
        let expected = f64::from(LIMIT) / 2.0;
        assert!(
            (rises as f64 - expected).abs() < chance,
            "{rises} rises, {key:?}"
        );
        for other in &others {
            let correlation = correlation(&places, other);
            assert!(
                correlation.abs() < 5.0 / f64::from(LIMIT).sqrt(),
                "{correlation}, {key:?}"
            );
        }
        others.push(places);
    }
}

/// The distance of the numbers of two indices says nothing about that of two others.
#[test]
fn a_permutation_is_not_affine() {
    const LIMIT: u32 = 1 << 14;
    for key in &permutation_keys(20)[2..] {
        let order = Permutation::new(LIMIT, *key);
        let image = |index| order.at(index).unwrap();
        for apart in [1, 2, 3, 64, 4096, LIMIT / 2] {
            let mut distances: Vec<u32> = (0..LIMIT)
                .map(|index| image((index + apart) % LIMIT).wrapping_sub(image(index)) % LIMIT)
                .collect();
            distances.sort_unstable();
            distances.dedup();
            assert!(
                distances.len() > LIMIT as usize / 4,
                "{apart} apart: {}",
                distances.len()
            );
        }
    }
}
