// SPDX-License-Identifier: GPL-2.0

//! Queues: objects come at one end and go at the other, first in, first out, all under the queue's
//! lock.
//!
//! The half of a link that leads to the next object leads to the next older one. So a walk from the
//! newest to the oldest object ends, whatever comes meanwhile; and when an object has gone, all
//! older ones have gone too.

use super::layout::LinkLayout;

/// The ends of a queue: handles, or 0 for an empty one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ends {
    /// The object that came last.
    pub(crate) newest: usize,
    /// The object that goes next.
    pub(crate) oldest: usize,
}

impl Ends {
    /// Puts an object into the queue.
    ///
    /// # Safety
    ///
    /// The lock of the queue is held, and `self` has its ends. `own` is the handle of an object
    /// that is not linked by `link`.
    pub(crate) unsafe fn push<L: LinkLayout>(&mut self, layout: L, link: L::Link, own: usize) {
        // SAFETY: The caller's promise; an object in the queue is valid.
        unsafe {
            layout.write_both(own, link, self.newest, 0);
            if self.newest != 0 {
                layout.write(layout.previous(self.newest, link), own);
            }
        }
        if self.newest == 0 {
            self.oldest = own;
        }
        self.newest = own;
    }

    /// Takes the oldest object out. Does nothing if there is none.
    ///
    /// # Safety
    ///
    /// The lock of the queue is held, and `self` has its ends.
    pub(crate) unsafe fn pop<L: LinkLayout>(&mut self, layout: L, link: L::Link) {
        if self.oldest == 0 {
            return;
        }
        // SAFETY: The caller's promise; an object in the queue is valid.
        let newer = unsafe { layout.read(layout.previous(self.oldest, link)) };
        if newer == 0 {
            self.newest = 0;
        } else {
            // SAFETY: As above.
            unsafe { layout.write(layout.next(newer, link), 0) };
        }
        self.oldest = newer;
    }
}

/// Returns the object that is next older than `own`; 0: there is none.
///
/// # Safety
///
/// The lock of the queue is held, and `own` is the handle of an object in it.
pub(crate) unsafe fn older<L: LinkLayout>(layout: L, link: L::Link, own: usize) -> usize {
    // SAFETY: The caller's promise.
    unsafe { layout.read(layout.next(own, link)) }
}
