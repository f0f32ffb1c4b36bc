// SPDX-License-Identifier: GPL-2.0

//! What the fuzzer runs; a panic is a finding.

use crate::{
    chaos::{self, Random},
    peers::Peers,
    proto::{
        icmp, icmpv6,
        step::{Status, Step},
        tcp::{self, State},
        time::Jiffies32,
        types::{
            direction::Direction,
            family::Family,
            tuple::{L4Key, Tuple},
        },
        udp,
        wire::{self, icmp as icmp_wire, icmpv6 as icmpv6_wire, ipv4, ipv6, tcp::Options},
    },
    sctp_sim,
    sim::{policy, timeouts, Entry, Outcome},
};

/// Plays segments near the bounds of a connection.
pub fn tracker(tape: &[u8]) {
    let mut random = Random::from_tape(tape);
    let timeouts = timeouts();
    let mut policy = policy(&timeouts);
    policy.loose = !random.once_in(8);
    policy.liberal = random.once_in(4);
    policy.ignore_invalid_rst = random.once_in(4);
    policy.max_retrans = random.pick(&[0, 3, 255]);
    let shift = random.pick(&[0, 0, 0, 5, -5, i32::MIN]);
    let mut entry = Entry::default();
    let mut now = Jiffies32(random.bits());
    while !random.is_exhausted() {
        now = now.add(random.pick(&[0, 1, 250, 100_000]));
        let draft = chaos::segment(&mut random, &entry.track, shift);
        let outcome = entry.feed(&draft, &policy, now);
        assert!(State::from_u8(entry.track.state).is_some());
        assert!(entry.track.seen.iter().all(|seen| seen.scale <= 14));
        match outcome {
            Outcome::Step(Step::Accept(update)) => {
                assert!(update
                    .timeout
                    .is_none_or(|timeout| timeouts.iter().any(|other| other.get() == timeout)));
                assert!(!update.assured || entry.status.seen_reply);
            }
            Outcome::Step(Step::Kill) => entry = Entry::default(),
            Outcome::Step(Step::Reopen) => {
                assert!(matches!(
                    entry.track.state(),
                    State::TimeWait | State::Close
                ));
                entry = Entry::default();
            }
            _ => {}
        }
    }
}

/// Lets two peers that keep to the rules talk over a network that the tape disturbs.
pub fn legal_peers(tape: &[u8]) {
    let mut random = Random::from_tape(tape);
    let timeouts = timeouts();
    let policy = policy(&timeouts);
    let mut entry = Entry::default();
    let mut peers = Peers::new(&mut random);
    while !random.is_exhausted() && !peers.is_closed() {
        let draft = peers.send(&mut random);
        let fate = random.below(8);
        if fate == 1 {
            continue;
        }
        for _ in 0..if fate == 2 { 2 } else { 1 } {
            let outcome = entry.feed(&draft, &policy, Jiffies32(0));
            let legal = matches!(outcome, Outcome::Step(Step::Accept(_) | Step::Ignore(_)));
            assert!(legal, "{outcome:?}\n{draft:?}\n{entry:?}\n{peers:?}");
        }
        if fate != 3 {
            peers.receive(&draft);
        }
    }
}

/// Plays SCTP packets, each as long as its first byte says.
fn sctp_packets(tape: &[u8]) {
    let mut entry = sctp_sim::Entry::default();
    let mut rest = tape;
    while let [len, tail @ ..] = rest {
        let (bytes, tail) = tail.split_at(tail.len().min(usize::from(len >> 1)));
        let direction = if len & 1 == 0 {
            Direction::Original
        } else {
            Direction::Reply
        };
        let before = entry.track;
        match entry.feed_bytes(bytes, direction, &sctp_sim::timeouts()) {
            Outcome::Step(Step::Accept(_)) => {}
            _ if entry.status.confirmed => assert_eq!(entry.track, before),
            _ => entry = sctp_sim::Entry::default(),
        }
        rest = tail;
    }
}

/// Parses the bytes as every header there is.
pub fn parsers(bytes: &[u8]) {
    let available = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    if let Some(header) = bytes.first_chunk() {
        let header = ipv4::Header::parse(header);
        if header.check(available).is_ok() {
            assert!(header.header_len() <= available && header.total_len() <= available);
        }
        if let Ok(offset) = header.transport_offset(available) {
            assert!(offset <= available);
        }
    }
    if let Some(header) = bytes.first_chunk() {
        let header = ipv6::Header::parse(header);
        let _ = header.check(available);
        let read = |at| {
            bytes
                .get(usize::try_from(at).ok()?..)?
                .first_chunk()
                .copied()
        };
        if let Ok(transport) = ipv6::skip_extensions(header.next_header(), 40, read) {
            assert!((40..=40 + 12 * 2056).contains(&transport.offset));
        }
        let _ = icmpv6_wire::redirected(header.hop_limit(), header.source(), bytes);
    }
    if let Some(header) = bytes.first_chunk() {
        let header = wire::tcp::Header::parse(header);
        if tcp::check(&header, available).is_ok() {
            let len = usize::try_from(header.header_len()).unwrap();
            let options = Options::new(&bytes[20..len]).count();
            assert!(options <= 20);
        }
    }
    if let Some(header) = bytes.first_chunk() {
        let _ = udp::check(
            &wire::udp::Header::parse(header),
            available,
            bytes[0] & 1 != 0,
        );
    }
    sctp_packets(bytes);
    if let Some(header) = bytes.first_chunk() {
        let _ = wire::gre::classify(header);
    }
    if let Some(header) = bytes.first_chunk::<8>() {
        let (v4, v6) = (
            icmp_wire::Header::parse(header),
            icmpv6_wire::Header::parse(header),
        );
        for (key, protonum) in [(v4.key(), 1), (v6.key(), 58), (L4Key::NONE, header[0])] {
            let tuple = Tuple::ipv4([1; 4], [2; 4], key, protonum);
            if let Some(answer) = tuple.invert() {
                assert_eq!(answer.invert(), Some(tuple));
                assert_eq!(answer.direction(), Direction::Reply);
            }
            let _ = icmp::packet(Family::Ipv4, &tuple, 1);
            let _ = icmpv6::packet(Family::Ipv6, &tuple, &Status::default(), 1);
        }
    }
}
