// SPDX-License-Identifier: GPL-2.0

//! The SCTP packet (RFC 9260, section 3): a common header, followed by chunks.

use crate::proto::types::num::u32_as_usize;

/// Length of the common header in bytes.
pub const HEADER_LEN: u32 = 12;

/// Length of a chunk's header in bytes.
const CHUNK_HEADER_LEN: u32 = 4;

/// Length of the fixed part of INIT and INIT ACK after the chunk's header, in bytes.
const INIT_LEN: u32 = 16;

/// A verification tag in network byte order. Zero belongs to no association.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct Tag(pub [u8; 4]);

impl Tag {
    /// The tag of a packet that belongs to no association yet: one with an INIT.
    pub const ZERO: Self = Self([0; 4]);

    /// Returns whether this is [`Tag::ZERO`].
    #[inline]
    pub const fn is_zero(self) -> bool {
        matches!(self.0, [0, 0, 0, 0])
    }
}

/// The common header, without the checksum, which the caller verifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    source: u16,
    destination: u16,
    tag: Tag,
}

impl Header {
    /// Splits the bytes into fields, without checking them.
    #[inline]
    pub const fn parse(bytes: &[u8; u32_as_usize(HEADER_LEN)]) -> Self {
        let [s0, s1, d0, d1, t0, t1, t2, t3, ..] = *bytes;
        Self {
            source: u16::from_be_bytes([s0, s1]),
            destination: u16::from_be_bytes([d0, d1]),
            tag: Tag([t0, t1, t2, t3]),
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

    /// Returns the tag that the receiver of the packet chose.
    #[inline]
    pub const fn tag(&self) -> Tag {
        self.tag
    }
}

/// The kind of a chunk, as far as connection tracking distinguishes them.
///
/// The discriminants are bit numbers of [`Kinds`]; [`Kind::of`] has the numbers on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// DATA: user data.
    Data,
    /// INIT: opens an association.
    Init,
    /// INIT ACK: replies to INIT, with a cookie.
    InitAck,
    /// HEARTBEAT: probes a path.
    Heartbeat,
    /// HEARTBEAT ACK: replies to HEARTBEAT.
    HeartbeatAck,
    /// ABORT: ends an association at once.
    Abort,
    /// SHUTDOWN: begins an orderly end.
    Shutdown,
    /// SHUTDOWN ACK: replies to SHUTDOWN.
    ShutdownAck,
    /// ERROR: reports a condition, perhaps a stale cookie.
    Error,
    /// COOKIE ECHO: returns the cookie.
    CookieEcho,
    /// COOKIE ACK: the association is established.
    CookieAck,
    /// SHUTDOWN COMPLETE: the association is over.
    ShutdownComplete,
    /// SACK, extensions, and unknown chunks.
    Other,
}

impl Kind {
    /// Number of kinds.
    pub const COUNT: usize = 13;

    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Data,
        Self::Init,
        Self::InitAck,
        Self::Heartbeat,
        Self::HeartbeatAck,
        Self::Abort,
        Self::Shutdown,
        Self::ShutdownAck,
        Self::Error,
        Self::CookieEcho,
        Self::CookieAck,
        Self::ShutdownComplete,
        Self::Other,
    ];

    /// Returns the kind of a chunk with this type number (RFC 9260, section 3.2).
    #[inline]
    pub const fn of(number: u8) -> Self {
        match number {
            0 => Self::Data,
            1 => Self::Init,
            2 => Self::InitAck,
            4 => Self::Heartbeat,
            5 => Self::HeartbeatAck,
            6 => Self::Abort,
            7 => Self::Shutdown,
            8 => Self::ShutdownAck,
            9 => Self::Error,
            10 => Self::CookieEcho,
            11 => Self::CookieAck,
            14 => Self::ShutdownComplete,
            _ => Self::Other,
        }
    }

    /// Returns the kind's number.
    #[inline]
    pub const fn to_u8(self) -> u8 {
        // CAST: the discriminant, by `repr(u8)`.
        self as u8
    }

    /// Returns whether the chunk must be the only one of its packet (RFC 9260, section 6.10).
    #[inline]
    const fn is_alone(self) -> bool {
        matches!(self, Self::Init | Self::InitAck | Self::ShutdownComplete)
    }

    /// Returns whether the chunk must be the first one of its packet (RFC 9260, sections 3.3.11 and
    /// 3.3.12).
    #[inline]
    const fn is_first(self) -> bool {
        matches!(self, Self::CookieEcho | Self::CookieAck)
    }
}

/// A set of [`Kind`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Kinds(u16);

impl Kinds {
    /// Returns the set of these kinds.
    pub const fn of<const N: usize>(kinds: [Kind; N]) -> Self {
        let mut set = Self(0);
        let mut rest: &[Kind] = &kinds;
        while let [first, tail @ ..] = rest {
            set = set.with(*first);
            rest = tail;
        }
        set
    }

    #[inline]
    const fn with(self, kind: Kind) -> Self {
        // CAST: the discriminants are below 13, so no bit is shifted out.
        Self(self.0 | 1_u16.wrapping_shl(kind as u32))
    }

    /// Returns whether `kind` is in the set.
    #[inline]
    pub const fn has(self, kind: Kind) -> bool {
        self.any_of(Self(0).with(kind))
    }

    /// Returns whether one of `others` is in the set.
    #[inline]
    pub const fn any_of(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }
}

/// A chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its kind.
    pub kind: Kind,
    /// The T bit of ABORT and SHUTDOWN COMPLETE (sections 3.3.7 and 3.3.13): the sender does not
    /// know the receiver's tag and used its own.
    pub tag_reflected: bool,
    /// The initiate tag of an INIT or INIT ACK. [`None`] for other chunks, and if the packet ends
    /// within the chunk's fixed part.
    pub initiate_tag: Option<Tag>,
    /// Length in bytes, without padding.
    pub len: u16,
}

/// Why the chunks of a packet are not acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkError {
    /// There is no chunk.
    None,
    /// A chunk has length zero.
    Empty,
    /// A chunk that must be alone, or the first, is not.
    Bundled,
}

impl ChunkError {
    /// Returns the text for the log.
    pub const fn message(self) -> &'static str {
        match self {
            Self::None => "packet without chunks",
            Self::Empty => "chunk of length zero",
            Self::Bundled => "chunk that must not be bundled so",
        }
    }
}

/// A packet that has passed the checks of [`Packet::parse`].
///
/// `R` copies four bytes out of the packet, at an offset from the SCTP header.
#[derive(Clone, Copy, Debug)]
pub struct Packet<R> {
    header: Header,
    kinds: Kinds,
    len: u32,
    read: R,
}

impl<R: Fn(u32) -> Option<[u8; 4]>> Packet<R> {
    /// Checks all chunks of a packet. `len` is the number of bytes from the common header to the
    /// end of the packet.
    pub fn parse(header: Header, len: u32, read: R) -> Result<Self, ChunkError> {
        let mut packet = Self {
            header,
            kinds: Kinds::default(),
            len,
            read,
        };
        let mut kinds = Kinds::default();
        let mut first = true;
        let mut alone = false;
        for chunk in packet.chunks() {
            alone |= chunk.kind.is_alone();
            if !first && (alone || chunk.kind.is_first()) {
                return Err(ChunkError::Bundled);
            }
            if chunk.len == 0 {
                return Err(ChunkError::Empty);
            }
            kinds = kinds.with(chunk.kind);
            first = false;
        }
        if first {
            return Err(ChunkError::None);
        }
        packet.kinds = kinds;
        Ok(packet)
    }

    /// Returns the common header.
    #[inline]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the kinds of chunks that are in the packet.
    #[inline]
    pub const fn kinds(&self) -> Kinds {
        self.kinds
    }

    /// Returns an iterator over the chunks. A chunk of length zero is the last one.
    #[inline]
    pub const fn chunks(&self) -> Chunks<'_, R> {
        Chunks {
            packet: self,
            offset: HEADER_LEN,
        }
    }

    /// Returns the four bytes at `offset`, if the packet has at least `bytes` bytes from there on.
    fn word(&self, offset: u32, bytes: u32) -> Option<[u8; 4]> {
        if offset.checked_add(bytes)? > self.len {
            return None;
        }
        (self.read)(offset)
    }
}

/// Iterator over the chunks of a [`Packet`].
#[derive(Clone, Debug)]
pub struct Chunks<'a, R> {
    packet: &'a Packet<R>,
    offset: u32,
}

impl<R: Fn(u32) -> Option<[u8; 4]>> Iterator for Chunks<'_, R> {
    type Item = Chunk;

    #[inline]
    fn next(&mut self) -> Option<Chunk> {
        // The T bit is the lowest of the flags.
        const T: u8 = 0x01;

        let [number, flags, l0, l1] = self.packet.word(self.offset, CHUNK_HEADER_LEN)?;
        let body = self.offset.wrapping_add(CHUNK_HEADER_LEN);
        let kind = Kind::of(number);
        let initiate_tag = if matches!(kind, Kind::Init | Kind::InitAck) {
            self.packet.word(body, INIT_LEN).map(Tag)
        } else {
            None
        };
        let len = u16::from_be_bytes([l0, l1]);
        // Chunks are padded to a multiple of four bytes.
        self.offset = match u32::from(len).wrapping_add(3) & !3 {
            0 => u32::MAX,
            bytes => self.offset.saturating_add(bytes),
        };
        Some(Chunk {
            kind,
            tag_reflected: flags & T != 0,
            initiate_tag,
            len,
        })
    }
}
