// SPDX-License-Identifier: GPL-2.0

//! State machines of TCP and SCTP: the states of an entry, and the transitions between them. They
//! stand below [`step`](super::step), whose reasons name states, and below the trackers.

pub mod sctp;
pub mod tcp;
