// SPDX-License-Identifier: GPL-2.0

//! Plays traces against one entry. (`selftests/lib/traces.py` plays them on a running kernel.)

use crate::{
    proto::{
        sctp,
        step::{Reason, Step},
        tcp::{self, timeout},
        time::Jiffies32,
        types::{direction::Direction, timeout::Timeout},
    },
    sctp_sim, sim,
    sim::{Outcome, HZ},
    trace::{chunks, number, segment, stories, Expected, Protocol, Story},
};

/// An entry, the settings, and the clock.
#[derive(Debug)]
pub struct Player {
    /// The entry of a TCP story.
    pub tcp: sim::Entry,
    /// The entry of an SCTP story.
    pub sctp: sctp_sim::Entry,
    /// What a NAT helper shifts the acknowledgments by.
    pub ack_offset: i32,
    protocol: Protocol,
    /// The side that opened the entry: its direction is the original one.
    opener: Direction,
    now: Jiffies32,
    tcp_timeouts: tcp::Timeouts,
    sctp_timeouts: sctp::Timeouts,
    loose: bool,
    liberal: bool,
    ignore_invalid_rst: bool,
    max_retrans: u8,
}

/// Jiffies of a lifetime by which its timeout can be told. As by default, that of ESTABLISHED is
/// the longest, and those of trouble are longer than those of all other states.
fn lifetime(index: usize) -> Timeout {
    Timeout::new((1000 + 300 * index as u32) * HZ)
}

impl Player {
    /// A player with default settings, shortly before the clock wraps.
    pub fn new(protocol: Protocol) -> Self {
        let tcp_timeouts: tcp::Timeouts = std::array::from_fn(lifetime);
        tcp_timeouts[usize::from(tcp::State::Established.to_u8())].set(432_000 * HZ);
        let defaults = sim::timeouts();
        let policy = sim::policy(&defaults);
        Self {
            tcp: sim::Entry::default(),
            sctp: sctp_sim::Entry::default(),
            ack_offset: 0,
            protocol,
            opener: Direction::Original,
            now: Jiffies32(u32::MAX - 1000),
            tcp_timeouts,
            sctp_timeouts: std::array::from_fn(lifetime),
            loose: policy.loose,
            liberal: policy.liberal,
            ignore_invalid_rst: policy.ignore_invalid_rst,
            max_retrans: policy.max_retrans,
        }
    }

    /// Plays the story of this title; panics at the first line that goes otherwise.
    pub fn of(title: &str) -> Self {
        let stories = stories();
        let story = stories.iter().find(|story| story.title == title);
        let story = story.unwrap_or_else(|| panic!("no story '{title}'"));
        Self::play_story(story).unwrap_or_else(|why| panic!("{why}"))
    }

    /// Plays a story to its end, or says what went otherwise.
    pub fn play_story(story: &Story) -> Result<Self, String> {
        let mut player = Self::new(story.protocol);
        for (place, line) in &story.lines {
            let played = player.line(line);
            played.map_err(|why| format!("{place}: {line}\n{why}\n{player:#?}"))?;
        }
        Ok(player)
    }

    /// Plays further lines; panics at the first one that goes otherwise.
    pub fn play(&mut self, lines: &str) {
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if let Err(why) = self.line(line) {
                panic!("{line}\n{why}\n{self:#?}");
            }
        }
    }

    /// Plays one line, or says what went otherwise.
    pub fn line(&mut self, line: &str) -> Result<(), String> {
        if let Some((packet, expected)) = line.split_once("=>") {
            let expected = Expected::parse(expected);
            let seen = self.packet(packet)?;
            let is_met = expected.is_met_by(&seen);
            return is_met
                .then_some(())
                .ok_or(format!("but it was: {}", seen.brief()));
        }
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            ["wait", seconds] => self.now = self.now.add(number::<u32>(seconds) * HZ),
            ["set", "tcp_loose", value] => self.loose = value != "0",
            ["set", "tcp_be_liberal", value] => self.liberal = value != "0",
            ["set", "tcp_ignore_invalid_rst", value] => self.ignore_invalid_rst = value != "0",
            ["set", "tcp_max_retrans", value] => self.max_retrans = number(value),
            _ => return Err("not a line of a trace".to_owned()),
        }
        Ok(())
    }

    /// Sends a packet, and says what became of it.
    pub fn packet(&mut self, packet: &str) -> Result<Expected, String> {
        let mut outcome = self.feed(packet)?;
        let new = outcome == Outcome::Step(Step::Reopen);
        if new {
            self.forget();
            outcome = self.feed(packet)?;
        }
        let seen = self.describe(outcome);
        if outcome == Outcome::Step(Step::Kill) || !self.is_confirmed() {
            self.forget();
        }
        Ok(Expected { new, ..seen })
    }

    fn feed(&mut self, packet: &str) -> Result<Outcome, String> {
        let state = self.state();
        let outcome = match self.protocol {
            Protocol::Tcp => {
                let mut draft = segment(packet);
                draft.direction = self.direction(draft.direction);
                draft.ack_offset = self.ack_offset;
                let config = tcp::Config {
                    timeouts: &self.tcp_timeouts,
                    hz: HZ,
                    loose: self.loose,
                    liberal: self.liberal,
                    ignore_invalid_rst: self.ignore_invalid_rst,
                    max_retrans: self.max_retrans,
                };
                self.tcp.feed(&draft, &config, self.now)
            }
            Protocol::Sctp => {
                let mut draft = chunks(packet);
                draft.direction = self.direction(draft.direction);
                let before = self.sctp.track;
                let timeouts = &self.sctp_timeouts;
                let outcome = self
                    .sctp
                    .feed_bytes(&draft.bytes(), draft.direction, timeouts);
                let is_invalid = matches!(outcome, Outcome::Step(Step::Invalid { .. }));
                if is_invalid && self.is_confirmed() && self.sctp.track != before {
                    return Err("an invalid packet has changed the entry".to_owned());
                }
                outcome
            }
        };
        match outcome {
            Outcome::Step(Step::Accept(update)) if update.protoinfo != (state != self.state()) => {
                Err("the event PROTOINFO and the state disagree".to_owned())
            }
            _ => Ok(outcome),
        }
    }

    /// The direction of a packet from this side. The first packet is an original one.
    fn direction(&mut self, side: Direction) -> Direction {
        if !self.is_confirmed() {
            self.opener = side;
        }
        if side == self.opener {
            Direction::Original
        } else {
            Direction::Reply
        }
    }

    fn describe(&self, outcome: Outcome) -> Expected {
        let (what, timeout, reason) = match outcome {
            Outcome::Step(Step::Accept(update)) => {
                let keep = || "keep".to_owned();
                return Expected {
                    what: self.state().to_owned(),
                    timeout: Some(update.timeout.map_or_else(keep, |time| self.timeout(time))),
                    assured: update.assured,
                    ..Expected::default()
                };
            }
            Outcome::Step(Step::Ignore(reason)) => ("ignored", None, reason),
            Outcome::Step(Step::Kill) => ("gone", None, None),
            Outcome::Refused(reason) => ("invalid", None, Some(reason)),
            Outcome::Step(Step::Invalid {
                reason,
                lower_timeout,
            }) => ("invalid", lower_timeout, Some(reason)),
            Outcome::Step(Step::Reopen) => ("reopened twice", None, None),
        };
        Expected {
            what: what.to_owned(),
            timeout: timeout.map(|time| self.timeout(time)),
            reason: reason.map_or("", Reason::message).to_owned(),
            ..Expected::default()
        }
    }

    /// The name of the timeout with this value.
    fn timeout(&self, jiffies: u32) -> String {
        let index = match self.protocol {
            Protocol::Tcp => self
                .tcp_timeouts
                .iter()
                .position(|time| time.get() == jiffies),
            Protocol::Sctp => self
                .sctp_timeouts
                .iter()
                .position(|time| time.get() == jiffies),
        };
        match (self.protocol, index) {
            (_, None) => format!("{jiffies} jiffies"),
            (Protocol::Tcp, Some(timeout::RETRANS)) => "max_retrans".to_owned(),
            (Protocol::Tcp, Some(timeout::UNACK)) => "unacknowledged".to_owned(),
            (Protocol::Tcp, Some(index)) => tcp::State::ALL[index].name().to_lowercase(),
            (Protocol::Sctp, Some(index)) => sctp::State::ALL[index].name().to_lowercase(),
        }
    }

    fn state(&self) -> &'static str {
        match self.protocol {
            Protocol::Tcp => self.tcp.track.state().name(),
            Protocol::Sctp => self.sctp.track.state().name(),
        }
    }

    fn is_confirmed(&self) -> bool {
        match self.protocol {
            Protocol::Tcp => self.tcp.status.confirmed,
            Protocol::Sctp => self.sctp.status.confirmed,
        }
    }

    fn forget(&mut self) {
        self.tcp = sim::Entry::default();
        self.sctp = sctp_sim::Entry::default();
    }
}
