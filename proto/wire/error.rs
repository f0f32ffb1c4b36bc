// SPDX-License-Identifier: GPL-2.0

//! What can be wrong with a header.

/// What is wrong with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The packet ends inside the header.
    Short,
    /// A length field contradicts itself or the packet's length.
    Truncated,
    /// Another IP version than expected.
    Version,
    /// A fragment other than the first: no transport header follows.
    Fragment,
    /// More IPv6 extension headers than a tracker is willing to walk, or one cut off.
    Extensions,
    /// The transport checksum is wrong (the caller verifies checksums).
    Checksum,
}

impl Error {
    /// The text for the log.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Short => "short packet",
            Self::Truncated => "truncated/malformed packet",
            Self::Version => "wrong ip version",
            Self::Fragment => "fragment without transport header",
            Self::Extensions => "unusable ipv6 extension headers",
            Self::Checksum => "bad checksum",
        }
    }
}
