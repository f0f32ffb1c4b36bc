// SPDX-License-Identifier: GPL-2.0

//! The processing of a packet, chunk by chunk.

use super::{
    timeout::{of_state, Timeouts},
    track::Track,
};
use crate::proto::{
    state::sctp::{self as state, State},
    step::{Reason, Status, Step, Update},
    types::direction::Direction,
    wire::{
        error::Error,
        sctp::{Chunk, Header, Kind, Kinds, Packet, Tag, HEADER_LEN},
    },
};

/// Chunks with a rule of their own for the verification tag (section 8.5.1, and [`super`]).
const OWN_TAG_RULE: Kinds = Kinds::of([
    Kind::Init,
    Kind::Abort,
    Kind::ShutdownComplete,
    Kind::ShutdownAck,
    Kind::CookieEcho,
    Kind::Heartbeat,
    Kind::HeartbeatAck,
]);

/// Checks what needs no entry: lengths, and which chunks occur together. The caller verifies the
/// checksum.
///
/// `available` is the number of bytes from the SCTP header to the end of the packet. `read` copies
/// four bytes at an offset from the SCTP header.
#[inline]
pub fn parse<R: Fn(u32) -> Option<[u8; 4]>>(
    header: Header,
    available: u32,
    read: R,
) -> Result<Packet<R>, Reason> {
    if available < HEADER_LEN {
        return Err(Reason::Malformed(Error::Short));
    }
    Packet::parse(header, available, read).map_err(Reason::SctpChunks)
}

/// Processes one packet of an association.
///
/// The packet has passed [`parse`], and [`open()`](super::open()) if the entry is not confirmed.
/// The caller holds the entry's lock, and has read `status` before.
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

    let mut walk = ChunkWalk {
        track: *track,
        packet,
        direction,
        confirmed: status.confirmed,
        proves_nothing: false,
        update: Update::default(),
    };
    for chunk in packet.chunks() {
        if let Err(reason) = walk.chunk(&chunk) {
            return Step::invalid(reason);
        }
    }

    *track = walk.track;
    let mut update = walk.update;
    update.assured &= !status.assured;
    if !walk.proves_nothing {
        update.timeout = Some(of_state(timeouts, track.state()));
    }
    Step::Accept(update)
}

/// One packet on its way through the state machine, chunk by chunk.
struct ChunkWalk<'a, R> {
    /// The state after the chunks so far.
    track: Track,
    packet: &'a Packet<R>,
    direction: Direction,
    confirmed: bool,
    /// The packet does not refresh the entry.
    proves_nothing: bool,
    update: Update,
}

impl<R> ChunkWalk<'_, R>
where
    R: Fn(u32) -> Option<[u8; 4]>,
{
    /// Processes one chunk.
    fn chunk(&mut self, chunk: &Chunk) -> Result<(), Reason> {
        if let TagFit::Doubtful = self.check_tag(chunk)? {
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

    /// Applies the chunk's own rule for the verification tag, if it has one.
    #[inline]
    fn check_tag(&mut self, chunk: &Chunk) -> Result<TagFit, Reason> {
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
            Kind::Heartbeat | Kind::HeartbeatAck => return self.check_heartbeat(chunk.kind),
            _ => true,
        };
        if fits {
            Ok(TagFit::Good)
        } else {
            Err(Reason::SctpChunkTag)
        }
    }

    /// Applies the rule for HEARTBEAT and HEARTBEAT ACK; see [`super`].
    fn check_heartbeat(&mut self, kind: Kind) -> Result<TagFit, Reason> {
        let tag = self.packet.header().tag();
        let expected = self.track.tag(self.direction);
        if expected.is_zero() {
            self.track.set_tag(self.direction, tag);
            return Ok(TagFit::Good);
        }
        if tag == expected {
            self.track.trust_heartbeats();
            return Ok(TagFit::Good);
        }
        // No data may pass together with such a HEARTBEAT, and no second one.
        if self.packet.kinds().has(Kind::Data) || self.proves_nothing {
            return Err(Reason::SctpChunkTag);
        }
        if matches!(kind, Kind::Heartbeat) {
            self.track.doubt_heartbeat(self.direction);
            self.proves_nothing = true;
            return Ok(TagFit::Doubtful);
        }
        if !self.track.awaits_answer(self.direction) {
            return Err(Reason::SctpChunkTag);
        }
        self.track.trust_heartbeats();
        self.track.set_tag(self.direction, tag);
        // The next packet of the other direction sets its tag.
        self.track.set_tag(self.direction.opposite(), Tag::ZERO);
        Ok(TagFit::Good)
    }

    /// Stores the initiate tag of an INIT: the tag of packets in the other direction.
    fn take_init(&mut self, chunk: &Chunk, from: State, to: State) -> Result<(), Reason> {
        let chosen = chunk.initiate_tag.ok_or(Reason::SctpChunkTag)?;
        let answers = self.direction.opposite();
        // A retransmission, or a late INIT, is no new attempt.
        if matches!(from, State::None) || self.track.tag(answers) != chosen {
            self.track.note_init(self.direction);
        }
        self.track.set_tag(answers, chosen);
        // A retransmitted INIT must not keep the entry, and with it a NAT mapping, alive for ever.
        // A client that re-uses its port would have that effect.
        if self.confirmed && matches!((from, to), (State::Closed, State::Closed)) {
            self.proves_nothing = true;
        }
        Ok(())
    }

    /// Stores the initiate tag of an INIT ACK, unless it comes too late.
    fn take_init_ack(&mut self, chunk: &Chunk) -> Result<(), Reason> {
        let chosen = chunk.initiate_tag.ok_or(Reason::SctpChunkTag)?;
        let receiver = self.direction.opposite();
        let known = self.track.tag(receiver);
        if chosen != known {
            // It replies to no known INIT, and the association has its tags.
            let unasked = !self.track.has_open_init(receiver) && !known.is_zero();
            if unasked || self.track.inits_collide() {
                return Err(Reason::SctpChunkTag);
            }
        }
        self.track.set_tag(receiver, chosen);
        Ok(())
    }
}

/// The result of the check of a packet's tag for a chunk.
enum TagFit {
    /// The chunk belongs to the association.
    Good,
    /// The chunk may belong to an unknown association: it passes, but changes nothing.
    Doubtful,
}
