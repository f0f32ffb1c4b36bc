// SPDX-License-Identifier: GPL-2.0

//! A segment, and what can be said of it alone.

use crate::proto::{
    step::Reason,
    wire::{error::Error, seq::SeqNum, tcp::Header},
};

/// A segment, as the trackers want it.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// The fixed part of the header, which has passed [`check`].
    pub header: Header,
    /// The octets between the fixed header and the data; empty if the packet could not be read.
    pub options: &'a [u8],
    /// Octets of data, without header and options.
    pub payload_len: u32,
    /// How far a NAT helper has moved the octet that this segment acknowledges, from the sequence
    /// space of the other peer into the one that this segment's sender sees. 0 without one.
    pub ack_offset: i32,
}

impl Segment<'_> {
    /// The sequence number after the segment; SYN and FIN take one each.
    #[inline]
    pub const fn end(&self) -> SeqNum {
        let flags = self.header.flags();
        let mut end = self.header.seq().add(self.payload_len);
        if flags.syn() {
            end = end.add(1);
        }
        if flags.fin() {
            end = end.add(1);
        }
        end
    }
}

/// Checks what can be checked without knowing the connection, except the checksum.
///
/// `available` is the number of octets of the packet from the TCP header on.
#[inline]
pub fn check(header: &Header, available: u32) -> Result<(), Reason> {
    let header_len = header.header_len();
    if header_len < 20 || available < header_len {
        return Err(Reason::Malformed(Error::Truncated));
    }
    if !header.flags().is_valid() {
        return Err(Reason::TcpFlags);
    }
    Ok(())
}
