// SPDX-License-Identifier: GPL-2.0

//! The state machine against a table written by hand, and the numbers that users see.

use rust_ct_host::proto::{
    tcp::{state::next, Kind, Next, State},
    types::direction::Direction,
    wire::tcp::Flags,
};

/// Columns: NONE SYN_SENT SYN_RECV ESTABLISHED FIN_WAIT CLOSE_WAIT LAST_ACK TIME_WAIT CLOSE
/// SYN_SENT2. `ign` lets through, `-` is INVALID.
///
/// From RFC 9293, sections 3.5 (opening, crossing SYNs, half-open connections), 3.6 (closing), and
/// 3.10.7.4 (RST), as seen by a middle box.
const EXPECTED: &str = "
    original syn    SS  SS  ign ign ign ign ign SS  SS  S2
    original synack -   -   SR  -   -   -   -   -   -   SR
    original fin    -   -   FW  FW  LA  LA  LA  TW  CL  -
    original ack    ES  -   ES  ES  CW  CW  TW  TW  CL  -
    original rst    -   CL  CL  CL  CL  CL  CL  CL  CL  CL
    original none   -   -   -   -   -   -   -   -   -   -
    reply    syn    -   S2  -   -   -   -   -   SS  -   S2
    reply    synack -   SR  ign ign ign ign ign ign ign SR
    reply    fin    -   -   FW  FW  LA  LA  LA  TW  CL  -
    reply    ack    -   ign SR  ES  CW  CW  TW  TW  CL  ign
    reply    rst    -   CL  CL  CL  CL  CL  CL  CL  CL  CL
    reply    none   -   -   -   -   -   -   -   -   -   -
";

#[test]
fn every_transition() {
    let mut seen = 0;
    for line in EXPECTED.lines().filter(|line| !line.trim().is_empty()) {
        let mut words = line.split_whitespace();
        let direction = match words.next().unwrap() {
            "original" => Direction::Original,
            _ => Direction::Reply,
        };
        let kind = match words.next().unwrap() {
            "syn" => Kind::Syn,
            "synack" => Kind::SynAck,
            "fin" => Kind::Fin,
            "ack" => Kind::Ack,
            "rst" => Kind::Rst,
            _ => Kind::None,
        };
        for state in State::ALL {
            let expected = match words.next().unwrap() {
                "SS" => Next::To(State::SynSent),
                "SR" => Next::To(State::SynRecv),
                "ES" => Next::To(State::Established),
                "FW" => Next::To(State::FinWait),
                "CW" => Next::To(State::CloseWait),
                "LA" => Next::To(State::LastAck),
                "TW" => Next::To(State::TimeWait),
                "CL" => Next::To(State::Close),
                "S2" => Next::To(State::SynSent2),
                "ign" => Next::Ignore,
                "-" => Next::Invalid,
                other => panic!("{other}"),
            };
            assert_eq!(next(direction, kind, state), expected, "{line}: {state:?}");
            seen += 1;
        }
    }
    assert_eq!(seen, 120);
}

#[test]
fn names_and_numbers() {
    let names = [
        "NONE",
        "SYN_SENT",
        "SYN_RECV",
        "ESTABLISHED",
        "FIN_WAIT",
        "CLOSE_WAIT",
        "LAST_ACK",
        "TIME_WAIT",
        "CLOSE",
        "SYN_SENT2",
    ];
    for (number, name) in names.iter().enumerate() {
        let state = State::from_u8(number as u8).unwrap();
        assert_eq!(state.name(), *name);
        assert_eq!(usize::from(state.to_u8()), number);
    }
    assert_eq!(State::from_u8(10), None);
    let early: Vec<_> = State::ALL
        .into_iter()
        .filter(|s| s.may_be_dropped_early())
        .map(State::name)
        .collect();
    assert_eq!(
        early,
        ["FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE"]
    );
}

/// Valid: SYN, SYN/ACK, ACK, FIN/ACK, RST, RST/ACK; URG where data may be; PSH, ECE, CWR anywhere.
#[test]
fn flag_combinations() {
    let valid = [
        Flags::SYN,
        Flags::SYN.with(Flags::URG),
        Flags::SYN.with(Flags::ACK),
        Flags::ACK,
        Flags::ACK.with(Flags::URG),
        Flags::FIN.with(Flags::ACK),
        Flags::FIN.with(Flags::ACK).with(Flags::URG),
        Flags::RST,
        Flags::RST.with(Flags::ACK),
    ];
    for bits in 0..=255_u8 {
        let flags = Flags::from_bits(bits);
        let bare = Flags::from_bits(bits & 0x37);
        assert_eq!(flags.is_valid(), valid.contains(&bare), "{bits:#04x}");
    }
}

#[test]
fn most_decisive_flag() {
    assert_eq!(
        Kind::of(Flags::RST.with(Flags::SYN).with(Flags::FIN)),
        Kind::Rst
    );
    assert_eq!(Kind::of(Flags::SYN.with(Flags::FIN)), Kind::Syn);
    assert_eq!(Kind::of(Flags::SYN.with(Flags::ACK)), Kind::SynAck);
    assert_eq!(Kind::of(Flags::FIN.with(Flags::ACK)), Kind::Fin);
    assert_eq!(Kind::of(Flags::ACK.with(Flags::PSH)), Kind::Ack);
    assert_eq!(Kind::of(Flags::URG), Kind::None);
}
