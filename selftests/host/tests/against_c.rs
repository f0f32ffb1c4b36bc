// SPDX-License-Identifier: GPL-2.0

//! Compares the TCP tracker, segment by segment, with the kernel's own.
//!
//! `RUST_CT_C_TRACKER` names the program that `against-c/build.sh` makes of a kernel source tree;
//! without it the test passes without comparing anything. `RUST_CT_SEGMENTS` sets how many.

use std::{
    env,
    io::{Read, Write},
    process::{Command, Stdio},
    thread,
};

use rust_ct_host::{
    chaos::{segment, Random},
    proto::{
        step::{Reason, Step},
        tcp::{timeout::UNACK, State},
        time::Jiffies32,
        types::direction::Direction,
    },
    sim::{policy, timeouts, track_bytes, Draft, Entry, Outcome, HZ},
};

const QUESTION: usize = 12 * 4 + 60;
const ANSWER: usize = 10 * 4 + 60 + 72;

/// What both trackers have to agree on.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    verdict: i32,
    status: u32,
    expires: u32,
    events: u32,
    refreshed: Option<u32>,
    accounted: u32,
    kills: u32,
    message: Option<String>,
    value: u32,
    track: Vec<u8>,
}

fn c_message(reason: Reason) -> (&'static str, u32) {
    let text = match reason {
        Reason::Malformed(_) => "truncated packet",
        Reason::TcpStateIgnored { .. } => "packet (index %d) in dir %d ignored, state %s",
        Reason::TcpState { .. } => "packet (index %d) in dir %d invalid, state %s",
        Reason::TcpOvershot(_) => "%u bytes more than expected",
        Reason::TcpSeqOver(_) => "SEQ is over upper bound %u (over the window of the receiver)",
        Reason::TcpSeqUnder(_) => "SEQ is under lower bound %u (already ACKed data retransmitted)",
        Reason::TcpAckOver(_) => "ACK is over upper bound %u (ACKed data not seen yet)",
        Reason::TcpAckUnder(_) => "ignored ACK under lower bound %u (possible overly delayed)",
        other => other.message(),
    };
    let value = match reason {
        Reason::TcpStateIgnored { kind, .. } | Reason::TcpState { kind, .. } => {
            u32::from(kind.to_u8())
        }
        other => other.value().unwrap_or(0),
    };
    (text, value)
}

fn ours(entry: &Entry, outcome: Outcome) -> Answer {
    let status = entry.status;
    let mut answer = Answer {
        verdict: -1,
        status: u32::from(status.seen_reply) << 1
            | u32::from(status.assured) << 2
            | u32::from(status.confirmed) << 3
            | u32::from(status.fixed_timeout) << 10,
        expires: status.expires.0,
        events: 0,
        refreshed: None,
        accounted: 0,
        kills: 0,
        message: None,
        value: 0,
        track: track_bytes(&entry.track).to_vec(),
    };
    let mut reason = None;
    match outcome {
        Outcome::Refused(why) => reason = Some(why),
        Outcome::Step(Step::Accept(update)) => {
            answer.verdict = 1;
            answer.events = u32::from(update.assured) << 4 | u32::from(update.protoinfo) << 5;
            answer.refreshed = update.timeout;
            answer.accounted = u32::from(update.timeout.is_some());
        }
        Outcome::Step(Step::Ignore(why)) => {
            answer.verdict = 1;
            reason = why;
        }
        Outcome::Step(Step::Invalid { reason: why, .. }) => reason = Some(why),
        Outcome::Step(Step::Reopen) => {
            answer.verdict = -4;
            answer.kills = 1;
        }
        Outcome::Step(Step::Kill) => {
            answer.verdict = 1;
            // The entry dies, so the event is never seen; C leaves it in the cache.
            answer.events = 1 << 5;
            answer.kills = 1;
            answer.accounted = 1;
        }
    }
    if let Some(reason) = reason.filter(|reason| reason.is_logged()) {
        let (text, value) = c_message(reason);
        answer.message = Some(text.to_owned());
        answer.value = value;
    }
    answer
}

fn theirs(bytes: &[u8]) -> Answer {
    let word = |n: usize| u32::from_ne_bytes(bytes[4 * n..][..4].try_into().unwrap());
    let text = &bytes[100..];
    let text = &text[..text.iter().position(|&byte| byte == 0).unwrap()];
    let mut track = bytes[40..100].to_vec();
    for padding in [18, 19, 38, 39] {
        track[padding] = 0;
    }
    Answer {
        verdict: word(0) as i32,
        status: word(1),
        expires: word(2),
        events: word(3),
        refreshed: (word(4) != 0).then_some(word(5)),
        accounted: word(6),
        kills: word(7),
        message: (word(8) != 0).then(|| String::from_utf8(text.to_vec()).unwrap()),
        value: word(9),
        track,
    }
}

/// Everything about one segment that the other side has to know.
struct Scene {
    fresh: bool,
    now: u32,
    fixed_timeout: bool,
    synproxy: bool,
    switches: [bool; 3],
    max_retrans: u8,
    unack: u32,
    draft: Draft,
}

impl Scene {
    fn question(&self) -> Vec<u8> {
        let words = [
            u32::from(self.fresh),
            u32::from(self.draft.direction == Direction::Reply),
            self.now,
            self.draft.ack_offset as u32,
            self.draft.payload_len,
            u32::from(self.fixed_timeout),
            u32::from(self.synproxy),
            u32::from(self.switches[0]),
            u32::from(self.switches[1]),
            u32::from(self.switches[2]),
            u32::from(self.max_retrans),
            self.unack,
        ];
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        bytes.extend(self.draft.bytes().0);
        assert_eq!(bytes.len(), QUESTION);
        bytes
    }
}

#[test]
fn same_as_the_kernel() {
    let Ok(program) = env::var("RUST_CT_C_TRACKER") else {
        eprintln!("RUST_CT_C_TRACKER is not set: nothing compared");
        return;
    };
    let segments: usize =
        env::var("RUST_CT_SEGMENTS").map_or(300_000, |number| number.parse().unwrap());
    let seed = env::var("RUST_CT_SEED").map_or(0x5eed, |number| number.parse().unwrap());
    let mut random = Random::new(seed);
    let timeouts = timeouts();

    let mut entry = Entry::default();
    let mut fresh = true;
    let mut now = 0xffff_0000_u32;
    let mut scenes = Vec::new();
    let mut answers = Vec::new();
    let mut outcomes = Vec::new();
    let mut switches = [true, false, false];
    let mut offset = 0;
    let mut synproxy = false;
    for _ in 0..segments {
        if fresh {
            entry = Entry::default();
            switches = [!random.once_in(16), random.once_in(8), random.once_in(8)];
            offset = if random.once_in(8) {
                random.below(100) as i32 - 50
            } else {
                0
            };
            synproxy = random.once_in(8);
        }
        now = now.wrapping_add(random.pick(&[0, 1, 10, 250, 5000, 40_000]));
        entry.status.fixed_timeout = entry.status.confirmed && random.once_in(20);
        entry.status.synproxy = synproxy;
        let mut draft = segment(&mut random, &entry.track, offset);
        if !entry.status.confirmed {
            draft.direction = Direction::Original;
        }
        let scene = Scene {
            fresh,
            now,
            fixed_timeout: entry.status.fixed_timeout,
            synproxy,
            switches,
            max_retrans: random.pick(&[0, 1, 3, 3, 3]),
            unack: HZ * random.pick(&[5, 60, 100, 300, 300]),
            draft,
        };
        timeouts[UNACK].set(scene.unack);
        let mut policy = policy(&timeouts);
        policy.loose = switches[0];
        policy.liberal = switches[1];
        policy.ignore_invalid_rst = switches[2];
        policy.max_retrans = scene.max_retrans;

        let outcome = entry.feed(&scene.draft, &policy, Jiffies32(now));
        answers.push(ours(&entry, outcome));
        scenes.push(scene);
        outcomes.push(outcome);
        // A closed connection is a dead end; do not stay for long.
        let closed = entry.track.state() == State::Close;
        fresh = random.once_in(if closed { 8 } else { 100 })
            || matches!(outcome, Outcome::Step(Step::Reopen | Step::Kill))
            || (!entry.status.confirmed && random.once_in(2));
    }

    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let questions: Vec<u8> = scenes.iter().flat_map(Scene::question).collect();
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
    assert_eq!(bytes.len(), segments * ANSWER);

    let lowered = outcomes
        .iter()
        .filter(|outcome| {
            matches!(
                outcome,
                Outcome::Step(Step::Invalid {
                    lower_timeout: Some(_),
                    ..
                })
            )
        })
        .count();
    println!("lowered timeouts: {lowered}");
    let mut counts = std::collections::BTreeMap::new();
    for (n, (bytes, mine)) in bytes.chunks_exact(ANSWER).zip(&answers).enumerate() {
        let other = theirs(bytes);
        if *mine != other {
            for i in n.saturating_sub(4)..=n {
                println!("{i}: {:?}\n   => {:?}", scenes[i].draft, answers[i]);
            }
            println!("C => {other:?}");
            panic!("segment {n} (fresh: {}, HZ {HZ})", scenes[n].fresh);
        }
        let what = other
            .message
            .clone()
            .unwrap_or_else(|| format!("verdict {}", other.verdict));
        *counts.entry(what).or_insert(0_u32) += 1;
        *counts
            .entry(format!("state {}", other.track[40]))
            .or_insert(0_u32) += 1;
    }
    println!("{counts:#?}");
}
