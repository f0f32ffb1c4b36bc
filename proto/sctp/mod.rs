// SPDX-License-Identifier: GPL-2.0

//! The SCTP tracker (RFC 9260).
//!
//! [`parse`] validates one packet by itself, [`open()`] creates the state of an entry from the
//! first packet, and [`packet()`] processes every packet, chunk by chunk. [`state`] is the state
//! machine.
//!
//! # Tags
//!
//! A packet belongs to an association if it carries the tag that its receiver chose in INIT or INIT
//! ACK (section 8.5). [`packet()`] implements the exceptions of section 8.5.1, and two that follow
//! from being in the middle:
//!
//! - *Another path.* An entry may see only the HEARTBEATs of a multi-homed association. It takes
//!   over their tags, if it knows none.
//! - *Another association.* The peers may have opened a new one between the same ports, with an
//!   INIT that the tracker did not see. A HEARTBEAT with an unknown tag passes without refresh. A
//!   reply with an unknown tag shows that the receiver has accepted it, and the entry takes over
//!   the tag.
//!
//! # Collisions
//!
//! Both peers may send an INIT at the same time (section 5.2.1), or one may start over without the
//! other knowing (section 5.2.2). The tag of an INIT is stored at once, that of an INIT ACK only if
//! it does not contradict an INIT that is still open: a late INIT ACK of an abandoned attempt must
//! not overwrite the tags of the successful one.
//!
//! # What differs from C
//!
//! A packet with an INVALID chunk changes nothing. In C, the changes by its earlier chunks stay,
//! although a firewall drops the packet.

mod open;
mod packet;
mod timeout;
mod track;

pub use super::state::sctp::{self as state, State};
pub use open::open;
pub use packet::{packet, parse};
pub use timeout::{Timeouts, COUNT, DEFAULT_SECONDS};
pub use track::Track;
