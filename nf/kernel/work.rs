// SPDX-License-Identifier: GPL-2.0

//! Work that repeats in process context.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use kernel::{
    prelude::*,
    sync::atomic::{
        Acquire,
        Atomic,
        Relaxed,
        Release, //
    },
    types::Opaque, //
};

use crate::{
    nf::bindings,
    proto::types::num::u32_as_usize, //
};

/// Work that decides after each run when the next one is due.
///
/// # Examples
///
/// ```ignore
/// struct Collector;
///
/// impl Repeating for Collector {
///     fn run() -> Option<u32> {
///         let is_done = collect_some();
///         Some(if is_done { HZ } else { 1 })
///     }
///
///     fn slot() -> &'static WorkSlot {
///         static SLOT: WorkSlot = WorkSlot::new();
///         &SLOT
///     }
/// }
///
/// // The first run is due after a second; dropping the registration waits for a run under way.
/// let registration = WorkRegistration::start::<Collector>(Some(HZ))?;
/// ```
pub(crate) trait Repeating: 'static {
    /// Does a part of the work; may sleep. Returns the jiffies until the next run;
    /// [`None`]: when [`queue`] or [`queue_now`] asks for it.
    fn run() -> Option<u32>;

    /// Returns the kernel's object for the work: one static for each type.
    fn slot() -> &'static WorkSlot;
}

/// Work has not been started yet.
const NEW: u32 = 0;
/// [`WorkRegistration::start`] is initialising the work.
const STARTING: u32 = 1;
/// The work is initialised, and stays so. It may be queued; once the registration is dropped, that
/// has no effect.
const STARTED: u32 = 2;

/// The kernel's object for [`Repeating`] work.
///
/// # Invariants
///
/// `work` is initialised if `state` is [`STARTED`].
pub(crate) struct WorkSlot {
    work: Opaque<bindings::delayed_work>,
    state: Atomic<u32>,
}

// SAFETY: The work queue serialises what it does with the work; the initialisation is exclusive by
// `state`.
unsafe impl Sync for WorkSlot {}

impl WorkSlot {
    /// Returns the object for one kind of work.
    pub(crate) const fn new() -> Self {
        // INVARIANT: Not started.
        Self {
            work: Opaque::zeroed(),
            state: Atomic::new(NEW),
        }
    }

    /// Returns the work, if it was started.
    fn started(&'static self) -> Option<*mut bindings::delayed_work> {
        (self.state.load(Acquire) == STARTED).then(|| self.work.get())
    }
}

/// Runs the work for the work queue.
///
/// # Safety
///
/// For the work queue alone.
unsafe extern "C" fn run<W: Repeating>(_work: *mut bindings::work_struct) {
    // Whether the work is being disabled need not be looked at: disabling waits for this run, and
    // keeps the work from being queued again.
    if let Some(delay) = W::run() {
        queue(W::slot(), delay);
    }
}

/// Keeps work going; dropped, waits until it has stopped.
///
/// # Invariants
///
/// `0` is started.
pub(crate) struct WorkRegistration(&'static WorkSlot);

impl WorkRegistration {
    /// Starts the work: its first run is due after `delay` jiffies, or, for [`None`], when
    /// [`queue`] or [`queue_now`] asks for it.
    ///
    /// `EBUSY`: it was started before.
    pub(crate) fn start<W: Repeating>(delay: Option<u32>) -> Result<Self> {
        let slot = W::slot();
        if slot.state.cmpxchg(NEW, STARTING, Relaxed).is_err() {
            return Err(EBUSY);
        }
        // SAFETY: Static memory, which only the caller that set `STARTING` accesses.
        unsafe { bindings::rct_delayed_work_init(slot.work.get(), Some(run::<W>)) };
        // INVARIANT: Just initialised.
        slot.state.store(STARTED, Release);
        if let Some(delay) = delay {
            queue(slot, delay);
        }
        Ok(Self(slot))
    }
}

impl Drop for WorkRegistration {
    fn drop(&mut self) {
        // SAFETY: By the type invariants. Waits for a run under way, which may sleep.
        unsafe { bindings::disable_delayed_work_sync(self.0.work.get()) };
    }
}

/// Makes work due now that would be due later, or not at all. May be called from softirq. Does
/// nothing if the work was not started, or was ended.
pub(crate) fn queue_now(slot: &'static WorkSlot) {
    if let Some(work) = slot.started() {
        // SAFETY: Initialised.
        unsafe { bindings::rct_delayed_work_hasten(work) };
    }
}

/// Makes work due in `delay` jiffies, if it is not due anyway. May be called from softirq. Does
/// nothing if the work was not started, or was ended.
pub(crate) fn queue(slot: &'static WorkSlot, delay: u32) {
    if let Some(work) = slot.started() {
        // SAFETY: Initialised.
        unsafe { bindings::rct_delayed_work_queue(work, u32_as_usize(delay)) };
    }
}

/// Lets other tasks run, if the scheduler wants that. Process context, without a spinlock.
pub(crate) fn cond_resched() {
    // SAFETY: Has no other requirements.
    unsafe { bindings::rct_cond_resched() };
}

/// Lets other tasks run. Process context, without a spinlock.
pub(crate) fn schedule() {
    // SAFETY: Has no other requirements.
    unsafe { bindings::schedule() };
}
