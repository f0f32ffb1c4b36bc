// SPDX-License-Identifier: GPL-2.0

//! The configuration of the TCP tracker.

use super::timeout::Timeouts;

/// The sysctls of a namespace, and the timeouts that apply to an entry.
#[derive(Clone, Copy, Debug)]
pub struct Config<'a> {
    /// The timeouts in jiffies, by state; see [`Timeouts`].
    pub timeouts: &'a Timeouts,
    /// Jiffies per second.
    pub hz: u32,
    /// `nf_conntrack_tcp_loose`: connections are picked up in the middle.
    pub loose: bool,
    /// `nf_conntrack_tcp_be_liberal`: windows are not enforced; only impossible transitions and
    /// stale RSTs are INVALID.
    pub liberal: bool,
    /// `nf_conntrack_tcp_ignore_invalid_rst`: no RST is INVALID because of its sequence number.
    pub ignore_invalid_rst: bool,
    /// `nf_conntrack_tcp_max_retrans`: number of retransmissions in a row after which the timeout
    /// is shorter.
    pub max_retrans: u8,
}
