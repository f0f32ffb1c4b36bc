// SPDX-License-Identifier: GPL-2.0

//! State machines of TCP and SCTP: the states of an entry, and the transitions between them. They
//! stand below the trackers, and below [`step`](super::step): its reasons name states.

pub mod sctp;
pub mod tcp;
