// SPDX-License-Identifier: GPL-2.0

//! The TCP tracker.
//!
//! [`check`] validates one segment by itself, [`open()`] creates the state of an entry from the
//! first segment, and [`packet()`] processes every segment. Most segments take a shorter way,
//! [`fast_path()`], and a first SYN another one, [`open_syn()`]. The parts:
//! [`state`](super::state::tcp) is the state machine, `window` checks sequence numbers, `reset`
//! checks RSTs, [`timeout`] chooses the timeout, and [`adopt`] creates the state of an adopted
//! connection from its socket.
//!
//! The entry may be out of step with the peers: a host has rebooted, the tracker has, or packets
//! took another path. So a segment that does not fit the entry, but may be valid to its receiver,
//! passes and is remembered, and the reply decides:
//!
//! - a SYN on a live connection, followed by a SYN/ACK that acknowledges it: both peers have
//!   started over, and the entry takes over their numbers;
//! - the same SYN, followed by a challenge ACK (RFC 5961, section 4): the receiver still has the
//!   old connection. That ACK must not be taken for the last one of LAST_ACK;
//! - any of these segments, followed by a RST: the connection is gone.
//!
//! Every decision is that of the kernel's C tracker, with which `selftests/host` compares it
//! segment by segment, except one: the count of retransmissions stops at 255. In C it starts again
//! from zero, which gives a connection that only retransmits its long timeout back.

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
