// SPDX-License-Identifier: GPL-2.0

//! The choice of an address and a key that nobody else has.

use super::{
    super::{hash::reciprocal_scale, tuple::Tuple},
    range::{flag, Range},
    window::Window,
    Manip,
};

/// Keys tried one after the other from the first random place. Each further place gets half
/// as many: in softirq, the whole range would take too long.
const MOST_TRIES: u32 = 128;
/// There is no further place with fewer tries than this.
const LEAST_TRIES: u32 = 8;
/// In the last tries from a place, connections that are over give way.
const GIVE_WAY: u32 = MOST_TRIES / 4;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The connection's first packet, as it is now.
    pub tuple: Tuple,
    /// What the rule allows.
    pub range: &'a Range,
    /// Which end is to change.
    pub manip: Manip,
    /// The id of the connection's zone.
    pub zone_id: u16,
    /// Whether another connection announced this one.
    pub expected: bool,
}

/// Who has which tuple. All questions are about what a packet looks like after translation.
pub trait Occupancy {
    /// Whether the answers to `tuple` belong to another connection.
    fn is_taken(&mut self, tuple: &Tuple) -> bool;

    /// The same, for a connection that would not be translated: one that is the same, begun
    /// from its other end at the same moment, is no other.
    fn is_taken_untranslated(&mut self, tuple: &Tuple) -> bool;

    /// The same, but a connection that is over gives way.
    fn is_taken_for_good(&mut self, tuple: &Tuple) -> bool;

    /// How another connection from the source of `tuple` is mapped, of those that `suits`
    /// says: with the destination of `tuple`.
    fn mapping(&mut self, tuple: &Tuple, suits: impl Fn(&Tuple) -> bool) -> Option<Tuple>;

    /// A random number.
    fn random(&mut self) -> u32;
}

/// What was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Nobody has it, or the rule leaves no choice.
    Found(Tuple),
    /// Somebody has it, as everything else that was tried.
    Exhausted(Tuple),
}

impl Choice {
    /// What the packet is to look like.
    pub const fn tuple(&self) -> &Tuple {
        match self {
            Self::Found(tuple) | Self::Exhausted(tuple) => tuple,
        }
    }
}

/// Chooses what a connection is to look like.
///
/// As long as it may, a connection stays what it is; else it is mapped as another one from the
/// same source is; else the address is spread, and the key stays, or a free one is looked for.
pub fn choose(request: &Request<'_>, view: &mut impl Occupancy) -> Choice {
    let &Request {
        ref tuple,
        range,
        manip,
        zone_id,
        expected,
    } = request;
    let random = range.has(flag::PROTO_RANDOM_ALL);

    if manip == Manip::Source && !random {
        if range.suits_source(tuple) {
            if !view.is_taken_untranslated(tuple) {
                return Choice::Found(*tuple);
            }
        } else if let Some(known) = view.mapping(tuple, |known| range.suits_source(known)) {
            if !view.is_taken(&known) {
                return Choice::Found(known);
            }
        }
    }

    let spread = range.spread(tuple, manip, zone_id);
    if !random {
        let may_stay = if range.has(flag::PROTO_SPECIFIED) {
            !range.has(flag::PROTO_OFFSET)
                && range.contains_key(&spread, manip)
                && (range.has_one_key() || !view.is_taken(&spread))
        } else {
            !view.is_taken(&spread)
        };
        if may_stay {
            return Choice::Found(spread);
        }
    }

    match Window::of(&spread, range, manip, expected) {
        Some(window) => search(spread, &window, range, manip, view),
        // No key to vary. Who has it is seen when the connection is confirmed.
        None => Choice::Found(spread),
    }
}

/// Looks for a free key.
fn search(
    mut tuple: Tuple,
    window: &Window,
    range: &Range,
    manip: Manip,
    view: &mut impl Occupancy,
) -> Choice {
    let anywhere = |view: &mut _| reciprocal_scale(Occupancy::random(view), window.size);
    let mut start = if range.has(flag::PROTO_OFFSET) {
        let base = u16::from_be_bytes(range.base_key);
        let distance = window.key_of(&tuple).wrapping_sub(base);
        // The size is not zero.
        u32::from(distance).checked_rem(window.size).unwrap_or(0)
    } else if range.has(flag::PROTO_RANDOM_ALL) || manip == Manip::Source {
        anywhere(view)
    } else {
        0
    };

    let mut tries = window.size.min(MOST_TRIES);
    loop {
        for step in 0..tries {
            window.put(&mut tuple, start.wrapping_add(step));
            let taken = if tries.wrapping_sub(step) <= GIVE_WAY {
                view.is_taken_for_good(&tuple)
            } else {
                view.is_taken(&tuple)
            };
            if !taken {
                return Choice::Found(tuple);
            }
        }
        if tries >= window.size || tries <= LEAST_TRIES {
            return Choice::Exhausted(tuple);
        }
        tries = (tries >> 1).max(LEAST_TRIES);
        start = anywhere(view);
    }
}
