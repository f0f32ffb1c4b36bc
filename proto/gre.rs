// SPDX-License-Identifier: GPL-2.0

//! The GRE tracker.
//!
//! GRE has no states. A connection lives longer, and is assured, once both directions were seen.
//! It keeps its two timeouts itself, so that a helper (PPTP) may change them.
//!
//! Of the enhanced header (PPTP, RFC 2637) each direction carries only the call ID that its
//! receiver chose. The caller finds out the other one: PPTP's control connection told it.

use core::mem::{align_of, offset_of, size_of};

use super::step::{Status, Step, Update};

/// Entries of [`Timeouts`].
pub const COUNT: usize = 2;
/// Index of the timeout of a new connection (`nf_conntrack_gre_timeout`).
pub const UNREPLIED: usize = 0;
/// Index of the timeout of an answered one (`nf_conntrack_gre_timeout_stream`).
pub const REPLIED: usize = 1;

/// The timeouts of the GRE tracker in jiffies, indexed as `enum gre_conntrack` is.
pub type Timeouts = [u32; COUNT];

/// Defaults in seconds.
pub const DEFAULT_SECONDS: Timeouts = [30, 180];

/// What an entry remembers. Layout twin of `struct nf_ct_gre`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Track {
    /// Timeout once both directions were seen, in jiffies.
    pub stream_timeout: u32,
    /// Timeout before that, in jiffies.
    pub timeout: u32,
}

const _: () = {
    assert!(size_of::<Track>() == 8);
    assert!(align_of::<Track>() == 4);
    assert!(offset_of!(Track, stream_timeout) == 0);
    assert!(offset_of!(Track, timeout) == 4);
};

/// The record of a connection that begins.
#[inline]
#[must_use]
pub const fn open(timeouts: &Timeouts) -> Track {
    let [timeout, stream_timeout] = *timeouts;
    Track {
        stream_timeout,
        timeout,
    }
}

/// Moves a connection on by one packet. The record stays as it is.
#[inline]
pub const fn packet(track: &Track, status: &Status) -> Step {
    if !status.seen_reply {
        return Step::Accept(Update::refresh(track.timeout));
    }
    Step::Accept(Update {
        timeout: Some(track.stream_timeout),
        // A stand-in entry lives on borrowed time, and must stay droppable.
        assured: !status.assured && !status.nat_clash,
        protoinfo: false,
    })
}
