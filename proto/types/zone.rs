// SPDX-License-Identifier: GPL-2.0

//! Conntrack zones: separate address spaces in one network namespace.

use core::mem::size_of;

use super::direction::Direction;

/// The zone of a connection or a template.
///
/// Layout twin of `struct nf_conntrack_zone`.
///
/// # Examples
///
/// ```
/// # use rust_ct_host::proto;
/// use proto::types::{direction::Direction, zone::Zone};
///
/// // `ct original zone set mark`: a template for the original direction.
/// let template = Zone {
///     flags: Zone::MARK,
///     ..Zone::new(0, Zone::ORIGINAL)
/// };
/// let zone = template.for_mark(0x0001_0007);
/// assert_eq!(zone, Zone::new(7, Zone::ORIGINAL));
/// assert_eq!(zone.id_for(Direction::Original), 7);
/// assert_eq!(zone.id_for(Direction::Reply), Zone::DEFAULT_ID);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Zone {
    /// The zone's number; 0 is the default zone.
    pub id: u16,
    /// [`Zone::MARK`] or 0.
    pub flags: u8,
    /// Mask of the directions that the id applies to: [`Zone::ORIGINAL`] | [`Zone::REPLY`].
    pub dir: u8,
}

impl Zone {
    /// The id of the default zone.
    pub const DEFAULT_ID: u16 = 0;
    /// Bit of `dir`: the id applies to the original direction.
    pub const ORIGINAL: u8 = 1;
    /// Bit of `dir`: the id applies to the reply direction.
    pub const REPLY: u8 = 2;
    /// Both bits of `dir`.
    pub const BOTH: u8 = Self::ORIGINAL | Self::REPLY;
    /// Flag of a template: the id comes from the packet's mark.
    pub const MARK: u8 = 1;
    /// The default zone, `nf_ct_zone_dflt`.
    pub const DEFAULT: Self = Self {
        id: Self::DEFAULT_ID,
        flags: 0,
        dir: Self::BOTH,
    };

    /// Returns a zone without flags. `dir` is a mask of directions.
    #[inline]
    pub const fn new(id: u16, dir: u8) -> Self {
        Self { id, flags: 0, dir }
    }

    /// Returns the bit of `dir` for one direction.
    #[inline]
    pub const fn direction_bit(direction: Direction) -> u8 {
        match direction {
            Direction::Original => Self::ORIGINAL,
            Direction::Reply => Self::REPLY,
        }
    }

    /// Returns the zone id that applies to `direction`: 0 if the zone does not cover it.
    #[inline]
    pub const fn id_for(self, direction: Direction) -> u16 {
        if self.dir & Self::direction_bit(direction) != 0 {
            self.id
        } else {
            Self::DEFAULT_ID
        }
    }

    /// Returns whether the same zone id applies to both directions.
    #[inline]
    pub const fn is_for_both(self) -> bool {
        self.id == Self::DEFAULT_ID || self.dir & Self::BOTH == Self::BOTH
    }

    /// Returns the zone that a packet with `mark` gets from this template.
    ///
    /// A template with [`Zone::MARK`] takes its id from the low 16 bits of the mark and keeps its
    /// directions; any other template is returned as it is.
    #[inline]
    #[must_use]
    pub const fn for_mark(self, mark: u32) -> Self {
        if self.flags & Self::MARK != 0 {
            let [low, high, _, _] = mark.to_le_bytes();
            Self::new(u16::from_le_bytes([low, high]), self.dir)
        } else {
            self
        }
    }
}

const _: () = assert!(size_of::<Zone>() == 4);
