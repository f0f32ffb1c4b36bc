// SPDX-License-Identifier: GPL-2.0

//! Traces: the lives of connections as texts, `selftests/traces/*.trace`.
//!
//! `selftests/traces/README.md` has the notation. Here a text becomes stories, and a line the
//! packet that it stands for; [`crate::player`] plays them.

use std::{fmt, fs, path::Path};

use crate::{
    proto::{types::direction::Direction, wire::tcp::Flags},
    sctp_sim::{self, ChunkDraft},
    sim,
};

/// The protocol of a story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// SCTP.
    Sctp,
}

/// One story: the life of one connection.
#[derive(Clone, Debug)]
pub struct Story {
    /// The protocol.
    pub protocol: Protocol,
    /// Its heading.
    pub title: String,
    /// The story that comes first, and that this one continues.
    pub after: Option<String>,
    /// Its lines, each with the place where it stands (`FILE:LINE`).
    pub lines: Vec<(String, String)>,
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            Protocol::Tcp => write!(f, "tcp: {}", self.title),
            Protocol::Sctp => write!(f, "sctp: {}", self.title),
        }
    }
}

/// Reads every story of `selftests/traces`, each with the lines of the stories that it continues.
///
/// Panics where a text does not follow the notation.
pub fn stories() -> Vec<Story> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../traces");
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("folder").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "trace")
        })
        .collect();
    paths.sort();
    let mut told = Vec::new();
    for path in paths {
        let name = path.file_name().expect("name").to_string_lossy();
        let text = fs::read_to_string(&path).expect("text");
        read(&name, &text, &mut told);
    }
    let mut stories = told.clone();
    for story in &mut stories {
        let mut after = story.after.as_ref();
        while let Some(title) = after {
            let before = told.iter().find(|other| other.title == *title);
            let before = before.unwrap_or_else(|| panic!("{story}: there is no '{title}'"));
            assert_eq!(before.protocol, story.protocol, "{story}");
            story.lines.splice(0..0, before.lines.clone());
            after = before.after.as_ref();
        }
    }
    stories
}

/// Appends the stories of one file.
fn read(name: &str, text: &str, stories: &mut Vec<Story>) {
    for (number, line) in (1..).zip(text.lines()) {
        let place = format!("{name}:{number}");
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(story) = heading(line) {
            let is_told = stories.iter().any(|other| other.title == story.title);
            assert!(!is_told, "{place}: told twice: {line}");
            stories.push(story);
        } else {
            let story = stories.last_mut();
            let story = story.unwrap_or_else(|| panic!("{place}: no heading before: {line}"));
            story.lines.push((place, line.to_owned()));
        }
    }
}

/// Reads `tcp "TITLE" [after "TITLE"]`; [`None`] for any other line.
fn heading(line: &str) -> Option<Story> {
    let (protocol, rest) = line.split_once(' ')?;
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "sctp" => Protocol::Sctp,
        _ => return None,
    };
    let parts: Vec<_> = rest.split('"').collect();
    let (title, after) = match parts[..] {
        ["", title, ""] => (title, None),
        ["", title, " after ", after, ""] => (title, Some(after.to_owned())),
        _ => panic!("not a heading: {line}"),
    };
    Some(Story {
        protocol,
        title: title.to_owned(),
        after,
        lines: Vec::new(),
    })
}

/// What a packet is to do to its entry: the right side of a line.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Expected {
    /// The state, or `ignored`, `invalid`, `gone`.
    pub what: String,
    /// The name of the timeout that the entry's life starts from, unless it is the state's own;
    /// `keep` where it does not start again.
    pub timeout: Option<String>,
    /// The packet makes the entry ASSURED.
    pub assured: bool,
    /// A new entry takes the place of the one that was there.
    pub new: bool,
    /// The beginning of the reason in the log.
    pub reason: String,
}

impl Expected {
    /// Reads the text behind `=>`.
    pub fn parse(text: &str) -> Self {
        let (words, reason) = text.split_once('"').unwrap_or((text, ""));
        let mut words = words.split_whitespace();
        let mut expected = Self {
            what: words.next().expect("an expectation").to_owned(),
            reason: reason.trim_end_matches('"').to_owned(),
            ..Self::default()
        };
        for word in words {
            match word {
                "assured" => expected.assured = true,
                "new" => expected.new = true,
                _ => {
                    let before = expected.timeout.replace(word.to_owned());
                    assert_eq!(before, None, "two timeouts: {text}");
                }
            }
        }
        expected
    }

    /// Whether what was seen is the same, with a reason that begins like this one.
    pub fn is_met_by(&self, seen: &Self) -> bool {
        let reason = self.reason.clone();
        seen.reason.starts_with(&reason)
            && self.brief()
                == Self {
                    reason,
                    ..seen.brief()
                }
    }

    /// Leaves out the timeout that is the state's own.
    pub(crate) fn brief(&self) -> Self {
        let own = self.what.to_lowercase();
        let mut brief = self.clone();
        brief.timeout = brief.timeout.filter(|timeout| *timeout != own);
        brief
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(timeout) = &self.timeout {
            write!(f, " {timeout}")?;
        }
        for (word, is_so) in [("assured", self.assured), ("new", self.new)] {
            if is_so {
                write!(f, " {word}")?;
            }
        }
        if !self.reason.is_empty() {
            write!(f, " \"{}\"", self.reason)?;
        }
        Ok(())
    }
}

/// Reads a decimal number; panics where there is none.
pub(crate) fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse()
        .unwrap_or_else(|_| panic!("not a number: {text}"))
}

/// Reads a tag, a hexadecimal number.
fn tag(text: &str) -> u32 {
    u32::from_str_radix(text, 16).unwrap_or_else(|_| panic!("not a tag: {text}"))
}

fn direction(word: Option<&str>) -> Direction {
    match word {
        Some(">") => Direction::Original,
        Some("<") => Direction::Reply,
        other => panic!("no direction: {other:?}"),
    }
}

/// Reads a TCP segment: `WAY FLAGS SEQ[+LEN] [ack N] [win N] [OPTION]...`.
pub fn segment(packet: &str) -> sim::Draft {
    let mut words = packet.split_whitespace();
    let direction = direction(words.next());
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
                'E' => Flags::from_bits(0x40),
                'W' => Flags::from_bits(0x80),
                '.' => Flags::ACK,
                '-' => Flags::from_bits(0),
                _ => panic!("unknown flag: {letter}"),
            })
        });
    let seq = words.next().expect("sequence number");
    let (seq, len) = seq.split_once('+').unwrap_or((seq, "0"));
    let mut draft = sim::Draft {
        direction,
        flags,
        seq: number(seq),
        ack: 0,
        window: 8000,
        options: Vec::new(),
        payload_len: number(len),
        ack_offset: 0,
    };
    while let Some(word) = words.next() {
        let mut argument = || words.next().expect("argument");
        match word {
            "ack" => draft.ack = number(argument()),
            "win" => draft.window = number(argument()),
            "mss" => {
                draft.options.extend([2, 4]);
                draft
                    .options
                    .extend(number::<u16>(argument()).to_be_bytes());
            }
            "sackok" => draft.options.extend([1, 1, 4, 2]),
            "ts" => draft.options.extend([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]),
            "sack" => {
                let blocks: Vec<_> = argument().split(',').collect();
                draft.options.extend([1, 1, 5, 2 + 8 * blocks.len() as u8]);
                for block in blocks {
                    let (left, right) = block.split_once('-').expect("block");
                    draft.options.extend(number::<u32>(left).to_be_bytes());
                    draft.options.extend(number::<u32>(right).to_be_bytes());
                }
            }
            _ => match word.strip_prefix("ws") {
                Some(shift) => draft.options.extend([1, 3, 3, number(shift)]),
                None => panic!("unknown word: {word}"),
            },
        }
    }
    draft
}

/// Reads an SCTP packet: `WAY TAG CHUNK[,CHUNK]...`.
pub fn chunks(packet: &str) -> sctp_sim::Draft {
    let words: Vec<_> = packet.split_whitespace().collect();
    let [way, vtag, chunks] = words[..] else {
        panic!("not a packet: {packet}");
    };
    sctp_sim::Draft {
        direction: direction(Some(way)),
        tag: tag(vtag),
        chunks: chunks.split(',').map(chunk).collect(),
        cut: 0,
    }
}

fn chunk(word: &str) -> ChunkDraft {
    let (word, flags) = match word.strip_suffix("/T") {
        Some(word) => (word, 1),
        None => (word, 0),
    };
    let (name, initiate_tag) = word.split_once(':').unwrap_or((word, ""));
    let number = match name {
        "data" => 0,
        "init" => 1,
        "init-ack" => 2,
        "sack" => 3,
        "heartbeat" => 4,
        "heartbeat-ack" => 5,
        "abort" => 6,
        "shutdown" => 7,
        "shutdown-ack" => 8,
        "error" => 9,
        "cookie-echo" => 10,
        "cookie-ack" => 11,
        "shutdown-complete" => 14,
        "auth" => 15,
        "other" => 63,
        _ => panic!("unknown chunk: {word}"),
    };
    let draft = match number {
        1 | 2 => ChunkDraft::init(number, tag(initiate_tag)),
        _ => ChunkDraft::new(number),
    };
    ChunkDraft { flags, ..draft }
}
