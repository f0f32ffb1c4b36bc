// SPDX-License-Identifier: GPL-2.0

//! The TCP tracker.
//!
//! [`check`] looks at one segment by itself, [`open`] starts an entry with it, and [`packet`]
//! moves the entry on; for most segments there is a short cut, [`usual()`], and for the first one,
//! [`begin`]. The parts: [`state`](super::state::tcp) is the state machine, `window` judges sequence numbers, `reset`
//! judges RSTs, [`timeout`] chooses how long the entry lives, [`adopt`] starts the entry of a
//! connection that a socket tells about.
//!
//! We may be out of step with the peers: a host rebooted, we did, packets took another way. So a
//! segment that makes no sense to us but may make sense to its receiver is let through and
//! remembered, and the answer is believed:
//!
//! - a SYN on a live connection, answered by a SYN/ACK that acknowledges it: both peers started
//!   over, and we take over their numbers;
//! - the same SYN, answered by a challenge ACK (RFC 5961, section 4): the receiver still has the
//!   old connection. That ACK must not be mistaken for the last one of LAST_ACK;
//! - any of them, answered by a RST: the connection is gone.
//!
//! Every decision is that of the kernel's C tracker, which `selftests/host` compares segment by
//! segment, but for one: the count of repetitions stops at 255, where C's starts again from zero
//! and so gives a connection that repeats itself for ever its long timeout back.

pub mod adopt;
mod config;
mod fast_path;
mod open;
mod open_syn;
mod options;
mod packet;
mod reset;
mod segment;
pub mod timeout;
pub mod track;
mod window;

pub use super::{
    state::tcp::{self as state, Kind, Next, State},
    wire::seq::SeqNum,
};
pub use config::Config;
pub use fast_path::{complete_handshake, fast_path};
pub use open::{may_open, open};
pub use open_syn::open_syn;
pub use packet::packet;
pub use segment::{check, Segment};
pub use timeout::Timeouts;
pub use track::{flag, Peer, Track};

// Until `ct` uses the new names.
pub use config::Config as Policy;
pub use fast_path::fast_path as usual;
pub use open::may_open as may_begin;
pub use open_syn::open_syn as begin;
