// SPDX-License-Identifier: GPL-2.0

//! `struct nf_conntrack_expect`: an announced connection, which its master expects.
//!
//! Each stage in the life of an expectation is a type:
//!
//! - [`Draft`](super::draft::Draft): not in the table yet, and changed by one owner only.
//! - [`Linked`](super::linked::Linked): found in the table under the lock of expectations.
//! - [`Seen`](super::linked::Seen): found in the table during an RCU read-side section.
//! - `ARef<Counted<Expectation>>`: referenced, in the table or not. Its pattern, class and flags
//!   can be read; its master, its helpers and its namespace may be gone.
//!
//! An expectation is linked into two chains: a bucket of the table, by its destination, and the
//! chain of its master. It holds no reference on the master. Instead the expectations of an entry
//! are removed, under the lock, before the entry is freed.
//!
//! # Examples
//!
//! ```ignore
//! // A helper announces a connection of `master`.
//! let mut draft = Draft::new(master).ok_or(ENOMEM)?;
//! draft.describe(&spec);
//! let guard = ExpectGuard::new();
//! let linked = table::insert(draft, bucket, timeout, guard.locked())
//!     .map_err(|_draft| EINVAL)?;
//! linked.notify(ExpectEvent::New, Requester::default());
//! drop(guard);
//!
//! // A reader finds it in the table.
//! let section = RcuGuard::new();
//! let seen = table::walk(bucket, section.token()).find(|seen| !seen.is_expired());
//! // A reference outlives the section.
//! let expectation: Option<ARef<Counted<Expectation>>> = seen.and_then(|seen| seen.get());
//! ```
//!
//! C header: [`include/net/netfilter/nf_conntrack_expect.h`](srctree/include/net/netfilter/nf_conntrack_expect.h)

use core::{
    mem::offset_of,
    ptr::{
        addr_of,
        addr_of_mut,
        NonNull, //
    }, //
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
            net::Net,
            rcu::Rcu,
            refcount::{
                RcuCounted, //
            },
            time::jiffies32, //
        }, //
    },
    proto::types::{
        direction::Direction,
        mask::TupleMask,
        tuple::Tuple,
        zone::Zone, //
    }, //
};

use super::{
    cache,
    lock::Locked, //
};

/// The bits of `nf_conntrack_expect.flags` (`NF_CT_EXPECT_*`).
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum ExpectFlag {
    /// Matches any number of connections, until it expires.
    Permanent = bindings::NF_CT_EXPECT_PERMANENT,
    /// Matches no connection yet.
    Inactive = bindings::NF_CT_EXPECT_INACTIVE,
    /// Made by user space.
    Userspace = bindings::NF_CT_EXPECT_USERSPACE,
    /// Withdrawn: treated as expired.
    Dead = bindings::NF_CT_EXPECT_DEAD,
}

impl ExpectFlag {
    const fn bit(self) -> u32 {
        // CAST: the discriminant.
        self as u32
    }
}

/// A snapshot of the flags.
#[derive(Clone, Copy)]
pub(crate) struct ExpectFlags(u32);

impl ExpectFlags {
    /// Returns whether `flag` is set.
    pub(crate) fn has(self, flag: ExpectFlag) -> bool {
        self.0 & flag.bit() != 0
    }

    /// Returns all bits.
    pub(crate) fn bits(self) -> u32 {
        self.0
    }

    /// Returns whether no flag is set.
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// An event that listeners are notified of (`enum ip_conntrack_expect_events`).
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum ExpectEvent {
    /// The expectation was added.
    New = bindings::ip_conntrack_expect_events_IPEXP_NEW,
    /// The expectation was removed.
    Destroy = bindings::ip_conntrack_expect_events_IPEXP_DESTROY,
}

impl ExpectEvent {
    /// Returns the event's bit in an event mask.
    pub(super) const fn bit(self) -> u32 {
        // CAST: the discriminant, which is the number of the bit.
        1 << self as u32
    }
}

/// How the expected connection is translated (`CTA_EXPECT_NAT`).
#[derive(Clone, Copy)]
pub(crate) struct ExpectNat {
    /// The direction of the master in which the connection was announced.
    pub(crate) dir: Direction,
    /// The announced address before its translation, network byte order.
    pub(crate) address: [u8; 16],
    /// The announced port before its translation, network byte order.
    pub(crate) key: [u8; 2],
}

impl ExpectNat {
    /// No translation.
    pub(crate) const NONE: Self = Self {
        dir: Direction::Original,
        address: [0; 16],
        key: [0; 2],
    };

    /// Returns whether neither address nor port was translated.
    pub(crate) fn is_none(&self) -> bool {
        self.address == [0; 16] && self.key == [0; 2]
    }
}

/// An expectation.
///
/// # Invariants
///
/// Initialised, from the cache of expectations; freed no sooner than a grace period after
/// the last reference was dropped. After the expectation was added to the table only its flags and
/// its timeout change.
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
        // SAFETY: By the function's contract: a field of a valid object.
        unsafe { addr_of_mut!((*raw).use_) }
    }

    unsafe fn free_rcu(this: NonNull<Self>) {
        let raw = this.as_ptr().cast::<bindings::nf_conntrack_expect>();
        // SAFETY: After the last reference the head is unused.
        unsafe { bindings::call_rcu(addr_of_mut!((*raw).rcu), Some(free)) };
    }
}

/// Frees an expectation, a grace period after its last reference was dropped.
///
/// # Safety
///
/// For `call_rcu()` alone, with the head inside an expectation.
unsafe extern "C" fn free(head: *mut bindings::callback_head) {
    const RCU: usize = offset_of!(bindings::nf_conntrack_expect, rcu);
    // SAFETY: The head is inside an expectation, to which there is no reference left.
    unsafe { cache::free(head.byte_sub(RCU).cast()) };
}

impl Expectation {
    /// Wraps a C pointer.
    ///
    /// # Safety
    ///
    /// `ptr` points to an initialised expectation that is not freed during `'a`, and that is not
    /// changed as a draft during `'a`.
    pub(crate) unsafe fn from_raw<'a>(ptr: *mut bindings::nf_conntrack_expect) -> &'a Self {
        // SAFETY: By the function's contract; the type is transparent.
        unsafe { &*ptr.cast() }
    }

    /// Returns the C pointer.
    #[inline]
    pub(crate) fn raw(&self) -> *mut bindings::nf_conntrack_expect {
        self.0.get()
    }

    /// Returns the address, which identifies the expectation while it lives.
    pub(crate) fn address(&self) -> usize {
        self.raw().addr()
    }

    /// Returns the address of the master, which may be gone.
    pub(crate) fn master_address(&self) -> usize {
        // SAFETY: Valid, and not changed since it was added. The pointer is not followed.
        unsafe { (*self.raw()).master }.addr()
    }

    /// Returns the tuple: the destination, and the known part of the source.
    #[inline]
    pub(crate) fn tuple(&self) -> Tuple {
        // SAFETY: Valid, and not changed since it was added; `Tuple` is a layout twin, of no larger
        // alignment.
        unsafe { addr_of!((*self.raw()).tuple).cast::<Tuple>().read() }
    }

    /// Returns the mask: the bits of the source that are known.
    #[inline]
    pub(crate) fn mask(&self) -> TupleMask {
        // SAFETY: As in `tuple`.
        unsafe { addr_of!((*self.raw()).mask).cast::<TupleMask>().read() }
    }

    /// Returns the zone.
    #[inline]
    pub(crate) fn zone(&self) -> Zone {
        // SAFETY: As in `tuple`.
        unsafe { addr_of!((*self.raw()).zone).cast::<Zone>().read() }
    }

    /// Returns the master's original tuple.
    pub(crate) fn master_tuple(&self) -> Tuple {
        // SAFETY: As in `tuple`.
        unsafe {
            addr_of!((*self.raw()).master_tuple)
                .cast::<Tuple>()
                .read_unaligned()
        }
    }

    /// Returns how the expected connection is translated.
    pub(crate) fn nat(&self) -> ExpectNat {
        // SAFETY: Valid, and not changed since it was added; the unions are sixteen and two bytes.
        unsafe {
            ExpectNat {
                dir: Direction::from_bit((*self.raw()).dir != 0),
                address: addr_of!((*self.raw()).saved_addr)
                    .cast::<[u8; 16]>()
                    .read_unaligned(),
                key: addr_of!((*self.raw()).saved_proto).cast::<[u8; 2]>().read(),
            }
        }
    }

    /// Returns the class: the index of a policy of its helper.
    pub(crate) fn class(&self) -> u32 {
        // SAFETY: Valid, and not changed since it was added.
        unsafe { (*self.raw()).class }
    }

    fn flags_word(&self) -> &Atomic<u32> {
        // SAFETY: Valid and aligned; accessed atomically, and written under the lock.
        unsafe { Atomic::from_ptr(addr_of_mut!((*self.raw()).flags)) }
    }

    /// Returns the flags.
    #[inline]
    pub(crate) fn flags(&self) -> ExpectFlags {
        ExpectFlags(self.flags_word().load(Relaxed))
    }

    /// Withdraws the expectation: it matches nothing any more, and is removed as an expired one is.
    pub(crate) fn withdraw(&self, _locked: Locked<'_>) {
        let flags = self.flags_word();
        flags.store(flags.load(Relaxed) | ExpectFlag::Dead.bit(), Relaxed);
    }

    fn timeout_word(&self) -> &Atomic<u32> {
        // SAFETY: Valid and aligned; accessed atomically.
        unsafe { Atomic::from_ptr(addr_of_mut!((*self.raw()).timeout)) }
    }

    /// Returns the remaining time in jiffies; [`None`] if the expectation is expired or withdrawn.
    #[inline]
    pub(crate) fn remaining(&self) -> Option<u32> {
        let left = self.timeout_word().load(Relaxed).wrapping_sub(jiffies32());
        // CAST: the sign bit tells past from future.
        (left as i32 > 0 && !self.flags().has(ExpectFlag::Dead)).then_some(left)
    }

    /// Lets the expectation expire in `jiffies`.
    pub(crate) fn set_remaining(&self, jiffies: u32, _locked: Locked<'_>) {
        self.timeout_word()
            .store(jiffies32().wrapping_add(jiffies), Relaxed);
    }

    /// Returns whether the expectation is expired or withdrawn.
    #[inline]
    pub(crate) fn is_expired(&self) -> bool {
        self.remaining().is_none()
    }

    /// Returns whether the expectation belongs to `net`.
    #[inline]
    pub(crate) fn is_in(&self, net: &Net) -> bool {
        // SAFETY: Valid; reads the pointer, does not follow it.
        core::ptr::eq(unsafe { bindings::rct_expect_net(self.raw()) }, net.raw())
    }

    /// Returns whether `conn` is the master.
    pub(crate) fn has_master(&self, conn: &Conn) -> bool {
        // SAFETY: Valid, and not changed; compares the pointers, does not follow them.
        core::ptr::eq(unsafe { (*self.raw()).master }, conn.raw())
    }

    /// Returns the address of the function that is called with the expected connection, as an
    /// identity.
    pub(crate) fn expectfn_address(&self) -> Option<usize> {
        // SAFETY: Valid, and not changed since it was added.
        unsafe { (*self.raw()).expectfn }.map(|expectfn| expectfn as usize)
    }

    /// Returns the addresses of the helper that announced the connection and of the helper that the
    /// connection gets, as identities. 0: no helper.
    pub(crate) fn helper_addresses(&self) -> [usize; 2] {
        // SAFETY: Valid; reads the pointers, does not follow them.
        unsafe {
            [
                (*self.raw()).helper.addr(),
                (*self.raw()).assign_helper.addr(),
            ]
        }
    }

    /// Reads a pointer to a helper.
    ///
    /// # Safety
    ///
    /// `field` is one of the two helper pointers of an expectation that was in the table during
    /// `'r`.
    pub(super) unsafe fn helper_in<'r>(
        field: *mut *mut bindings::nf_conntrack_helper,
        _rcu: Rcu<'r>,
    ) -> Option<&'r Helper> {
        // SAFETY: A valid, aligned pointer, accessed atomically.
        let helper = unsafe { Atomic::from_ptr(field) }.load(Acquire);
        // SAFETY: By the function's contract; a helper is freed a grace period after the
        // expectations that point to it were removed.
        NonNull::new(helper).map(|helper| unsafe { Helper::from_raw(helper.as_ptr()) })
    }
}
