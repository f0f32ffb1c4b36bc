// SPDX-License-Identifier: GPL-2.0

//! The ICMP header for IPv4 (RFC 792).

use crate::proto::types::tuple::L4Key;

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 8;

/// Offset of the packet that an error quotes, in bytes from this header.
pub const QUOTED_OFFSET: u32 = 8;

/// Numbers of the types that matter to connection tracking.
pub mod kind {
    /// Echo Reply (RFC 792).
    pub const ECHO_REPLY: u8 = 0;
    /// Destination Unreachable (RFC 792).
    pub const DESTINATION_UNREACHABLE: u8 = 3;
    /// Source Quench (RFC 792, deprecated by RFC 6633).
    pub const SOURCE_QUENCH: u8 = 4;
    /// Redirect (RFC 792).
    pub const REDIRECT: u8 = 5;
    /// Echo (RFC 792).
    pub const ECHO: u8 = 8;
    /// Time Exceeded (RFC 792).
    pub const TIME_EXCEEDED: u8 = 11;
    /// Parameter Problem (RFC 792).
    pub const PARAMETER_PROBLEM: u8 = 12;
    /// Timestamp (RFC 792).
    pub const TIMESTAMP: u8 = 13;
    /// Timestamp Reply (RFC 792).
    pub const TIMESTAMP_REPLY: u8 = 14;
    /// Information Request (RFC 792, deprecated by RFC 6918).
    pub const INFORMATION_REQUEST: u8 = 15;
    /// Information Reply (RFC 792, deprecated by RFC 6918).
    pub const INFORMATION_REPLY: u8 = 16;
    /// Address Mask Request (RFC 950).
    pub const ADDRESS_MASK_REQUEST: u8 = 17;
    /// Address Mask Reply (RFC 950); the highest known type.
    pub const ADDRESS_MASK_REPLY: u8 = 18;
}

/// The meaning of a type for connection tracking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A query; it may open a connection.
    Request,
    /// The reply to a query.
    Reply,
    /// An error that quotes the packet which caused it.
    Error,
    /// A known type that is none of these; it cannot open a connection.
    Other,
    /// A type to discard (RFC 1122, section 3.2.2).
    Unknown,
}

/// Classifies a type.
#[inline]
pub const fn classify(kind: u8) -> Class {
    match kind {
        kind::ECHO | kind::TIMESTAMP | kind::INFORMATION_REQUEST | kind::ADDRESS_MASK_REQUEST => {
            Class::Request
        }
        kind::ECHO_REPLY
        | kind::TIMESTAMP_REPLY
        | kind::INFORMATION_REPLY
        | kind::ADDRESS_MASK_REPLY => Class::Reply,
        kind::DESTINATION_UNREACHABLE
        | kind::SOURCE_QUENCH
        | kind::REDIRECT
        | kind::TIME_EXCEEDED
        | kind::PARAMETER_PROBLEM => Class::Error,
        0..=kind::ADDRESS_MASK_REPLY => Class::Other,
        _ => Class::Unknown,
    }
}

/// Returns the type of the reply to a query `kind`, or of the query that a reply `kind` answers;
/// [`None`] if there is none.
#[inline]
pub const fn answer(kind: u8) -> Option<u8> {
    Some(match kind {
        kind::ECHO => kind::ECHO_REPLY,
        kind::ECHO_REPLY => kind::ECHO,
        kind::TIMESTAMP => kind::TIMESTAMP_REPLY,
        kind::TIMESTAMP_REPLY => kind::TIMESTAMP,
        kind::INFORMATION_REQUEST => kind::INFORMATION_REPLY,
        kind::INFORMATION_REPLY => kind::INFORMATION_REQUEST,
        kind::ADDRESS_MASK_REQUEST => kind::ADDRESS_MASK_REPLY,
        kind::ADDRESS_MASK_REPLY => kind::ADDRESS_MASK_REQUEST,
        _ => return None,
    })
}

/// An ICMP header, its last four bytes read as those of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    kind: u8,
    code: u8,
    id: [u8; 2],
}

impl Header {
    /// Splits the bytes into fields, without checking them.
    #[inline]
    pub const fn parse(bytes: &[u8; HEADER_LEN]) -> Self {
        let [kind, code, _, _, i0, i1, _, _] = *bytes;
        Self {
            kind,
            code,
            id: [i0, i1],
        }
    }

    /// Returns the type.
    #[inline]
    pub const fn kind(&self) -> u8 {
        self.kind
    }

    /// Returns the code.
    #[inline]
    pub const fn code(&self) -> u8 {
        self.code
    }

    /// Returns the identifier of a query, in network byte order.
    #[inline]
    pub const fn id(&self) -> [u8; 2] {
        self.id
    }

    /// Returns the class of the type.
    #[inline]
    pub const fn class(&self) -> Class {
        classify(self.kind)
    }

    /// Returns whether the message says that a host, or a port of it, cannot be reached: a
    /// Destination Unreachable (RFC 792, RFC 1122) that is about neither the size of the packet nor
    /// its route or its type of service.
    #[inline]
    pub const fn is_unreachable(&self) -> bool {
        self.kind == kind::DESTINATION_UNREACHABLE && matches!(self.code, 0..=3 | 7 | 9 | 10 | 13)
    }

    /// Returns the transport protocol's part of the packet's tuple.
    #[inline]
    pub const fn key(&self) -> L4Key {
        L4Key::icmp(self.id, self.kind, self.code)
    }
}
