// SPDX-License-Identifier: GPL-2.0

//! Pure protocol logic: what a packet says, and what it changes about a connection.
//!
//! Nothing here depends on the kernel. The code uses `core` alone, never allocates, never sleeps,
//! never locks, and compiles unchanged on the host, where `selftests/host` tests, fuzzes and
//! measures it. The caller reads packets and entries, holds `nf_conn::lock` around a tracker's
//! step, and acts on the [`step::Step`] that it returns.
//!
//! # Rules of this folder
//!
//! - Nothing may panic: a panic in softirq is a remote kill, and kernel builds check overflow.
//!   Arithmetic on the wire's numbers goes through newtypes ([`tcp::SeqNum`],
//!   [`time::Jiffies32`]) or `wrapping_*`/`checked_*`; tables are read with `get()`.
//!   `selftests/host/no-panic.sh` proves it on the object code.
//! - Bytes become typed values once, in [`wire`]; raw integers do not travel inward.
//! - Types that a C consumer reads (`Tuple`, `Zone`, the trackers' `Track`) are `#[repr(C)]` twins
//!   of the C layout, with plain integers only, so that every bit pattern is a valid value.
//!
//! Trackers have one shape: `Track`, `open()`, `packet() -> Step`.

#![forbid(unsafe_code)]

pub mod adopt;
pub mod expect;
pub mod generic;
pub mod gre;
pub mod hash;
pub mod icmp;
pub mod icmpv6;
mod invert;
pub mod nat;
pub mod permutation;
pub mod reconsider;
pub mod sctp;
pub mod seqadj;
pub mod state;
pub mod step;
pub mod tcp;
pub mod time;
pub mod types;
pub mod udp;
pub mod wire;
