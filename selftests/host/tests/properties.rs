// SPDX-License-Identifier: GPL-2.0

//! Properties that hold for any input.

use proptest::{array, collection::vec, prelude::*};

use rust_ct_host::{
    chaos::{self, Random},
    peers::{is_over, Peers},
    proto::{
        hash::{jhash2, jhash2_array, reciprocal_scale, tuple_hash, Seed},
        icmpv6,
        reconsider::{early_stamp, question, Asked, Question, Replies},
        step::{Status, Step, Update},
        tcp::{self, Config, Peer, Segment, SeqNum, State, Track},
        time::Jiffies32,
        types::{
            direction::Direction,
            family::Family,
            timeout::Timeout,
            tuple::{Key, L4Key, Tuple},
        },
        udp,
        wire::{
            self, icmp, icmpv6 as icmpv6_wire, ipv4, ipv6,
            tcp::{Header, Options, TcpOption},
        },
    },
    sim::{policy, timeouts, Entry, Outcome},
};

prop_compose! {
    fn any_tuple()(
        l3num in prop_oneof![Just(2_u16), Just(10), any::<u16>()],
        src in any::<[u8; 16]>(),
        dst in any::<[u8; 16]>(),
        src_key in any::<[u8; 2]>(),
        dst_key in any::<[u8; 2]>(),
        protonum in prop_oneof![Just(1_u8), Just(6), Just(58), any::<u8>()],
        dir in 0..2_u8,
    ) -> Tuple {
        let key = L4Key { src: src_key, dst: dst_key };
        let direction = Direction::from_u8(dir).unwrap();
        Tuple::new(l3num, src, dst, key, protonum).with_direction(direction)
    }
}

prop_compose! {
    fn any_seen()(
        words in any::<[u32; 4]>(), scale in any::<u8>(), flags in any::<u8>(),
    ) -> Peer {
        let [end, max_end, max_window, max_ack] = words;
        Peer {
            end: SeqNum(end),
            max_end: SeqNum(max_end),
            max_window,
            max_ack: SeqNum(max_ack),
            scale,
            flags,
        }
    }
}

prop_compose! {
    /// Any bit pattern, also those that no tracker leaves behind.
    fn any_track()(
        seen in array::uniform2(any_seen()),
        bytes in any::<[u8; 6]>(),
        state in 0..12_u8,
        words in any::<[u32; 3]>(),
        last_win in any::<u16>(),
    ) -> Track {
        Track {
            seen,
            state,
            last_dir: bytes[0] & 3,
            retrans: bytes[1],
            last_index: bytes[2] & 7,
            last_seq: SeqNum(words[0]),
            last_ack: SeqNum(words[1]),
            last_end: SeqNum(words[2]),
            last_win,
            last_wscale: bytes[3],
            last_flags: bytes[4],
        }
    }
}

fn any_policy(timeouts: &tcp::Timeouts, bits: u8, max_retrans: u8) -> Config<'_> {
    Config {
        timeouts,
        hz: u32::from(bits) << 24,
        loose: bits & 1 != 0,
        liberal: bits & 2 != 0,
        ignore_invalid_rst: bits & 4 != 0,
        max_retrans,
    }
}

fn any_status(bits: u8, expires: u32) -> Status {
    Status {
        confirmed: bits & 1 != 0,
        seen_reply: bits & 2 != 0,
        assured: bits & 4 != 0,
        fixed_timeout: bits & 8 != 0,
        nat_clash: bits & 16 != 0,
        synproxy: bits & 32 != 0,
        expires: Jiffies32(expires),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn inverse_of_inverse(tuple in any_tuple()) {
        if let Some(answer) = tuple.invert() {
            prop_assert_eq!(answer.direction(), tuple.direction().opposite());
            let back = answer.invert();
            prop_assert_eq!(back, Some(tuple));
            prop_assert_eq!(back.map(|t| t.dir), Some(tuple.dir));
        } else {
            prop_assert!(tuple.protonum == 1 || tuple.protonum == 58);
        }
    }

    #[test]
    fn key_knows_the_answer(tuple in any_tuple()) {
        let tuple = tuple.with_direction(Direction::Original);
        prop_assert_eq!(tuple.key().answer(), tuple.invert().map(|answer| answer.words()));
        let mut words = *tuple.key().words();
        prop_assert_eq!(tuple.words(), words);
        words[4] = tuple.with_direction(Direction::Reply).words()[4];
        prop_assert_eq!(words[4].to_ne_bytes()[7], 1);
    }

    /// A tuple and its mirror image have one hash; with the addresses alone exchanged it is another
    /// connection's, and has another one.
    #[test]
    fn mirror_image(tuple in any_tuple(), alike in 0..4_u8, seed in any::<[u64; 3]>()) {
        let mut tuple = tuple;
        if alike & 1 != 0 {
            tuple.dst_key = tuple.src_key;
        }
        if alike & 2 != 0 {
            tuple.dst = tuple.src;
        }
        let (key, hash) = (tuple.key(), |key: &Key| tuple_hash(key, 7, 1, &Seed::new(seed)));
        let mirror = Tuple {
            src: tuple.dst,
            src_key: tuple.dst_key,
            dst: tuple.src,
            dst_key: tuple.src_key,
            ..tuple
        };
        prop_assert_eq!(key.mirror(), mirror.key());
        prop_assert_eq!(key.mirror().mirror(), key);
        prop_assert_eq!(hash(&key.mirror()), hash(&key));
        prop_assert_eq!(key.has_equal_ports(), tuple.src_key == tuple.dst_key);
        // What a lookup trusts in: else it would take one direction for the other.
        prop_assert!(key.has_equal_ports() || !key.may_have(|index| mirror.words()[index]));
        if !matches!(tuple.protonum, 1 | 58) {
            prop_assert_eq!(tuple.invert(), Some(mirror));
        }
        let crossed = Tuple { src: tuple.dst, dst: tuple.src, ..tuple };
        if crossed != tuple && crossed != mirror {
            prop_assert_ne!(hash(&crossed.key()), hash(&key));
        }
    }

    #[test]
    fn some_words_of_a_tuple(tuple in any_tuple(), other in any_tuple()) {
        let may_be = |other: Tuple| tuple.key().may_have(|index| other.words()[index]);
        prop_assert!(may_be(tuple.with_direction(Direction::Original)));
        prop_assert!(may_be(tuple.with_direction(Direction::Reply)));
        let same = (tuple.src_key, tuple.dst_key, tuple.protonum, tuple.src_ipv4(), tuple.l3num)
            == (other.src_key, other.dst_key, other.protonum, other.src_ipv4(), other.l3num);
        prop_assert!(same || !may_be(other));
    }

    #[test]
    fn equality_is_of_all_bytes(a in any_tuple(), b in any_tuple()) {
        let same = (a.src, a.src_key, a.l3num, a.dst, a.dst_key, a.protonum)
            == (b.src, b.src_key, b.l3num, b.dst, b.dst_key, b.protonum);
        prop_assert_eq!(a == b, same);
        prop_assert_eq!(a.key() == b.key(), same);
        prop_assert!(a == a.with_direction(Direction::Reply));
    }

    #[test]
    fn unrolled_hash_is_the_same(key in any::<[u32; 10]>(), initval in any::<u32>()) {
        prop_assert_eq!(jhash2_array(&key, initval), jhash2(&key, initval));
    }

    #[test]
    fn scaled_is_in_range(hash in any::<u32>(), n in 1..=u32::MAX) {
        prop_assert!(reciprocal_scale(hash, n) < n);
    }

    #[test]
    fn order_of_sequence_numbers(a in any::<u32>(), by in 1..(1_u32 << 31) - 1) {
        let (near, far) = (SeqNum(a), SeqNum(a).add(by));
        prop_assert!(near.before(far) && far.after(near));
        prop_assert!(near.at_or_before(far) && far.at_or_after(near));
        prop_assert!(!far.before(near) && !far.at_or_before(near));
        prop_assert_eq!(far.since(near), by);
        prop_assert_eq!(near.max(far), far);
        prop_assert_eq!(far.sub(by), near);
    }

    #[test]
    fn parsers_accept_any_bytes(
        bytes in any::<[u8; 32]>(), more in any::<[u8; 32]>(), len in any::<u32>(),
        message in vec(any::<u8>(), 0..64),
    ) {
        let mut header = [0; 40];
        header[..32].copy_from_slice(&bytes);
        header[8..].copy_from_slice(&more);
        let v4 = ipv4::Header::parse(header.first_chunk().unwrap());
        if v4.check(len).is_ok() {
            prop_assert!(v4.header_len() <= len && v4.total_len() <= len);
            prop_assert!((20..=60).contains(&v4.header_len()));
        }
        if let Ok(offset) = v4.transport_offset(len) {
            prop_assert!(offset <= len);
        }
        let v6 = ipv6::Header::parse(&header);
        prop_assert_eq!(&header[8..24], v6.source());
        prop_assert_eq!(&header[24..40], v6.destination());
        let _ = v6.check(len);
        let _ = udp::check(&wire::udp::Header::parse(header.first_chunk().unwrap()), len, true);
        let _ = icmp::Header::parse(header.first_chunk().unwrap()).class();
        let _ = icmpv6_wire::Header::parse(header.first_chunk().unwrap()).class();
        let _ = icmpv6_wire::redirected(255, v6.source(), &message);
        let tcp_header = Header::parse(header.first_chunk().unwrap());
        if tcp::check(&tcp_header, len).is_ok() {
            prop_assert!(tcp_header.header_len() <= len && tcp_header.options_len() <= 40);
        }
        let walked = ipv6::skip_extensions(header[0], 0, |at| {
            message.get(usize::try_from(at).unwrap()..)?.first_chunk().copied()
        });
        if let Ok(transport) = walked {
            prop_assert!(transport.offset <= 12 * 2056);
        }
    }

    #[test]
    fn options_stay_inside(bytes in vec(any::<u8>(), 0..41)) {
        let mut read = 0;
        for option in Options::new(&bytes) {
            read += 2;
            if let TcpOption::Sack(blocks) = option {
                prop_assert!(!blocks.is_empty() && blocks.len() % 8 == 0);
                read += blocks.len();
            }
        }
        prop_assert!(read <= bytes.len());
    }

    #[test]
    fn tracker_accepts_any_state(
        track in any_track(), header in any::<[u8; 20]>(), options in vec(any::<u8>(), 0..41),
        payload_len in any::<u32>(), ack_offset in any::<i32>(), timeouts in any::<[u32; 14]>(),
        bits in any::<[u8; 4]>(), now in any::<u32>(), expires in any::<u32>(),
    ) {
        let segment = Segment {
            header: Header::parse(&header), options: &options, payload_len, ack_offset,
        };
        let lifetimes = timeouts.map(Timeout::new);
        let policy = any_policy(&lifetimes, bits[0], bits[1]);
        let status = any_status(bits[2], expires);
        let direction = Direction::from_u8(bits[3] & 1).unwrap();
        let mut opened = track;
        let _ = tcp::open(&mut opened, &segment, &policy);
        let mut track = track;
        let step = tcp::packet(&mut track, &segment, direction, &status, &policy, Jiffies32(now));
        if let Step::Accept(update) = step {
            prop_assert!(update.timeout.is_none_or(|t| timeouts.contains(&t)));
        }
        track.forget_windows();
        track.set_closing();
        prop_assert_eq!(track.state(), State::Close);
    }

    #[test]
    fn a_syn_begins_as_by_the_long_way(
        mut header in any::<[u8; 20]>(), options in vec(any::<u8>(), 0..41),
        payload_len in any::<u32>(), timeouts in any::<[u32; 14]>(), bits in any::<[u8; 2]>(),
    ) {
        // SYN, perhaps with FIN, as no check has stood before.
        header[13] = header[13] & !0x16 | 0x02;
        let segment = Segment {
            header: Header::parse(&header), options: &options, payload_len, ack_offset: 0,
        };
        let lifetimes = timeouts.map(Timeout::new);
        let policy = any_policy(&lifetimes, bits[0], bits[1]);
        let mut track = Track::default();
        prop_assert_eq!(tcp::open(&mut track, &segment, &policy), Ok(()));
        let status = Status::default();
        let step =
            tcp::packet(&mut track, &segment, Direction::Original, &status, &policy, Jiffies32(0));
        match tcp::open_syn(&segment, &lifetimes, policy.max_retrans) {
            Some((begun, timeout)) => {
                let update = Update { protoinfo: true, ..Update::refresh(timeout) };
                prop_assert_eq!(step, Step::Accept(update));
                prop_assert_eq!(begun, track);
            }
            None => prop_assert!(payload_len >= 1 << 30),
        }
    }

    #[test]
    fn other_trackers_accept_any_state(
        tuple in any_tuple(), stream_ts in any::<usize>(), now in any::<usize>(),
        bits in any::<u8>(), timeouts in any::<[u32; 2]>(),
    ) {
        let status = any_status(bits, 0);
        let mut track = udp::Track { stream_ts };
        let lifetimes = timeouts.map(Timeout::new);
        let update = udp::packet(&mut track, &status, &lifetimes, now, usize::from(bits) << 56);
        prop_assert!(update.timeout.is_some_and(|t| timeouts.contains(&t)));
        for family in [Family::Ipv4, Family::Ipv6] {
            let _ = icmpv6::packet(family, &tuple, &status, 1);
        }
    }

    /// Segments near the bounds, at random: no panic, and never an accepted one that ends in a
    /// state which the table does not know.
    #[test]
    fn chaos_is_survived(seed in any::<u64>()) {
        let mut random = Random::new(seed);
        let timeouts = timeouts();
        let policy = policy(&timeouts);
        let mut entry = Entry::default();
        for now in 0..200 {
            let draft = chaos::segment(&mut random, &entry.track, 0);
            let outcome = entry.feed(&draft, &policy, Jiffies32(now));
            prop_assert!(State::from_u8(entry.track.state).is_some());
            prop_assert!(entry.track.seen.iter().all(|seen| seen.scale <= 14));
            if matches!(outcome, Outcome::Step(Step::Reopen | Step::Kill)) {
                entry = Entry::default();
            }
        }
    }

    /// Two peers that keep to the rules, over a network that loses and repeats: nothing of it is
    /// INVALID, and the connection gets to its end.
    #[test]
    fn legal_is_never_invalid(seed in any::<u64>(), loss in 2..20_u32) {
        let mut random = Random::new(seed);
        let timeouts = timeouts();
        let policy = policy(&timeouts);
        let mut entry = Entry::default();
        let mut peers = Peers::new(&mut random);
        for now in 0..2000 {
            let draft = peers.send(&mut random);
            if random.once_in(loss) {
                continue; // Lost before the tracker.
            }
            for _ in 0..if random.once_in(loss) { 2 } else { 1 } {
                let outcome = entry.feed(&draft, &policy, Jiffies32(now));
                let legal = matches!(outcome, Outcome::Step(Step::Accept(_) | Step::Ignore(_)));
                prop_assert!(legal, "{:?}\n{:?}\n{:?}\n{:?}", outcome, draft, entry, peers);
            }
            if random.once_in(loss) {
                continue; // Lost behind the tracker.
            }
            peers.receive(&draft);
            if peers.is_closed() {
                prop_assert!(is_over(entry.track.state()));
                return Ok(());
            }
        }
    }
}

proptest! {
    /// An entry whose rules have not changed is not asked about; with an early stamp it is, about
    /// its source alone if it has aged, and about everything once the rules change as well.
    #[test]
    fn a_generation_is_asked_about_once(stamp in any::<u8>(), commits in 0..200_u8) {
        let current = stamp.wrapping_add(commits);
        let expected = match commits {
            0 => Question::Nothing,
            _ => Question::Everything,
        };
        prop_assert_eq!(question(stamp, current, false, false), expected);
        prop_assert_eq!(question(current, current, true, true), Question::Nothing);

        let early = early_stamp(stamp);
        let unreachable = question(early, current, false, true);
        prop_assert_eq!(unreachable, Question::Everything);
        prop_assert_eq!(question(early, current, true, true), Question::Everything);
        let aged = question(early, current, true, false);
        let is_same = commits == 0;
        prop_assert_eq!(aged, if is_same { Question::Source } else { Question::Everything });
    }

    /// However often packets come and rules change, a connection is asked about no sooner than
    /// after its delay, and from then on no more often than once in the delay and in a second;
    /// and once a packet has come late enough, it is. The clock may wrap around.
    #[test]
    fn a_connection_is_asked_about_at_its_pace(
        begin in any::<usize>(),
        after in 0..500_usize,
        gaps in vec(0..200_usize, 1..50),
    ) {
        const SECOND: usize = 100;
        let mut asked = Asked { created: begin, last: None };
        let mut now = begin;
        for gap in gaps {
            now = now.wrapping_add(gap);
            let age = now.wrapping_sub(begin);
            let rest = asked.last.map_or(usize::MAX, |last| now.wrapping_sub(last));
            let is_time = age >= after && rest >= after.max(SECOND);
            prop_assert_eq!(asked.is_due(now, after, SECOND), is_time);
            if is_time {
                asked.last = Some(now);
            }
        }
    }

    /// The pause without other replies is since the visit at which their number was new.
    #[test]
    fn replies_tell_the_pause(
        begin in any::<u32>(),
        first in any::<u32>(),
        visits in vec((0..200_u32, prop_oneof![3 => Just(0_u32), 1 => 1..5_u32]), 1..50),
    ) {
        let mut replies = Replies::default();
        let (mut now, mut number, mut since) = (begin, first, None);
        for (gap, more) in visits {
            now = now.wrapping_add(gap);
            number = number.wrapping_add(more);
            replies = Replies::from_word(replies.to_word());
            let expected = match since {
                Some((known, since)) if known == number => now.wrapping_sub(since),
                _ => {
                    since = Some((number, now));
                    0
                }
            };
            // 0 at time 0 is the same as nothing: noticed once more.
            if (number, now) == (0, 0) {
                since = None;
            }
            prop_assert_eq!(replies.note(number, now), expected);
        }
    }
}
