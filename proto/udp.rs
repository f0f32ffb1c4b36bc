// SPDX-License-Identifier: GPL-2.0

//! The UDP tracker.
//!
//! UDP has no states. The entry of a query with one reply should leave soon, that of a longer
//! exchange should stay. So the timeout is short until packets were seen in both directions over
//! more than two seconds; then the entry is a stream, and assured.

use core::mem::size_of;

use super::{
    adopt::{Side, Socket},
    step::{Status, Update},
    types::timeout::Timeout,
    wire::udp::Header,
};

/// Number of entries in [`Timeouts`].
pub const COUNT: usize = 2;
/// Index of the timeout of a new connection (`nf_conntrack_udp_timeout`).
pub const UNREPLIED: usize = 0;
/// Index of the timeout of a stream (`nf_conntrack_udp_timeout_stream`).
pub const REPLIED: usize = 1;

/// The timeouts of the UDP tracker in jiffies, indexed by `enum udp_conntrack`.
pub type Timeouts = [Timeout; COUNT];

/// Default timeouts in seconds.
pub const DEFAULT_SECONDS: [u32; COUNT] = [30, 120];

/// Seconds from the first packet until a connection counts as a stream.
const STREAM_AFTER_SECONDS: usize = 2;

/// The UDP state of an entry. Layout twin of `struct nf_ct_udp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Track {
    /// The time at which the connection becomes a stream, in full `jiffies` (`unsigned long`).
    pub stream_ts: usize,
}

const _: () = assert!(size_of::<Track>() == size_of::<usize>());

/// Checks a header against `available`, the bytes from the header to the end of the packet; see
/// [`Header::check`]. The caller verifies the checksum.
#[inline]
pub fn check(header: &Header, available: u32, gso: bool) -> Result<(), super::step::Reason> {
    header.check(available, gso).map_err(Into::into)
}

/// Processes one packet. `now` is the full `jiffies`, `hz` the jiffies per second.
///
/// There is no `open`: the first packet, of an unconfirmed entry, starts the clock here.
#[inline(always)]
pub fn packet(
    track: &mut Track,
    status: &Status,
    timeouts: &Timeouts,
    now: usize,
    hz: usize,
) -> Update {
    let [unreplied, replied] = timeouts;
    if !status.confirmed {
        track.stream_ts = now.wrapping_add(hz.wrapping_mul(STREAM_AFTER_SECONDS));
    }
    if !status.seen_reply || !is_after(now, track.stream_ts) {
        return Update::refresh(unreplied.get());
    }
    Update {
        // An entry that lost a clash is never assured: early drop must be able to take it.
        assured: !status.assured && !status.nat_clash,
        ..Update::refresh(replied.get())
    }
}

/// Returns the time of the first packet of an unreplied connection, in full `jiffies`; long ago if
/// user space has created the entry.
#[inline]
pub const fn created(stream_ts: usize, hz: usize) -> usize {
    stream_ts.wrapping_sub(hz.wrapping_mul(STREAM_AFTER_SECONDS))
}

/// Returns, for an adopted connection, whether a reply was seen, and its timeout in jiffies.
pub fn adopt(socket: &Socket, opener: Side, timeouts: &Timeouts) -> (bool, u32) {
    let [unreplied, replied] = timeouts;
    // A server connects a socket to its client only after a packet from it, and replies.
    if opener == Side::Remote || socket.heard {
        (true, replied.get())
    } else {
        (false, unreplied.get())
    }
}

/// Returns whether `a` lies after `b` on a clock that wraps.
#[inline]
const fn is_after(a: usize, b: usize) -> bool {
    isize::from_ne_bytes(b.wrapping_sub(a).to_ne_bytes()) < 0
}
