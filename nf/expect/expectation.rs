// SPDX-License-Identifier: GPL-2.0

//! `struct nf_conntrack_expect`: a connection that is expected to begin, because another one,
//! its master, announced it.
//!
//! An expectation lives through stages, and each is a type:
//!
//! - [`Draft`]: its maker, who has the master at hand, fills it in and may add it.
//! - [`Linked`]: met in the table by who holds the lock of expectations.
//! - [`Seen`]: met in the table by who is in an RCU read-side section only.
//! - `ARef<Expectation>`: kept, in the table or not. It tells what it expects, but what it
//!   points to (master, helpers, namespace) may be gone.
//!
//! It stands on two chains: one of the table, by what it expects, and its master's. It holds
//! no reference on the master; who frees an entry first takes its expectations away, under
//! the lock.
//!
//! C header: [`include/net/netfilter/nf_conntrack_expect.h`](srctree/include/net/netfilter/nf_conntrack_expect.h)

use core::{
    mem::offset_of,
    ptr::{
        addr_of,
        addr_of_mut,
        NonNull, //
    },
};

use kernel::{
    sync::atomic::{
        Acquire,
        Atomic,
        Relaxed, //
    },
    types::Opaque, //
};

use crate::{
    nf::{
        bindings,
        entry::{
            conn::Conn,
            help::Helper, //
        },
        kernel::{
            layout::SameLayout,
            net::Net,
            rcu::Rcu,
            refcount::{
                always_ref_counted,
                RcuCounted, //
            },
            time::jiffies32, //
        },
    },
    proto::types::{
        direction::Direction,
        tuple::Tuple,
        zone::Zone, //
    },
};

use super::{
    cache,
    lock::Locked, //
};

/// The bits of `nf_conntrack_expect.flags`.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Flag {
    /// Any number of connections may be expected by it.
    Permanent = bindings::NF_CT_EXPECT_PERMANENT,
    /// Not in force yet.
    Inactive = bindings::NF_CT_EXPECT_INACTIVE,
    /// Made by user space.
    Userspace = bindings::NF_CT_EXPECT_USERSPACE,
    /// Withdrawn; as good as expired.
    Dead = bindings::NF_CT_EXPECT_DEAD,
}

/// A snapshot of the flags.
#[derive(Clone, Copy)]
pub(crate) struct Flags(u32);

impl Flags {
    /// Whether `flag` is set.
    pub(crate) fn has(self, flag: Flag) -> bool {
        self.0 & flag as u32 != 0
    }

    /// All bits.
    pub(crate) fn bits(self) -> u32 {
        self.0
    }

    /// Whether none is set.
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// What is told of an expectation.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Event {
    /// It was added.
    New = bindings::ip_conntrack_expect_events_IPEXP_NEW,
    /// It was taken away.
    Destroy = bindings::ip_conntrack_expect_events_IPEXP_DESTROY,
}

/// An expectation.
///
/// # Invariants
///
/// Initialised, from the cache of expectations; freed no sooner than a grace period after
/// the last reference was given back. What it expects does not change once it was added.
#[repr(transparent)]
pub(crate) struct Expectation(Opaque<bindings::nf_conntrack_expect>);

// SAFETY: Not tied to a thread.
unsafe impl Send for Expectation {}
// SAFETY: What changes is atomic, or needs the lock.
unsafe impl Sync for Expectation {}

// SAFETY: The reference count is `use`.
unsafe impl RcuCounted for Expectation {
    unsafe fn count(this: NonNull<Self>) -> *mut bindings::refcount_t {
        let raw = this.as_ptr().cast::<bindings::nf_conntrack_expect>();
        // SAFETY: The caller's promise: a field of a valid object.
        unsafe { addr_of_mut!((*raw).use_) }
    }

    unsafe fn free_rcu(this: NonNull<Self>) {
        let raw = this.as_ptr().cast::<bindings::nf_conntrack_expect>();
        // SAFETY: After the last reference the head is unused.
        unsafe { bindings::call_rcu(addr_of_mut!((*raw).rcu), Some(free)) };
    }
}

always_ref_counted!(Expectation);

/// A grace period has passed since the last reference was given back.
///
/// # Safety
///
/// For `call_rcu()` alone, with the head inside an expectation.
unsafe extern "C" fn free(head: *mut bindings::callback_head) {
    const RCU: usize = offset_of!(bindings::nf_conntrack_expect, rcu);
    // SAFETY: The head is inside an expectation, of which there is no reference left.
    unsafe { cache::release(head.byte_sub(RCU).cast()) };
}

impl Expectation {
    /// # Safety
    ///
    /// `ptr` points to an initialised expectation that is not freed during `'a`.
    pub(crate) unsafe fn from_raw<'a>(ptr: *mut bindings::nf_conntrack_expect) -> &'a Self {
        // SAFETY: The caller's promise; the type is transparent.
        unsafe { &*ptr.cast() }
    }

    #[inline]
    pub(crate) fn raw(&self) -> *mut bindings::nf_conntrack_expect {
        self.0.get()
    }

    /// The address, an identity while it lives.
    pub(crate) fn address(&self) -> usize {
        self.raw() as usize
    }

    /// Which packets are expected: destination, and the known part of the source.
    #[inline]
    pub(crate) fn tuple(&self) -> Tuple {
        // SAFETY: Valid, and not changed since it was added; `Tuple` is a layout twin, of no larger
        // alignment.
        unsafe { addr_of!((*self.raw()).tuple).cast::<Tuple>().read() }
    }

    /// Which part of the source is known.
    #[inline]
    pub(crate) fn mask<M: SameLayout<C = bindings::nf_conntrack_tuple_mask>>(&self) -> M {
        // SAFETY: As in `tuple`.
        unsafe { addr_of!((*self.raw()).mask).cast::<M>().read() }
    }

    /// The zone.
    #[inline]
    pub(crate) fn zone(&self) -> Zone {
        // SAFETY: As in `tuple`.
        unsafe { addr_of!((*self.raw()).zone).cast::<Zone>().read() }
    }

    /// The direction of its master in which it was announced, and the port that NAT saved.
    pub(crate) fn saved_for_nat(&self) -> (Direction, [u8; 2]) {
        // SAFETY: Valid, and not changed since it was added; the union is two bytes.
        unsafe {
            let dir = if (*self.raw()).dir == 0 {
                Direction::Original
            } else {
                Direction::Reply
            };
            (
                dir,
                addr_of!((*self.raw()).saved_proto).cast::<[u8; 2]>().read(),
            )
        }
    }

    /// The class: the number of a policy of its helper.
    pub(crate) fn class(&self) -> u32 {
        // SAFETY: Valid, and not changed since it was added.
        unsafe { (*self.raw()).class }
    }

    fn flags_word(&self) -> &Atomic<u32> {
        // SAFETY: Valid and aligned; accessed atomically, and written under the lock.
        unsafe { Atomic::from_ptr(addr_of_mut!((*self.raw()).flags)) }
    }

    /// The flags.
    #[inline]
    pub(crate) fn flags(&self) -> Flags {
        Flags(self.flags_word().load(Relaxed))
    }

    /// Withdraws it: nothing is expected any more, and who comes by takes it away.
    pub(crate) fn withdraw(&self, _locked: Locked<'_>) {
        let flags = self.flags_word();
        flags.store(flags.load(Relaxed) | Flag::Dead as u32, Relaxed);
    }

    fn timeout_word(&self) -> &Atomic<u32> {
        // SAFETY: Valid and aligned; accessed atomically.
        unsafe { Atomic::from_ptr(addr_of_mut!((*self.raw()).timeout)) }
    }

    /// The jiffies left; [`None`] if its time is over, or it was withdrawn.
    #[inline]
    pub(crate) fn remaining(&self) -> Option<u32> {
        let left = self.timeout_word().load(Relaxed).wrapping_sub(jiffies32());
        // CAST: the sign bit tells past from future.
        (left as i32 > 0 && !self.flags().has(Flag::Dead)).then_some(left)
    }

    /// Whether its time is over, or it was withdrawn.
    #[inline]
    pub(crate) fn is_expired(&self) -> bool {
        self.remaining().is_none()
    }

    /// Whether it belongs to `net`.
    #[inline]
    pub(crate) fn is_in(&self, net: &Net) -> bool {
        // SAFETY: Valid; reads the pointer, does not follow it.
        core::ptr::eq(unsafe { bindings::rct_expect_net(self.raw()) }, net.raw())
    }

    /// Whether both have the same master.
    pub(crate) fn has_master_of(&self, other: &Self) -> bool {
        // SAFETY: Valid, and not changed; compares the pointers, does not follow them.
        unsafe { core::ptr::eq((*self.raw()).master, (*other.raw()).master) }
    }

    /// Whether `conn` is its master.
    pub(crate) fn has_master(&self, conn: &Conn) -> bool {
        // SAFETY: Valid, and not changed; compares the pointers, does not follow them.
        core::ptr::eq(unsafe { (*self.raw()).master }, conn.raw())
    }

    /// Tells its maker's function, if there is one, of the connection that was expected.
    ///
    /// The section keeps that function from being unloaded.
    pub(crate) fn run_expectfn(&self, conn: &Conn, _rcu: Rcu<'_>) {
        // SAFETY: Valid, and not changed since it was added.
        if let Some(function) = unsafe { (*self.raw()).expectfn } {
            // SAFETY: The function takes an unconfirmed entry, and the expectation that was met.
            unsafe { function(conn.raw(), self.raw()) };
        }
    }

    /// The function that [`Expectation::run_expectfn`] calls, as an identity.
    pub(crate) fn function(&self) -> Option<usize> {
        // SAFETY: Valid, and not changed since it was added.
        unsafe { (*self.raw()).expectfn }.map(|function| function as usize)
    }

    /// The helper that made it, and the one that the expected connection gets, as identities.
    pub(crate) fn helper_addresses(&self) -> [usize; 2] {
        // SAFETY: Valid; reads the pointers, does not follow them.
        unsafe {
            [
                (*self.raw()).helper as usize,
                (*self.raw()).assign_helper as usize,
            ]
        }
    }

    /// # Safety
    ///
    /// `field` is one of the two helper pointers, and was set during the section.
    pub(super) unsafe fn helper_in<'r>(
        field: *mut *mut bindings::nf_conntrack_helper,
        _rcu: Rcu<'r>,
    ) -> Option<&'r Helper> {
        // SAFETY: A valid, aligned pointer, accessed atomically.
        let helper = unsafe { Atomic::from_ptr(field) }.load(Acquire);
        // SAFETY: By the caller's promise; a helper is freed a grace period after the
        // expectations that point to it were taken away.
        NonNull::new(helper).map(|helper| unsafe { Helper::from_raw(helper.as_ptr()) })
    }
}
