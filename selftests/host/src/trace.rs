// SPDX-License-Identifier: GPL-2.0

//! Traces: segments as `tcpdump` would print them, with what the tracker has to make of each.
//!
//! A line is `WAY FLAGS SEQ[+LEN] [ack N] [win N] [OPTION..] => EXPECTATION`:
//!
//! - `WAY` is `>` (original) or `<` (reply);
//! - `FLAGS` are of `S`, `F`, `R`, `P`, `U` and `.` for ACK; `-` for none;
//! - `OPTION` is `wsN` (window scale), `sackok`, `ts` (the usual aligned timestamp), or
//!   `sack A-B[,C-D..]`;
//! - `EXPECTATION` is `STATE [SECONDS] [assured]` for an accepted segment, where the missing
//!   `SECONDS` are not compared and `keep` says that the time is left alone; `ignore [TEXT]`,
//!   `invalid [TEXT] [lower SECONDS]`, where the reason's message starts with TEXT; `refused TEXT`,
//!   `reopen`, or `kill`.
//!
//! Other lines: `@after SECONDS`, `@liberal`, `@strict` (no pick-up), `@ignore-invalid-rst`,
//! `@shift N` (a NAT helper's adjustment), `@forget` (the windows); empty lines and `#` comments.

use crate::{
    proto::{step::Step, time::Jiffies32, types::direction::Direction, wire::tcp::Flags},
    sim::{policy, timeouts, Draft, Entry, Outcome, HZ},
};

/// Plays a trace against a new entry; panics at the first line that goes otherwise.
///
/// Returns the entry for further questions.
pub fn play(trace: &str) -> Entry {
    let timeouts = timeouts();
    let mut policy = policy(&timeouts);
    let mut entry = Entry::default();
    let mut now = Jiffies32(u32::MAX - 1000);
    let mut shift = 0;
    for (n, line) in trace.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(directive) = line.strip_prefix('@') {
            let words: Vec<_> = directive.split_whitespace().collect();
            match words[..] {
                ["after", seconds] => now = now.add(number(seconds) * HZ),
                ["liberal"] => policy.liberal = true,
                ["strict"] => policy.loose = false,
                ["ignore-invalid-rst"] => policy.ignore_invalid_rst = true,
                ["shift", by] => shift = by.parse().expect("shift"),
                ["forget"] => entry.track.forget_windows(),
                _ => panic!("line {n}: unknown directive: {line}"),
            }
            continue;
        }
        let (packet, expected) = line.split_once("=>").expect("no expectation");
        let mut draft = parse(packet);
        draft.ack_offset = shift;
        let outcome = entry.feed(&draft, &policy, now);
        if let Err(why) = compare(&entry, outcome, expected.trim()) {
            panic!("line {n}: {line}\n{why}\n{outcome:?}\n{entry:#?}");
        }
        if matches!(outcome, Outcome::Step(Step::Reopen | Step::Kill)) {
            entry = Entry::default();
        }
    }
    entry
}

fn number(text: &str) -> u32 {
    text.parse()
        .unwrap_or_else(|_| panic!("not a number: {text}"))
}

fn parse(packet: &str) -> Draft {
    let mut words = packet.split_whitespace();
    let direction = match words.next() {
        Some(">") => Direction::Original,
        Some("<") => Direction::Reply,
        other => panic!("no direction: {other:?}"),
    };
    let flags = words
        .next()
        .expect("flags")
        .chars()
        .fold(Flags::from_bits(0), |flags, letter| {
            flags.with(match letter {
                'S' => Flags::SYN,
                'F' => Flags::FIN,
                'R' => Flags::RST,
                'P' => Flags::PSH,
                'U' => Flags::URG,
                '.' => Flags::ACK,
                '-' => Flags::from_bits(0),
                _ => panic!("unknown flag: {letter}"),
            })
        });
    let seq = words.next().expect("sequence number");
    let (seq, len) = seq.split_once('+').unwrap_or((seq, "0"));
    let mut draft = Draft {
        direction,
        flags,
        seq: number(seq),
        ack: 0,
        window: 5000,
        options: Vec::new(),
        payload_len: number(len),
        ack_offset: 0,
    };
    while let Some(word) = words.next() {
        let mut argument = || words.next().expect("argument");
        match word {
            "ack" => draft.ack = number(argument()),
            "win" => draft.window = argument().parse().expect("window"),
            "sackok" => draft.options.extend([4, 2]),
            "ts" => draft.options.extend([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]),
            "sack" => {
                let blocks: Vec<_> = argument().split(',').collect();
                draft.options.extend([1, 1, 5, 2 + 8 * blocks.len() as u8]);
                for block in blocks {
                    let (left, right) = block.split_once('-').expect("block");
                    draft.options.extend(number(left).to_be_bytes());
                    draft.options.extend(number(right).to_be_bytes());
                }
            }
            _ => match word.strip_prefix("ws") {
                Some(shift) => draft.options.extend([1, 3, 3, number(shift) as u8]),
                None => panic!("unknown word: {word}"),
            },
        }
    }
    draft
}

fn compare(entry: &Entry, outcome: Outcome, expected: &str) -> Result<(), String> {
    let (what, rest) = expected.split_once(' ').unwrap_or((expected, ""));
    match (what, outcome) {
        ("refused", Outcome::Refused(reason)) => starts_with(reason.message(), rest),
        ("reopen", Outcome::Step(Step::Reopen)) | ("kill", Outcome::Step(Step::Kill)) => Ok(()),
        ("ignore", Outcome::Step(Step::Ignore(reason))) => {
            starts_with(reason.map_or("", |reason| reason.message()), rest)
        }
        (
            "invalid",
            Outcome::Step(Step::Invalid {
                reason,
                lower_timeout,
            }),
        ) => {
            let (text, lower) = rest.split_once("lower").unwrap_or((rest, ""));
            let lower = lower.trim();
            let lower = (!lower.is_empty()).then(|| number(lower) * HZ);
            if lower != lower_timeout {
                return Err(format!("lower: expected {lower:?}"));
            }
            starts_with(reason.message(), text.trim())
        }
        (_, Outcome::Step(Step::Accept(update))) => {
            let state = entry.track.state().name();
            if state != what {
                return Err(format!("state: {state}"));
            }
            let mut assured = false;
            for word in rest.split_whitespace() {
                match word {
                    "assured" => assured = true,
                    "keep" if update.timeout.is_none() => {}
                    "keep" => return Err("timeout not kept".to_owned()),
                    seconds => {
                        let jiffies = number(seconds) * HZ;
                        if update.timeout != Some(jiffies) {
                            return Err(format!("timeout: expected {jiffies} jiffies"));
                        }
                    }
                }
            }
            if assured != update.assured {
                return Err("assured differs".to_owned());
            }
            Ok(())
        }
        _ => Err(format!("expected {expected}")),
    }
}

fn starts_with(message: &str, text: &str) -> Result<(), String> {
    if message.starts_with(text) {
        Ok(())
    } else {
        Err(format!("message: {message}"))
    }
}
