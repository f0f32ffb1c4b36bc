// SPDX-License-Identifier: GPL-2.0

//! The SCTP tracker: the state machine against a table written by hand, bundling, tags, and packets
//! by chance. `traces.rs` plays the lives of associations.

use rust_ct_host::{
    chaos::Random,
    player::Player,
    proto::{
        sctp::{state::next, State, Track},
        step::{Reason, Step},
        types::{direction::Direction, tuple::L4Key},
        wire::{
            sctp::{ChunkError, Header, Kind, Packet, Tag},
            Error,
        },
    },
    sctp_sim::{packet, timeouts, track_words, ChunkDraft, Draft, Entry},
    sim::Outcome,
    trace::Protocol,
};

/// Columns: NONE CLOSED COOKIE_WAIT COOKIE_ECHOED ESTABLISHED SHUTDOWN_SENT SHUTDOWN_RECD
/// SHUTDOWN_ACK_SENT HEARTBEAT_SENT. `-` is INVALID.
///
/// From RFC 9260, sections 4, 5.1, 5.2 and 9, as seen by a middle box.
const EXPECTED: &str = "
    original data              NO CL CW CE ES SS SR SA HS
    original init              CL CL CW CE ES CL CL SA CW
    original init_ack          CL CL CW CE ES SS SR SA CL
    original heartbeat         HS CL CW CE ES SS SR SA HS
    original heartbeat_ack     CL CL CW CE ES SS SR SA HS
    original abort             CL CL CL CL CL CL CL CL CL
    original shutdown          CL CL CW CE SS SS SR SA CL
    original shutdown_ack      SA CL CW CE ES SA SA SA SA
    original error             CL CL CW CE ES SS SR SA CL
    original cookie_echo       CL CL CE CE ES SS SR SA CL
    original cookie_ack        CL CL CW ES ES SS SR SA CL
    original shutdown_complete CL CL CW CE ES SS SR CL CL
    original other             NO CL CW CE ES SS SR SA HS
    reply    data              NO CL CW CE ES SS SR SA HS
    reply    init              -  CL CW CE ES SS SR SA -
    reply    init_ack          -  CW CW CE ES SS SR SA -
    reply    heartbeat         -  CL CW CE ES SS SR SA HS
    reply    heartbeat_ack     -  CL CW CE ES SS SR SA ES
    reply    abort             -  CL CL CL CL CL CL CL -
    reply    shutdown          -  CL CW CE SR SS SR SA -
    reply    shutdown_ack      -  CL CW CE ES SA SA SA -
    reply    error             -  CL CW CL ES SS SR SA -
    reply    cookie_echo       -  CL CE CE ES SS SR SA -
    reply    cookie_ack        -  CL CW ES ES SS SR SA -
    reply    shutdown_complete -  CL CW CE ES SS SR CL -
    reply    other             NO CL CW CE ES SS SR SA HS
";

#[test]
fn every_transition() {
    let mut seen = 0;
    let lines = EXPECTED.lines().filter(|line| !line.trim().is_empty());
    for (line, kind) in lines.zip(Kind::ALL.iter().cycle()) {
        let mut words = line.split_whitespace();
        let direction = match words.next().unwrap() {
            "original" => Direction::Original,
            _ => Direction::Reply,
        };
        let name = words.next().unwrap().replace('_', "");
        assert_eq!(name, format!("{kind:?}").to_lowercase());
        for state in State::ALL {
            let expected = match words.next().unwrap() {
                "NO" => Some(State::None),
                "CL" => Some(State::Closed),
                "CW" => Some(State::CookieWait),
                "CE" => Some(State::CookieEchoed),
                "ES" => Some(State::Established),
                "SS" => Some(State::ShutdownSent),
                "SR" => Some(State::ShutdownRecd),
                "SA" => Some(State::ShutdownAckSent),
                "HS" => Some(State::HeartbeatSent),
                "-" => None,
                other => panic!("{other}"),
            };
            assert_eq!(next(direction, *kind, state), expected, "{line}: {state:?}");
            seen += 1;
        }
    }
    assert_eq!(seen, 234);
}

#[test]
fn names_and_numbers() {
    let names = [
        "NONE",
        "CLOSED",
        "COOKIE_WAIT",
        "COOKIE_ECHOED",
        "ESTABLISHED",
        "SHUTDOWN_SENT",
        "SHUTDOWN_RECD",
        "SHUTDOWN_ACK_SENT",
        "HEARTBEAT_SENT",
    ];
    for ((state, name), number) in State::ALL.iter().zip(names).zip(0..) {
        assert_eq!(state.name(), name);
        assert_eq!(state.to_u32(), number);
        assert_eq!(State::from_u32(number), *state);
        let early = name.starts_with("SHUTDOWN");
        assert_eq!(state.may_be_dropped_early(), early);
    }
    assert_eq!(State::from_u32(9), State::None);
    assert_eq!(State::from_u32(u32::MAX), State::None);
    for (kind, number) in Kind::ALL.iter().zip(0..) {
        assert_eq!(kind.to_u8(), number);
    }
}

/// An INIT of lksctp: 10.0.0.1:42000 to 10.0.0.2:5000, behind the IP header.
const INIT: [u8; 32] = [
    0xa4, 0x10, 0x13, 0x88, 0, 0, 0, 0, 0x5c, 0x1e, 0x35, 0x9b, // common header
    0x01, 0x00, 0x00, 0x14, 0xd2, 0x0b, 0x4c, 0x9e, 0x00, 0x01, 0xa0, 0x00, 0x00, 0x0a, 0xff, 0xff,
    0x6d, 0x7b, 0x13, 0x51,
];

fn parse(bytes: &[u8]) -> Result<Packet<impl Fn(u32) -> Option<[u8; 4]> + '_>, ChunkError> {
    let read = |at: u32| bytes.get(at as usize..)?.first_chunk().copied();
    let header = Header::parse(bytes.first_chunk().unwrap());
    Packet::parse(header, bytes.len() as u32, read)
}

#[test]
fn captured_init() {
    let packet = parse(&INIT).unwrap();
    assert_eq!(
        (packet.header().source(), packet.header().destination()),
        (42000, 5000)
    );
    assert!(packet.header().tag().is_zero());
    assert_eq!(
        L4Key::from_wire(INIT.first_chunk().unwrap()),
        L4Key::ports(42000, 5000)
    );
    let chunks: Vec<_> = packet.chunks().collect();
    assert_eq!(chunks.len(), 1);
    assert_eq!((chunks[0].kind, chunks[0].len), (Kind::Init, 20));
    assert_eq!(chunks[0].initiate_tag, Some(Tag([0xd2, 0x0b, 0x4c, 0x9e])));

    // The fixed part is cut off: no tag can be taken from it.
    let chunks: Vec<_> = parse(&INIT[..31]).unwrap().chunks().collect();
    assert_eq!(chunks[0].initiate_tag, None);
}

#[test]
fn bundling() {
    let numbers = |numbers: &[u8]| Draft {
        direction: Direction::Original,
        tag: 0,
        chunks: numbers.iter().map(|n| ChunkDraft::new(*n)).collect(),
        cut: 0,
    };
    let verdict = |wanted: &[u8]| parse(&numbers(wanted).bytes()).map(|packet| packet.kinds());
    for alone in [1, 2, 14] {
        assert!(verdict(&[alone]).is_ok());
        assert_eq!(verdict(&[alone, 0]), Err(ChunkError::Bundled));
        assert_eq!(verdict(&[0, alone]), Err(ChunkError::Bundled));
    }
    for first in [10, 11] {
        assert!(verdict(&[first, 0, 3]).unwrap().has(Kind::Data));
        assert_eq!(verdict(&[0, first]), Err(ChunkError::Bundled));
    }
    assert!(verdict(&[3, 0, 0, 7]).is_ok());
    assert_eq!(verdict(&[]), Err(ChunkError::None));

    let mut empty = numbers(&[0, 3]);
    empty.chunks[1].lie = Some(0);
    assert_eq!(parse(&empty.bytes()).err(), Some(ChunkError::Empty));
    // Less than a chunk behind the last one is nobody's.
    let mut rest = numbers(&[0, 3]);
    rest.cut = 1;
    assert_eq!(parse(&rest.bytes()).unwrap().chunks().count(), 1);
    // A length that leaves the packet ends the walk.
    let mut long = numbers(&[0, 3]);
    long.chunks[0].lie = Some(u16::MAX);
    assert_eq!(parse(&long.bytes()).unwrap().chunks().count(), 1);

    let mut entry = Entry::default();
    let short = Reason::Malformed(Error::Short);
    let outcome =
        rust_ct_host::proto::sctp::parse(Header::parse(INIT.first_chunk().unwrap()), 11, |_| None);
    assert_eq!(outcome.err(), Some(short));
    assert_eq!(
        entry.feed(&empty),
        Outcome::Refused(Reason::SctpChunks(ChunkError::Empty))
    );
}

/// The state and the tags at the end of a story.
fn words_after(title: &str) -> [u32; 3] {
    track_words(&Player::of(title).sctp.track)
}

#[test]
fn tags_at_the_end_of_stories() {
    assert_eq!(words_after("a whole life"), [1, 0x5, 0xc]);
    assert_eq!(
        words_after("the next life on the same ports"),
        [4, 0x51, 0xc1]
    );
    assert_eq!(words_after("INIT lost"), [4, 0x5, 0xd]);
    assert_eq!(
        words_after("INITs cross, answers with other tags"),
        [4, 0xb, 0xa]
    );
    assert_eq!(words_after("the tags change"), [4, 0xd, 0xc]);
}

/// No trace, as the C tracker judges the first chunk before it rejects the packet.
#[test]
fn an_invalid_packet_changes_nothing() {
    Player::new(Protocol::Sctp).play(
        "> 0 init:a => CLOSED
         < a init-ack:b => COOKIE_WAIT
         > b cookie-echo => COOKIE_ECHOED
         < e cookie-ack,heartbeat,heartbeat => invalid
         < e cookie-ack,abort => invalid
         < a cookie-ack => ESTABLISHED assured",
    );
}

#[test]
fn chaos_keeps_the_rules() {
    let timeouts = timeouts();
    let rounds = if cfg!(miri) { 200 } else { 200_000 };
    let mut random = Random::new(9260);
    let mut entry = Entry::default();
    for _ in 0..rounds {
        let draft = packet(&mut random, &entry.track);
        let before = (entry.track, entry.status.confirmed);
        let outcome = entry.feed(&draft);
        match outcome {
            Outcome::Step(Step::Accept(update)) => {
                assert_ne!(entry.track.state(), State::None);
                let own = timeouts[entry.track.state().to_u32() as usize].get();
                assert!(update.timeout.is_none_or(|timeout| timeout == own));
                assert!(!update.assured || update.protoinfo);
            }
            Outcome::Step(Step::Invalid { .. }) if before.1 => assert_eq!(entry.track, before.0),
            Outcome::Step(Step::Invalid { .. }) | Outcome::Refused(_) => {}
            Outcome::Step(other) => panic!("{other:?}"),
        }
        if !entry.status.confirmed || random.once_in(50) {
            entry = Entry::default();
        }
    }
    assert_eq!(Track::default().state(), State::None);
}
