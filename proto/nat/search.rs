// SPDX-License-Identifier: GPL-2.0

//! The search for a free key.
//!
//! - [`thorough`] finds a free key if there is one. Towards most destinations few keys are used, so
//!   it first tries a few at random. If all of them are taken, the pool is crowded, and gets a set
//!   of marks ([`super::pool`]): from then on, keys known to be taken are skipped, 64 at a time.
//! - [`sample`] tries up to 248 keys, and then gives up, as the C engine does. The sysctl
//!   `nf_nat_thorough_search` selects [`thorough`] or [`sample`] for SNAT; DNAT always uses
//!   [`sample`], because clashes are rare there.

use super::{
    manip::Manip,
    occupancy::{Choice, Claim, Occupancy, Pool, Terms},
    range::{flag, Range},
    window::Window,
};
use crate::proto::{hash::reciprocal_scale, types::tuple::Tuple};

/// Number of random keys that are tried before a pool counts as crowded.
const RANDOM_TRIES: u32 = 12;
/// Size up to which a window is tried key by key.
const SMALL_WINDOW: u32 = 64;
/// Number of keys among which the closed connection with the least time left is looked for.
const CLOSED_TRIES: u32 = 128;

/// Looks for a free source key in the whole window.
pub(super) fn thorough(
    mut tuple: Tuple,
    window: &Window,
    range: &Range,
    view: &mut impl Occupancy,
) -> Choice {
    let begin = start(&tuple, window, range, Manip::Source, view);
    let found = if window.size <= SMALL_WINDOW {
        try_each(&mut tuple, window, begin, window.size, view)
    } else if let Some(pool) = view.pool(&tuple) {
        try_unmarked(&mut tuple, window, &pool, begin, view)
    } else if !range.has(flag::PROTO_OFFSET) && try_random(&mut tuple, window, view) {
        // (In an offset range the search starts at a fixed key, not at random.)
        true
    } else if let Some(pool) = view.crowded_pool(&tuple) {
        try_unmarked(&mut tuple, window, &pool, begin, view)
    } else {
        try_each(&mut tuple, window, begin, window.size.min(MAX_TRIES), view)
    };
    if found {
        Choice::Found(tuple)
    } else {
        Choice::Exhausted(tuple)
    }
}

/// Claims `tuple`, and returns whether it was free; then it is reserved.
pub(super) fn is_granted(view: &mut impl Occupancy, tuple: &Tuple) -> bool {
    view.claim(tuple, Terms::MustBeFree) == Claim::Granted
}

/// Tries one key after the other.
fn try_each(
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

/// Tries some keys at random.
fn try_random(tuple: &mut Tuple, window: &Window, view: &mut impl Occupancy) -> bool {
    (0..RANDOM_TRIES).any(|_| {
        let index = anywhere(window, view);
        window.put(tuple, index);
        is_granted(view, tuple)
    })
}

/// Tries all unmarked keys of the window, from `begin` on and around.
fn try_unmarked(
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

/// Tries the unmarked keys from `first` to `last`.
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
        match view.claim(tuple, Terms::MustBeFree) {
            Claim::Granted => return true,
            // The connection that has the key clears the mark.
            Claim::Taken => {}
            Claim::Unavailable => pool.forget(key),
        }
        if key >= last {
            break;
        }
        first = key.wrapping_add(1);
    }
    false
}

/// Takes over the key of a closed connection that is still in the table.
pub(super) fn take_over(
    mut tuple: Tuple,
    window: &Window,
    view: &mut impl Occupancy,
) -> Option<Tuple> {
    let begin = anywhere(window, view);
    let mut oldest: Option<(u32, Tuple)> = None;
    for step in 0..window.size.min(CLOSED_TRIES) {
        window.put(&mut tuple, begin.wrapping_add(step));
        let Some(left) = view.time_left_if_closed(&tuple) else {
            continue;
        };
        if oldest.is_none_or(|(least, _)| left < least) {
            oldest = Some((left, tuple));
        }
        if !view.oldest_first() {
            break;
        }
    }
    oldest
        .map(|(_, candidate)| candidate)
        .filter(|candidate| view.claim(candidate, Terms::TakeOver) == Claim::Granted)
}

/// Number of keys that are tried from the first random position on. Each further position gets half
/// as many.
const MAX_TRIES: u32 = 128;
/// The smallest number of tries from a position.
const MIN_TRIES: u32 = 8;
/// Number of last tries from a position that may take over closed connections.
const TAKE_OVER_TRIES: u32 = MAX_TRIES / 4;

/// Looks for a free key in samples of the window.
pub(super) fn sample(
    mut tuple: Tuple,
    window: &Window,
    range: &Range,
    manip: Manip,
    view: &mut impl Occupancy,
) -> Choice {
    let mut begin = start(&tuple, window, range, manip, view);
    let mut tries = window.size.min(MAX_TRIES);
    loop {
        for step in 0..tries {
            window.put(&mut tuple, begin.wrapping_add(step));
            let terms = if tries.wrapping_sub(step) <= TAKE_OVER_TRIES {
                Terms::TakeOver
            } else {
                Terms::MustBeFree
            };
            if view.claim(&tuple, terms) == Claim::Granted {
                return Choice::Found(tuple);
            }
        }
        if tries >= window.size || tries <= MIN_TRIES {
            return Choice::Exhausted(tuple);
        }
        tries = (tries >> 1).max(MIN_TRIES);
        begin = anywhere(window, view);
    }
}

/// Returns the index in the window at which the search begins.
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

/// Returns a random index into the window.
fn anywhere(window: &Window, view: &mut impl Occupancy) -> u32 {
    reciprocal_scale(view.random(), window.size)
}
