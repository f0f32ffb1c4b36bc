// SPDX-License-Identifier: GPL-2.0

//! The algorithms of `nf/entry/intrusive`, on plain memory and on loom's.
//!
//! `chains`, `lists`, `queues` and `sources` compare them with a model, in both layouts; under the
//! address sanitizer each access is in bounds of a live object. `concurrent` has a reader meet a
//! writer in every order that loom finds.

mod atomic;
#[path = "../../../../nf/entry/intrusive/chain.rs"]
mod chain;
#[path = "../../../../nf/entry/intrusive/layout.rs"]
mod layout;
#[path = "../../../../nf/entry/intrusive/list.rs"]
mod list;
#[path = "../../../../nf/entry/intrusive/order.rs"]
mod order;
#[path = "../../../../nf/entry/intrusive/queue.rs"]
mod queue;
#[path = "../../../../nf/entry/intrusive/source.rs"]
mod source;

mod chains;
mod concurrent;
mod lists;
mod memory;
mod orders;
mod queues;
mod sources;
