// SPDX-License-Identifier: GPL-2.0

//! The search for a free key.
//!
//! - [`thorough`] finds a free key if there is one. Towards most destinations few keys are used, so
//!   it first tries a few at random. If all of them are taken, the pool is crowded, and gets a set
//!   of marks ([`super::pool`]): from then on, keys known to be taken are skipped, 64 at a time,
//!   and so are those that a setting bars. After [`UNAVAILABLE_TRIES`] keys that are unavailable
//!   for another reason it gives up, so that no packet waits for long.
//! - [`sample`] tries up to 248 keys, and then gives up, as the C engine does. The sysctl
//!   `nf_nat_thorough_search` selects [`thorough`] or [`sample`] for SNAT; DNAT always uses
//!   [`sample`], because clashes are rare there.

use super::{
    manip::Manip,
    occupancy::{Choice, Claim, Occupancy, Pool, Terms},
    pool::first_open,
    range::{flag, Range},
    window::Window,
};
use crate::proto::{hash::reciprocal_scale, types::tuple::Tuple};

/// Number of keys that are tried before a pool counts as crowded.
const FIRST_TRIES: u32 = 12;
/// Size up to which a window is tried key by key.
const SMALL_WINDOW: u32 = 64;
/// Number of keys among which the closed connection with the least time left is looked for.
const CLOSED_TRIES: u32 = 128;

/// Number of keys that a choice may find unavailable, although no setting bars them: a local socket
/// uses the port, for example. Such a key is not remembered, and to find out costs more than a
/// mark.
const UNAVAILABLE_TRIES: u32 = 256;

/// The limit of a choice, over all addresses that it tries.
pub(super) struct Budget {
    unavailable: u32,
}

impl Budget {
    pub(super) const fn new() -> Self {
        Self {
            unavailable: UNAVAILABLE_TRIES,
        }
    }

    /// Returns whether the search has to end without a result.
    pub(super) const fn is_spent(&self) -> bool {
        self.unavailable == 0
    }

    /// Claims `tuple`, and returns whether the search is over: the tuple was free, or the budget is
    /// spent.
    fn ends_with(&mut self, view: &mut impl Occupancy, tuple: &Tuple) -> bool {
        match view.claim(tuple, Terms::MustBeFree) {
            Claim::Granted => return true,
            Claim::Taken => {}
            Claim::Unavailable => self.unavailable = self.unavailable.saturating_sub(1),
        }
        self.is_spent()
    }
}

/// Looks for a free source key in the whole window.
pub(super) fn thorough(
    mut tuple: Tuple,
    window: &Window,
    range: &Range,
    budget: &mut Budget,
    view: &mut impl Occupancy,
) -> Choice {
    let begin = start(&tuple, window, range, Manip::Source, view);
    let is_over = if window.size <= SMALL_WINDOW {
        try_each(&mut tuple, window, begin, window.size, budget, view)
    } else if let Some(pool) = view.pool(&tuple) {
        try_unmarked(&mut tuple, window, &pool, begin, budget, view)
    } else if try_some(&mut tuple, window, range, begin, budget, view) {
        true
    } else if is_all_barred(&tuple, window, view) {
        false
    } else if let Some(pool) = view.crowded_pool(&tuple) {
        try_unmarked(&mut tuple, window, &pool, begin, budget, view)
    } else {
        let tries = window.size.min(MAX_TRIES);
        try_each(&mut tuple, window, begin, tries, budget, view)
    };
    if is_over && !budget.is_spent() {
        Choice::Found(tuple)
    } else {
        Choice::Exhausted(tuple)
    }
}

/// Claims `tuple`, and returns whether it was free; then it is reserved.
pub(super) fn is_granted(view: &mut impl Occupancy, tuple: &Tuple) -> bool {
    view.claim(tuple, Terms::MustBeFree) == Claim::Granted
}

/// Returns whether no claim gets any key of the window, at whatever address.
pub(super) fn is_all_barred(tuple: &Tuple, window: &Window, view: &impl Occupancy) -> bool {
    let last = window.key(window.size.wrapping_sub(1));
    first_open(window.min, last, |number| Some(view.barred(tuple, number))).is_none()
}

/// Returns whether no claim gets the key of `tuple`.
fn is_barred(tuple: &Tuple, window: &Window, view: &impl Occupancy) -> bool {
    let key = window.key_of(tuple);
    view.barred(tuple, key >> 6) & 1 << (key & 63) != 0
}

/// Tries one key after the other.
fn try_each(
    tuple: &mut Tuple,
    window: &Window,
    begin: u32,
    tries: u32,
    budget: &mut Budget,
    view: &mut impl Occupancy,
) -> bool {
    (0..tries).any(|step| {
        window.put(tuple, begin.wrapping_add(step));
        !is_barred(tuple, window, view) && budget.ends_with(view, tuple)
    })
}

/// Tries some keys: at random, or those that the offset leads to.
fn try_some(
    tuple: &mut Tuple,
    window: &Window,
    range: &Range,
    begin: u32,
    budget: &mut Budget,
    view: &mut impl Occupancy,
) -> bool {
    if range.has(flag::PROTO_OFFSET) {
        return try_each(tuple, window, begin, FIRST_TRIES, budget, view);
    }
    (0..FIRST_TRIES).any(|_| {
        let index = anywhere(window, view);
        window.put(tuple, index);
        !is_barred(tuple, window, view) && budget.ends_with(view, tuple)
    })
}

/// Tries all unmarked keys of the window, from `begin` on and around.
fn try_unmarked(
    tuple: &mut Tuple,
    window: &Window,
    pool: &impl Pool,
    begin: u32,
    budget: &mut Budget,
    view: &mut impl Occupancy,
) -> bool {
    let first = window.key(begin);
    let last = window.key(window.size.wrapping_sub(1));
    search_pool(tuple, window, pool, (first, last), budget, view)
        || begin != 0 && {
            let before = (window.min, first.wrapping_sub(1));
            search_pool(tuple, window, pool, before, budget, view)
        }
}

/// Tries the unmarked keys from the first to the last of `keys`.
fn search_pool(
    tuple: &mut Tuple,
    window: &Window,
    pool: &impl Pool,
    keys: (u16, u16),
    budget: &mut Budget,
    view: &mut impl Occupancy,
) -> bool {
    let (mut first, last) = keys;
    while let Some(key) = pool.next(first, last, |number| view.barred(tuple, number)) {
        window.put(tuple, u32::from(key.wrapping_sub(window.min)));
        match view.claim(tuple, Terms::MustBeFree) {
            Claim::Granted => return true,
            // The connection that has the key clears the mark.
            Claim::Taken => {}
            Claim::Unavailable => {
                pool.forget(key);
                budget.unavailable = budget.unavailable.saturating_sub(1);
                if budget.is_spent() {
                    return true;
                }
            }
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
