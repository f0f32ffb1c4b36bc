// SPDX-License-Identifier: GPL-2.0

//! A sequence counter: odd while its one writer is at work, even otherwise.
//!
//! C header: [`include/linux/seqlock.h`](srctree/include/linux/seqlock.h)

use kernel::{
    sync::barrier::{
        smp_mb,
        Read, //
    },
    types::Opaque, //
};

use crate::nf::bindings;

use super::lock::BhDisabled;

/// What a reader saw of a [`SeqCount`]. Wraps around.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sequence(pub(crate) u32);

/// A sequence counter without a lock of its own: its owner serialises the writers.
#[repr(transparent)]
pub(crate) struct SeqCount(Opaque<bindings::seqcount_t>);

// SAFETY: Readers on any CPU and one writer are what it is for.
unsafe impl Sync for SeqCount {}
// SAFETY: Not tied to a thread.
unsafe impl Send for SeqCount {}

impl SeqCount {
    /// A counter at zero.
    pub(crate) fn new() -> Self {
        let count = Self(Opaque::uninit());
        // SAFETY: Memory for a counter, which may be moved until it is used.
        unsafe { bindings::rct_seqcount_init(count.0.get()) };
        count
    }

    /// Reads the counter before what it protects is read.
    #[inline]
    pub(crate) fn begin(&self) -> Sequence {
        // SAFETY: Initialised by its owner.
        Sequence(unsafe { bindings::rct_seqcount_read(self.0.get()) })
    }

    /// Reads the counter after what it protects was read.
    #[inline]
    pub(crate) fn end(&self) -> Sequence {
        smp_mb(Read);
        self.begin()
    }

    /// Runs `change` with the counter odd.
    ///
    /// The caller is the only writer: it holds the lock that serialises them.
    #[inline]
    pub(crate) fn write<R>(&self, _bh: &BhDisabled, change: impl FnOnce() -> R) -> R {
        // SAFETY: Initialised by its owner; preemption is off; one writer at a time.
        unsafe { bindings::rct_seqcount_write_begin(self.0.get()) };
        let result = change();
        // SAFETY: Pairs with the call above.
        unsafe { bindings::rct_seqcount_write_end(self.0.get()) };
        result
    }
}
