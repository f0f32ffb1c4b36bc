// SPDX-License-Identifier: GPL-2.0

//! Work that repeats in process context.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use kernel::types::Opaque;

use crate::nf::bindings;

/// Work that says itself when it wants to be done again.
pub(crate) trait Repeating: 'static {
    /// Does a part of the work; may sleep. Returns the jiffies until the next part;
    /// [`None`]: when [`queue_now`] asks for it.
    fn run() -> Option<u32>;

    /// Where the kernel keeps track of it.
    fn slot() -> &'static WorkSlot;
}

/// The place of [`Repeating`] work.
pub(crate) struct WorkSlot(Opaque<bindings::delayed_work>);

// SAFETY: The work queue serialises what it does with it.
unsafe impl Sync for WorkSlot {}

impl WorkSlot {
    /// A place for one kind of work.
    pub(crate) const fn new() -> Self {
        Self(Opaque::zeroed())
    }
}

/// A part of the work, as the work queue calls it.
///
/// # Safety
///
/// For the work queue alone.
unsafe extern "C" fn run<W: Repeating>(_work: *mut bindings::work_struct) {
    let Some(delay) = W::run() else {
        return;
    };
    // Being cancelled is no reason to look: cancelling waits for us and keeps the work from
    // being queued again.
    // SAFETY: The slot was initialised before the work was queued for the first time.
    unsafe { bindings::rct_delayed_work_queue(W::slot().0.get(), delay as usize) };
}

/// Keeps work going; dropped, waits until it has stopped.
///
/// # Invariants
///
/// `0` is initialised and only queued by its own work.
pub(crate) struct WorkRegistration(&'static WorkSlot);

impl WorkRegistration {
    /// Begins after `delay` jiffies, or when [`queue_now`] asks for it.
    pub(crate) fn start<W: Repeating>(delay: Option<u32>) -> Self {
        let slot = W::slot();
        // SAFETY: Static memory that is not in use: the module starts each kind once.
        unsafe { bindings::rct_delayed_work_init(slot.0.get(), Some(run::<W>)) };
        if let Some(delay) = delay {
            // SAFETY: Just initialised.
            unsafe { bindings::rct_delayed_work_queue(slot.0.get(), delay as usize) };
        }
        // INVARIANT: as just done.
        Self(slot)
    }
}

impl Drop for WorkRegistration {
    fn drop(&mut self) {
        // SAFETY: By the type invariants. Waits for a run under way, which may sleep.
        unsafe { bindings::cancel_delayed_work_sync(self.0 .0.get()) };
    }
}

/// Has work done now that would be done later, or not at all. May be called from softirq.
pub(crate) fn queue_now(slot: &'static WorkSlot) {
    // SAFETY: The slot was initialised: its work was started before packets come.
    unsafe { bindings::rct_delayed_work_hasten(slot.0.get()) };
}

/// Has work done in `delay` jiffies, if it is not due anyway. May be called from softirq.
pub(crate) fn queue(slot: &'static WorkSlot, delay: u32) {
    // SAFETY: As above.
    unsafe { bindings::rct_delayed_work_queue(slot.0.get(), delay as usize) };
}

/// Lets others run, if they wait.
pub(crate) fn cond_resched() {
    // SAFETY: Process context, no lock held: the callers are work and system calls.
    unsafe { bindings::rct_cond_resched() };
}

/// Lets others run, whether they wait or not: what is waited for is done by them.
pub(crate) fn schedule() {
    // SAFETY: As above.
    unsafe { bindings::schedule() };
}
