// SPDX-License-Identifier: GPL-2.0

//! What an administrator sets.

use super::timeout::Timeouts;

/// The switches of a namespace, and the timeouts that apply to an entry.
#[derive(Clone, Copy, Debug)]
pub struct Config<'a> {
    /// Jiffies, by state; see [`timeout`].
    pub timeouts: &'a Timeouts,
    /// Jiffies in a second.
    pub hz: u32,
    /// `nf_conntrack_tcp_loose`: pick up connections in the middle.
    pub loose: bool,
    /// `nf_conntrack_tcp_be_liberal`: do not enforce the window; only impossible transitions and
    /// stale RSTs are INVALID.
    pub liberal: bool,
    /// `nf_conntrack_tcp_ignore_invalid_rst`: do not call a RST INVALID for its number.
    pub ignore_invalid_rst: bool,
    /// `nf_conntrack_tcp_max_retrans`: after so many repetitions in a row, live shorter.
    pub max_retrans: u8,
}
