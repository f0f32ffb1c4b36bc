// SPDX-License-Identifier: GPL-2.0

//! The TCP state of an entry.

use core::mem::{align_of, offset_of, size_of};

use super::segment::Segment;
use crate::proto::{
    state::tcp::{Kind, State},
    types::direction::Direction,
    wire::seq::SeqNum,
};

/// Flags of a sender (`IP_CT_TCP_FLAG_*`; user-visible through netlink).
pub mod flag {
    /// The sender offered window scaling.
    pub const WINDOW_SCALE: u8 = 0x01;
    /// The sender permits SACK.
    pub const SACK_PERMITTED: u8 = 0x02;
    /// The sender closed first.
    pub const CLOSE_INIT: u8 = 0x04;
    /// Windows are not enforced on the sender.
    pub const BE_LIBERAL: u8 = 0x08;
    /// The sender has sent data that the other peer has not acknowledged.
    pub const DATA_UNACKNOWLEDGED: u8 = 0x10;
    /// [`Peer::max_ack`](super::Peer::max_ack) holds a value.
    pub const MAX_ACK_SET: u8 = 0x20;
    /// In [`Track::last_flags`](super::Track::last_flags): a SYN was ignored in LAST_ACK, and a
    /// challenge ACK (RFC 5961) may follow.
    pub const EXPECT_CHALLENGE_ACK: u8 = 0x40;
    /// In [`Track::last_flags`](super::Track::last_flags): both peers sent a SYN.
    pub const SIMULTANEOUS_OPEN: u8 = 0x80;
}

/// One peer, as the sender of its direction. Layout twin of `struct ip_ct_tcp_state`.
///
/// `window.rs` defines the quantities. Sequence numbers are in host byte order; `end` and `max_end`
/// are in the sender's sequence space, `max_ack` is in the receiver's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Peer {
    /// The end of the furthest segment sent.
    pub end: SeqNum,
    /// The highest sequence number that the other peer's window allows, plus one.
    pub max_end: SeqNum,
    /// The largest window offered, in bytes; 0 before the first segment in this direction.
    pub max_window: u32,
    /// The highest acknowledgment sent; see [`flag::MAX_ACK_SET`].
    pub max_ack: SeqNum,
    /// Shift count of the sender's windows, 0 to 14 (RFC 7323, section 2.3).
    pub scale: u8,
    /// Set of [`flag`]s.
    pub flags: u8,
}

impl Peer {
    /// Returns whether all bits of `flags` are set.
    #[inline]
    pub const fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// Returns the peer that sent a connection's first segment. The options are not read.
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

    /// Resets everything except [`flag::BE_LIBERAL`].
    #[inline]
    pub(super) fn reset(&mut self) {
        *self = Self {
            flags: self.flags & flag::BE_LIBERAL,
            ..Self::default()
        };
    }

    /// Converts a window field of the sender to bytes.
    #[inline]
    pub(super) const fn scaled(&self, window: u16) -> u32 {
        let [high, low] = window.to_be_bytes();
        let shift = u32::from_be_bytes([0, 0, 0, self.scale]);
        // A shift count above 14 can only come from netlink; wrapping keeps the shift defined.
        u32::from_be_bytes([0, 0, high, low]).wrapping_shl(shift)
    }
}

/// The state of a tracked connection. Layout twin of `struct ip_ct_tcp`.
///
/// The fields from `last_dir` on describe the last packet, so that the next one can be recognised
/// as its retransmission or its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Track {
    /// The two peers as senders: [`Direction::Original`] first.
    pub seen: [Peer; 2],
    /// Number of the [`State`].
    pub state: u8,
    /// Number of the last packet's [`Direction`].
    pub last_dir: u8,
    /// Number of retransmissions of the last packet in a row.
    pub retrans: u8,
    /// Number of the last packet's [`Kind`].
    pub last_index: u8,
    /// Its sequence number.
    pub last_seq: SeqNum,
    /// Its acknowledgment number.
    pub last_ack: SeqNum,
    /// The sequence number after it.
    pub last_end: SeqNum,
    /// Its window field, not scaled.
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
    /// Returns the state. An unknown number reads as [`State::None`]; none is ever stored.
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

    /// Returns the sender in `direction`.
    #[inline]
    pub const fn seen(&self, direction: Direction) -> &Peer {
        let [original, reply] = &self.seen;
        match direction {
            Direction::Original => original,
            Direction::Reply => reply,
        }
    }

    /// Returns the sender in `direction`, and its receiver.
    #[inline]
    pub(super) fn peers(&mut self, direction: Direction) -> (&mut Peer, &mut Peer) {
        let [original, reply] = &mut self.seen;
        match direction {
            Direction::Original => (original, reply),
            Direction::Reply => (reply, original),
        }
    }

    /// Returns whether the last packet went in `direction`.
    #[inline]
    pub(super) const fn last_went(&self, direction: Direction) -> bool {
        self.last_dir == direction.to_u8()
    }

    /// Returns whether the last packet was of this kind.
    #[inline]
    pub(super) const fn last_was(&self, kind: Kind) -> bool {
        self.last_index == kind.to_u8()
    }

    /// Records kind and direction of the last packet.
    #[inline]
    pub(super) fn remember(&mut self, kind: Kind, direction: Direction) {
        self.last_index = kind.to_u8();
        self.last_dir = direction.to_u8();
    }

    /// Sets the state to [`State::Close`], for C code that ends a connection
    /// (`nf_ct_hook::set_closing`). Returns whether the state changed: then the caller sets the
    /// timeout of [`State::Close`], unless it is fixed, and reports PROTOINFO.
    pub fn set_closing(&mut self) -> bool {
        let changed = self.state() != State::Close;
        self.set_state(State::Close);
        changed
    }

    /// Resets the windows of an established connection, because packets may have passed untracked.
    /// The next segment of each sender sets them anew.
    pub fn forget_windows(&mut self) {
        if self.state() == State::Established {
            let [original, reply] = &mut self.seen;
            original.max_window = 0;
            reply.max_window = 0;
        }
    }
}

/// Returns the window, or 1 for a closed one: it still admits a probe of one byte.
#[inline]
pub(super) const fn at_least_one(window: u32) -> u32 {
    if window == 0 {
        1
    } else {
        window
    }
}

/// Converts a window in bytes to a window field, scaled by `scale`.
#[inline]
pub(super) fn unscaled(window: u32, scale: u8) -> u16 {
    u16::try_from(window.wrapping_shr(scale.into())).unwrap_or(u16::MAX)
}
