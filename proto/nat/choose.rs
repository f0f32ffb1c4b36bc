// SPDX-License-Identifier: GPL-2.0

//! The choice of an address and a key that nobody else has.

use super::{
    super::{hash::reciprocal_scale, tuple::Tuple},
    range::{flag, Range},
    search,
    window::Window,
    Manip,
};

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
    /// Whether a free key is to be found wherever it is, see [`search`].
    pub thorough: bool,
}

/// What a connection that asks for a tuple may find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Nobody had it; nobody else gets it from now on.
    Granted,
    /// Another connection has it, which will tell the pool when it ends.
    Taken,
    /// It is not to be had, and nobody will tell when it is.
    Barred,
}

/// How much a connection is content with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terms {
    /// Nobody else may have the tuple.
    Alone,
    /// The connection would not be translated: one that is the same, begun from its other end
    /// at the same moment, is no other.
    Untranslated,
    /// A connection that is over gives way.
    Succeed,
}

/// Who has which tuple. All questions are about what a packet looks like after translation.
pub trait Occupancy {
    /// What is known about the keys of a crowded pool.
    type Pool: Pool;

    /// Asks for `tuple`. A former claim of the same connection is given up.
    fn claim(&mut self, tuple: &Tuple, terms: Terms) -> Claim;

    /// How another connection from the source of `tuple` is mapped, of those that `suits`
    /// says: with the destination of `tuple`.
    fn mapping(&mut self, tuple: &Tuple, suits: impl Fn(&Tuple) -> bool) -> Option<Tuple>;

    /// How another packet of this very connection is mapped, if one came just now on another
    /// CPU: with the destination of `tuple`.
    fn twin(&mut self, tuple: &Tuple) -> Option<Tuple>;

    /// A random number.
    fn random(&mut self) -> u32;

    /// The pool of `tuple`, whatever its key, if it is known to be crowded.
    fn pool(&mut self, tuple: &Tuple) -> Option<Self::Pool>;

    /// The same, which is known to be crowded from now on. [`None`]: no memory for it.
    fn crowded_pool(&mut self, tuple: &Tuple) -> Option<Self::Pool>;

    /// If the connection that has `tuple` is over and may give way: the time left to it, in
    /// jiffies.
    fn is_over(&mut self, tuple: &Tuple) -> Option<u32>;

    /// Whether the one that is closest to its end has to give way, or any.
    fn oldest_first(&self) -> bool;
}

/// What is known about the keys of a crowded pool.
pub trait Pool {
    /// The first key from `first` to `last` that nobody is known to have, which is marked as
    /// taken now.
    fn next(&self, first: u16, last: u16) -> Option<u16>;

    /// Clears the mark.
    fn forget(&self, key: u16);
}

/// What was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Nobody has it, or the rule leaves no choice.
    Found(Tuple),
    /// Somebody has it, as everything else that was tried.
    Exhausted(Tuple),
}

/// Addresses of a range that are tried.
const ADDRESSES: u32 = 32;

/// Chooses what a connection is to look like.
///
/// As long as it may, a connection stays what it is; else it is mapped as another one from the
/// same source is; else the address is spread, and the key stays, or a free one is looked for.
/// A thorough choice goes on with the next address, and at last takes the place of a connection
/// that is over.
pub fn choose(request: &Request<'_>, view: &mut impl Occupancy) -> Choice {
    let &Request {
        ref tuple,
        range,
        manip,
        zone_id,
        expected,
        thorough,
    } = request;

    if manip == Manip::Source && !range.has(flag::PROTO_RANDOM_ALL) {
        if range.suits_source(tuple) {
            if view.claim(tuple, Terms::Untranslated) == Claim::Granted {
                return Choice::Found(*tuple);
            }
        } else if let Some(known) = view.mapping(tuple, |known| range.suits_source(known)) {
            if view.claim(&known, Terms::Alone) == Claim::Granted {
                return Choice::Found(known);
            }
        }
    }

    let first = range.spread(tuple, manip, zone_id);
    if !thorough || manip != Manip::Source {
        return at_address(request, first, view);
    }
    let mut next = first;
    for _ in 0..ADDRESSES {
        let choice = at_address(request, next, view);
        if matches!(choice, Choice::Found(_)) {
            return choice;
        }
        if range.has(flag::PERSISTENT) {
            break;
        }
        next.src = range.address_after(&next);
        if next.src == first.src {
            break;
        }
    }
    Window::of(&first, range, manip, expected)
        .and_then(|window| search::succeed(first, &window, view))
        .map_or(Choice::Exhausted(first), Choice::Found)
}

/// Chooses a key for `spread`, which has its address.
fn at_address(request: &Request<'_>, spread: Tuple, view: &mut impl Occupancy) -> Choice {
    let &Request {
        range,
        manip,
        expected,
        thorough,
        ..
    } = request;

    let may_stay = if range.has(flag::PROTO_RANDOM_ALL) {
        false
    } else if range.has(flag::PROTO_SPECIFIED) {
        !range.has(flag::PROTO_OFFSET)
            && range.contains_key(&spread, manip)
            && (range.has_one_key() && !thorough || search::is_granted(view, &spread))
    } else {
        search::is_granted(view, &spread)
    };
    if may_stay {
        return Choice::Found(spread);
    }
    if manip == Manip::Source {
        let twin = view
            .twin(&spread)
            .filter(|twin| range.suits_source(twin) && search::is_granted(view, twin));
        if let Some(twin) = twin {
            return Choice::Found(twin);
        }
    }

    match Window::of(&spread, range, manip, expected) {
        Some(window) if thorough && manip == Manip::Source => {
            search::thorough(spread, &window, range, view)
        }
        Some(window) => search::sample(spread, &window, range, manip, view),
        // No key to vary. Who has it is seen when the connection is confirmed.
        None => Choice::Found(spread),
    }
}

/// Where the search for a key begins, as an index into the window.
pub(super) fn start(
    tuple: &Tuple,
    window: &Window,
    range: &Range,
    manip: Manip,
    view: &mut impl Occupancy,
) -> u32 {
    if range.has(flag::PROTO_OFFSET) {
        let base = u16::from_be_bytes(range.base_key);
        let distance = window.key_of(tuple).wrapping_sub(base);
        // The size is not zero.
        u32::from(distance).checked_rem(window.size).unwrap_or(0)
    } else if range.has(flag::PROTO_RANDOM_ALL) || manip == Manip::Source {
        anywhere(window, view)
    } else {
        0
    }
}

/// A random index into the window.
pub(super) fn anywhere(window: &Window, view: &mut impl Occupancy) -> u32 {
    reciprocal_scale(view.random(), window.size)
}
