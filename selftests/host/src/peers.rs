// SPDX-License-Identifier: GPL-2.0

//! Two TCP peers that keep to the rules, over a network that does not.
//!
//! They produce *legal* traces: whatever is lost before or behind the tracker, repeated or
//! delayed, nothing they send may be INVALID.

use crate::{
    chaos::Random,
    proto::{
        adopt::{self, Socket},
        tcp::State,
        types::direction::Direction,
        wire::tcp::Flags,
    },
    sim::Draft,
};

/// The window of a SYN; a multiple of any scale's unit, so that the first ACK need not shrink it.
const SYN_WINDOW: u32 = 1 << 14;

/// One end.
#[derive(Clone, Debug)]
struct Peer {
    /// Oldest byte not acknowledged.
    una: u32,
    /// Next new byte to send.
    next: u32,
    /// The right edge of what the other allows.
    allowed: u32,
    /// Next byte expected from the other.
    expected: u32,
    /// The right edge of what it has allowed the other; it never shrinks.
    offered: u32,
    /// The largest window that the other has offered.
    largest: u32,
    /// Bytes received out of order, beyond `expected`.
    beyond: Option<(u32, u32)>,
    /// The FIN's sequence number, if it was sent.
    fin: Option<u32>,
    /// It has seen the other's SYN.
    synchronised: bool,
    scale: u8,
    sack: bool,
}

/// Both ends and the segments under way.
#[derive(Clone, Debug)]
pub struct Peers {
    ends: [Peer; 2],
    first: [u32; 2],
}

impl Peers {
    /// Draws first numbers and options.
    pub fn new(random: &mut Random<'_>) -> Self {
        let first = [
            random.bits(),
            random.pick(&[u32::MAX, u32::MAX - 1000, 0x7fff_ffff, 0]),
        ];
        let scale = random.pick(&[0, 1, 7, 14]);
        let sack = random.once_in(2);
        let peer = |isn: u32| Peer {
            una: isn,
            next: isn.wrapping_add(1),
            allowed: isn.wrapping_add(1),
            expected: 0,
            offered: 0,
            largest: SYN_WINDOW,
            beyond: None,
            fin: None,
            synchronised: false,
            scale,
            sack,
        };
        Self {
            ends: [peer(first[0]), peer(first[1])],
            first,
        }
    }

    /// Whether both FINs are acknowledged.
    pub fn is_closed(&self) -> bool {
        self.ends
            .iter()
            .all(|end| end.fin.is_some_and(|fin| end.una == fin.wrapping_add(1)))
    }

    /// What the socket at one end knows, once the handshake is complete.
    pub fn socket(&self, way: Direction) -> Option<Socket> {
        let [original, reply] = &self.ends;
        let (own, other) = match way {
            Direction::Original => (original, reply),
            Direction::Reply => (reply, original),
        };
        if !own.synchronised || !other.synchronised || reply.una == self.first[1] {
            return None;
        }
        let acked = own.fin.is_some_and(|fin| own.una == fin.wrapping_add(1));
        let heard = other
            .fin
            .is_some_and(|fin| own.expected == fin.wrapping_add(1));
        let state = match (own.fin.is_some(), acked, heard) {
            (false, _, false) => adopt::state::ESTABLISHED,
            (true, false, false) => adopt::state::FIN_WAIT_1,
            (true, true, false) => adopt::state::FIN_WAIT_2,
            (false, _, true) => adopt::state::CLOSE_WAIT,
            (true, false, true) => adopt::state::LAST_ACK,
            (true, true, true) => adopt::state::TIME_WAIT,
        };
        Some(Socket {
            state,
            snd_una: own.una,
            snd_nxt: own.next,
            write_seq: own.next,
            snd_wnd: own.allowed.wrapping_sub(own.una),
            max_window: own.largest,
            rcv_nxt: own.expected,
            rcv_last: own.beyond.map_or(own.expected, |(_, right)| right),
            rcv_wup: own.expected,
            rcv_wnd: own.offered.wrapping_sub(own.expected),
            rcv_edge: own.offered,
            snd_scale: other.scale,
            rcv_scale: own.scale,
            has_scale: true,
            has_sack: own.sack,
            ..Socket::default()
        })
    }

    /// The next segment that one of the ends sends, and its way.
    pub fn send(&mut self, random: &mut Random<'_>) -> Draft {
        if !self.ends[1].synchronised {
            return self.syn(Direction::Original);
        }
        if !self.ends[0].synchronised {
            return self.syn(Direction::Reply);
        }
        // The opener's ACK has to come before anything else in its direction; the other waits.
        let opened = self.ends[1].una != self.first[1];
        let direction = if opened && random.once_in(2) {
            Direction::Reply
        } else {
            Direction::Original
        };
        let peer = &mut self.ends[direction.index()];
        peer.open_window(random);
        let room = peer.allowed.wrapping_sub(peer.next);
        let room_left = room != 0 && room < 1 << 31;
        let unacked = peer.next.wrapping_sub(peer.una);
        let mut flags = Flags::ACK;
        let (mut seq, mut len) = (peer.next, 0);
        if unacked != 0 && random.once_in(4) {
            // Repeat from the oldest; a FIN at the end of it goes along.
            let data = unacked - u32::from(peer.fin.is_some());
            seq = peer.una;
            len = data.min(1448);
            if peer.fin == Some(seq.wrapping_add(len)) {
                flags = flags.with(Flags::FIN);
            }
        } else if peer.fin.is_none() && room_left && random.once_in(30) && opened {
            // The FIN takes a number, so it has to fit into the window too.
            flags = flags.with(Flags::FIN);
            peer.fin = Some(seq);
            peer.next = seq.wrapping_add(1);
        } else if peer.fin.is_none() && room_left && random.once_in(2) {
            len = random.pick(&[1, 100, 1448, 65_535]).min(room);
            peer.next = peer.next.wrapping_add(len);
        }
        let window = peer.offered.wrapping_sub(peer.expected) >> peer.scale;
        Draft {
            direction,
            flags,
            seq,
            ack: peer.expected,
            window: u16::try_from(window).unwrap_or(u16::MAX),
            options: peer.blocks(),
            payload_len: len,
            ack_offset: 0,
        }
    }

    fn syn(&mut self, direction: Direction) -> Draft {
        let peer = &mut self.ends[direction.index()];
        let mut flags = Flags::SYN;
        if peer.synchronised || direction == Direction::Reply {
            flags = flags.with(Flags::ACK);
        }
        peer.offered = peer.expected.wrapping_add(SYN_WINDOW);
        let mut options = vec![1, 3, 3, peer.scale];
        if peer.sack {
            options.extend([4, 2]);
        }
        Draft {
            direction,
            flags,
            seq: self.first[direction.index()],
            ack: peer.expected,
            window: SYN_WINDOW as u16,
            options,
            payload_len: 0,
            ack_offset: 0,
        }
    }

    /// A segment reaches its receiver.
    pub fn receive(&mut self, draft: &Draft) {
        let [original, reply] = &mut self.ends;
        let (sender_scale, peer) = match draft.direction {
            Direction::Original => (original.scale, reply),
            Direction::Reply => (reply.scale, original),
        };
        if draft.flags.syn() {
            let expected = draft.seq.wrapping_add(1);
            if !peer.synchronised {
                peer.expected = expected;
                peer.synchronised = true;
                peer.offered = expected.wrapping_add(SYN_WINDOW);
                peer.allowed = peer
                    .una
                    .wrapping_add(1)
                    .wrapping_add(u32::from(draft.window));
            }
            if draft.flags.ack() && peer.una != draft.ack {
                peer.una = draft.ack;
            }
            return;
        }
        if !peer.synchronised {
            return;
        }
        let ahead = draft.ack.wrapping_sub(peer.una);
        if ahead < 1 << 31 {
            peer.una = draft.ack;
            let edge = draft
                .ack
                .wrapping_add(u32::from(draft.window) << sender_scale);
            peer.largest = peer.largest.max(u32::from(draft.window) << sender_scale);
            if edge.wrapping_sub(peer.allowed) < 1 << 31 {
                peer.allowed = edge;
            }
        }
        peer.take(draft);
    }
}

impl Peer {
    /// Offers more room now and then, never less.
    fn open_window(&mut self, random: &mut Random<'_>) {
        let size = random.pick(&[0_u32, 1 << 14, 20_000, 60_000]);
        // What the header can say, in units of the scale.
        let limit = u32::from(u16::MAX) << self.scale;
        let edge = self
            .expected
            .wrapping_add(size.min(limit) >> self.scale << self.scale);
        if edge.wrapping_sub(self.offered) < 1 << 31 {
            self.offered = edge;
        }
    }

    fn take(&mut self, draft: &Draft) {
        let mut len = draft.payload_len;
        if draft.flags.fin() {
            len += 1;
        }
        let end = draft.seq.wrapping_add(len);
        let gap = draft.seq.wrapping_sub(self.expected);
        if gap == 0 || gap > 1 << 31 {
            if end.wrapping_sub(self.expected) < 1 << 31 {
                self.expected = end;
            }
        } else if len != 0 && self.sack && !draft.flags.fin() {
            self.beyond = Some((draft.seq, end));
        }
        if let Some((left, right)) = self.beyond {
            if left.wrapping_sub(self.expected).wrapping_sub(1) >= 1 << 31 {
                if right.wrapping_sub(self.expected) < 1 << 31 {
                    self.expected = right;
                }
                self.beyond = None;
            }
        }
        // Data beyond the offer widens it: the sender was allowed to probe.
        if self.expected.wrapping_sub(self.offered) < 1 << 31 {
            self.offered = self.expected;
        }
    }

    fn blocks(&self) -> Vec<u8> {
        match self.beyond {
            Some((left, right)) if self.sack => {
                let mut bytes = vec![1, 1, 5, 10];
                bytes.extend(left.to_be_bytes());
                bytes.extend(right.to_be_bytes());
                bytes
            }
            _ => vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2],
        }
    }
}

/// States that a connection of two legal peers may be in at its end.
pub fn is_over(state: State) -> bool {
    matches!(state, State::LastAck | State::TimeWait)
}
