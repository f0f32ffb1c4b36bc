// SPDX-License-Identifier: GPL-2.0

//! The GRE tracker.
//!
//! GRE has no states. An entry gets its longer timeout, and is assured, once both directions were
//! seen. It stores its two timeouts, so that a helper (PPTP) can change them.
//!
//! The enhanced header (PPTP, RFC 2637) carries only the call ID that the receiver chose. The
//! caller finds the sender's in the GRE key map, which the PPTP control connection filled.

use core::mem::{align_of, offset_of, size_of};

use super::{
    step::{Status, Step, Update},
    types::timeout::Timeout,
};

/// Number of entries in [`Timeouts`].
pub const COUNT: usize = 2;
/// Index of the timeout of a new connection (`nf_conntrack_gre_timeout`).
pub const UNREPLIED: usize = 0;
/// Index of the timeout once both directions were seen (`nf_conntrack_gre_timeout_stream`).
pub const REPLIED: usize = 1;

/// The timeouts of the GRE tracker in jiffies, indexed by `enum gre_conntrack`.
pub type Timeouts = [Timeout; COUNT];

/// Default timeouts in seconds.
pub const DEFAULT_SECONDS: [u32; COUNT] = [30, 180];

/// The GRE state of an entry. Layout twin of `struct nf_ct_gre`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Track {
    /// Timeout once both directions were seen, in jiffies.
    pub stream_timeout: u32,
    /// Timeout while only one direction was seen, in jiffies.
    pub timeout: u32,
}

const _: () = {
    assert!(size_of::<Track>() == 8);
    assert!(align_of::<Track>() == 4);
    assert!(offset_of!(Track, stream_timeout) == 0);
    assert!(offset_of!(Track, timeout) == 4);
};

/// Returns the state of a new connection.
#[inline]
#[must_use]
pub fn open(timeouts: &Timeouts) -> Track {
    let [timeout, stream_timeout] = timeouts;
    Track {
        stream_timeout: stream_timeout.get(),
        timeout: timeout.get(),
    }
}

/// Processes one packet. The state does not change.
#[inline]
pub const fn packet(track: &Track, status: &Status) -> Step {
    if !status.seen_reply {
        return Step::Accept(Update::refresh(track.timeout));
    }
    Step::Accept(Update {
        timeout: Some(track.stream_timeout),
        // An entry that lost a clash is never assured: early drop must be able to take it.
        assured: !status.assured && !status.nat_clash,
        protoinfo: false,
    })
}
