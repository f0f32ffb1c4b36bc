// SPDX-License-Identifier: GPL-2.0

//! The timeouts of SCTP entries.

use crate::proto::{
    state::sctp::State,
    types::{num::u32_as_usize, timeout::Timeout},
};

/// Number of entries in [`Timeouts`]: one for each state, and one that is no longer used.
pub const COUNT: usize = 10;

/// The timeouts of the SCTP tracker in jiffies, indexed by `enum sctp_conntrack`: by state. Index 0
/// repeats the timeout of [`State::Closed`].
pub type Timeouts = [Timeout; COUNT];

/// Default timeouts in seconds.
pub const DEFAULT_SECONDS: [u32; COUNT] = [
    10,  // NONE: as CLOSED
    10,  // CLOSED
    3,   // COOKIE_WAIT
    3,   // COOKIE_ECHOED
    210, // ESTABLISHED: seven HEARTBEAT intervals
    3,   // SHUTDOWN_SENT
    3,   // SHUTDOWN_RECD
    3,   // SHUTDOWN_ACK_SENT
    30,  // HEARTBEAT_SENT
    0,
];

/// Returns the timeout of a state in jiffies.
#[inline]
pub(super) fn of_state(timeouts: &Timeouts, state: State) -> u32 {
    timeouts
        .get(u32_as_usize(state.to_u32()))
        .map_or(0, Timeout::get)
}
