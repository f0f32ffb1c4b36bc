// SPDX-License-Identifier: GPL-2.0

//! The first packet of an association.

use super::track::Track;
use crate::proto::{
    step::Reason,
    types::direction::Direction,
    wire::sctp::{Kind, Kinds, Packet},
};

/// Chunks that must not open an entry: the association is unknown, and over or about to be aborted
/// (section 8.4).
const OUT_OF_THE_BLUE: Kinds = Kinds::of([Kind::Abort, Kind::ShutdownComplete, Kind::CookieAck]);

/// Creates the state of an entry from its first packet, in the original direction.
///
/// After success, [`packet()`](super::packet()) must process the same packet; it finds
/// [`State::None`](super::State::None). After an error no entry is created: the packet is INVALID.
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
            // It does not tell which association it belongs to.
            Kind::Data | Kind::Other => return Err(Reason::SctpNew),
            Kind::Init => match chunk.initiate_tag {
                Some(chosen) if tag.is_zero() => begin.set_tag(Direction::Reply, chosen),
                _ => return Err(Reason::SctpNew),
            },
            Kind::Heartbeat => begin.set_tag(Direction::Original, tag),
            // The reply, a SHUTDOWN COMPLETE or an ABORT, reflects the tag (section 8.4).
            Kind::ShutdownAck => begin.set_tag(Direction::Reply, tag),
            _ => {}
        }
    }
    *track = begin;
    Ok(())
}
