// SPDX-License-Identifier: GPL-2.0

//! The SCTP state of an entry.

use core::mem::{align_of, offset_of, size_of};

use crate::proto::{state::sctp::State, types::direction::Direction, wire::sctp::Tag};

/// In [`Track::flags`]: a HEARTBEAT with an unknown tag passed in direction [`Track::last_dir`].
const HEARTBEAT_DOUBTED: u8 = 0x01;

/// The state of a tracked association. Layout twin of `struct ip_ct_sctp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C, align(4))]
pub struct Track {
    /// Number of the [`State`], an `int` in C.
    state: [u8; 4],
    /// The verification tag of packets in each direction; zero if it is not known.
    tags: [Tag; 2],
    /// Not zero: an INIT in this direction is open, because no COOKIE ACK has followed.
    init: [u8; 2],
    /// Number of the direction of the HEARTBEAT with an unknown tag.
    last_dir: u8,
    /// [`HEARTBEAT_DOUBTED`], or zero.
    flags: u8,
}

// `nf_conn::proto` is read by C code.
const _: () = {
    assert!(size_of::<Track>() == 16);
    assert!(align_of::<Track>() == 4);
    assert!(offset_of!(Track, tags) == 4);
    assert!(offset_of!(Track, init) == 12);
    assert!(offset_of!(Track, last_dir) == 14);
    assert!(offset_of!(Track, flags) == 15);
};

impl Track {
    /// Offset of the byte with the state's number, for code that reads this byte alone.
    pub const STATE_OFFSET: usize = if cfg!(target_endian = "little") { 0 } else { 3 };

    /// Returns the state. An unknown number reads as [`State::None`]; none is ever stored.
    #[inline]
    pub const fn state(&self) -> State {
        State::from_u32(u32::from_ne_bytes(self.state))
    }

    /// Stores the state.
    #[inline]
    pub fn set_state(&mut self, state: State) {
        self.state = state.to_u32().to_ne_bytes();
    }

    /// Returns the verification tag of packets in `direction`.
    #[inline]
    pub const fn tag(&self, direction: Direction) -> Tag {
        let [original, reply] = self.tags;
        match direction {
            Direction::Original => original,
            Direction::Reply => reply,
        }
    }

    /// Stores the verification tag of packets in `direction`.
    #[inline]
    pub fn set_tag(&mut self, direction: Direction, tag: Tag) {
        let [original, reply] = &mut self.tags;
        *match direction {
            Direction::Original => original,
            Direction::Reply => reply,
        } = tag;
    }

    /// Returns whether an INIT in `direction` is open.
    #[inline]
    pub(super) const fn has_open_init(&self, direction: Direction) -> bool {
        let [original, reply] = self.init;
        match direction {
            Direction::Original => original != 0,
            Direction::Reply => reply != 0,
        }
    }

    /// Returns whether INITs in both directions are open: the peers opened the association at the
    /// same time.
    #[inline]
    pub(super) const fn inits_collide(&self) -> bool {
        self.has_open_init(Direction::Original) && self.has_open_init(Direction::Reply)
    }

    /// Records an INIT in `direction`. A third one begins a new attempt, and closes the other
    /// peer's INIT of the last one.
    #[inline]
    pub(super) fn note_init(&mut self, direction: Direction) {
        let colliding = self.inits_collide();
        let [original, reply] = &mut self.init;
        let (this, other) = match direction {
            Direction::Original => (original, reply),
            Direction::Reply => (reply, original),
        };
        *this = 1;
        if colliding {
            *other = 0;
        }
    }

    /// Closes both INITs, because the association is established.
    #[inline]
    pub(super) fn settle_inits(&mut self) {
        self.init = [0; 2];
    }

    /// Records a HEARTBEAT with an unknown tag.
    #[inline]
    pub(super) fn doubt_heartbeat(&mut self, direction: Direction) {
        self.flags |= HEARTBEAT_DOUBTED;
        self.last_dir = direction.to_u8();
    }

    /// Clears the record of a HEARTBEAT with an unknown tag, because the known tag is in use, or a
    /// reply has confirmed the new one.
    #[inline]
    pub(super) fn trust_heartbeats(&mut self) {
        self.flags &= !HEARTBEAT_DOUBTED;
    }

    /// Returns whether a HEARTBEAT with an unknown tag awaits a reply in `direction`.
    #[inline]
    pub(super) const fn awaits_answer(&self, direction: Direction) -> bool {
        self.flags & HEARTBEAT_DOUBTED != 0 && self.last_dir != direction.to_u8()
    }
}
