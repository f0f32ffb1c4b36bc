// SPDX-License-Identifier: GPL-2.0

//! The UDP tracker.
//!
//! UDP has no states of its own. A question with one answer should leave soon; a conversation
//! should stay. So an entry lives short until it has seen both directions over a span of more
//! than two seconds; then it is a stream, and assured.

use core::mem::size_of;

use super::{
    adopt::{Side, Socket},
    step::{Status, Update},
    wire::udp::Header,
};

/// Entries of [`Timeouts`].
pub const COUNT: usize = 2;
/// Index of the timeout of a new connection (`nf_conntrack_udp_timeout`).
pub const UNREPLIED: usize = 0;
/// Index of the timeout of a stream (`nf_conntrack_udp_timeout_stream`).
pub const REPLIED: usize = 1;

/// The timeouts of the UDP tracker in jiffies, indexed as `enum udp_conntrack` is.
pub type Timeouts = [u32; COUNT];

/// Defaults in seconds.
pub const DEFAULT_SECONDS: Timeouts = [30, 120];

/// Seconds after which a connection that is still in use counts as a stream.
const STREAM_AFTER_SECONDS: usize = 2;

/// What an entry remembers. Layout twin of `struct nf_ct_udp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Track {
    /// When the connection becomes a stream, in full `jiffies` (`unsigned long`).
    pub stream_ts: usize,
}

const _: () = assert!(size_of::<Track>() == size_of::<usize>());

/// Checks a header against the `available` octets of the packet from it on; see
/// [`Header::check`]. The checksum is the caller's.
#[inline]
pub fn check(header: &Header, available: u32, gso: bool) -> Result<(), super::step::Reason> {
    header.check(available, gso).map_err(Into::into)
}

/// Moves a connection on by one packet. `now` is the full `jiffies`, `hz` jiffies in a second.
///
/// An unconfirmed entry needs no `open`: its clock starts here.
#[inline(always)]
pub fn packet(
    track: &mut Track,
    status: &Status,
    timeouts: &Timeouts,
    now: usize,
    hz: usize,
) -> Update {
    let [unreplied, replied] = *timeouts;
    if !status.confirmed {
        track.stream_ts = now.wrapping_add(hz.wrapping_mul(STREAM_AFTER_SECONDS));
    }
    if !status.seen_reply || !is_after(now, track.stream_ts) {
        return Update::refresh(unreplied);
    }
    Update {
        // A stand-in entry lives on borrowed time, and must stay droppable.
        assured: !status.assured && !status.nat_clash,
        ..Update::refresh(replied)
    }
}

/// Of a conversation that a socket tells about: whether it went both ways, and how many jiffies
/// it lives.
pub fn adopt(socket: &Socket, opener: Side, timeouts: &Timeouts) -> (bool, u32) {
    let [unreplied, replied] = *timeouts;
    // A server that has connected a socket to its client has heard of that, and answers.
    if opener == Side::Remote || socket.heard != 0 {
        (true, replied)
    } else {
        (false, unreplied)
    }
}

/// Whether `a` lies after `b` on a clock that wraps.
#[inline]
const fn is_after(a: usize, b: usize) -> bool {
    isize::from_ne_bytes(b.wrapping_sub(a).to_ne_bytes()) < 0
}
