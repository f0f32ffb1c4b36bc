// SPDX-License-Identifier: GPL-2.0

//! The GRE header (RFC 2784), and the enhanced one that PPTP uses (RFC 2637, section 4.1).

use super::error::Error;

/// Octets of the part that every version has.
pub const HEADER_LEN: usize = 4;

/// Octets of the enhanced header up to, and with, the call ID.
pub const ENHANCED_LEN: usize = 8;

/// EtherType of PPP, the one protocol that version 1 carries.
const PPP: u16 = 0x880b;

/// What tells flows between the same two hosts apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Version 0, or one that nobody knows: nothing does. (The optional key of RFC 2890 is the
    /// tunnel's affair: either end may choose another one at any time.)
    Plain,
    /// Version 1, whose call ID is in the rest of the header.
    Enhanced,
}

/// Says what follows from the first octets of a header.
///
/// [`Error::Version`]: version 1 with a payload that it was not made for.
#[inline]
pub const fn classify(bytes: &[u8; HEADER_LEN]) -> Result<Class, Error> {
    let [_, version, p0, p1] = *bytes;
    if version & 0x07 != 1 {
        return Ok(Class::Plain);
    }
    if u16::from_be_bytes([p0, p1]) == PPP {
        Ok(Class::Enhanced)
    } else {
        Err(Error::Version)
    }
}

/// The call ID of an enhanced header, in network byte order: the one that the receiver chose.
#[inline]
pub const fn call_id(bytes: &[u8; ENHANCED_LEN]) -> [u8; 2] {
    let [.., c0, c1] = *bytes;
    [c0, c1]
}
