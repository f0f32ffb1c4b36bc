// SPDX-License-Identifier: GPL-2.0

//! The tracker of every protocol without one of its own: addresses and protocol number make the
//! connection, and every packet refreshes it.

use super::step::{Step, Update};

/// Default timeout in seconds (`nf_conntrack_generic_timeout`).
pub const DEFAULT_SECONDS: u32 = 600;

/// Moves a connection on by one packet. `timeout` is in jiffies.
#[inline]
pub const fn packet(timeout: u32) -> Step {
    Step::Accept(Update::refresh(timeout))
}
