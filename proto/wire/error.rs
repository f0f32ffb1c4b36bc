// SPDX-License-Identifier: GPL-2.0

//! The errors of header parsing.

/// Why a header cannot be used.
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
    /// More IPv6 extension headers than [`MAX_EXTENSIONS`](super::ipv6::MAX_EXTENSIONS), or a
    /// truncated one.
    Extensions,
    /// The transport checksum is wrong (the caller verifies checksums).
    Checksum,
}

impl Error {
    /// Returns the text for the log.
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
