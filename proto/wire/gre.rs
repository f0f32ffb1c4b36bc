// SPDX-License-Identifier: GPL-2.0

//! The GRE header (RFC 2784), and the enhanced one that PPTP uses (RFC 2637, section 4.1).

use super::error::Error;

/// Length of the part that all versions share, in bytes.
pub const HEADER_LEN: usize = 4;

/// Length of the enhanced header up to and including the call ID, in bytes.
pub const ENHANCED_LEN: usize = 8;

/// EtherType of PPP, the only payload of version 1.
const PPP: u16 = 0x880b;

/// The kind of a GRE header: whether it has a key that distinguishes flows between two hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Version 0, or an unknown one: no key. (The optional key of RFC 2890 is not used: either end
    /// of the tunnel may change it at any time.)
    Plain,
    /// Version 1: the call ID is in the rest of the header.
    Enhanced,
}

/// Classifies a header by its first bytes.
///
/// Returns [`Error::Version`] for version 1 with a payload other than PPP.
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

/// Returns the call ID of an enhanced header in network byte order: the one that the receiver
/// chose.
#[inline]
pub const fn call_id(bytes: &[u8; ENHANCED_LEN]) -> [u8; 2] {
    let [.., c0, c1] = *bytes;
    [c0, c1]
}
