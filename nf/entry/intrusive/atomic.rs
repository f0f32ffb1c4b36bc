// SPDX-License-Identifier: GPL-2.0

//! The atomics of this folder. The host has a file of the same name instead.

pub(super) use kernel::sync::atomic::{
    Atomic,
    Relaxed,
    Release, //
};
