// SPDX-License-Identifier: GPL-2.0

//! Segments drawn at random, but near the bounds where a tracker's decisions change.

use crate::{
    proto::{
        tcp::{State, Track},
        types::direction::Direction,
        wire::tcp::Flags,
    },
    sim::Draft,
};

/// A source of numbers; repeatable from its seed, or dictated by a fuzzer.
#[derive(Clone, Debug)]
pub struct Random<'a> {
    state: u64,
    tape: Option<&'a [u8]>,
}

impl<'a> Random<'a> {
    /// Starts a sequence.
    pub fn new(seed: u64) -> Self {
        Self {
            state: seed | 1,
            tape: None,
        }
    }

    /// Reads the numbers from a tape; zeros follow it.
    pub fn from_tape(tape: &'a [u8]) -> Self {
        Self {
            state: 1,
            tape: Some(tape),
        }
    }

    /// Whether there was a tape and it has ended.
    pub fn is_exhausted(&self) -> bool {
        self.tape.is_some_and(<[u8]>::is_empty)
    }

    /// 32 random bits (xorshift64*).
    pub fn bits(&mut self) -> u32 {
        if self.tape.is_some() {
            return u32::from_le_bytes([(); 4].map(|()| self.byte()));
        }
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }

    /// The next byte of the tape.
    fn byte(&mut self) -> u8 {
        match self.tape {
            Some([first, rest @ ..]) => {
                self.tape = Some(rest);
                *first
            }
            _ => 0,
        }
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u32) -> u32 {
        // Small choices take one byte of a tape, which lets a fuzzer change them one by one.
        match self.tape {
            Some(_) if n <= 256 => u32::from(self.byte()) % n,
            _ => self.bits() % n,
        }
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }

    /// One of the items.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u32) as usize]
    }
}

/// Draws the next segment for a connection in this state.
pub fn segment(random: &mut Random<'_>, track: &Track, ack_offset: i32) -> Draft {
    let direction = if random.once_in(2) {
        Direction::Original
    } else {
        Direction::Reply
    };
    let sender = *track.seen(direction);
    let receiver = *track.seen(direction.opposite());
    let flags = flags(random, track);

    let oldest_end = sender.end.0.wrapping_sub(receiver.max_window);
    let seqs = [
        sender.end.0,
        sender.end.0,
        sender.end.0,
        sender.max_end.0,
        oldest_end,
        receiver.max_ack.0,
        track.last_end.0,
        track.last_ack.0,
        track.last_seq.0,
        0,
        random.bits(),
    ];
    let offset = ack_offset as u32;
    let distance = sender.max_window.max(66_000);
    let acks = [
        receiver.end.0.wrapping_add(offset),
        receiver.end.0.wrapping_add(offset),
        receiver.end.0.wrapping_add(offset),
        receiver.end.0.wrapping_sub(distance).wrapping_add(offset),
        track.last_end.0,
        track.last_end.0,
        track.last_ack.0,
        0,
        random.bits(),
    ];
    // Every other segment is in step, so that connections get somewhere.
    let in_step = random.once_in(2);
    let (seq, ack) = if in_step {
        (seqs[0], acks[0])
    } else {
        (near(random, &seqs), near(random, &acks))
    };
    let repeat = random.once_in(8);
    Draft {
        direction,
        flags,
        seq: if repeat { track.last_seq.0 } else { seq },
        ack: if repeat {
            track.last_ack.0.wrapping_add(offset)
        } else {
            ack
        },
        window: if repeat {
            track.last_win
        } else {
            random.pick(&[0, 0, 1, 100, 5840, 65535])
        },
        options: options(random, ack),
        payload_len: random.pick(&[0, 0, 0, 0, 1, 2, 100, 1448, 65535, 70000]),
        ack_offset,
    }
}

fn near(random: &mut Random<'_>, bounds: &[u32]) -> u32 {
    let bound = random.pick(bounds);
    if random.once_in(2) {
        bound
    } else {
        bound.wrapping_add(random.below(5)).wrapping_sub(2)
    }
}

fn flags(random: &mut Random<'_>, track: &Track) -> Flags {
    let handshake = matches!(
        track.state(),
        State::None | State::SynSent | State::SynSent2
    );
    if handshake && random.once_in(2) {
        return random.pick(&[Flags::SYN, Flags::SYN.with(Flags::ACK)]);
    }
    let usual = [
        Flags::SYN,
        Flags::SYN,
        Flags::SYN.with(Flags::ACK),
        Flags::SYN.with(Flags::ACK),
        Flags::ACK,
        Flags::ACK,
        Flags::ACK,
        Flags::ACK.with(Flags::PSH),
        Flags::FIN.with(Flags::ACK),
        Flags::FIN.with(Flags::ACK),
        Flags::RST,
        Flags::RST.with(Flags::ACK),
    ];
    if random.once_in(50) {
        Flags::from_bits(random.bits() as u8)
    } else {
        random.pick(&usual)
    }
}

fn options(random: &mut Random<'_>, ack: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    match random.below(12) {
        0..=3 => {}
        4 if random.once_in(2) => bytes.extend([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]),
        4 => {
            let shift = random.below(16) as u8;
            bytes.extend([
                2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 3, 3, shift,
            ]);
        }
        5 => bytes.extend((0..random.below(41)).map(|_| random.bits() as u8)),
        6 => {
            let len = random.below(41);
            bytes.extend((0..len).map(|_| random.pick(&[0, 1, 1, 1, 2, 3, 4, 5, 8, 10, 14])));
        }
        _ => {
            if random.once_in(2) {
                bytes.extend([2, 4, 5, 0xb4]);
            }
            if random.once_in(2) {
                bytes.extend([4, 2]);
            }
            if random.once_in(2) {
                bytes.extend([1, 3, 3, random.pick(&[0, 1, 7, 14, 15, 255])]);
            }
            if random.once_in(2) {
                let blocks = 1 + random.below(3);
                bytes.extend([5, 2 + 8 * blocks as u8]);
                for _ in 0..blocks {
                    let right = near(
                        random,
                        &[ack, ack.wrapping_add(1000), ack.wrapping_sub(66_000)],
                    );
                    bytes.extend(right.wrapping_sub(500).to_be_bytes());
                    bytes.extend(right.to_be_bytes());
                }
            }
        }
    }
    bytes.truncate(40);
    bytes
}
