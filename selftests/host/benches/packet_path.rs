// SPDX-License-Identifier: GPL-2.0

//! What the packet path spends in `proto`: hash, compare, step.
//! `cargo bench`; the numbers are of use relative to each other, and over time on one machine.

use std::hint::black_box;

use criterion::{criterion_group, criterion_main, Criterion};

use rust_ct_host::{
    player::Player,
    proto::{
        hash::{jhash2, jhash2_array, reciprocal_scale, tuple_hash, Seed},
        step::Status,
        tcp::{self, Segment},
        time::Jiffies32,
        types::{
            direction::Direction,
            protocol,
            timeout::Timeout,
            tuple::{Key, L4Key, Tuple},
        },
        udp,
        wire::tcp::Header,
    },
    sim::{policy, timeouts},
};

/// SipHash over a tuple's words, as the C tracker hashes (2 rounds a word, 4 at the end), and the
/// lighter variant that the kernel calls hsiphash (1 and 3): what `jhash` is to be measured by.
fn siphash<const EACH: usize, const LAST: usize>(words: &[u64; 5], key: [u64; 2]) -> u32 {
    fn round([a, b, c, d]: [u64; 4]) -> [u64; 4] {
        let (a, c) = (a.wrapping_add(b), c.wrapping_add(d));
        let (b, d) = (b.rotate_left(13) ^ a, d.rotate_left(16) ^ c);
        let (a, c) = (a.rotate_left(32).wrapping_add(d), c.wrapping_add(b));
        [
            a,
            b.rotate_left(17) ^ c,
            c.rotate_left(32),
            d.rotate_left(21) ^ a,
        ]
    }
    let mut state = [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ];
    for word in words {
        state[3] ^= word;
        for _ in 0..EACH {
            state = round(state);
        }
        state[0] ^= word;
    }
    state[2] ^= 0xff;
    for _ in 0..LAST {
        state = round(state);
    }
    (state[0] ^ state[1] ^ state[2] ^ state[3]) as u32
}

fn tuples(c: &mut Criterion) {
    let v4 = Tuple::ipv4(
        [10, 0, 0, 1],
        [10, 0, 0, 2],
        L4Key::ports(12345, 443),
        protocol::TCP,
    );
    let key = v4.key();
    let mut words = *key.words();
    words[2] ^= 1 << 40;
    let halves = key.halves();

    c.bench_function("tuple/key", |b| b.iter(|| black_box(&v4).key()));
    c.bench_function("tuple/invert", |b| b.iter(|| black_box(&v4).invert()));
    c.bench_function("tuple/compare words", |b| {
        b.iter(|| Key::from_words(*black_box(&words)) == *black_box(&key))
    });
    c.bench_function("hash/jhash2 of 10, loop", |b| {
        b.iter(|| jhash2(black_box(&halves[..]), black_box(1)))
    });
    c.bench_function("hash/jhash2 of 10, unrolled", |b| {
        b.iter(|| jhash2_array(black_box(&halves), black_box(1)))
    });
    c.bench_function("hash/siphash-2-4, as C", |b| {
        b.iter(|| siphash::<2, 4>(black_box(key.words()), black_box([1, 2])))
    });
    c.bench_function("hash/siphash-1-3", |b| {
        b.iter(|| siphash::<1, 3>(black_box(key.words()), black_box([1, 2])))
    });
    let seed = Seed::new([1, 2, 3]);
    c.bench_function("hash/tuple to bucket", |b| {
        b.iter(|| {
            let hash = tuple_hash(&black_box(&v4).key(), black_box(0), 1, black_box(&seed));
            reciprocal_scale(hash, black_box(65_536))
        })
    });
}

fn trackers(c: &mut Criterion) {
    let entry = Player::of("handshake").tcp;
    let timeouts = timeouts();
    let policy = policy(&timeouts);
    let mut bytes = [0; 20];
    bytes[4..8].copy_from_slice(&1001_u32.to_be_bytes());
    bytes[8..12].copy_from_slice(&5001_u32.to_be_bytes());
    bytes[12..16].copy_from_slice(&[0x80, 0x10, 0x01, 0xf6]);
    let timestamp = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
    let sack = [1, 1, 5, 10, 0, 0, 0x13, 0x89, 0, 0, 0x13, 0x89];

    for (name, options) in [("timestamp", &timestamp), ("sack", &sack)] {
        c.bench_function(&format!("tcp/established, {name}"), |b| {
            let mut track = entry.track;
            b.iter(|| {
                let segment = Segment {
                    header: Header::parse(black_box(&bytes)),
                    options: black_box(options),
                    payload_len: black_box(0),
                    ack_offset: 0,
                };
                tcp::check(&segment.header, 32).unwrap();
                tcp::packet(
                    black_box(&mut track),
                    &segment,
                    black_box(Direction::Original),
                    black_box(&entry.status),
                    &policy,
                    Jiffies32(7),
                )
            })
        });
    }
    c.bench_function("udp/stream", |b| {
        let mut track = udp::Track { stream_ts: 1 };
        let timeouts = [30, 120].map(Timeout::new);
        let status = Status {
            confirmed: true,
            seen_reply: true,
            assured: true,
            ..Status::default()
        };
        b.iter(|| {
            udp::packet(
                black_box(&mut track),
                black_box(&status),
                &timeouts,
                100,
                250,
            )
        })
    });
}

criterion_group!(benches, tuples, trackers);
criterion_main!(benches);
