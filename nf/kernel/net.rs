// SPDX-License-Identifier: GPL-2.0

//! Network namespaces: what conntrack keeps in them, and their coming and going.
//!
//! C header: [`include/net/net_namespace.h`](srctree/include/net/net_namespace.h)

use core::{
    mem::size_of,
    ptr::{
        addr_of_mut,
        null_mut,
        NonNull, //
    }, //
};

use kernel::{
    cpu::nr_cpu_ids,
    error::from_result,
    prelude::*,
    sync::atomic::{
        Atomic,
        Full,
        Relaxed, //
    },
    types::Opaque, //
};

use crate::nf::bindings;

use super::{
    hlist,
    rcu::Rcu, //
};

/// A network namespace.
///
/// # Invariants
///
/// The namespace is initialised and not freed.
#[repr(transparent)]
pub(crate) struct Net(Opaque<bindings::net>);

// SAFETY: What we touch of it is atomic or per CPU.
unsafe impl Sync for Net {}

impl Net {
    /// # Safety
    ///
    /// `ptr` points to a namespace that lives for `'a`.
    #[inline]
    pub(crate) unsafe fn from_raw<'a>(ptr: *mut bindings::net) -> &'a Self {
        // SAFETY: The caller's promise; the type is transparent.
        unsafe { &*ptr.cast() }
    }

    #[inline]
    pub(crate) fn raw(&self) -> *mut bindings::net {
        self.0.get()
    }

    /// The machine's first namespace.
    pub(crate) fn init_net() -> &'static Self {
        // SAFETY: It is never freed.
        unsafe { Self::from_raw(bindings::rct_init_net()) }
    }

    /// Whether this is the first namespace.
    #[inline]
    pub(crate) fn is_init(&self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_net_is_init(self.raw()) }
    }

    /// The namespace's number in `/proc/*/ns/net`.
    pub(crate) fn inum(&self) -> u32 {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_net_inum(self.raw()) }
    }

    /// A number that no other namespace has, or will have.
    pub(crate) fn cookie(&self) -> u64 {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_net_cookie(self.raw()) }
    }

    /// Whether anybody uses it; if not, it is being torn down.
    pub(crate) fn is_alive(&self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_net_is_alive(self.raw()) }
    }

    /// A number to mix into hashes, different for every namespace.
    #[inline]
    pub(crate) fn hash_mix(&self) -> u32 {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_net_hash_mix(self.raw()) }
    }

    #[inline]
    pub(in crate::nf) fn ct(&self) -> *mut bindings::netns_ct {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_net_ct(self.raw()) }
    }

    /// What `P` keeps for the namespace.
    #[inline]
    pub(crate) fn state<P: Pernet>(&self) -> &P {
        // SAFETY: Registered by `PernetRegistration`; `P` is valid when zeroed, and the memory
        // lives as long as the namespace.
        unsafe { &*bindings::rct_net_generic(self.raw(), P::ops().id.load(Relaxed)).cast() }
    }

    /// [`Net::state`], for who is in a section of RCU and need not enter another one.
    #[inline]
    pub(crate) fn state_in<P: Pernet>(&self, _rcu: Rcu<'_>) -> &P {
        // SAFETY: As above; the kernel's array of pointers to such memory stays for the section.
        unsafe { &*bindings::rct_net_generic_rcu(self.raw(), P::ops().id.load(Relaxed)).cast() }
    }

    /// Whether a rule uses labels.
    #[inline]
    pub(crate) fn labels_used(&self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_labels_used(self.raw()) }
    }

    /// Counts rules that use labels.
    pub(crate) fn use_labels(&self, more: i32) {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_labels_used_add(self.raw(), more) };
    }

    /// Adds to a statistic of this CPU.
    #[inline]
    pub(crate) fn count(&self, stat: Stat, n: u32) {
        // SAFETY: The offset is that of a field; allocated before packets come.
        unsafe { bindings::rct_stat_add(self.raw(), stat.offset(), n) };
    }

    /// Adds one to a statistic of this CPU.
    #[inline]
    pub(crate) fn count_one(&self, stat: Stat) {
        self.count(stat, 1);
    }

    /// A statistic of one CPU.
    pub(crate) fn stat_of(&self, cpu: u32, stat: Stat) -> u32 {
        // SAFETY: The offset is that of a field; `cpu` is a possible one.
        unsafe { bindings::rct_stat_read(self.raw(), cpu, stat.offset()) }
    }

    /// Frees the per-CPU statistics.
    ///
    /// # Safety
    ///
    /// Nothing counts any more.
    unsafe fn free_stats(&self) {
        // SAFETY: The caller's promise.
        unsafe {
            let stats = addr_of_mut!((*self.ct()).stat).replace(null_mut());
            bindings::rct_free_percpu(stats.cast());
        }
    }
}

/// A hold on a namespace: it is not torn down before this is dropped.
///
/// # Invariants
///
/// `0` is a namespace with a reference that this value owns.
pub(crate) struct NetRef(NonNull<bindings::net>);

impl NetRef {
    /// [`None`]: it is being torn down.
    ///
    /// # Safety
    ///
    /// `net` points to a namespace that is not freed.
    pub(in crate::nf) unsafe fn new(net: *mut bindings::net) -> Option<Self> {
        // SAFETY: The caller's promise.
        if !unsafe { bindings::rct_net_get(net) } {
            return None;
        }
        // INVARIANT: the reference was just taken.
        NonNull::new(net).map(Self)
    }
}

impl core::ops::Deref for NetRef {
    type Target = Net;

    fn deref(&self) -> &Net {
        // SAFETY: By the type invariants.
        unsafe { Net::from_raw(self.0.as_ptr()) }
    }
}

impl Drop for NetRef {
    fn drop(&mut self) {
        // SAFETY: By the type invariants. The namespace's end is left to a work queue.
        unsafe { bindings::rct_net_put(self.0.as_ptr()) };
    }
}

/// Calls `look` for each namespace, under the lock of their list. May sleep.
fn look_at_all(mut look: impl FnMut(*mut bindings::net)) {
    // SAFETY: Process context.
    unsafe { bindings::rct_nets_lock() };
    // SAFETY: The list does not change while it is locked.
    for node in unsafe { hlist::nodes(bindings::rct_net_list()) } {
        // SAFETY: The node is that of a namespace.
        look(unsafe { bindings::rct_net_of_list(node.as_ptr()) });
    }
    // SAFETY: Locked above.
    unsafe { bindings::rct_nets_unlock() };
}

/// Holds on all namespaces for which `wanted` says so. May sleep.
pub(in crate::nf) fn hold_all(
    wanted: impl Fn(*mut bindings::net) -> bool,
) -> Result<Option<KVVec<NetRef>>> {
    loop {
        let mut count = 0_usize;
        look_at_all(|net| count = count.wrapping_add(wanted(net).into()));
        if count == 0 {
            return Ok(None);
        }
        let mut held = KVVec::with_capacity(count, GFP_KERNEL)?;
        let mut fits = true;
        look_at_all(|net| {
            if wanted(net) {
                // SAFETY: It is on the list, so it is not freed.
                if let Some(hold) = unsafe { NetRef::new(net) } {
                    // One may have come meanwhile.
                    fits &= held.push_within_capacity(hold).is_ok();
                }
            }
        });
        if fits {
            return Ok(Some(held));
        }
    }
}

/// The first possible CPU that is not below `from`.
pub(crate) fn possible_cpu(from: u32) -> Option<u32> {
    // SAFETY: Reads the mask.
    let cpu = unsafe { bindings::rct_next_possible_cpu(from) };
    (cpu < nr_cpu_ids()).then_some(cpu)
}

/// The statistics of a namespace, `struct ip_conntrack_stat`.
#[derive(Clone, Copy)]
pub(crate) enum Stat {
    /// Tuples that NAT found in use.
    Found,
    /// Packets that belong to no connection and cannot begin one.
    Invalid,
    /// Entries that user space put in.
    Insert,
    /// Entries that could not be put in.
    InsertFailed,
    /// Clashes that were resolved without losing the packet.
    ClashResolve,
    /// Packets dropped.
    Drop,
    /// Entries that made room for others.
    EarlyDrop,
    /// Errors in ICMP messages.
    Error,
    /// Connections that were expected.
    ExpectNew,
    /// Expectations made.
    ExpectCreate,
    /// Expectations deleted.
    ExpectDelete,
    /// Lookups that had to begin again.
    SearchRestart,
    /// Entries refused because their chain was too long.
    ChainTooLong,
}

impl Stat {
    #[inline]
    const fn offset(self) -> usize {
        use bindings::ip_conntrack_stat as S;
        use core::mem::offset_of;
        match self {
            Self::Found => offset_of!(S, found),
            Self::Invalid => offset_of!(S, invalid),
            Self::Insert => offset_of!(S, insert),
            Self::InsertFailed => offset_of!(S, insert_failed),
            Self::ClashResolve => offset_of!(S, clash_resolve),
            Self::Drop => offset_of!(S, drop),
            Self::EarlyDrop => offset_of!(S, early_drop),
            Self::Error => offset_of!(S, error),
            Self::ExpectNew => offset_of!(S, expect_new),
            Self::ExpectCreate => offset_of!(S, expect_create),
            Self::ExpectDelete => offset_of!(S, expect_delete),
            Self::SearchRestart => offset_of!(S, search_restart),
            Self::ChainTooLong => offset_of!(S, chaintoolong),
        }
    }
}

/// An atomic number in a [`Pernet`], which begins at zero.
#[repr(transparent)]
pub(crate) struct Counter(Atomic<u32>);

// SAFETY: Zero is a valid number; the type is transparent.
unsafe impl pin_init::Zeroable for Counter {}

impl core::ops::Deref for Counter {
    type Target = Atomic<u32>;

    #[inline]
    fn deref(&self) -> &Atomic<u32> {
        &self.0
    }
}

/// State that every namespace has.
///
/// The memory lives as long as the namespace: a consumer that was loaded before this module may
/// give back what it took after [`Pernet::exit`].
pub(crate) trait Pernet: pin_init::Zeroable + Sync + 'static {
    /// Sets up a namespace, whose state is zeroed. May sleep.
    fn init(net: &NewNet<'_>) -> Result;

    /// Tears namespaces down. May sleep, and returns when they have no packets and entries left.
    fn exit(nets: &ExitingNets);

    /// The kernel's objects for it: one static for each type.
    fn ops() -> &'static PernetOps;
}

/// The kernel's objects for a [`Pernet`].
pub(crate) struct PernetOps {
    id: Atomic<u32>,
    is_taken: Atomic<bool>,
    operations: Opaque<bindings::pernet_operations>,
}

// SAFETY: The operations are written once, by the one that took the place.
unsafe impl Sync for PernetOps {}

impl PernetOps {
    /// The objects for one kind of state.
    pub(crate) const fn new() -> Self {
        Self {
            id: Atomic::new(0),
            is_taken: Atomic::new(false),
            operations: Opaque::zeroed(),
        }
    }
}

/// A namespace that is being set up: there are no packets yet, and no other CPU accesses what the
/// module keeps for it, unless [`Pernet::init`] has made it accessible.
pub(crate) struct NewNet<'a>(&'a Net);

impl core::ops::Deref for NewNet<'_> {
    type Target = Net;

    fn deref(&self) -> &Net {
        self.0
    }
}

impl NewNet<'_> {
    /// Allocates the per-CPU statistics, and makes the list of GRE keys usable. May sleep.
    pub(crate) fn set_up(&self) -> Result {
        // SAFETY: Nothing is on the list yet, and no other CPU looks at it.
        unsafe { bindings::rct_list_init(self.keymaps()) };
        // SAFETY: Process context.
        let stats = NonNull::new(unsafe { bindings::rct_stat_alloc() }).ok_or(ENOMEM)?;
        // SAFETY: The namespace has no packets yet.
        unsafe { addr_of_mut!((*self.ct()).stat).write(stats.as_ptr().cast()) };
        Ok(())
    }

    /// Undoes [`NewNet::set_up`], for an `init` that fails before there are packets.
    pub(crate) fn tear_down(&self) {
        // SAFETY: What counts are packets and entries, of which there are none yet.
        unsafe { self.free_stats() };
    }
}

/// A namespace that is being torn down.
pub(crate) struct ExitingNet<'a>(&'a Net);

impl core::ops::Deref for ExitingNet<'_> {
    type Target = Net;

    fn deref(&self) -> &Net {
        self.0
    }
}

impl ExitingNet<'_> {
    /// Undoes [`NewNet::set_up`], once the namespace has no hooks and no entries any more.
    pub(crate) fn tear_down(&self) {
        // SAFETY: What counts are packets and entries, of which none are left.
        unsafe { self.free_stats() };
    }
}

/// The namespaces that are torn down together.
pub(crate) struct ExitingNets(*mut bindings::list_head);

impl ExitingNets {
    /// All of them, as often as wanted.
    pub(crate) fn iter(&self) -> impl Iterator<Item = ExitingNet<'_>> + '_ {
        // SAFETY: The list does not change while `self` lives, which is during `exit`.
        let nodes = unsafe { hlist::nodes(self.0) };
        nodes.map(|node| {
            // SAFETY: The nodes are those of namespaces, which are freed after that call returned.
            ExitingNet(unsafe { Net::from_raw(bindings::rct_net_of_exit_list(node.as_ptr())) })
        })
    }
}

/// Keeps [`Pernet`] registered.
///
/// # Invariants
///
/// `0` is registered.
pub(crate) struct PernetRegistration(*mut bindings::pernet_operations);

// SAFETY: Registering and unregistering may be done by any thread.
unsafe impl Send for PernetRegistration {}
// SAFETY: There is nothing to share.
unsafe impl Sync for PernetRegistration {}

impl PernetRegistration {
    /// Calls `P::init` for every namespace there is, and for those to come. May sleep.
    ///
    /// `EBUSY`: it was registered before.
    pub(crate) fn new<P: Pernet>() -> Result<Self> {
        if P::ops().is_taken.xchg(true, Full) {
            return Err(EBUSY);
        }
        let ops = P::ops().operations.get();
        // SAFETY: Only the caller that took the place gets here. The id is an `unsigned int` that
        // only the registration writes.
        unsafe {
            (*ops).init = Some(init::<P>);
            (*ops).exit_batch = Some(exit::<P>);
            (*ops).id = P::ops().id.as_ptr();
            (*ops).size = size_of::<P>();
        }
        // SAFETY: Complete, and in static memory.
        kernel::error::to_result(unsafe { bindings::register_pernet_subsys(ops) })?;
        // INVARIANT: just registered.
        Ok(Self(ops))
    }
}

impl Drop for PernetRegistration {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::unregister_pernet_subsys(self.0) };
    }
}

/// A namespace begins, as the core says it.
///
/// # Safety
///
/// For the core alone, with a namespace that is being set up.
unsafe extern "C" fn init<P: Pernet>(net: *mut bindings::net) -> core::ffi::c_int {
    // SAFETY: The core hands over a namespace; what `init` starts, `exit` ends.
    let net = NewNet(unsafe { Net::from_raw(net) });
    from_result(|| P::init(&net).map(|()| 0))
}

/// Namespaces end, as the core says it.
///
/// # Safety
///
/// For the core alone, with the list of namespaces that are being torn down.
unsafe extern "C" fn exit<P: Pernet>(list: *mut bindings::list_head) {
    P::exit(&ExitingNets(list));
}
