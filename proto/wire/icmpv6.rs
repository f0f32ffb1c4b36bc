// SPDX-License-Identifier: GPL-2.0

//! The ICMPv6 header (RFC 4443) and the Redirect message (RFC 4861, section 4.5).

use super::ipv6::is_link_local;
use crate::proto::types::tuple::L4Key;

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 8;

/// Offset of the packet that an error quotes, in bytes from this header.
pub const QUOTED_OFFSET: u32 = 8;

/// Numbers of the types that matter to connection tracking.
pub mod kind {
    /// Destination Unreachable (RFC 4443).
    pub const DESTINATION_UNREACHABLE: u8 = 1;
    /// The first type that is not an error (RFC 4443, section 2.1).
    pub const FIRST_INFORMATIONAL: u8 = 128;
    /// Echo Request (RFC 4443).
    pub const ECHO_REQUEST: u8 = 128;
    /// Echo Reply (RFC 4443).
    pub const ECHO_REPLY: u8 = 129;
    /// Multicast Listener Query (RFC 2710).
    pub const LISTENER_QUERY: u8 = 130;
    /// Multicast Listener Report (RFC 2710).
    pub const LISTENER_REPORT: u8 = 131;
    /// Multicast Listener Done (RFC 2710).
    pub const LISTENER_DONE: u8 = 132;
    /// Router Solicitation (RFC 4861).
    pub const ROUTER_SOLICITATION: u8 = 133;
    /// Router Advertisement (RFC 4861).
    pub const ROUTER_ADVERTISEMENT: u8 = 134;
    /// Neighbour Solicitation (RFC 4861).
    pub const NEIGHBOUR_SOLICITATION: u8 = 135;
    /// Neighbour Advertisement (RFC 4861).
    pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
    /// Redirect (RFC 4861).
    pub const REDIRECT: u8 = 137;
    /// Node Information Query (RFC 4620).
    pub const NODE_INFORMATION_QUERY: u8 = 139;
    /// Node Information Response (RFC 4620).
    pub const NODE_INFORMATION_REPLY: u8 = 140;
    /// Multicast Listener Report, version 2 (RFC 3810).
    pub const LISTENER_REPORT_V2: u8 = 143;
    /// Multicast Router Advertisement (RFC 4286).
    pub const MULTICAST_ROUTER_ADVERTISEMENT: u8 = 151;
    /// Multicast Router Solicitation (RFC 4286).
    pub const MULTICAST_ROUTER_SOLICITATION: u8 = 152;
}

/// The meaning of a type for connection tracking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A query; it may open a connection.
    Request,
    /// The reply to a query.
    Reply,
    /// An error that quotes the packet which caused it: all types below 128, known or not.
    Error,
    /// A Redirect: it quotes a packet inside an option; see [`redirected`].
    Redirect,
    /// Neighbour discovery and multicast listener messages: UNTRACKED.
    Untracked,
    /// Any other type; it cannot open a connection.
    Other,
}

/// Classifies a type.
#[inline]
pub const fn classify(kind: u8) -> Class {
    match kind {
        0..=127 => Class::Error,
        kind::ECHO_REQUEST | kind::NODE_INFORMATION_QUERY => Class::Request,
        kind::ECHO_REPLY | kind::NODE_INFORMATION_REPLY => Class::Reply,
        kind::REDIRECT => Class::Redirect,
        kind::LISTENER_QUERY..=kind::NEIGHBOUR_ADVERTISEMENT
        | kind::LISTENER_REPORT_V2
        | kind::MULTICAST_ROUTER_ADVERTISEMENT
        | kind::MULTICAST_ROUTER_SOLICITATION => Class::Untracked,
        _ => Class::Other,
    }
}

/// Returns the type of the reply to a query `kind`, or of the query that a reply `kind` answers;
/// [`None`] if there is none.
#[inline]
pub const fn answer(kind: u8) -> Option<u8> {
    Some(match kind {
        kind::ECHO_REQUEST => kind::ECHO_REPLY,
        kind::ECHO_REPLY => kind::ECHO_REQUEST,
        kind::NODE_INFORMATION_QUERY => kind::NODE_INFORMATION_REPLY,
        kind::NODE_INFORMATION_REPLY => kind::NODE_INFORMATION_QUERY,
        _ => return None,
    })
}

/// An ICMPv6 header, its last four bytes read as those of an echo.
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

    /// Returns the identifier of an echo, in network byte order.
    #[inline]
    pub const fn id(&self) -> [u8; 2] {
        self.id
    }

    /// Returns whether the message says that a host, or a port of it, cannot be reached
    /// (Destination Unreachable, RFC 4443, section 3.1).
    #[inline]
    pub const fn is_unreachable(&self) -> bool {
        self.kind == kind::DESTINATION_UNREACHABLE
    }

    /// Returns the class of the type.
    #[inline]
    pub const fn class(&self) -> Class {
        classify(self.kind)
    }

    /// Returns the transport protocol's part of the packet's tuple.
    #[inline]
    pub const fn key(&self) -> L4Key {
        L4Key::icmp(self.id, self.kind, self.code)
    }
}

/// Length of a Redirect before its options, in bytes: header, target and destination address.
pub const REDIRECT_LEN: usize = 40;

/// Length of a Redirect up to and including the type and length of its first option, in bytes.
/// [`redirected`] reads no more than these.
pub const REDIRECT_WINDOW: usize = REDIRECT_LEN + 2;

/// The option that quotes the redirected packet (RFC 4861, section 4.6.3).
const REDIRECTED_HEADER: u8 = 4;

/// Why a Redirect is INVALID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectError {
    /// The packet ends inside the message's fixed part.
    Short,
    /// It does not come from a neighbour on the link (RFC 4861, section 8.1).
    Source,
    /// It has no options, or an empty one.
    Options,
}

/// Finds the packet that a Redirect quotes.
///
/// `message` is the start of the ICMPv6 message: [`REDIRECT_WINDOW`] bytes, or fewer if the packet
/// ends before. Returns the offset of the quoted IPv6 header in bytes from the start of the
/// message. Returns [`None`] if the message is treated like any other informational one, because
/// its code is unknown or its first option is not the quotation.
///
/// A valid Redirect comes from a router on the link: from a link-local address, and with hop limit
/// 255, which proves that it was not forwarded (RFC 4861, section 8.1). Any other is INVALID.
#[inline]
pub fn redirected(
    hop_limit: u8,
    source: &[u8; 16],
    message: &[u8],
) -> Result<Option<u32>, RedirectError> {
    let (Some(_), Some(&code)) = (message.get(..REDIRECT_LEN), message.get(1)) else {
        return Err(RedirectError::Short);
    };
    if code != 0 {
        return Ok(None);
    }
    if hop_limit != 255 || !is_link_local(source) {
        return Err(RedirectError::Source);
    }
    match message.get(REDIRECT_LEN..) {
        None | Some([] | [_] | [_, 0, ..]) => Err(RedirectError::Options),
        // The quotation follows type, length and six reserved bytes.
        Some([REDIRECTED_HEADER, ..]) => Ok(Some(48)),
        Some(_) => Ok(None),
    }
}
