// SPDX-License-Identifier: GPL-2.0

//! The SCTP tracker (RFC 9260).
//!
//! [`parse`] looks at one packet by itself, [`open`] starts an entry with it, and [`packet`]
//! moves the entry on, chunk by chunk. [`state`] is the state machine.
//!
//! # Tags
//!
//! A packet belongs to an association if it carries the tag that its receiver chose in INIT or
//! INIT ACK (section 8.5). [`packet`] has the exceptions of section 8.5.1, and two that come of
//! being in the middle:
//!
//! - *Another path.* Of a multi-homed association, an entry may see but HEARTBEATs. It takes
//!   their tags over, if it knows none.
//! - *Another association.* The peers may have a new one over the same ports whose INIT we did
//!   not see. A HEARTBEAT with an unknown tag is let through without refresh. If it is answered
//!   with an unknown tag, the receiver took it as good, and so do we.
//!
//! # Collisions
//!
//! Both peers may send an INIT at the same time (section 5.2.1), or one may start over while the
//! other does not know it (section 5.2.2). The tag of an INIT counts at once, but that of an INIT
//! ACK only if it does not contradict an INIT that still is open: a late INIT ACK of an attempt
//! that lost must not overwrite the tags of the one that wins.
//!
//! # What differs from C
//!
//! A packet whose later chunk turns out INVALID changes nothing here. In C, what its earlier
//! chunks changed stays, although a firewall drops the packet.

mod open;
mod packet;
mod timeout;
mod track;

pub use super::state::sctp::{self as state, State};
pub use open::open;
pub use packet::{packet, parse};
pub use timeout::{Timeouts, COUNT, DEFAULT_SECONDS};
pub use track::Track;
