// SPDX-License-Identifier: GPL-2.0

//! What an entry remembers of an association.

use core::mem::{align_of, offset_of, size_of};

use crate::proto::{state::sctp::State, types::direction::Direction, wire::sctp::Tag};

/// Of [`Track::flags`]: a HEARTBEAT with an unknown tag went in direction [`Track::last_dir`].
const HEARTBEAT_DOUBTED: u8 = 0x01;

/// The state of a tracked association. Layout twin of `struct ip_ct_sctp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C, align(4))]
pub struct Track {
    /// Number of the [`State`], an `int` to C.
    state: [u8; 4],
    /// The tag that packets in each direction carry; zero: not known.
    tags: [Tag; 2],
    /// Not zero: an INIT went that way which no cookie has settled.
    init: [u8; 2],
    /// Number of the direction of the HEARTBEAT in doubt.
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
    /// Where the state's number is, for one who reads that byte alone.
    pub const STATE_OFFSET: usize = if cfg!(target_endian = "little") { 0 } else { 3 };

    /// The state. A number that names none (nobody stores one) reads as [`State::None`].
    #[inline]
    pub const fn state(&self) -> State {
        State::from_u32(u32::from_ne_bytes(self.state))
    }

    /// Stores the state.
    #[inline]
    pub fn set_state(&mut self, state: State) {
        self.state = state.to_u32().to_ne_bytes();
    }

    /// The tag that packets in `direction` carry.
    #[inline]
    pub const fn tag(&self, direction: Direction) -> Tag {
        let [original, reply] = self.tags;
        match direction {
            Direction::Original => original,
            Direction::Reply => reply,
        }
    }

    /// Stores that tag.
    #[inline]
    pub fn set_tag(&mut self, direction: Direction, tag: Tag) {
        let [original, reply] = &mut self.tags;
        *match direction {
            Direction::Original => original,
            Direction::Reply => reply,
        } = tag;
    }

    /// Whether an INIT went in `direction` that no cookie has settled.
    #[inline]
    pub(super) const fn has_open_init(&self, direction: Direction) -> bool {
        let [original, reply] = self.init;
        match direction {
            Direction::Original => original != 0,
            Direction::Reply => reply != 0,
        }
    }

    /// Whether INITs went both ways: the peers opened the association at the same time.
    #[inline]
    pub(super) const fn inits_collide(&self) -> bool {
        self.has_open_init(Direction::Original) && self.has_open_init(Direction::Reply)
    }

    /// Notes an INIT in `direction`. A third one is about a new attempt: what the other peer
    /// sent in the last one counts no longer.
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

    /// The association stands: no INIT is open any more.
    #[inline]
    pub(super) fn settle_inits(&mut self) {
        self.init = [0; 2];
    }

    /// Notes a HEARTBEAT with a tag that is not the one we know.
    #[inline]
    pub(super) fn doubt_heartbeat(&mut self, direction: Direction) {
        self.flags |= HEARTBEAT_DOUBTED;
        self.last_dir = direction.to_u8();
    }

    /// The tag that we know is in use, or the doubt is settled.
    #[inline]
    pub(super) fn trust_heartbeats(&mut self) {
        self.flags &= !HEARTBEAT_DOUBTED;
    }

    /// Whether a HEARTBEAT in doubt awaits an answer in `direction`.
    #[inline]
    pub(super) const fn awaits_answer(&self, direction: Direction) -> bool {
        self.flags & HEARTBEAT_DOUBTED != 0 && self.last_dir != direction.to_u8()
    }
}
