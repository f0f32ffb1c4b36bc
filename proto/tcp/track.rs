// SPDX-License-Identifier: GPL-2.0

//! What an entry remembers of a TCP connection.

use core::mem::{align_of, offset_of, size_of};

use super::segment::Segment;
use crate::proto::{
    state::tcp::{Kind, State},
    types::direction::Direction,
    wire::seq::SeqNum,
};

/// Flags of a direction (`IP_CT_TCP_FLAG_*`; user-visible through netlink).
pub mod flag {
    /// The sender offered window scaling.
    pub const WINDOW_SCALE: u8 = 0x01;
    /// The sender permits SACK.
    pub const SACK_PERMITTED: u8 = 0x02;
    /// The sender closed first.
    pub const CLOSE_INIT: u8 = 0x04;
    /// Do not enforce windows on the sender.
    pub const BE_LIBERAL: u8 = 0x08;
    /// The sender has data under way that the other peer has not acknowledged.
    pub const DATA_UNACKNOWLEDGED: u8 = 0x10;
    /// [`Peer::max_ack`](super::Peer::max_ack) holds a value.
    pub const MAX_ACK_SET: u8 = 0x20;
    /// Of [`Track::last_flags`](super::Track::last_flags): a SYN was let through in LAST_ACK,
    /// a challenge ACK (RFC 5961) may come back.
    pub const EXPECT_CHALLENGE_ACK: u8 = 0x40;
    /// Of [`Track::last_flags`](super::Track::last_flags): both peers sent a SYN.
    pub const SIMULTANEOUS_OPEN: u8 = 0x80;
}

/// What one sender has said so far. Layout twin of `struct ip_ct_tcp_state`.
///
/// `window.rs` defines the quantities. Sequence numbers are in host byte order, `end` and
/// `max_end` in the sender's sequence space, `max_ack` in the receiver's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Peer {
    /// The end of the furthest segment sent.
    pub end: SeqNum,
    /// The furthest octet that the other peer allows, plus one.
    pub max_end: SeqNum,
    /// The largest window offered, in octets; 0 before the first segment in this direction.
    pub max_window: u32,
    /// The highest acknowledgment sent; see [`flag::MAX_ACK_SET`].
    pub max_ack: SeqNum,
    /// Shift count of the sender's windows, 0 to 14 (RFC 7323, section 2.3).
    pub scale: u8,
    /// Set of [`flag`]s.
    pub flags: u8,
}

impl Peer {
    /// Whether all bits of `flags` are set.
    #[inline]
    pub const fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// What a connection's first segment tells of its sender, but for its options.
    #[inline]
    pub(super) fn by_first(segment: &Segment<'_>) -> Self {
        let end = segment.end();
        Self {
            end,
            max_end: end,
            max_window: at_least_one(u32::from(segment.header.window())),
            ..Self::default()
        }
    }

    /// Forgets all but the order to be liberal.
    #[inline]
    pub(super) fn reset(&mut self) {
        *self = Self {
            flags: self.flags & flag::BE_LIBERAL,
            ..Self::default()
        };
    }

    /// A window as the sender's header has it, in octets.
    #[inline]
    pub(super) const fn scaled(&self, window: u16) -> u32 {
        let [high, low] = window.to_be_bytes();
        let shift = u32::from_be_bytes([0, 0, 0, self.scale]);
        // A shift count above 14 can only come from outside; wrapping keeps the shift defined.
        u32::from_be_bytes([0, 0, high, low]).wrapping_shl(shift)
    }
}

/// The state of a tracked connection. Layout twin of `struct ip_ct_tcp`.
///
/// The fields from `last_dir` on describe the last packet, so that the next can be recognised as
/// its repetition or its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Track {
    /// The two senders: [`Direction::Original`] first.
    pub seen: [Peer; 2],
    /// Number of the [`State`].
    pub state: u8,
    /// Number of the last packet's [`Direction`].
    pub last_dir: u8,
    /// Repetitions of the last packet seen in a row.
    pub retrans: u8,
    /// Number of the last packet's [`Kind`].
    pub last_index: u8,
    /// Its sequence number.
    pub last_seq: SeqNum,
    /// Its acknowledgment number.
    pub last_ack: SeqNum,
    /// The sequence number after it.
    pub last_end: SeqNum,
    /// Its window, not scaled.
    pub last_win: u16,
    /// The window scale of the last SYN that was ignored.
    pub last_wscale: u8,
    /// Set of [`flag`]s of the last SYN that was ignored.
    pub last_flags: u8,
}

// `nf_conn::proto` is read by C code (flow table, synproxy, netlink consumers).
const _: () = {
    assert!(size_of::<Peer>() == 20);
    assert!(offset_of!(Peer, end) == 0);
    assert!(offset_of!(Peer, max_end) == 4);
    assert!(offset_of!(Peer, max_window) == 8);
    assert!(offset_of!(Peer, max_ack) == 12);
    assert!(offset_of!(Peer, scale) == 16);
    assert!(offset_of!(Peer, flags) == 17);
    assert!(size_of::<Track>() == 60);
    assert!(align_of::<Track>() == 4);
    assert!(offset_of!(Track, state) == 40);
    assert!(offset_of!(Track, last_dir) == 41);
    assert!(offset_of!(Track, retrans) == 42);
    assert!(offset_of!(Track, last_index) == 43);
    assert!(offset_of!(Track, last_seq) == 44);
    assert!(offset_of!(Track, last_ack) == 48);
    assert!(offset_of!(Track, last_end) == 52);
    assert!(offset_of!(Track, last_win) == 56);
    assert!(offset_of!(Track, last_wscale) == 58);
    assert!(offset_of!(Track, last_flags) == 59);
};

impl Track {
    /// The state. A number that names none (nobody stores one) reads as [`State::None`].
    #[inline]
    pub const fn state(&self) -> State {
        match State::from_u8(self.state) {
            Some(state) => state,
            None => State::None,
        }
    }

    /// Stores the state.
    #[inline]
    pub(super) fn set_state(&mut self, state: State) {
        self.state = state.to_u8();
    }

    /// What the sender in `direction` has said.
    #[inline]
    pub const fn seen(&self, direction: Direction) -> &Peer {
        let [original, reply] = &self.seen;
        match direction {
            Direction::Original => original,
            Direction::Reply => reply,
        }
    }

    /// What the sender in `direction` has said, and what its receiver has.
    #[inline]
    pub(super) fn peers(&mut self, direction: Direction) -> (&mut Peer, &mut Peer) {
        let [original, reply] = &mut self.seen;
        match direction {
            Direction::Original => (original, reply),
            Direction::Reply => (reply, original),
        }
    }

    /// Whether the last packet went in `direction`.
    #[inline]
    pub(super) const fn last_went(&self, direction: Direction) -> bool {
        self.last_dir == direction.to_u8()
    }

    /// Whether the last packet was of this kind.
    #[inline]
    pub(super) const fn last_was(&self, kind: Kind) -> bool {
        self.last_index == kind.to_u8()
    }

    /// Remembers the packet as the last one.
    #[inline]
    pub(super) fn remember(&mut self, kind: Kind, direction: Direction) {
        self.last_index = kind.to_u8();
        self.last_dir = direction.to_u8();
    }

    /// Declares the connection closed, for those who end it from outside (the flow table's
    /// teardown, a socket's destruction). Returns whether the state changed: then the entry's
    /// timeout becomes that of [`State::Close`], unless it is fixed, and PROTOINFO is reported.
    pub fn set_closing(&mut self) -> bool {
        let changed = self.state() != State::Close;
        self.set_state(State::Close);
        changed
    }

    /// Stops trusting the windows of an established connection, because packets may have passed
    /// untracked: the next segment of each sender re-learns them.
    pub fn forget_windows(&mut self) {
        if self.state() == State::Established {
            let [original, reply] = &mut self.seen;
            original.max_window = 0;
            reply.max_window = 0;
        }
    }
}

/// A window of nothing still counts as one octet.
#[inline]
pub(super) const fn at_least_one(window: u32) -> u32 {
    if window == 0 {
        1
    } else {
        window
    }
}

/// A window in octets as the sender's header has it.
#[inline]
pub(super) fn unscaled(window: u32, scale: u8) -> u16 {
    u16::try_from(window.wrapping_shr(scale.into())).unwrap_or(u16::MAX)
}
