// SPDX-License-Identifier: GPL-2.0

//! Timeouts that user space may change while packets read them.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A timeout in jiffies, in memory that sysctls and C code write at any time. Layout twin of
/// `unsigned int`.
///
/// Each read sees the value before or after a racing change.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Timeout(AtomicU32);

impl Timeout {
    /// Creates a timeout.
    #[inline]
    pub const fn new(jiffies: u32) -> Self {
        Self(AtomicU32::new(jiffies))
    }

    /// Returns the timeout, in jiffies.
    #[inline]
    pub fn get(&self) -> u32 {
        self.0.load(Relaxed)
    }

    /// Changes the timeout.
    #[inline]
    pub fn set(&self, jiffies: u32) {
        self.0.store(jiffies, Relaxed);
    }
}
