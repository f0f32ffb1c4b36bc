// SPDX-License-Identifier: GPL-2.0

//! State machines of the protocols that have states.

pub mod sctp;
pub mod tcp;
