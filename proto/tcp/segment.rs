// SPDX-License-Identifier: GPL-2.0

//! A TCP segment, and the checks that need no entry.

use crate::proto::{
    step::Reason,
    wire::{error::Error, seq::SeqNum, tcp::Header},
};

/// A segment in the form that the tracker takes.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// The fixed part of the header; it has passed [`check`].
    pub header: Header,
    /// The options: the bytes between the fixed header and the data. Empty if the packet could not
    /// be read.
    pub options: &'a [u8],
    /// Length of the data in bytes, without header and options.
    pub payload_len: u32,
    /// The offset of the sequence adjustment that applies to the acknowledgment number, in bytes:
    /// from the other peer's sequence space to the one that this segment's sender sees. 0 without a
    /// NAT helper.
    pub ack_offset: i32,
}

impl Segment<'_> {
    /// Returns the sequence number after the segment; SYN and FIN occupy one number each.
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

/// Checks what needs no entry: lengths and flags. The caller verifies the checksum.
///
/// `available` is the number of bytes from the TCP header to the end of the packet.
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
