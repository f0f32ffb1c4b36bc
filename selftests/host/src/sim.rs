// SPDX-License-Identifier: GPL-2.0

//! The part of the tracker's core that TCP tests need: one entry and its life.

use crate::proto::{
    step::{Reason, Status, Step, Update},
    tcp::{self, timeout, Config, Segment, SeqNum, State, Timeouts, Track},
    time::Jiffies32,
    types::{direction::Direction, timeout::Timeout},
    wire::tcp::{Flags, Header, Options, TcpOption},
};

/// Jiffies in a second, for tests.
pub const HZ: u32 = 250;

/// The default timeouts in jiffies of [`HZ`].
pub fn timeouts() -> Timeouts {
    timeout::DEFAULT_SECONDS.map(|seconds| Timeout::new(seconds * HZ))
}

/// The default switches with these timeouts.
pub fn policy(timeouts: &Timeouts) -> Config<'_> {
    Config {
        timeouts,
        hz: HZ,
        loose: true,
        liberal: false,
        ignore_invalid_rst: false,
        max_retrans: 3,
    }
}

/// A segment to be built.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Its way.
    pub direction: Direction,
    /// Control bits.
    pub flags: Flags,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number.
    pub ack: u32,
    /// Window, not scaled.
    pub window: u16,
    /// Options, at most 40 bytes; padded to a multiple of four.
    pub options: Vec<u8>,
    /// Length of the data in bytes.
    pub payload_len: u32,
    /// Offset of the sequence adjustment at the acknowledged byte.
    pub ack_offset: i32,
}

impl Draft {
    /// The header with options, padded with zeros to 60 bytes, and its true length.
    pub fn bytes(&self) -> ([u8; 60], usize) {
        let options = self.padded_options();
        let len = 20 + options.len();
        let mut bytes = [0; 60];
        bytes[0..4].copy_from_slice(&[0x30, 0x39, 0, 80]);
        bytes[4..8].copy_from_slice(&self.seq.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.ack.to_be_bytes());
        bytes[12] = u8::try_from(len / 4 * 16).unwrap();
        bytes[13] = self.flags.bits();
        bytes[14..16].copy_from_slice(&self.window.to_be_bytes());
        bytes[20..len].copy_from_slice(&options);
        (bytes, len)
    }

    fn padded_options(&self) -> Vec<u8> {
        let mut options = self.options.clone();
        options.truncate(40);
        options.resize(options.len().next_multiple_of(4), 0);
        options
    }
}

/// The outcome for a segment and its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Malformed, or not fit to open an entry.
    Refused(Reason),
    /// The outcome of the tracker.
    Step(Step),
}

/// An entry of a table that holds no other.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// The tracker's state.
    pub track: Track,
    /// The entry's status.
    pub status: Status,
}

impl Entry {
    /// Sends a segment through the tracker, and does what the core does after.
    ///
    /// The caller replaces the entry after [`Step::Reopen`] and [`Step::Kill`].
    pub fn feed(&mut self, draft: &Draft, policy: &Config<'_>, now: Jiffies32) -> Outcome {
        let (bytes, len) = draft.bytes();
        let header = Header::parse(bytes.first_chunk().unwrap());
        let segment = Segment {
            header,
            options: &bytes[20..len],
            payload_len: draft.payload_len,
            ack_offset: draft.ack_offset,
        };
        let available = draft.payload_len.wrapping_add(u32::try_from(len).unwrap());
        if let Err(reason) = tcp::check(&header, available) {
            return Outcome::Refused(reason);
        }
        let is_first = !self.status.confirmed;
        if is_first {
            let opened = tcp::open(&mut self.track, &segment, policy);
            assert_eq!(opened, tcp::may_open(&header, policy.loose));
            if let Err(reason) = opened {
                return Outcome::Refused(reason);
            }
        }
        let before = self.track;
        let step = tcp::packet(
            &mut self.track,
            &segment,
            draft.direction,
            &self.status,
            policy,
            now,
        );
        self.compare_short_cuts(before, &segment, draft.direction, policy, step);
        if is_first && draft.direction == Direction::Original {
            self.compare_beginning(&segment, policy, step);
        }
        match step {
            Step::Accept(update) => {
                self.status.assured |= update.assured;
                if let Some(timeout) = update.timeout {
                    self.expire_in(timeout, now);
                }
                self.pass(draft.direction);
            }
            Step::Ignore(_) | Step::Kill => self.pass(draft.direction),
            Step::Invalid {
                lower_timeout: Some(timeout),
                ..
            } => {
                self.status.expires = now.add(timeout);
            }
            Step::Invalid {
                lower_timeout: None,
                ..
            }
            | Step::Reopen => {}
        }
        Outcome::Step(step)
    }

    /// Where the short cuts may be asked, they either do the same, or leave everything alone.
    fn compare_short_cuts(
        &self,
        before: Track,
        segment: &Segment<'_>,
        direction: Direction,
        policy: &Config<'_>,
        step: Step,
    ) {
        let has_sack =
            Options::new(segment.options).any(|option| matches!(option, TcpOption::Sack(_)));
        let Status {
            confirmed,
            seen_reply,
            assured,
            ..
        } = self.status;
        if has_sack || segment.ack_offset != 0 || !(confirmed && seen_reply) {
            return;
        }
        let compare = |found: Option<Update>, track: Track| match found {
            Some(update) => {
                assert_eq!(step, Step::Accept(update));
                assert_eq!(track, self.track);
            }
            None => assert_eq!(track, before),
        };
        let (timeouts, max_retrans) = (policy.timeouts, policy.max_retrans);
        let mut track = before;
        let last = tcp::complete_handshake(&mut track, segment, direction, timeouts, max_retrans);
        let update = |timeout| Update {
            timeout: Some(timeout),
            assured: !assured,
            protoinfo: true,
        };
        compare(last.map(update), track);
        if assured {
            let mut track = before;
            let usual = tcp::fast_path(&mut track, segment, direction, timeouts, max_retrans);
            compare(usual.map(Update::refresh), track);
        }
    }

    /// The short cut for the first SYN does the same, and there is one for each.
    fn compare_beginning(&self, segment: &Segment<'_>, policy: &Config<'_>, step: Step) {
        match tcp::open_syn(segment, policy.timeouts, policy.max_retrans) {
            Some((track, timeout)) => {
                let update = Update {
                    protoinfo: true,
                    ..Update::refresh(timeout)
                };
                assert_eq!(step, Step::Accept(update));
                assert_eq!(track, self.track);
            }
            None => assert!(self.track.state() != State::SynSent || segment.payload_len >= 1 << 30),
        }
    }

    fn expire_in(&mut self, timeout: u32, now: Jiffies32) {
        if !self.status.fixed_timeout {
            self.status.expires = now.add(timeout);
        }
    }

    fn pass(&mut self, direction: Direction) {
        self.status.confirmed = true;
        self.status.seen_reply |= direction == Direction::Reply;
    }
}

/// The layout of `struct ip_ct_tcp`, byte by byte (padding as zero).
pub fn track_bytes(track: &Track) -> [u8; 60] {
    let mut bytes = [0; 60];
    for (seen, at) in track.seen.iter().zip([0, 20]) {
        let words = [seen.end.0, seen.max_end.0, seen.max_window, seen.max_ack.0];
        for (word, to) in words.iter().zip(bytes[at..].chunks_exact_mut(4)) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        bytes[at + 16] = seen.scale;
        bytes[at + 17] = seen.flags;
    }
    bytes[40..44].copy_from_slice(&[track.state, track.last_dir, track.retrans, track.last_index]);
    let words = [track.last_seq, track.last_ack, track.last_end];
    for (SeqNum(word), to) in words.iter().zip(bytes[44..].chunks_exact_mut(4)) {
        to.copy_from_slice(&word.to_ne_bytes());
    }
    bytes[56..58].copy_from_slice(&track.last_win.to_ne_bytes());
    bytes[58] = track.last_wscale;
    bytes[59] = track.last_flags;
    bytes
}
