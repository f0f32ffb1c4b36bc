// SPDX-License-Identifier: GPL-2.0

//! The two directions of a connection.

/// The direction of a packet, relative to the first packet of its connection.
///
/// The numbers are those of `enum ip_conntrack_dir`, as tuples and netlink carry them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Direction {
    /// The direction of the packet that opened the connection.
    Original = 0,
    /// The direction of the replies.
    Reply = 1,
}

impl Direction {
    /// Returns the other direction.
    #[inline]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Original => Self::Reply,
            Self::Reply => Self::Original,
        }
    }

    /// Returns 0 or 1, the index into an array of two that is kept per direction.
    #[inline]
    pub const fn index(self) -> usize {
        match self {
            Self::Original => 0,
            Self::Reply => 1,
        }
    }

    /// Returns the direction that one bit stands for: set for a reply.
    #[inline]
    pub const fn from_bit(is_reply: bool) -> Self {
        if is_reply {
            Self::Reply
        } else {
            Self::Original
        }
    }

    /// Returns the direction with this number, or [`None`] for a number above 1.
    #[inline]
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Original),
            1 => Some(Self::Reply),
            _ => None,
        }
    }

    /// Returns the number that `struct nf_conntrack_tuple` stores.
    #[inline]
    pub const fn to_u8(self) -> u8 {
        match self {
            Self::Original => 0,
            Self::Reply => 1,
        }
    }
}
