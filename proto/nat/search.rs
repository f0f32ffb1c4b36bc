// SPDX-License-Identifier: GPL-2.0

//! The search for a key that nobody else has.
//!
//! - [`thorough`] finds a free key if there is one. Towards most destinations few keys are
//!   used, so a few at random are asked for first. If all of them are taken the pool is
//!   crowded, and is remembered as a set of keys ([`super::pool`]) from then on: what is known
//!   to be taken is passed over, 64 keys at a time.
//! - [`sample`] asks for up to 248 keys, and then gives up: what the C engine does, for which
//!   a setting asks, and what is enough for destinations, which rarely clash.

use super::{
    manip::Manip,
    occupancy::{Choice, Claim, Occupancy, Pool, Terms},
    range::{flag, Range},
    window::Window,
};
use crate::proto::{hash::reciprocal_scale, types::tuple::Tuple};

/// Keys asked for before a pool counts as crowded.
const GUESSES: u32 = 12;
/// Windows up to this size are asked for key by key.
const SMALL: u32 = 64;
/// Connections looked at to find the one among them that has been over for the longest time.
const ELDERS: u32 = 128;

/// Looks for a free source key, wherever it is.
pub(super) fn thorough(
    mut tuple: Tuple,
    window: &Window,
    range: &Range,
    view: &mut impl Occupancy,
) -> Choice {
    let begin = start(&tuple, window, range, Manip::Source, view);
    let found = if window.size <= SMALL {
        each(&mut tuple, window, begin, window.size, view)
    } else if let Some(pool) = view.pool(&tuple) {
        go_round(&mut tuple, window, &pool, begin, view)
    } else if !range.has(flag::PROTO_OFFSET) && guess(&mut tuple, window, view) {
        // (An offset range has one key that comes first.)
        true
    } else if let Some(pool) = view.crowded_pool(&tuple) {
        go_round(&mut tuple, window, &pool, begin, view)
    } else {
        each(&mut tuple, window, begin, window.size.min(MOST_TRIES), view)
    };
    if found {
        Choice::Found(tuple)
    } else {
        Choice::Exhausted(tuple)
    }
}

/// Whether nobody else has `tuple`: then nobody gets it from now on.
pub(super) fn is_granted(view: &mut impl Occupancy, tuple: &Tuple) -> bool {
    view.claim(tuple, Terms::Alone) == Claim::Granted
}

/// Asks for one key after the other.
fn each(
    tuple: &mut Tuple,
    window: &Window,
    begin: u32,
    tries: u32,
    view: &mut impl Occupancy,
) -> bool {
    (0..tries).any(|step| {
        window.put(tuple, begin.wrapping_add(step));
        is_granted(view, tuple)
    })
}

/// Asks for some keys at random.
fn guess(tuple: &mut Tuple, window: &Window, view: &mut impl Occupancy) -> bool {
    (0..GUESSES).any(|_| {
        let index = anywhere(window, view);
        window.put(tuple, index);
        is_granted(view, tuple)
    })
}

/// Goes once round the window, over what is known to be taken.
fn go_round(
    tuple: &mut Tuple,
    window: &Window,
    pool: &impl Pool,
    begin: u32,
    view: &mut impl Occupancy,
) -> bool {
    let first = window.key(begin);
    let last = window.key(window.size.wrapping_sub(1));
    search_pool(tuple, window, pool, first, last, view)
        || (begin != 0 && search_pool(tuple, window, pool, window.min, first.wrapping_sub(1), view))
}

fn search_pool(
    tuple: &mut Tuple,
    window: &Window,
    pool: &impl Pool,
    mut first: u16,
    last: u16,
    view: &mut impl Occupancy,
) -> bool {
    while let Some(key) = pool.next(first, last) {
        window.put(tuple, u32::from(key.wrapping_sub(window.min)));
        match view.claim(tuple, Terms::Alone) {
            Claim::Granted => return true,
            // Its owner clears the mark.
            Claim::Taken => {}
            Claim::Barred => pool.forget(key),
        }
        if key >= last {
            break;
        }
        first = key.wrapping_add(1);
    }
    false
}

/// Takes the place of a connection that is over, but still remembered.
pub(super) fn succeed(
    mut tuple: Tuple,
    window: &Window,
    view: &mut impl Occupancy,
) -> Option<Tuple> {
    let begin = anywhere(window, view);
    let mut eldest: Option<(u32, Tuple)> = None;
    for step in 0..window.size.min(ELDERS) {
        window.put(&mut tuple, begin.wrapping_add(step));
        let Some(left) = view.is_over(&tuple) else {
            continue;
        };
        if eldest.is_none_or(|(least, _)| left < least) {
            eldest = Some((left, tuple));
        }
        if !view.oldest_first() {
            break;
        }
    }
    eldest
        .map(|(_, candidate)| candidate)
        .filter(|candidate| view.claim(candidate, Terms::Succeed) == Claim::Granted)
}

/// Keys tried one after the other from the first random place. Each further place gets half
/// as many.
const MOST_TRIES: u32 = 128;
/// There is no further place with fewer tries than this.
const LEAST_TRIES: u32 = 8;
/// In the last tries from a place, connections that are over give way.
const GIVE_WAY: u32 = MOST_TRIES / 4;

/// Looks for a free key among some.
pub(super) fn sample(
    mut tuple: Tuple,
    window: &Window,
    range: &Range,
    manip: Manip,
    view: &mut impl Occupancy,
) -> Choice {
    let mut begin = start(&tuple, window, range, manip, view);
    let mut tries = window.size.min(MOST_TRIES);
    loop {
        for step in 0..tries {
            window.put(&mut tuple, begin.wrapping_add(step));
            let terms = if tries.wrapping_sub(step) <= GIVE_WAY {
                Terms::Succeed
            } else {
                Terms::Alone
            };
            if view.claim(&tuple, terms) == Claim::Granted {
                return Choice::Found(tuple);
            }
        }
        if tries >= window.size || tries <= LEAST_TRIES {
            return Choice::Exhausted(tuple);
        }
        tries = (tries >> 1).max(LEAST_TRIES);
        begin = anywhere(window, view);
    }
}

/// Where the search for a key begins, as an index into the window.
fn start(
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
fn anywhere(window: &Window, view: &mut impl Occupancy) -> u32 {
    reciprocal_scale(view.random(), window.size)
}
