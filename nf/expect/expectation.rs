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
    marker::PhantomData,
    mem::{
        offset_of,
        size_of, //
    },
    ops::Deref,
    ptr::{
        addr_of,
        addr_of_mut,
        NonNull, //
    }, //
};

use kernel::{
    sync::{
        aref::{
            ARef,
            AlwaysRefCounted, //
        },
        atomic::{
            Acquire,
            Atomic,
            Relaxed, //
        },
        lock::Backend, //
    },
    types::{
        NotThreadSafe,
        Opaque, //
    }, //
};

use crate::{
    nf::{
        bindings,
        entry::{
            conn::Conn,
            ecache::EventCache,
            help::{
                Help,
                Helper, //
            },
            stale::Stale, //
        },
        kernel::{
            hlist::Nodes,
            layout::SameLayout,
            lock::{
                self,
                SpinLockBhBackend,
                SpinLockBhGuard, //
            },
            net::Net,
            nfnetlink::Requester,
            rcu::{
                Rcu,
                RcuGuard, //
            },
            time::jiffies32, //
        }, //
    },
    proto::types::{
        direction::Direction,
        tuple::Tuple,
        zone::Zone, //
    }, //
};

use super::cache;

/// Evidence that this context holds `nf_conntrack_expect_lock` for all of `'l`.
///
/// # Invariants
///
/// The lock was taken before, and is given back after, `'l`.
#[derive(Clone, Copy)]
pub(crate) struct Locked<'l>(PhantomData<&'l ()>, NotThreadSafe);

impl<'l> Locked<'l> {
    /// Takes the caller's word for it.
    ///
    /// # Safety
    ///
    /// The caller holds the lock for all of `'l`.
    pub(crate) unsafe fn assume_held() -> Self {
        // SAFETY: Static and initialised.
        unsafe { SpinLockBhBackend::assert_is_held(raw_lock().cast()) };
        // INVARIANT: The caller's promise, which lockdep can check.
        Self(PhantomData, NotThreadSafe)
    }

    /// A read-side section: who holds a spinlock with bottom halves off is in one.
    #[inline]
    pub(crate) fn rcu(self) -> Rcu<'l> {
        // SAFETY: By the type invariants preemption is off for `'l`; where locks leave it on
        // (PREEMPT_RT), taking one opens a section.
        unsafe { Rcu::assume_held() }
    }
}

/// Holds `nf_conntrack_expect_lock`, bottom halves off. It guards the table, the chains of
/// masters and their counts, and the list of expectation functions.
///
/// No reference to an entry is given back while it is held: giving back the last one takes it.
///
/// # Invariants
///
/// This context holds the lock.
#[must_use = "the lock is given back when the guard is dropped"]
pub(crate) struct ExpectGuard(#[expect(dead_code)] SpinLockBhGuard<'static, ()>);

fn raw_lock() -> *mut bindings::spinlock_t {
    addr_of_mut!(bindings::nf_conntrack_expect_lock)
}

impl ExpectGuard {
    /// Takes the lock.
    pub(crate) fn new() -> Self {
        // SAFETY: Static and initialised.
        // INVARIANT: Just taken.
        Self(unsafe { lock::from_raw(raw_lock()) }.lock())
    }

    /// The evidence, valid while the guard lives.
    #[inline]
    pub(crate) fn locked(&self) -> Locked<'_> {
        // INVARIANT: By the type invariants of the guard.
        Locked(PhantomData, NotThreadSafe)
    }
}

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
unsafe impl AlwaysRefCounted for Expectation {
    fn inc_ref(&self) {
        // SAFETY: Valid; the caller has a reference, so the count is not zero.
        unsafe { bindings::rct_refcount_inc(self.count()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        let raw = obj.as_ptr().cast::<bindings::nf_conntrack_expect>();
        // SAFETY: The caller gives up a reference; after the last one nobody uses the head.
        unsafe {
            if bindings::rct_refcount_dec_and_test(addr_of_mut!((*raw).use_)) {
                bindings::call_rcu(addr_of_mut!((*raw).rcu), Some(free));
            }
        }
    }
}

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

    fn count(&self) -> *mut bindings::refcount_t {
        // SAFETY: A field of a valid object.
        unsafe { addr_of_mut!((*self.raw()).use_) }
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
    unsafe fn helper_in<'r>(
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

/// An expectation that was met in the table during an RCU read-side section.
///
/// # Invariants
///
/// It was on a chain of the table during `'r`.
pub(crate) struct Seen<'r>(&'r Expectation, Rcu<'r>);

impl Deref for Seen<'_> {
    type Target = Expectation;

    fn deref(&self) -> &Expectation {
        self.0
    }
}

impl<'r> Seen<'r> {
    /// # Safety
    ///
    /// As the invariants say.
    pub(in crate::nf) unsafe fn from_raw(
        ptr: *mut bindings::nf_conntrack_expect,
        rcu: Rcu<'r>,
    ) -> Self {
        // INVARIANT: the caller's promise.
        // SAFETY: As above.
        Self(unsafe { Expectation::from_raw(ptr) }, rcu)
    }

    /// Takes a reference; [`None`] if the last one was given back meanwhile.
    pub(crate) fn get(&self) -> Option<ARef<Expectation>> {
        // SAFETY: Valid for `'r`; at zero the count stays there.
        unsafe { bindings::rct_refcount_inc_not_zero(self.count()) }.then(|| {
            // SAFETY: The reference was just taken.
            unsafe { ARef::from_raw(NonNull::from(self.0)) }
        })
    }

    /// The helper that made it.
    pub(crate) fn helper(&self) -> Option<&'r Helper> {
        // SAFETY: By the type invariants.
        unsafe { Expectation::helper_in(addr_of_mut!((*self.raw()).helper), self.1) }
    }
}

/// An expectation that was met in the table under the lock.
///
/// # Invariants
///
/// At some time while the lock was held by this context, it was in the table. Its master is
/// therefore not freed before the lock is given back, nor is what the master has.
pub(crate) struct Linked<'l>(&'l Expectation, Locked<'l>);

impl Deref for Linked<'_> {
    type Target = Expectation;

    fn deref(&self) -> &Expectation {
        self.0
    }
}

impl<'l> Linked<'l> {
    /// # Safety
    ///
    /// `ptr` points to an expectation that was in the table since this context took the lock.
    pub(crate) unsafe fn from_raw(
        ptr: *mut bindings::nf_conntrack_expect,
        locked: Locked<'l>,
    ) -> Self {
        // INVARIANT: the caller's promise.
        // SAFETY: As above; if it was taken off since, a grace period has not passed.
        Self(unsafe { Expectation::from_raw(ptr) }, locked)
    }

    /// Takes a reference. The table has one, so there is none too few.
    pub(crate) fn get(&self) -> Option<ARef<Expectation>> {
        Seen(self.0, self.1.rcu()).get()
    }

    /// The master, whose last reference may be gone.
    pub(crate) fn master(&self) -> Stale<'l> {
        // SAFETY: By the type invariants the master is an entry. It is never null.
        unsafe {
            let master = NonNull::new_unchecked((*self.raw()).master);
            Stale::new(master, Direction::Original, self.1.rcu())
        }
    }

    /// The master's part that keeps its expectations.
    pub(crate) fn help(&self) -> Option<&'l Help> {
        // SAFETY: By the type invariants the master is an entry, and its extensions are there.
        unsafe { Conn::from_raw((*self.raw()).master) }
            .extensions()
            .find::<Help>()
    }

    /// The namespace.
    pub(crate) fn net(&self) -> &'l Net {
        // SAFETY: By the type invariants its master's namespace lives.
        unsafe { Net::from_raw(bindings::rct_expect_net(self.raw())) }
    }

    /// The helper that made it.
    pub(crate) fn helper(&self) -> Option<&'l Helper> {
        // SAFETY: By the type invariants.
        unsafe { Expectation::helper_in(addr_of_mut!((*self.raw()).helper), self.1.rcu()) }
    }

    /// The helper that the expected connection gets.
    pub(crate) fn assigned_helper(&self) -> Option<&'l Helper> {
        // SAFETY: By the type invariants.
        unsafe { Expectation::helper_in(addr_of_mut!((*self.raw()).assign_helper), self.1.rcu()) }
    }

    /// Takes it off its chains. Returns the table's reference, or [`None`] if it was off.
    pub(crate) fn unlink(&self) -> Option<ARef<Expectation>> {
        // SAFETY: The lock is held. A node that is on no chain has no predecessor: the memory
        // was zeroed, and taking a node off clears it.
        unsafe {
            if (*self.raw()).hnode.pprev.is_null() {
                return None;
            }
            bindings::rct_hlist_del_init_rcu(addr_of_mut!((*self.raw()).hnode));
            bindings::rct_hlist_del_init_rcu(addr_of_mut!((*self.raw()).lnode));
            Some(ARef::from_raw(NonNull::from(self.0)))
        }
    }

    /// Tells listeners, of those who want to know about this one.
    pub(crate) fn notify(&self, event: Event, requester: Requester) {
        let event = 1u32 << event as u32;
        // SAFETY: Valid, and not changed since it was added.
        if u32::from(unsafe { (*self.raw()).event_mask }) & event == 0 {
            return;
        }
        let item = bindings::nf_exp_event {
            exp: self.raw(),
            portid: requester.portid,
            report: requester.report.into(),
        };
        let _section = RcuGuard::new();
        // SAFETY: The namespace lives, as in `net`; listeners expect the lock to be held.
        unsafe { bindings::rct_expect_event_tell(event, &item) };
    }
}

/// The expectations on a chain of the table.
///
/// # Safety
///
/// The chain is one of the table's.
pub(in crate::nf) unsafe fn seen<'r>(
    head: *mut bindings::hlist_head,
    rcu: Rcu<'r>,
) -> impl Iterator<Item = Seen<'r>> {
    const NODE: usize = offset_of!(bindings::nf_conntrack_expect, hnode);
    // SAFETY: By the invariants of `Expectation`.
    unsafe { Nodes::of(head, rcu) }.map(move |node| {
        // SAFETY: The node is inside an expectation, which was on the chain during `'r`.
        let expectation = unsafe { Expectation::from_raw(node.as_ptr().byte_sub(NODE).cast()) };
        // INVARIANT: as just said.
        Seen(expectation, rcu)
    })
}

/// The expectations on a chain of the table, under the lock. The one that was given out last
/// may be taken off meanwhile.
///
/// # Safety
///
/// The chain is one of the table's.
pub(in crate::nf) unsafe fn linked<'l>(
    head: *mut bindings::hlist_head,
    locked: Locked<'l>,
) -> impl Iterator<Item = Linked<'l>> {
    // INVARIANT: under the lock what is on the chain is in the table.
    // SAFETY: The caller's promise.
    unsafe { seen(head, locked.rcu()) }.map(move |seen| Linked(seen.0, locked))
}

impl Help {
    /// How many expectations there are of a class.
    pub(crate) fn expecting(&self, class: u32, _locked: Locked<'_>) -> u8 {
        let class = class as usize;
        // SAFETY: The lock is held.
        let counts = unsafe { (*self.raw()).expecting };
        counts.get(class).copied().unwrap_or(0)
    }

    /// Sets [`Help::expecting`].
    pub(crate) fn set_expecting(&self, class: u32, count: u8, _locked: Locked<'_>) {
        // SAFETY: The lock is held.
        let counts = unsafe { &mut (*self.raw()).expecting };
        if let Some(place) = counts.get_mut(class as usize) {
            *place = count;
        }
    }

    /// The entry's expectations, newest first. The one that was given out last may be taken
    /// off meanwhile.
    pub(crate) fn expectations<'l>(
        &'l self,
        locked: Locked<'l>,
    ) -> impl Iterator<Item = Linked<'l>> {
        const NODE: usize = offset_of!(bindings::nf_conntrack_expect, lnode);
        // SAFETY: By the invariants of `Expectation`.
        unsafe { Nodes::of(self.chain(), locked.rcu()) }.map(move |node| {
            // SAFETY: The node is inside an expectation, which was on the chain during `'l`.
            let expectation = unsafe { Expectation::from_raw(node.as_ptr().byte_sub(NODE).cast()) };
            // INVARIANT: what is on a master's chain is in the table.
            Linked(expectation, locked)
        })
    }
}

/// The addresses and ports of a [`Draft`], in network byte order.
pub(crate) struct Ends {
    /// `AF_INET` or `AF_INET6`.
    pub(crate) family: u8,
    /// The IP protocol number.
    pub(crate) protocol: u8,
    /// The source's address, if known.
    pub(crate) source: Option<[u8; 16]>,
    /// The source's port, if known.
    pub(crate) source_port: Option<u16>,
    /// The destination's address.
    pub(crate) destination: [u8; 16],
    /// The destination's port.
    pub(crate) destination_port: u16,
}

/// An expectation in the making.
///
/// # Invariants
///
/// Nobody but its maker changes it, unless it is in the table, and its master is not freed
/// during `'a`.
pub(crate) struct Draft<'a>(
    NonNull<bindings::nf_conntrack_expect>,
    PhantomData<&'a Conn>,
);

impl<'a> Draft<'a> {
    /// Allocates one, with one reference. Atomic context. [`None`]: no memory.
    pub(crate) fn new(master: &'a Conn) -> Option<Self> {
        let expectation = cache::allocate()?;
        let raw = expectation.as_ptr();
        // SAFETY: The memory is ours, and zeroed.
        unsafe {
            (*raw).timeout = jiffies32();
            (*raw).master = master.raw();
            bindings::rct_refcount_set(addr_of_mut!((*raw).use_), 1);
        }
        // INVARIANT: ours.
        Some(Self(expectation, PhantomData))
    }

    /// # Safety
    ///
    /// As the invariants say.
    pub(crate) unsafe fn from_raw(ptr: NonNull<bindings::nf_conntrack_expect>) -> Self {
        // INVARIANT: the caller's promise.
        Self(ptr, PhantomData)
    }

    /// The pointer, for C code; the reference goes with it.
    pub(crate) fn raw(&self) -> *mut bindings::nf_conntrack_expect {
        self.0.as_ptr()
    }

    /// The master.
    pub(crate) fn master(&self) -> &'a Conn {
        // SAFETY: By the type invariants.
        unsafe { Conn::from_raw((*self.raw()).master) }
    }

    /// The reference that it was made with.
    pub(crate) fn first_reference(&self) -> ARef<Expectation> {
        // SAFETY: Its maker's, who takes it over here.
        unsafe { ARef::from_raw(self.0.cast()) }
    }

    /// What it has become so far.
    pub(crate) fn expectation(&self) -> &'a Expectation {
        // SAFETY: By the type invariants; its maker has a reference.
        unsafe { Expectation::from_raw(self.raw()) }
    }

    /// Changes the port that it expects, network byte order.
    pub(crate) fn set_destination_port(&self, port: [u8; 2]) {
        // SAFETY: By the type invariants we are the only ones to change it; the union is two
        // bytes.
        unsafe {
            addr_of_mut!((*self.raw()).tuple.dst.u)
                .cast::<[u8; 2]>()
                .write(port)
        };
    }

    /// Fills in what it expects, and what it takes over from its master.
    pub(crate) fn describe(&self, class: u32, ends: &Ends, rcu: Rcu<'_>) {
        let raw = self.raw();
        let master = self.master();
        let helper = master
            .extensions()
            .find::<Help>()
            .and_then(|help| help.helper(rcu));
        let events = master
            .extensions()
            .find::<EventCache>()
            .map_or(0, EventCache::wanted_of_expectations);
        let used = if ends.family == bindings::NFPROTO_IPV4 as u8 {
            4
        } else {
            16
        };
        // SAFETY: By the type invariants we are the only ones to change it. The two-byte and
        // sixteen-byte unions are written whole, as bytes.
        unsafe {
            (*raw).flags = 0;
            (*raw).class = class;
            (*raw).expectfn = None;
            (*raw).event_mask = events;
            (*raw).helper = helper.map_or(core::ptr::null_mut(), Helper::raw);
            (*raw).assign_helper = core::ptr::null_mut();
            bindings::rct_expect_set_net(raw, master.net().raw());
            (*raw).zone = (*master.raw()).zone;
            addr_of_mut!((*raw).master_tuple)
                .cast::<[u64; 5]>()
                .write_unaligned(master.tuple_words(Direction::Original));

            let tuple = addr_of_mut!((*raw).tuple);
            let mask = addr_of_mut!((*raw).mask);
            (*tuple).src.l3num = ends.family.into();
            (*tuple).dst.protonum = ends.protocol;
            write(
                addr_of_mut!((*tuple).src.u3),
                ends.source.unwrap_or_default(),
            );
            write(
                addr_of_mut!((*tuple).src.u),
                ends.source_port.unwrap_or_default(),
            );
            write(addr_of_mut!((*tuple).dst.u3), ends.destination);
            write(addr_of_mut!((*tuple).dst.u), ends.destination_port);
            let known = core::array::from_fn(|index| {
                if ends.source.is_some() && index < used {
                    u8::MAX
                } else {
                    0
                }
            });
            write::<_, [u8; 16]>(addr_of_mut!((*mask).src.u3), known);
            write(
                addr_of_mut!((*mask).src.u),
                ends.source_port.map_or(0, |_| u16::MAX),
            );

            #[cfg(CONFIG_NF_NAT)]
            {
                write(addr_of_mut!((*raw).saved_addr), [0u8; 16]);
                write(addr_of_mut!((*raw).saved_proto), 0u16);
                (*raw).dir = bindings::ip_conntrack_dir_IP_CT_DIR_ORIGINAL;
            }
        }
    }

    /// Puts it on a chain of the table and on its master's, with a reference for that, and
    /// lets it live `more` jiffies longer than its maker had it. [`None`]: it is there.
    ///
    /// `help` is its master's.
    pub(in crate::nf) fn link<'l>(
        &self,
        head: *mut bindings::hlist_head,
        help: &Help,
        more: u32,
        locked: Locked<'l>,
    ) -> Option<Linked<'l>>
    where
        'a: 'l,
    {
        let raw = self.raw();
        // SAFETY: The lock is held, and the caller in `nf` gave a head of the table. See
        // `Linked::unlink` for the predecessor.
        unsafe {
            if !(*raw).hnode.pprev.is_null() {
                return None;
            }
            bindings::rct_refcount_inc(addr_of_mut!((*raw).use_));
            (*raw).timeout = (*raw).timeout.wrapping_add(more);
            bindings::rct_hlist_add_head_rcu(addr_of_mut!((*raw).lnode), help.chain());
            bindings::rct_hlist_add_head_rcu(addr_of_mut!((*raw).hnode), head);
        }
        // INVARIANT: just put there.
        Some(Linked(self.expectation(), locked))
    }
}

/// Writes a union as what C code reads of it.
///
/// # Safety
///
/// `place` is valid for writes.
unsafe fn write<U, T: Copy>(place: *mut U, value: T) {
    const { assert!(size_of::<U>() == size_of::<T>()) };
    // SAFETY: The caller's promise; the sizes are the same.
    unsafe { place.cast::<T>().write_unaligned(value) };
}
