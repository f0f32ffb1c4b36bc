// SPDX-License-Identifier: GPL-2.0

//! The timeouts of TCP entries.

use super::track::{flag, Track};
use crate::proto::{
    state::tcp::{Kind, State},
    types::timeout::Timeout,
};

/// The timeouts of the TCP tracker in jiffies, indexed by `enum tcp_conntrack`: the states, then
/// [`RETRANS`] and [`UNACK`]. Index 0 repeats the timeout of [`State::SynSent`]; 10 and 11 are
/// unused.
pub type Timeouts = [Timeout; COUNT];

/// Number of entries in [`Timeouts`].
pub const COUNT: usize = 14;
/// Index of the timeout after too many retransmissions, or while a window is closed.
pub const RETRANS: usize = 12;
/// Index of the timeout while data is unacknowledged.
pub const UNACK: usize = 13;

/// Default timeouts in seconds, in the order of [`Timeouts`].
pub const DEFAULT_SECONDS: [u32; COUNT] = [
    120,     // NONE: as SYN_SENT
    120,     // SYN_SENT
    60,      // SYN_RECV
    432_000, // ESTABLISHED
    120,     // FIN_WAIT
    60,      // CLOSE_WAIT
    30,      // LAST_ACK
    120,     // TIME_WAIT
    10,      // CLOSE
    120,     // SYN_SENT2
    0, 0, 300, // RETRANS
    300, // UNACK
];

/// Returns the timeout of a state in jiffies.
#[inline]
pub(super) fn of_state(timeouts: &Timeouts, state: State) -> u32 {
    timeouts
        .get(usize::from(state.to_u8()))
        .map_or(0, Timeout::get)
}

/// Returns the timeout while data is unacknowledged, in jiffies.
#[inline]
pub(super) fn unacknowledged(timeouts: &Timeouts) -> u32 {
    timeouts[UNACK].get()
}

/// Returns the timeout, in jiffies, after a segment of `kind` led to `state`.
///
/// The state's own timeout is the upper limit. The first of these conditions replaces it by a
/// shorter one: retransmissions without a reply, a RST that did not close the connection,
/// unacknowledged data, a closed window.
#[inline]
pub(super) fn choose(
    track: &Track,
    kind: Kind,
    state: State,
    timeouts: &Timeouts,
    max_retrans: u8,
) -> u32 {
    let own = of_state(timeouts, state);
    let [original, reply] = &track.seen;
    let is_refused = matches!((kind, state), (Kind::Rst, State::Established));
    let is_under_way = (original.flags | reply.flags) & flag::DATA_UNACKNOWLEDGED != 0;

    // A condition applies only if its timeout is the shorter one; otherwise the next one is tried.
    let shorter = |applies: bool, timeout: &Timeout| {
        let jiffies = applies.then(|| timeout.get());
        jiffies.filter(|jiffies| *jiffies < own)
    };
    shorter(track.retrans >= max_retrans, &timeouts[RETRANS])
        .or_else(|| shorter(is_refused || is_under_way, &timeouts[UNACK]))
        .or_else(|| shorter(track.last_win == 0, &timeouts[RETRANS]))
        .unwrap_or(own)
}
