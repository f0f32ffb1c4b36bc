// SPDX-License-Identifier: GPL-2.0

//! The order in which the locks of two buckets are taken, so that two CPUs do not wait for each
//! other.

/// A bucket that is to be locked.
pub(crate) trait Bucket: Copy {
    /// The bucket, locked.
    type Locked;

    /// Returns the rank of the bucket's lock: locks are taken in ascending order. Buckets of equal
    /// rank share a lock.
    fn rank(&self) -> (u32, u32);

    /// Takes the lock.
    fn lock(self) -> Self::Locked;

    /// Takes the lock while that of a bucket with a lower rank is held.
    fn lock_second(self) -> Self::Locked;

    /// Returns the bucket, locked by the lock of `held`.
    ///
    /// # Safety
    ///
    /// `held` has the same rank, and is dropped later than the result.
    unsafe fn share(self, held: &Self::Locked) -> Self::Locked;
}

/// Locks two buckets. Where they share a lock, the first result holds it.
///
/// # Safety
///
/// The second result is dropped before the first one.
#[inline(always)]
pub(crate) unsafe fn lock_both<B: Bucket>(first: B, second: B) -> (B::Locked, B::Locked) {
    if first.rank() == second.rank() {
        let first = first.lock();
        // SAFETY: The same rank, as just compared; the rest is the caller's promise.
        let second = unsafe { second.share(&first) };
        (first, second)
    } else if first.rank() < second.rank() {
        let first = first.lock();
        (first, second.lock_second())
    } else {
        let second = second.lock();
        (first.lock_second(), second)
    }
}
