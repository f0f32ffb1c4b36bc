// SPDX-License-Identifier: GPL-2.0

//! Sequence counters: odd while a writer changes what they protect, even otherwise.
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

/// A value of a [`SeqCount`]. Wraps around.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sequence(pub(crate) u32);

/// A sequence counter without a lock of its own: its owner serialises the writers.
///
/// # Examples
///
/// ```ignore
/// let before = count.begin();
/// let found = look();
/// if found.is_none() && count.end() != before {
///     // A writer was active: the miss proves nothing.
/// }
/// ```
#[repr(transparent)]
pub(crate) struct SeqCount(Opaque<bindings::seqcount_t>);

// SAFETY: Made for readers on all CPUs and one writer.
unsafe impl Sync for SeqCount {}
// SAFETY: Not tied to a thread.
unsafe impl Send for SeqCount {}

impl SeqCount {
    /// Returns a counter at zero.
    pub(crate) fn new() -> Self {
        let count = Self(Opaque::uninit());
        // SAFETY: Memory for a counter. It may move afterwards: only the address of its lockdep
        // class, which is static, is stored in it.
        unsafe { bindings::rct_seqcount_init(count.0.get()) };
        count
    }

    /// Reads the counter, before the protected data.
    #[inline]
    pub(crate) fn begin(&self) -> Sequence {
        // SAFETY: Initialised by `new`.
        Sequence(unsafe { bindings::rct_seqcount_read(self.0.get()) })
    }

    /// Reads the counter, after the protected data.
    #[inline]
    pub(crate) fn end(&self) -> Sequence {
        smp_mb(Read);
        self.begin()
    }

    /// Runs `change` with the counter odd.
    ///
    /// The caller holds the lock that serialises the writers. With two of them, readers would take
    /// an unfinished change for a complete one: a lookup misses an entry, for example. The counter
    /// is no proof of anything that memory safety needs; what readers follow is protected by RCU.
    #[inline]
    pub(crate) fn write<R>(&self, _bh: &BhDisabled, change: impl FnOnce() -> R) -> R {
        // SAFETY: Initialised by `new`; preemption is off, as bottom halves are.
        unsafe { bindings::rct_seqcount_write_begin(self.0.get()) };
        let result = change();
        // SAFETY: Pairs with the call above.
        unsafe { bindings::rct_seqcount_write_end(self.0.get()) };
        result
    }
}
