// SPDX-License-Identifier: GPL-2.0

//! The tracker for protocols without one of their own: addresses and protocol number identify the
//! connection, and every packet refreshes its timeout.

use super::step::{Step, Update};

/// Default timeout in seconds (`nf_conntrack_generic_timeout`).
pub const DEFAULT_SECONDS: u32 = 600;

/// Processes one packet. `timeout` is in jiffies.
#[inline]
pub const fn packet(timeout: u32) -> Step {
    Step::Accept(Update::refresh(timeout))
}
