// SPDX-License-Identifier: GPL-2.0

//! SCTP packets, and one entry for them: what the tests of the SCTP tracker share.

use crate::{
    chaos::Random,
    proto::{
        sctp::{self, Timeouts, Track},
        step::{Reason, Status, Step},
        time::Jiffies32,
        types::{direction::Direction, timeout::Timeout},
        wire::sctp::{Header, Tag},
    },
    sim::{Outcome, HZ},
};

/// A chunk to be sent.
#[derive(Clone, Debug)]
pub struct ChunkDraft {
    /// The number of its type.
    pub number: u8,
    /// Its flags.
    pub flags: u8,
    /// What follows its header.
    pub body: Vec<u8>,
    /// A wrong length field.
    pub lie: Option<u16>,
}

impl ChunkDraft {
    /// A chunk without content.
    pub fn new(number: u8) -> Self {
        Self {
            number,
            flags: 0,
            body: Vec::new(),
            lie: None,
        }
    }

    /// INIT (1) or INIT ACK (2) with this initiate tag.
    pub fn init(number: u8, tag: u32) -> Self {
        let mut body = tag.to_be_bytes().to_vec();
        body.extend([0; 12]);
        Self {
            body,
            ..Self::new(number)
        }
    }
}

/// A packet to be sent.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Its way.
    pub direction: Direction,
    /// Its verification tag.
    pub tag: u32,
    /// Its chunks.
    pub chunks: Vec<ChunkDraft>,
    /// Number of bytes cut off at the end.
    pub cut: usize,
}

impl Draft {
    /// The packet as it travels.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0x30, 0x39, 0x12, 0x34];
        bytes.extend(self.tag.to_be_bytes());
        bytes.extend([0; 4]);
        for chunk in &self.chunks {
            let len = chunk.lie.unwrap_or(chunk.body.len() as u16 + 4);
            bytes.extend([chunk.number, chunk.flags]);
            bytes.extend(len.to_be_bytes());
            bytes.extend(&chunk.body);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes.truncate((bytes.len() - self.cut.min(bytes.len())).max(12));
        bytes
    }
}

/// The defaults in jiffies.
pub fn timeouts() -> Timeouts {
    sctp::DEFAULT_SECONDS.map(|seconds| Timeout::new(seconds * HZ))
}

/// An entry of a table that holds no other.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// The tracker's record.
    pub track: Track,
    /// The entry's status.
    pub status: Status,
}

impl Entry {
    /// Sends a packet through the tracker, and does what the core does after.
    pub fn feed(&mut self, draft: &Draft) -> Outcome {
        let bytes = draft.bytes();
        self.feed_bytes(&bytes, draft.direction, &timeouts())
    }

    /// The same for a packet that is bytes already.
    pub fn feed_bytes(
        &mut self,
        bytes: &[u8],
        direction: Direction,
        timeouts: &Timeouts,
    ) -> Outcome {
        let Some(header) = bytes.first_chunk() else {
            return Outcome::Refused(Reason::SctpNew);
        };
        let read = |at: u32| bytes.get(at as usize..)?.first_chunk().copied();
        let len = u32::try_from(bytes.len()).unwrap();
        let packet = match sctp::parse(Header::parse(header), len, read) {
            Ok(packet) => packet,
            Err(reason) => return Outcome::Refused(reason),
        };
        if !self.status.confirmed {
            if let Err(reason) = sctp::open(&mut self.track, &packet) {
                return Outcome::Refused(reason);
            }
        }
        let step = sctp::packet(&mut self.track, &packet, direction, &self.status, timeouts);
        if let Step::Accept(update) = step {
            self.status.assured |= update.assured;
            self.status.confirmed = true;
            self.status.seen_reply |= direction == Direction::Reply;
            self.status.expires = Jiffies32(update.timeout.unwrap_or(self.status.expires.0));
        }
        Outcome::Step(step)
    }
}

/// What a user sees of the record: the state and the two tags.
pub fn track_words(track: &Track) -> [u32; 3] {
    [
        track.state().to_u32(),
        u32::from_be_bytes(track.tag(Direction::Original).0),
        u32::from_be_bytes(track.tag(Direction::Reply).0),
    ]
}

/// A packet drawn at random, but with the tags that matter to `track`.
pub fn packet(random: &mut Random<'_>, track: &Track) -> Draft {
    let direction = random.pick(&[Direction::Original, Direction::Original, Direction::Reply]);
    let known = |direction| match track.tag(direction) {
        Tag(bytes) => u32::from_be_bytes(bytes),
    };
    let pool = [
        known(direction),
        known(direction),
        known(direction),
        known(direction.opposite()),
        0,
        0x11,
        0x22,
        0x33,
    ];
    let count = random.pick(&[1, 1, 1, 1, 2, 2, 3, 0]);
    let mut chunks = Vec::new();
    for _ in 0..count {
        let number = random.pick(&[
            0, 1, 1, 1, 2, 2, 2, 3, 4, 4, 5, 5, 6, 7, 8, 9, 10, 10, 11, 11, 12, 14, 192,
        ]);
        let mut chunk = match number {
            1 | 2 => ChunkDraft::init(number, random.pick(&pool)),
            _ => ChunkDraft::new(number),
        };
        if random.once_in(16) {
            chunk.body.truncate(random.below(17) as usize);
        }
        chunk.flags = random.pick(&[0, 0, 1]);
        chunk.lie = match random.below(64) {
            0 => Some(0),
            1 => Some(random.pick(&[1, 2, 3, 5, 64, 65535])),
            _ => None,
        };
        chunks.push(chunk);
    }
    // Most packets suit the chunk that they begin with.
    let begins_with_init = chunks.first().is_some_and(|chunk| chunk.number == 1);
    let tag = match random.below(4) {
        0 => random.pick(&pool),
        _ if begins_with_init => 0,
        _ => known(direction),
    };
    Draft {
        direction,
        tag,
        chunks,
        cut: random.pick(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 4, 12]),
    }
}
