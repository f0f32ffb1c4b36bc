// SPDX-License-Identifier: GPL-2.0

//! The SCTP tracker (RFC 9260).
//!
//! [`parse`] looks at one packet by itself, [`open`] starts an entry with it, and [`packet`]
//! moves the entry on, chunk by chunk. [`state`] is the state machine.
//!
//! # Tags
//!
//! A packet belongs to an association if it carries the tag that its receiver chose in INIT or
//! INIT ACK (section 8.5). [`packet`] has the exceptions of section 8.5.1, and two that come of
//! being in the middle:
//!
//! - *Another path.* Of a multi-homed association, an entry may see but HEARTBEATs. It takes
//!   their tags over, if it knows none.
//! - *Another association.* The peers may have a new one over the same ports whose INIT we did
//!   not see. A HEARTBEAT with an unknown tag is let through without refresh. If it is answered
//!   with an unknown tag, the receiver took it as good, and so do we.
//!
//! # Collisions
//!
//! Both peers may send an INIT at the same time (section 5.2.1), or one may start over while the
//! other does not know it (section 5.2.2). The tag of an INIT counts at once, but that of an INIT
//! ACK only if it does not contradict an INIT that still is open: a late INIT ACK of an attempt
//! that lost must not overwrite the tags of the one that wins.
//!
//! # What differs from C
//!
//! A packet whose later chunk turns out INVALID changes nothing here. In C, what its earlier
//! chunks changed stays, although a firewall drops the packet.

use super::{
    direction::Direction,
    step::{Reason, Status, Step, Update},
    wire::{
        self,
        sctp::{Chunk, ChunkError, Header, Kind, Kinds, Packet, HEADER_LEN},
    },
};

mod track;

pub use super::state::sctp::{self as state, State};
pub use track::Track;

/// Entries of [`Timeouts`]: one for each state, and one that is no longer used.
pub const COUNT: usize = 10;

/// The timeouts of the SCTP tracker in jiffies, indexed as `enum sctp_conntrack` is: by state.
/// Index 0 repeats that of [`State::Closed`].
pub type Timeouts = [u32; COUNT];

/// Defaults in seconds.
pub const DEFAULT_SECONDS: Timeouts = [
    10,  // NONE: as CLOSED
    10,  // CLOSED
    3,   // COOKIE_WAIT
    3,   // COOKIE_ECHOED
    210, // ESTABLISHED: seven HEARTBEAT intervals
    3,   // SHUTDOWN_SENT
    3,   // SHUTDOWN_RECD
    3,   // SHUTDOWN_ACK_SENT
    30,  // HEARTBEAT_SENT
    0,
];

/// Chunks that must not open a connection: an association whose beginning we missed is over, or
/// is about to be told so (section 8.4).
const OUT_OF_THE_BLUE: Kinds = Kinds::of([Kind::Abort, Kind::ShutdownComplete, Kind::CookieAck]);

/// Chunks with a rule of their own for the tag (section 8.5.1, and the head of this file).
const OWN_TAG_RULE: Kinds = Kinds::of([
    Kind::Init,
    Kind::Abort,
    Kind::ShutdownComplete,
    Kind::ShutdownAck,
    Kind::CookieEcho,
    Kind::Heartbeat,
    Kind::HeartbeatAck,
]);

/// Checks what can be checked without knowing the association, except the checksum.
///
/// `available` is the number of octets of the packet from the SCTP header on; `read` copies four
/// octets at a position out of it, counted from the same point.
#[inline]
pub fn parse<R: Fn(u32) -> Option<[u8; 4]>>(
    header: Header,
    available: u32,
    read: R,
) -> Result<Packet<R>, Reason> {
    if available < HEADER_LEN {
        return Err(Reason::Malformed(wire::Error::Short));
    }
    Packet::parse(header, available, read).map_err(Reason::SctpChunks)
}

impl ChunkError {
    /// The text for the log.
    pub(super) const fn message(self) -> &'static str {
        match self {
            Self::None => "packet without chunks",
            Self::Empty => "chunk of length zero",
            Self::Bundled => "chunk that must not be bundled so",
        }
    }
}

/// Starts the record of an association with its first packet, in the original direction.
///
/// After success, [`packet`] has to judge the same packet; it finds [`State::None`]. An error
/// means that no entry is to be made: the packet is INVALID.
pub fn open<R: Fn(u32) -> Option<[u8; 4]>>(
    track: &mut Track,
    packet: &Packet<R>,
) -> Result<(), Reason> {
    if packet.kinds().any_of(OUT_OF_THE_BLUE) {
        return Err(Reason::SctpNew);
    }
    let tag = packet.header().tag();
    let mut begin = Track::default();
    for chunk in packet.chunks() {
        match chunk.kind {
            // Says nothing about what it belongs to.
            Kind::Data | Kind::Other => return Err(Reason::SctpNew),
            Kind::Init => match chunk.initiate_tag {
                Some(chosen) if tag.is_zero() => begin.set_tag(Direction::Reply, chosen),
                _ => return Err(Reason::SctpNew),
            },
            Kind::Heartbeat => begin.set_tag(Direction::Original, tag),
            // The answer, a SHUTDOWN COMPLETE or an ABORT, reflects the tag (section 8.4).
            Kind::ShutdownAck => begin.set_tag(Direction::Reply, tag),
            _ => {}
        }
    }
    *track = begin;
    Ok(())
}

/// Moves an association on by one packet.
///
/// The packet has passed [`parse`], and [`open`] if the entry is not confirmed. The caller holds
/// the entry's lock, so that `track` is its own, and has taken `status` before.
pub fn packet<R: Fn(u32) -> Option<[u8; 4]>>(
    track: &mut Track,
    packet: &Packet<R>,
    direction: Direction,
    status: &Status,
    timeouts: &Timeouts,
) -> Step {
    let tag = packet.header().tag();
    if !packet.kinds().any_of(OWN_TAG_RULE) && tag != track.tag(direction) {
        return Step::invalid(Reason::SctpTag);
    }

    let mut passage = Passage {
        track: *track,
        packet,
        direction,
        confirmed: status.confirmed,
        proves_nothing: false,
        update: Update::default(),
    };
    for chunk in packet.chunks() {
        if let Err(reason) = passage.chunk(&chunk) {
            return Step::invalid(reason);
        }
    }

    *track = passage.track;
    let mut update = passage.update;
    update.assured &= !status.assured;
    if !passage.proves_nothing {
        update.timeout = Some(timeout(timeouts, track.state()));
    }
    Step::Accept(update)
}

/// The timeout of a state.
#[inline]
fn timeout(timeouts: &Timeouts, state: State) -> u32 {
    timeouts.get(state.to_u32() as usize).copied().unwrap_or(0)
}

/// One packet's way through the state machine.
struct Passage<'a, R> {
    /// The record, as the chunks so far left it.
    track: Track,
    packet: &'a Packet<R>,
    direction: Direction,
    confirmed: bool,
    /// The packet does not keep the entry alive.
    proves_nothing: bool,
    update: Update,
}

impl<R> Passage<'_, R>
where
    R: Fn(u32) -> Option<[u8; 4]>,
{
    /// Takes in one chunk.
    fn chunk(&mut self, chunk: &Chunk) -> Result<(), Reason> {
        if let Tag::Doubtful = self.judge_tag(chunk)? {
            return Ok(());
        }
        let from = self.track.state();
        let Some(to) = state::next(self.direction, chunk.kind, from) else {
            return Err(Reason::SctpState {
                kind: chunk.kind,
                direction: self.direction,
                state: from,
            });
        };
        match chunk.kind {
            Kind::Init => self.take_init(chunk, from, to)?,
            Kind::InitAck => self.take_init_ack(chunk)?,
            Kind::CookieAck => self.track.settle_inits(),
            _ => {}
        }
        if to != from {
            self.track.set_state(to);
            self.update.protoinfo = true;
            self.update.assured |= matches!(to, State::Established);
        }
        Ok(())
    }

    /// Applies the chunk's own rule for the packet's tag, where it has one.
    #[inline]
    fn judge_tag(&mut self, chunk: &Chunk) -> Result<Tag, Reason> {
        let tag = self.packet.header().tag();
        let expected = self.track.tag(self.direction);
        let fits = match chunk.kind {
            // Section 8.5.1, A.
            Kind::Init => tag.is_zero(),
            // B and C.
            Kind::Abort | Kind::ShutdownComplete if chunk.tag_reflected => {
                tag == self.track.tag(self.direction.opposite())
            }
            // D among them.
            Kind::Abort | Kind::ShutdownComplete | Kind::CookieEcho => tag == expected,
            Kind::Heartbeat | Kind::HeartbeatAck => return self.judge_heartbeat(chunk.kind),
            _ => true,
        };
        if fits {
            Ok(Tag::Good)
        } else {
            Err(Reason::SctpChunkTag)
        }
    }

    /// The tag of a HEARTBEAT or its answer; see the head of this file.
    fn judge_heartbeat(&mut self, kind: Kind) -> Result<Tag, Reason> {
        let tag = self.packet.header().tag();
        let expected = self.track.tag(self.direction);
        if expected.is_zero() {
            self.track.set_tag(self.direction, tag);
            return Ok(Tag::Good);
        }
        if tag == expected {
            self.track.trust_heartbeats();
            return Ok(Tag::Good);
        }
        // Data must not slip through beside a HEARTBEAT, nor may there be two.
        if self.packet.kinds().has(Kind::Data) || self.proves_nothing {
            return Err(Reason::SctpChunkTag);
        }
        if matches!(kind, Kind::Heartbeat) {
            self.track.doubt_heartbeat(self.direction);
            self.proves_nothing = true;
            return Ok(Tag::Doubtful);
        }
        if !self.track.awaits_answer(self.direction) {
            return Err(Reason::SctpChunkTag);
        }
        self.track.trust_heartbeats();
        self.track.set_tag(self.direction, tag);
        // The next packet of the other direction tells its own.
        self.track
            .set_tag(self.direction.opposite(), wire::sctp::Tag::ZERO);
        Ok(Tag::Good)
    }

    /// An INIT tells the tag of packets in the other direction.
    fn take_init(&mut self, chunk: &Chunk, from: State, to: State) -> Result<(), Reason> {
        let chosen = chunk.initiate_tag.ok_or(Reason::SctpChunkTag)?;
        let answers = self.direction.opposite();
        // A repetition, or one that comes late, is not another attempt.
        if matches!(from, State::None) || self.track.tag(answers) != chosen {
            self.track.note_init(self.direction);
        }
        self.track.set_tag(answers, chosen);
        // A repeated INIT must not keep the entry, and with it a NAT mapping, alive for ever: a
        // client that re-uses its port would do just that.
        if self.confirmed && matches!((from, to), (State::Closed, State::Closed)) {
            self.proves_nothing = true;
        }
        Ok(())
    }

    /// An INIT ACK does, too, unless it comes too late.
    fn take_init_ack(&mut self, chunk: &Chunk) -> Result<(), Reason> {
        let chosen = chunk.initiate_tag.ok_or(Reason::SctpChunkTag)?;
        let receiver = self.direction.opposite();
        let known = self.track.tag(receiver);
        if chosen != known {
            // It answers no INIT that we know of, and the association has its tags.
            let unasked = !self.track.has_open_init(receiver) && !known.is_zero();
            if unasked || self.track.inits_collide() {
                return Err(Reason::SctpChunkTag);
            }
        }
        self.track.set_tag(receiver, chosen);
        Ok(())
    }
}

/// What a packet's tag says about a chunk that it admits.
enum Tag {
    /// The chunk counts.
    Good,
    /// The chunk may belong to an association that we do not know: it passes, but does not count.
    Doubtful,
}
