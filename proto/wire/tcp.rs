// SPDX-License-Identifier: GPL-2.0

//! The TCP header and its options (RFC 9293, section 3.1).

use super::seq::SeqNum;

/// Length of a header without options, in bytes.
pub const HEADER_LEN: usize = 20;

/// Maximum length of the options, in bytes.
pub const MAX_OPTIONS_LEN: usize = 40;

/// The control bits of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// FIN: the sender has no more data.
    pub const FIN: Self = Self(0x01);
    /// SYN: synchronise sequence numbers.
    pub const SYN: Self = Self(0x02);
    /// RST: reset the connection.
    pub const RST: Self = Self(0x04);
    /// PSH: push.
    pub const PSH: Self = Self(0x08);
    /// ACK: the acknowledgment number is significant.
    pub const ACK: Self = Self(0x10);
    /// URG: the urgent pointer is significant.
    pub const URG: Self = Self(0x20);
    /// ECE: ECN echo (RFC 3168).
    pub const ECE: Self = Self(0x40);
    /// CWR: congestion window reduced (RFC 3168).
    pub const CWR: Self = Self(0x80);

    /// Returns the flags in byte 13 of a header (counted from 0).
    #[inline]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// Returns the flags as byte 13 of a header.
    #[inline]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Returns the union of both sets.
    #[inline]
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns whether all flags of `other` are set.
    #[inline]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns whether FIN is set.
    #[inline]
    pub const fn fin(self) -> bool {
        self.has(Self::FIN)
    }

    /// Returns whether SYN is set.
    #[inline]
    pub const fn syn(self) -> bool {
        self.has(Self::SYN)
    }

    /// Returns whether RST is set.
    #[inline]
    pub const fn rst(self) -> bool {
        self.has(Self::RST)
    }

    /// Returns whether ACK is set.
    #[inline]
    pub const fn ack(self) -> bool {
        self.has(Self::ACK)
    }

    /// Returns whether ACK is set, and none of SYN, FIN and RST: the segment neither opens nor
    /// closes the connection.
    #[inline]
    pub const fn is_ack_alone(self) -> bool {
        const DECISIVE: u8 = Flags::SYN.0 | Flags::FIN.0 | Flags::RST.0 | Flags::ACK.0;
        self.0 & DECISIVE == Self::ACK.0
    }

    /// Returns whether a segment may have this combination of flags. PSH, ECE and CWR may occur in
    /// any segment, URG in those that can carry data.
    #[inline]
    pub const fn is_valid(self) -> bool {
        const SYN: u8 = Flags::SYN.0;
        const ACK: u8 = Flags::ACK.0;
        const RST: u8 = Flags::RST.0;
        const FIN: u8 = Flags::FIN.0;
        const URG: u8 = Flags::URG.0;
        const SYN_URG: u8 = SYN | URG;
        const SYN_ACK: u8 = SYN | ACK;
        const RST_ACK: u8 = RST | ACK;
        const FIN_ACK: u8 = FIN | ACK;
        const FIN_ACK_URG: u8 = FIN | ACK | URG;
        const ACK_URG: u8 = ACK | URG;
        matches!(
            self.0 & (SYN | ACK | RST | FIN | URG),
            SYN | SYN_URG | SYN_ACK | RST | RST_ACK | FIN_ACK | FIN_ACK_URG | ACK | ACK_URG
        )
    }
}

/// The fixed part of a TCP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    source: u16,
    destination: u16,
    seq: SeqNum,
    ack: SeqNum,
    data_offset: u8,
    flags: Flags,
    window: u16,
}

impl Header {
    /// Splits the bytes into fields, without checking them.
    #[inline]
    pub const fn parse(bytes: &[u8; HEADER_LEN]) -> Self {
        let [s0, s1, d0, d1, q0, q1, q2, q3, a0, a1, a2, a3, offset, flags, w0, w1, _, _, _, _] =
            *bytes;
        Self {
            source: u16::from_be_bytes([s0, s1]),
            destination: u16::from_be_bytes([d0, d1]),
            seq: SeqNum(u32::from_be_bytes([q0, q1, q2, q3])),
            ack: SeqNum(u32::from_be_bytes([a0, a1, a2, a3])),
            data_offset: offset >> 4,
            flags: Flags::from_bits(flags),
            window: u16::from_be_bytes([w0, w1]),
        }
    }

    /// Returns the source port in host byte order.
    #[inline]
    pub const fn source(&self) -> u16 {
        self.source
    }

    /// Returns the destination port in host byte order.
    #[inline]
    pub const fn destination(&self) -> u16 {
        self.destination
    }

    /// Returns the sequence number of the first byte, or of the SYN.
    #[inline]
    pub const fn seq(&self) -> SeqNum {
        self.seq
    }

    /// Returns the acknowledgment number: that of the next byte which the sender expects.
    /// Significant with ACK only.
    #[inline]
    pub const fn ack(&self) -> SeqNum {
        self.ack
    }

    /// Returns the length of the header including options, in bytes: 0 to 60, at least 20 in a
    /// valid header.
    #[inline]
    pub const fn header_len(&self) -> u32 {
        u32::from_be_bytes([0, 0, 0, self.data_offset << 2])
    }

    /// Returns the length of the options, in bytes: 0 to 40.
    #[inline]
    pub const fn options_len(&self) -> u32 {
        self.header_len().saturating_sub(20)
    }

    /// Returns the control bits.
    #[inline]
    pub const fn flags(&self) -> Flags {
        self.flags
    }

    /// Returns the window field, not scaled.
    #[inline]
    pub const fn window(&self) -> u16 {
        self.window
    }
}

/// An option that the tracker reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpOption<'a> {
    /// Window scale (RFC 7323, section 2.2): the shift count as sent; it may exceed 14.
    WindowScale(u8),
    /// SACK permitted (RFC 2018, section 2).
    SackPermitted,
    /// SACK (RFC 2018, section 3): at least one block of eight bytes, left edge first.
    Sack(&'a [u8]),
    /// Any other kind, or one of the above with an invalid length.
    Other(u8),
}

/// Kinds of options.
mod kind {
    pub(super) const END: u8 = 0;
    pub(super) const NO_OPERATION: u8 = 1;
    pub(super) const WINDOW_SCALE: u8 = 3;
    pub(super) const SACK_PERMITTED: u8 = 4;
    pub(super) const SACK: u8 = 5;
}

/// An iterator over the options of a segment, in their order.
///
/// It ends at the end-of-options mark, and at the first option that is truncated or shorter than
/// its own head, because the next one cannot be found.
///
/// # Examples
///
/// ```
/// # use rust_ct_host::proto;
/// use proto::wire::tcp::{Options, TcpOption};
///
/// // Segment size, window scale 7, and an option with a length field that is too long.
/// let mut options = Options::new(&[2, 4, 5, 180, 1, 3, 3, 7, 8, 10, 0]);
/// assert_eq!(options.next(), Some(TcpOption::Other(2)));
/// assert_eq!(options.next(), Some(TcpOption::WindowScale(7)));
/// assert_eq!(options.next(), None);
/// ```
#[derive(Clone, Debug)]
pub struct Options<'a> {
    rest: &'a [u8],
}

impl<'a> Options<'a> {
    /// Returns an iterator over these bytes, which are those between the fixed header and the data.
    #[inline]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = TcpOption<'a>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match *self.rest {
                [kind::NO_OPERATION, ref tail @ ..] => self.rest = tail,
                [] | [kind::END, ..] | [_] => return None,
                [kind, len, ref tail @ ..] => {
                    let body_len = usize::from(len).checked_sub(2)?;
                    let (body, rest) = tail.split_at_checked(body_len)?;
                    self.rest = rest;
                    return Some(match (kind, body) {
                        (kind::WINDOW_SCALE, &[shift]) => TcpOption::WindowScale(shift),
                        (kind::SACK_PERMITTED, []) => TcpOption::SackPermitted,
                        (kind::SACK, [_, ..]) if body.len() & 7 == 0 => TcpOption::Sack(body),
                        _ => TcpOption::Other(kind),
                    });
                }
            }
        }
    }
}

/// Returns whether the options are exactly the aligned timestamp of RFC 7323, appendix A: the most
/// common ones in an established connection, and irrelevant to the tracker.
#[inline]
pub const fn is_timestamp_only(options: &[u8]) -> bool {
    matches!(options, [1, 1, 8, 10, rest @ ..] if rest.len() == 8)
}

/// Returns the shift count of a SYN's options, if these are the most common ones (Linux, Android):
/// segment size, SACK permitted, timestamp and window scale, in this order.
#[inline]
pub const fn shift_of_common_syn(options: &[u8]) -> Option<u8> {
    match *options {
        [2, 4, _, _, 4, 2, 8, 10, _, _, _, _, _, _, _, _, 1, 3, 3, shift] => Some(shift),
        _ => None,
    }
}
