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
//!
//! # Examples
//!
//! ```
//! # use rust_ct_host::proto;
//! use proto::{
//!     step::{Status, Step, Update},
//!     tcp::{self, Config, Segment, State, Track},
//!     time::Jiffies32,
//!     types::{direction::Direction, timeout::Timeout},
//!     wire::tcp::Header,
//! };
//!
//! let timeouts = tcp::timeout::DEFAULT_SECONDS.map(Timeout::new); // with one jiffy per second
//! let config = Config {
//!     timeouts: &timeouts,
//!     hz: 1,
//!     loose: true,
//!     liberal: false,
//!     ignore_invalid_rst: false,
//!     max_retrans: 3,
//! };
//! let segment = |seq: u8, ack: u8, flags| {
//!     let header = [
//!         0x9c, 0x40, 0, 80, 0, 0, 0, seq, 0, 0, 0, ack, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0,
//!     ];
//!     Segment {
//!         header: Header::parse(&header),
//!         options: &[],
//!         payload_len: 0,
//!         ack_offset: 0,
//!     }
//! };
//!
//! // The SYN opens an entry.
//! let (mut track, now) = (Track::default(), Jiffies32(0));
//! let mut status = Status::default();
//! let syn = segment(10, 0, 0x02);
//! tcp::check(&syn.header, 20).unwrap();
//! tcp::open(&mut track, &syn, &config).unwrap();
//! let step = tcp::packet(&mut track, &syn, Direction::Original, &status, &config, now);
//! let opened = Update {
//!     protoinfo: true,
//!     ..Update::refresh(120)
//! };
//! assert_eq!(step, Step::Accept(opened));
//! assert_eq!(track.state(), State::SynSent);
//!
//! // The caller confirms the entry, and the server replies.
//! status.confirmed = true;
//! status.seen_reply = true;
//! let syn_ack = segment(90, 11, 0x12);
//! let step = tcp::packet(&mut track, &syn_ack, Direction::Reply, &status, &config, now);
//! assert!(matches!(step, Step::Accept(_)));
//! assert_eq!(track.state(), State::SynRecv);
//!
//! // An ACK of data that was never sent is INVALID, and changes nothing.
//! let (before, forged) = (track, segment(11, 250, 0x10));
//! let step = tcp::packet(&mut track, &forged, Direction::Original, &status, &config, now);
//! assert!(matches!(step, Step::Invalid { .. }));
//! assert_eq!(track, before);
//! ```

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
pub use options::MAX_SCALE;
pub use packet::packet;
pub use segment::{check, Segment};
pub use timeout::Timeouts;
pub use track::{flag, Peer, Track};
