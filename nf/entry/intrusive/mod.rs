// SPDX-License-Identifier: GPL-2.0

//! Intrusive chains and lists: the algorithms behind [`super::chain`], [`super::index_lists`],
//! [`super::bysource`], [`super::dying`] and [`super::pair`], without the kernel.
//!
//! The files of this folder, but for [`atomic`], use `core` alone. They reach the memory of an
//! object through a layout ([`layout::LinkLayout`], [`chain::ChainLayout`]) and take no lock:
//! which lock the caller holds is a precondition of each function. So they compile on the host
//! unchanged, where `selftests/host/tests/intrusive` runs them on plain memory against a model,
//! under the address sanitizer, and on simulated memory under loom.

mod atomic;
pub(super) mod chain;
pub(super) mod layout;
pub(super) mod list;
pub(super) mod order;
pub(super) mod queue;
pub(super) mod source;
