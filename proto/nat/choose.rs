// SPDX-License-Identifier: GPL-2.0

//! The choice of a free address and key.

use super::{
    manip::Manip,
    occupancy::{Choice, Claim, Occupancy, Terms},
    range::{flag, Range},
    search,
    window::Window,
};
use crate::proto::types::tuple::Tuple;

/// A request for a translated tuple.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The tuple of the connection's first packet, before this translation.
    pub tuple: Tuple,
    /// The addresses and keys that the rule allows.
    pub range: &'a Range,
    /// The end that is changed.
    pub manip: Manip,
    /// The id of the connection's zone.
    pub zone_id: u16,
    /// Whether an expectation announced the connection.
    pub expected: bool,
    /// Whether the search covers all keys; see [`search`].
    pub thorough: bool,
}

/// Maximum number of addresses that are tried.
const ADDRESSES: u32 = 32;

/// Chooses the translated tuple of a connection.
///
/// The first of these that the rule allows and that is free is chosen: the tuple as it is; the
/// mapping of another connection from the same source; an address by the hash of the tuple, with
/// the key as it is; that address with another key. A thorough choice then tries the following
/// addresses, and finally takes over the mapping of a closed connection.
pub fn choose(request: &Request<'_>, view: &mut impl Occupancy) -> Choice {
    let range = &request.range.of_family(request.tuple.family());
    let request = &Request { range, ..*request };
    let &Request {
        ref tuple,
        manip,
        zone_id,
        expected,
        thorough,
        ..
    } = request;

    if manip == Manip::Source && !range.has(flag::PROTO_RANDOM_ALL) {
        if range.suits_source(tuple) {
            if view.claim(tuple, Terms::Untranslated) == Claim::Granted {
                return Choice::Found(*tuple);
            }
        } else if let Some(known) =
            view.find_appropriate_src(tuple, |known| range.suits_source(known))
        {
            if view.claim(&known, Terms::MustBeFree) == Claim::Granted {
                return Choice::Found(known);
            }
        }
    }

    let first = range.spread(tuple, manip, zone_id);
    let mut budget = search::Budget::new();
    if !thorough || manip != Manip::Source {
        return at_address(request, first, &mut budget, view);
    }
    let window = Window::of(&first, range, manip, expected);
    let mut next = first;
    for number in 0..ADDRESSES {
        let choice = at_address(request, next, &mut budget, view);
        if matches!(choice, Choice::Found(_)) || budget.is_spent() {
            return choice;
        }
        let is_hopeless = |window| search::is_all_barred(&first, window, view);
        if number == 0 && window.as_ref().is_some_and(is_hopeless) {
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
    window
        .and_then(|window| search::take_over(first, &window, view))
        .map_or(Choice::Exhausted(first), Choice::Found)
}

/// Chooses a key for `spread`; its address is final.
fn at_address(
    request: &Request<'_>,
    spread: Tuple,
    budget: &mut search::Budget,
    view: &mut impl Occupancy,
) -> Choice {
    let &Request {
        range,
        manip,
        expected,
        thorough,
        ..
    } = request;

    // A search follows where the key may not stay, which may end a closed connection. One key for a
    // destination is no choice: C takes it unseen, too.
    let is_given = range.has_one_key() && !(thorough && manip == Manip::Source);
    let may_stay = if range.has(flag::PROTO_RANDOM_ALL) {
        false
    } else if range.has(flag::PROTO_SPECIFIED) {
        !range.has(flag::PROTO_OFFSET)
            && range.contains_key(&spread, manip)
            && (is_given || search::is_granted(view, &spread))
    } else {
        search::is_granted(view, &spread)
    };
    if may_stay {
        return Choice::Found(spread);
    }
    if manip == Manip::Source {
        let twin = view
            .same_flow_mapping(&spread)
            .filter(|twin| range.suits_source(twin) && search::is_granted(view, twin));
        if let Some(twin) = twin {
            return Choice::Found(twin);
        }
    }

    match Window::of(&spread, range, manip, expected) {
        Some(window) if thorough && manip == Manip::Source => {
            search::thorough(spread, &window, range, budget, view)
        }
        Some(window) => search::sample(spread, &window, range, manip, view),
        // There is no key to vary. A clash is detected when the connection is confirmed.
        None => Choice::Found(spread),
    }
}
