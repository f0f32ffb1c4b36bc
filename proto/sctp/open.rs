// SPDX-License-Identifier: GPL-2.0

//! The first packet of an association.

use super::track::Track;
use crate::proto::{
    step::Reason,
    types::direction::Direction,
    wire::sctp::{Kind, Kinds, Packet},
};

/// Chunks that must not open a connection: an association whose beginning we missed is over, or
/// is about to be told so (section 8.4).
const OUT_OF_THE_BLUE: Kinds = Kinds::of([Kind::Abort, Kind::ShutdownComplete, Kind::CookieAck]);

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
