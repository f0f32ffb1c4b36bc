// SPDX-License-Identifier: GPL-2.0

//! Network namespaces: the state that the module has in them, their beginning and their end.
//!
//! # Examples
//!
//! ```ignore
//! #[derive(pin_init::Zeroable)]
//! struct NetState {
//!     entries: Counter,
//! }
//!
//! impl Pernet for NetState {
//!     fn init(net: &NewNet<'_>) -> Result {
//!         net.set_up()
//!     }
//!
//!     fn exit(nets: &ExitingNets) {
//!         nets.iter().for_each(|net| net.tear_down());
//!     }
//!
//!     fn ops() -> &'static PernetOps {
//!         static OPS: PernetOps = PernetOps::new();
//!         &OPS
//!     }
//! }
//!
//! let registration = PernetRegistration::new::<NetState>()?;
//! net.state::<NetState>().entries.fetch_add(1, Relaxed);
//! ```
//!
//! C header: [`include/net/net_namespace.h`](srctree/include/net/net_namespace.h)

use core::{
    mem::{
        offset_of,
        size_of, //
    },
    ptr::{
        addr_of_mut,
        null_mut,
        NonNull, //
    }, //
};

use kernel::{
    cpu::nr_cpu_ids,
    error::from_result,
    num::casts::u32_as_usize,
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

// SAFETY: What this module accesses is atomic, per CPU, or under a lock.
unsafe impl Sync for Net {}

impl Net {
    /// # Safety
    ///
    /// `ptr` points to a namespace that lives for `'a`.
    #[inline]
    pub(crate) unsafe fn from_raw<'a>(ptr: *mut bindings::net) -> &'a Self {
        // SAFETY: By the safety requirements; the type is transparent.
        unsafe { &*ptr.cast() }
    }

    #[inline]
    pub(crate) fn raw(&self) -> *mut bindings::net {
        self.0.get()
    }

    /// Returns the first namespace, `init_net`.
    pub(crate) fn init_net() -> &'static Self {
        // SAFETY: It is never freed.
        unsafe { Self::from_raw(bindings::rct_init_net()) }
    }

    /// Passes the namespace of the current process, if it has one.
    pub(crate) fn with_current<R>(f: impl FnOnce(&Self) -> R) -> Option<R> {
        // SAFETY: A process may look at its own namespaces.
        let net = unsafe { bindings::rct_current_net() };
        // SAFETY: The process holds the namespace, and does not leave it before `f` returns.
        (!net.is_null()).then(|| f(unsafe { Self::from_raw(net) }))
    }

    /// Whether this is the first namespace, `init_net`.
    #[inline]
    pub(crate) fn is_init(&self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_net_is_init(self.raw()) }
    }

    /// Returns the inode number of `/proc/*/ns/net`.
    pub(crate) fn inum(&self) -> u32 {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_net_inum(self.raw()) }
    }

    /// Returns the cookie: a number that no other namespace has, or will have.
    pub(crate) fn cookie(&self) -> u64 {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_net_cookie(self.raw()) }
    }

    /// Whether the namespace is in use. Otherwise it is being torn down.
    pub(crate) fn is_alive(&self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_net_is_alive(self.raw()) }
    }

    /// Returns a number to mix into hashes, which differs between namespaces.
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

    /// Returns the state of the namespace.
    ///
    /// Before the [`PernetRegistration`] of `P` there is none: nothing that uses it is registered
    /// earlier.
    #[inline]
    pub(crate) fn state<P: Pernet>(&self) -> &P {
        // SAFETY: `P` is registered, and valid when zeroed; the memory lives as long as the
        // namespace, and begins with the state.
        unsafe { &*bindings::rct_net_generic(self.raw(), P::ops().id.load(Relaxed)).cast() }
    }

    /// Makes the work of `P` due in `delay` jiffies, if it is not due anyway. May be called from
    /// softirq. Has no effect once the namespace is torn down.
    pub(crate) fn queue_work<P: Pernet>(&self, delay: u32) {
        // SAFETY: Initialised, as the state is.
        unsafe { bindings::rct_delayed_work_queue(self.work::<P>(), u32_as_usize(delay)) };
    }

    /// Makes the work of `P` due now. Otherwise as [`Net::queue_work`].
    pub(crate) fn hasten_work<P: Pernet>(&self) {
        // SAFETY: As above.
        unsafe { bindings::rct_delayed_work_hasten(self.work::<P>()) };
    }

    /// Returns the memory with the state.
    fn area<P: Pernet>(&self) -> *mut Area<P> {
        // SAFETY: As for `state`.
        unsafe { bindings::rct_net_generic(self.raw(), P::ops().id.load(Relaxed)).cast() }
    }

    /// Returns the work of `P`.
    fn work<P: Pernet>(&self) -> *mut bindings::delayed_work {
        // SAFETY: The memory lives as long as the namespace.
        unsafe { addr_of_mut!((*self.area::<P>()).work) }
    }

    /// Like [`Net::state`], without an RCU section of its own.
    #[inline]
    pub(crate) fn state_in<P: Pernet>(&self, _rcu: Rcu<'_>) -> &P {
        // SAFETY: As above; the kernel's array of pointers to states is kept during the section.
        unsafe { &*bindings::rct_net_generic_rcu(self.raw(), P::ops().id.load(Relaxed)).cast() }
    }

    /// Whether a rule uses connection labels.
    #[inline]
    pub(crate) fn labels_used(&self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_labels_used(self.raw()) }
    }

    /// Changes the number of rules that use connection labels by `more`.
    pub(crate) fn use_labels(&self, more: i32) {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_labels_used_add(self.raw(), more) };
    }

    /// Adds to a statistic of this CPU.
    #[inline]
    pub(crate) fn count(&self, stat: Stat, n: u32) {
        // SAFETY: The offset is that of a field; the statistics exist while there are packets and
        // entries.
        unsafe { bindings::rct_stat_add(self.raw(), stat.offset(), n) };
    }

    /// Adds one to a statistic of this CPU.
    #[inline]
    pub(crate) fn count_one(&self, stat: Stat) {
        self.count(stat, 1);
    }

    /// Returns a statistic of one CPU.
    pub(crate) fn stat_of(&self, cpu: PossibleCpu, stat: Stat) -> u32 {
        // SAFETY: The offset is that of a field; the CPU is a possible one.
        unsafe { bindings::rct_stat_read(self.raw(), cpu.0, stat.offset()) }
    }

    /// Frees the per-CPU statistics.
    ///
    /// # Safety
    ///
    /// Nothing counts any more.
    unsafe fn free_stats(&self) {
        // SAFETY: By the safety requirements.
        unsafe {
            let stats = addr_of_mut!((*self.ct()).stat).replace(null_mut());
            bindings::rct_free_percpu(stats.cast());
        }
    }
}

/// A reference to a namespace, which is not torn down before this is dropped.
///
/// # Invariants
///
/// `0` is a namespace with a reference that this value owns.
pub(crate) struct NetRef(NonNull<bindings::net>);

impl NetRef {
    /// Takes a reference. [`None`]: the namespace is being torn down.
    ///
    /// # Safety
    ///
    /// `net` points to a namespace that is not freed.
    pub(in crate::nf) unsafe fn new(net: *mut bindings::net) -> Option<Self> {
        // SAFETY: By the safety requirements.
        if !unsafe { bindings::rct_net_get(net) } {
            return None;
        }
        // INVARIANT: The reference was just taken.
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
        // SAFETY: By the type invariants. A work queue tears the namespace down.
        unsafe { bindings::rct_net_put(self.0.as_ptr()) };
    }
}

/// Calls `visit` for each namespace, under the lock of their list. May sleep.
fn for_each_net(mut visit: impl FnMut(*mut bindings::net)) {
    // SAFETY: Process context.
    unsafe { bindings::rct_nets_lock() };
    // SAFETY: The list does not change while it is locked.
    for node in unsafe { hlist::nodes(bindings::rct_net_list()) } {
        // SAFETY: The node is that of a namespace.
        visit(unsafe { bindings::rct_net_of_list(node.as_ptr()) });
    }
    // SAFETY: Locked above.
    unsafe { bindings::rct_nets_unlock() };
}

/// As [`hold_all`], for a condition on the namespace itself.
pub(crate) fn hold_where(wanted: impl Fn(&Net) -> bool) -> Result<Option<KVVec<NetRef>>> {
    // SAFETY: It is on the list, so it is initialised and not freed.
    hold_all(|net| wanted(unsafe { Net::from_raw(net) }))
}

/// Returns references to the namespaces for which `wanted` is true; [`None`]: to none. May sleep.
pub(in crate::nf) fn hold_all(
    wanted: impl Fn(*mut bindings::net) -> bool,
) -> Result<Option<KVVec<NetRef>>> {
    loop {
        let mut count = 0_usize;
        for_each_net(|net| count = count.wrapping_add(wanted(net).into()));
        if count == 0 {
            return Ok(None);
        }
        let mut held = KVVec::with_capacity(count, GFP_KERNEL)?;
        let mut fits = true;
        for_each_net(|net| {
            if wanted(net) {
                // SAFETY: It is on the list, so it is not freed.
                if let Some(net) = unsafe { NetRef::new(net) } {
                    // The number may have grown since it was counted.
                    fits &= held.push_within_capacity(net).is_ok();
                }
            }
        });
        if fits {
            return Ok(Some(held));
        }
    }
}

/// A CPU for which there are per-CPU statistics.
///
/// # Invariants
///
/// `0` is the number of a possible CPU.
#[derive(Clone, Copy)]
pub(crate) struct PossibleCpu(u32);

impl PossibleCpu {
    /// Returns the possible CPU with the lowest number that is not less than `from`.
    pub(crate) fn at_least(from: u32) -> Option<Self> {
        // SAFETY: Reads the mask of possible CPUs.
        let cpu = unsafe { bindings::rct_next_possible_cpu(from) };
        // INVARIANT: A number out of bounds says that there is none.
        (cpu < nr_cpu_ids()).then_some(Self(cpu))
    }

    /// Returns the CPU's number.
    pub(crate) fn number(self) -> u32 {
        self.0
    }
}

/// The statistics of a namespace, `struct ip_conntrack_stat`.
#[derive(Clone, Copy)]
pub(crate) enum Stat {
    /// Tuples that NAT found to be in use.
    Found,
    /// Packets that belong to no connection, and cannot start one.
    Invalid,
    /// Entries that user space created.
    Insert,
    /// Entries that could not be inserted.
    InsertFailed,
    /// Clashes that were resolved without dropping the packet.
    ClashResolve,
    /// Packets that were dropped.
    Drop,
    /// Entries that early drop deleted.
    EarlyDrop,
    /// Invalid ICMP errors.
    Error,
    /// Connections that were expected.
    ExpectNew,
    /// Expectations created.
    ExpectCreate,
    /// Expectations deleted.
    ExpectDelete,
    /// Lookups that were restarted.
    SearchRestart,
    /// Entries that were refused because a chain was too long.
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

/// An atomic number in a [`Pernet`] state, which starts at zero.
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

    /// Does a part of the namespace's work, in process context; may sleep. Returns the jiffies until
    /// the next run; [`None`]: when [`Net::queue_work`] or [`Net::hasten_work`] asks for it.
    ///
    /// Each namespace has its turn in the kernel's work queue. The work has ended when the namespace
    /// is freed.
    fn work(_net: &Net) -> Option<u32> {
        None
    }

    /// The kernel's objects for it: one static for each type.
    fn ops() -> &'static PernetOps;
}

/// The memory that a namespace has for a [`Pernet`]. The core zeroes it.
///
/// # Invariants
///
/// `work` is initialised from [`init`] on, and `net` is the namespace.
#[repr(C)]
struct Area<P> {
    state: P,
    work: bindings::delayed_work,
    net: *mut bindings::net,
}

impl<P: Pernet> Area<P> {
    /// Initialises the work of a namespace.
    fn set_up(net: &NewNet<'_>) {
        // INVARIANT: As just initialised.
        // SAFETY: The namespace is being set up: no other CPU accesses the area.
        unsafe {
            (*net.area::<P>()).net = net.raw();
            bindings::rct_net_work_init(net.work::<P>(), Some(Self::run));
        }
    }

    /// Ends the work of a namespace, which may not be queued any more; waits for a run under way.
    fn tear_down(net: &Net) {
        // SAFETY: By the type invariants. May sleep, as its callers may.
        unsafe { bindings::disable_delayed_work_sync(net.work::<P>()) };
    }

    /// A run of the work.
    ///
    /// # Safety
    ///
    /// For the work queue alone, with the work of an area.
    unsafe extern "C" fn run(work: *mut bindings::work_struct) {
        // SAFETY: The work is in an area. The namespace is not freed before `tear_down` has waited for
        // this run.
        let net = unsafe {
            let work = bindings::rct_delayed_work_of(work);
            let area = work.byte_sub(offset_of!(Self, work)).cast::<Self>();
            Net::from_raw((*area).net)
        };
        if let Some(delay) = P::work(net) {
            net.queue_work::<P>(delay);
        }
    }
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

    /// Undoes [`NewNet::set_up`], for an `init` that fails, once the namespace has no hooks and no
    /// entries any more.
    pub(crate) fn tear_down(&self) {
        // SAFETY: Packets and entries do the counting, and none are left.
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
        // SAFETY: Packets and entries do the counting, and none are left.
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
// SAFETY: A reference gives no access.
unsafe impl Sync for PernetRegistration {}

impl PernetRegistration {
    /// Calls `P::init` for every namespace that exists, and for each new one. May sleep.
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
            (*ops).size = size_of::<Area<P>>();
        }
        // SAFETY: Complete, and in static memory.
        kernel::error::to_result(unsafe { bindings::register_pernet_subsys(ops) })?;
        // INVARIANT: Just registered.
        Ok(Self(ops))
    }
}

impl Drop for PernetRegistration {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::unregister_pernet_subsys(self.0) };
    }
}

/// [`Pernet::init`], as `pernet_operations.init`.
///
/// # Safety
///
/// For the core alone, with a namespace that is being set up.
unsafe extern "C" fn init<P: Pernet>(net: *mut bindings::net) -> core::ffi::c_int {
    // SAFETY: By the safety requirements.
    let net = NewNet(unsafe { Net::from_raw(net) });
    Area::<P>::set_up(&net);
    let result = P::init(&net);
    if result.is_err() {
        Area::<P>::tear_down(&net);
    }
    from_result(|| result.map(|()| 0))
}

/// [`Pernet::exit`], as `pernet_operations.exit_batch`.
///
/// # Safety
///
/// For the core alone, with the list of namespaces that are being torn down.
unsafe extern "C" fn exit<P: Pernet>(list: *mut bindings::list_head) {
    let nets = ExitingNets(list);
    P::exit(&nets);
    nets.iter().for_each(|net| Area::<P>::tear_down(&net));
}
