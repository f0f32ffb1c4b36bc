// SPDX-License-Identifier: GPL-2.0

//! Compares the SCTP tracker, packet by packet, with the kernel's own.
//!
//! `RUST_CT_C_SCTP_TRACKER` names the program that `against-c/build.sh` makes of a kernel source
//! tree; without it the test passes without comparing anything. `RUST_CT_SEGMENTS` sets how many.

use std::{
    env,
    io::{Read, Write},
    process::{Command, Stdio},
    thread,
};

use rust_ct_host::{
    chaos::Random,
    proto::{sctp::State, step::Step, types::direction::Direction},
    sctp_sim::{packet, track_words, Draft, Entry},
    sim::Outcome,
};

const PACKET: usize = 116;
const ANSWER: usize = 10 * 4;

/// What both trackers have to agree on.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    verdict: i32,
    assured: bool,
    confirmed: bool,
    events: u32,
    refreshed: Option<u32>,
    logged: bool,
    track: [u32; 3],
}

fn ours(entry: &Entry, outcome: Outcome) -> Answer {
    let mut answer = Answer {
        verdict: -1,
        assured: entry.status.assured,
        confirmed: entry.status.confirmed,
        events: 0,
        refreshed: None,
        logged: false,
        track: track_words(&entry.track),
    };
    match outcome {
        Outcome::Refused(reason) | Outcome::Step(Step::Invalid { reason, .. }) => {
            answer.logged = reason.is_logged();
        }
        Outcome::Step(Step::Accept(update)) => {
            answer.verdict = 1;
            answer.events = u32::from(update.assured) << 4 | u32::from(update.protoinfo) << 5;
            answer.refreshed = update.timeout;
        }
        Outcome::Step(other) => panic!("{other:?}"),
    }
    answer
}

fn theirs(bytes: &[u8]) -> Answer {
    let word = |n: usize| u32::from_ne_bytes(bytes[4 * n..][..4].try_into().unwrap());
    Answer {
        verdict: word(0) as i32,
        assured: word(1) & 1 << 2 != 0,
        confirmed: word(1) & 1 << 3 != 0,
        events: word(2),
        refreshed: (word(3) != 0).then_some(word(4)),
        logged: word(5) != 0,
        track: [word(6), word(7), word(8)],
    }
}

fn question(fresh: bool, draft: &Draft) -> Vec<u8> {
    let mut packet = draft.bytes();
    let words = [
        u32::from(fresh),
        u32::from(draft.direction == Direction::Reply),
        u32::try_from(packet.len()).unwrap(),
    ];
    assert!(packet.len() <= PACKET);
    packet.resize(PACKET, 0);
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    bytes.extend(packet);
    bytes
}

#[test]
fn same_as_the_kernel() {
    let Ok(program) = env::var("RUST_CT_C_SCTP_TRACKER") else {
        eprintln!("RUST_CT_C_SCTP_TRACKER is not set: nothing compared");
        return;
    };
    let packets: usize =
        env::var("RUST_CT_SEGMENTS").map_or(300_000, |number| number.parse().unwrap());
    let seed = env::var("RUST_CT_SEED").map_or(0x5eed, |number| number.parse().unwrap());
    let mut random = Random::new(seed);

    let mut entry = Entry::default();
    let mut fresh = true;
    let mut scenes = Vec::new();
    let mut answers = Vec::new();
    for _ in 0..packets {
        if fresh {
            entry = Entry::default();
        }
        let mut draft = packet(&mut random, &entry.track);
        if !entry.status.confirmed {
            draft.direction = Direction::Original;
        }
        let outcome = entry.feed(&draft);
        if !entry.status.confirmed {
            // The core throws such an entry away.
            entry.track = Default::default();
        }
        answers.push(ours(&entry, outcome));
        scenes.push((fresh, draft));
        let closed = entry.track.state() == State::Closed;
        fresh = random.once_in(if closed { 40 } else { 100 }) || !entry.status.confirmed;
    }

    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let questions: Vec<u8> = scenes
        .iter()
        .flat_map(|(fresh, draft)| question(*fresh, draft))
        .collect();
    let writer = thread::spawn(move || stdin.write_all(&questions).unwrap());
    let mut bytes = Vec::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    writer.join().unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(bytes.len(), packets * ANSWER);

    let mut counts = std::collections::BTreeMap::new();
    for (n, (bytes, mine)) in bytes.chunks_exact(ANSWER).zip(&answers).enumerate() {
        let other = theirs(bytes);
        if *mine != other {
            for i in n.saturating_sub(8)..=n {
                println!("{i}: {:x?}\n   => {:x?}", scenes[i], answers[i]);
            }
            println!("C => {other:x?}");
            panic!("packet {n}");
        }
        *counts
            .entry((other.verdict, other.track[0]))
            .or_insert(0_u32) += 1;
    }
    println!("(verdict, state): {counts:?}");
}
