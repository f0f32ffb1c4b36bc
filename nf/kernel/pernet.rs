// SPDX-License-Identifier: GPL-2.0

//! What the module has in each network namespace: its state there, its work, what is registered,
//! their beginning and their end.
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
//!         net.state::<Self>().entries.store(0, Relaxed);
//!         Ok(())
//!     }
//!
//!     fn close(net: &Net) {
//!         hooks::put(net);
//!     }
//!
//!     fn empty(net: &Net) {
//!         remove_entries(net);
//!     }
//!
//!     fn ops() -> &'static PernetOps<Self> {
//!         static OPS: PernetOps<NetState> = PernetOps::new();
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
    marker::PhantomData,
    mem::{
        offset_of,
        size_of, //
    },
    ops::Deref,
    ptr::{
        addr_of,
        addr_of_mut,
        null_mut,
        NonNull, //
    },
};

use kernel::{
    error::from_result,
    prelude::*,
    sync::atomic::{
        Acquire,
        Atomic,
        Full,
        Relaxed,
        Release, //
    },
    types::Opaque, //
};

use crate::{
    nf::bindings,
    proto::types::num::u32_as_usize, //
};

use super::{
    hlist,
    net::Net,
    netns_ct,
    rcu::{
        self,
        Rcu,
        RcuGuard, //
    },
};

impl Net {
    /// Returns the state of the namespace. Before the [`PernetRegistration`] of `P` has reached it,
    /// that is a state which all namespaces share, and which is never set up.
    #[inline]
    pub(crate) fn state<P: Pernet>(&self) -> &P {
        self.state_in(RcuGuard::new().token())
    }

    /// Makes the work of `P` due in `delay` jiffies, if it is not due anyway. May be called from
    /// softirq. Has no effect once the namespace is torn down.
    pub(crate) fn queue_work<P: Pernet>(&self, delay: u32) {
        if let Some(work) = self.work::<P>() {
            // SAFETY: Initialised, as the state is.
            unsafe { bindings::rct_delayed_work_queue(work, u32_as_usize(delay)) };
        }
    }

    /// Makes the work of `P` due now. Otherwise as [`Net::queue_work`].
    pub(crate) fn hasten_work<P: Pernet>(&self) {
        if let Some(work) = self.work::<P>() {
            // SAFETY: As above.
            unsafe { bindings::rct_delayed_work_hasten(work) };
        }
    }

    /// Returns the memory with the state, which lives as long as the namespace. [`None`]: the
    /// registration of `P` has not reached the namespace.
    #[inline]
    fn area<P: Pernet>(&self, _rcu: Rcu<'_>) -> Option<NonNull<Area<P>>> {
        // SAFETY: By the type invariants; the kernel's array of pointers to areas is kept during
        // the section. What is there for the id of `P` is an area.
        NonNull::new(unsafe {
            bindings::rct_net_generic_rcu(self.raw(), P::ops().id.load(Relaxed)).cast()
        })
    }

    /// Returns the work of `P`.
    fn work<P: Pernet>(&self) -> Option<*mut bindings::delayed_work> {
        let area = self.area::<P>(RcuGuard::new().token())?;
        // SAFETY: The memory lives as long as the namespace.
        Some(unsafe { addr_of_mut!((*area.as_ptr()).work) })
    }

    /// Does as [`Net::state`], without an RCU section of its own.
    #[inline]
    pub(crate) fn state_in<P: Pernet>(&self, rcu: Rcu<'_>) -> &P {
        match self.area::<P>(rcu) {
            // SAFETY: The state is valid when zeroed; the memory begins with it, and lives as long
            // as the namespace.
            Some(area) => unsafe { area.cast::<P>().as_ref() },
            None => no_state(),
        }
    }

    /// Returns what the namespace has beside the state. [`None`]: as for [`Net::area`].
    fn belongings<P: Pernet>(&self) -> Option<&Belongings> {
        let area = self.area::<P>(RcuGuard::new().token())?;
        // SAFETY: Valid when zeroed; the memory lives as long as the namespace.
        Some(unsafe { &*addr_of!((*area.as_ptr()).belongings) })
    }

    /// Returns whether the namespace is set up, and not being torn down.
    pub(crate) fn is_set_up<P: Pernet>(&self) -> bool {
        self.belongings::<P>()
            .is_some_and(|belongings| belongings.is_set_up.load(Acquire))
    }
}

/// An atomic number in a [`Pernet`] state, which starts at zero.
#[repr(transparent)]
pub(crate) struct Counter(Atomic<u32>);

// SAFETY: Zero is a valid number; the type is transparent.
unsafe impl pin_init::Zeroable for Counter {}

impl Deref for Counter {
    type Target = Atomic<u32>;

    #[inline]
    fn deref(&self) -> &Atomic<u32> {
        &self.0
    }
}

/// State that every namespace has.
///
/// The memory lives as long as the namespace: a consumer that was loaded before this module may
/// give back what it took after [`Pernet::empty`].
pub(crate) trait Pernet: pin_init::Zeroable + Sync + Sized + 'static {
    /// Sets up a namespace, whose state is zeroed. May sleep. After an error the namespace is
    /// emptied as at its end, without [`Pernet::close`].
    fn init(net: &NewNet<'_>) -> Result;

    /// Begins the end of a namespace: no packet enters a hook after this. May sleep.
    ///
    /// What the namespace keeps ([`NewNet::keep`]) is dropped next, then a grace period passes.
    fn close(net: &Net);

    /// Frees what the namespace has: no packet is in a hook any more. May sleep, and returns when
    /// no entry of the namespace is left.
    fn empty(net: &Net);

    /// Does a part of the namespace's work, in process context; may sleep. Returns the jiffies
    /// until the next run; [`None`]: when [`Net::queue_work`] or [`Net::hasten_work`] asks for it.
    ///
    /// Each namespace has its turn in the kernel's work queue. The work has ended when the
    /// namespace is freed.
    fn work(_net: &Net) -> Option<u32> {
        None
    }

    /// Returns the kernel's objects for it: one static for each type.
    fn ops() -> &'static PernetOps<Self>;
}

/// The memory that a namespace has for a [`Pernet`]. The core zeroes it.
///
/// # Invariants
///
/// `work` is initialised from [`init`] on, and `net` is the namespace.
#[repr(C)]
struct Area<P> {
    state: P,
    belongings: Belongings,
    work: bindings::delayed_work,
    net: *mut bindings::net,
}

/// What a namespace has beside its state. Zeroed: nothing.
struct Belongings {
    /// Whether [`Pernet::init`] has succeeded.
    is_set_up: Atomic<bool>,
    /// Dropped when no packet enters a hook any more.
    kept: Kept,
}

/// Values that a namespace keeps: what was registered for it, for example, which ends when the
/// value is dropped. Zeroed: none.
///
/// # Invariants
///
/// Null, or the first node of a chain that belongs to this.
struct Kept(Atomic<*mut KeptNode>);

/// The beginning of a [`KeptValue`], whatever its type.
struct KeptNode {
    /// The node of the value that was added before, or null.
    former: *mut KeptNode,
    /// Drops the value, and frees its memory.
    free: unsafe fn(*mut KeptNode),
}

/// A value in a box of its own.
#[repr(C)]
struct KeptValue<T> {
    node: KeptNode,
    _value: T,
}

impl<T> KeptValue<T> {
    /// Calls [`KeptNode::free`].
    ///
    /// # Safety
    ///
    /// `node` is that of a boxed `KeptValue<T>`, which the caller gives up.
    unsafe fn free(node: *mut KeptNode) {
        // SAFETY: By the function's contract; the value begins with the node.
        drop(unsafe { KBox::from_raw(node.cast::<Self>()) });
    }
}

impl Kept {
    /// Adds a value; without memory (`ENOMEM`) it is dropped. One task at a time adds.
    fn add<T: Send + 'static>(&self, value: T) -> Result {
        let node = KeptNode {
            former: self.0.load(Relaxed),
            free: KeptValue::<T>::free,
        };
        let value = KBox::new(
            KeptValue {
                node,
                _value: value,
            },
            GFP_KERNEL,
        )?;
        // INVARIANT: The box moves in, before the former first one.
        self.0.store(KBox::into_raw(value).cast(), Relaxed);
        Ok(())
    }

    /// Drops all values, the last one first.
    fn drop_all(&self) {
        let mut first = self.0.xchg(null_mut(), Full);
        while !first.is_null() {
            // SAFETY: By the type invariants the node is in a box that belongs to this.
            unsafe {
                let KeptNode { former, free } = first.read();
                free(first);
                first = former;
            }
        }
    }
}

impl<P: Pernet> Area<P> {
    /// Sets up a namespace. After an error the namespace is as before.
    fn set_up(net: &Net) -> Result {
        let area = net.area::<P>(RcuGuard::new().token()).ok_or(EINVAL)?;
        // INVARIANT: As just initialised.
        // SAFETY: The namespace is being set up: no other CPU accesses the area.
        unsafe {
            (*area.as_ptr()).net = net.raw();
            bindings::rct_net_work_init(addr_of_mut!((*area.as_ptr()).work), Some(Self::run));
        }
        let belongings = net.belongings::<P>().ok_or(EINVAL)?;
        P::init(&NewNet {
            net,
            belongings,
            not_sync: PhantomData,
        })
        .inspect_err(|_| {
            Self::drop_kept(net);
            rcu::synchronize_expedited();
            P::empty(net);
            Self::end(net);
        })?;
        belongings.is_set_up.store(true, Release);
        Ok(())
    }

    /// Drops what a namespace keeps, which no new packet enters.
    fn drop_kept(net: &Net) {
        if let Some(belongings) = net.belongings::<P>() {
            belongings.is_set_up.store(false, Relaxed);
            belongings.kept.drop_all();
        }
    }

    /// Ends a namespace that is empty.
    fn end(net: &Net) {
        Self::tear_down(net);
    }

    /// Ends the work of a namespace, which may not be queued any more; waits for a run under way.
    fn tear_down(net: &Net) {
        if let Some(work) = net.work::<P>() {
            // SAFETY: By the type invariants. May sleep, as its callers may.
            unsafe { bindings::disable_delayed_work_sync(work) };
        }
    }

    /// Runs the work.
    ///
    /// # Safety
    ///
    /// For the work queue alone, with the work of an area.
    unsafe extern "C" fn run(work: *mut bindings::work_struct) {
        // SAFETY: The work is in an area. The namespace is not freed before `tear_down` has waited
        // for this run.
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
///
/// # Invariants
///
/// `id` is [`NO_ID`], or what the kernel gave to the states of `P`.
pub(crate) struct PernetOps<P> {
    id: Atomic<u32>,
    is_taken: Atomic<bool>,
    operations: Opaque<bindings::pernet_operations>,
    /// The state of a namespace that has none.
    none: P,
}

/// No id: larger than all.
const NO_ID: u32 = u32::MAX;

// SAFETY: The operations are written once, by the one that took the place.
unsafe impl<P: Sync> Sync for PernetOps<P> {}

impl<P: pin_init::Zeroable> PernetOps<P> {
    /// Returns the objects for one kind of state.
    pub(crate) const fn new() -> Self {
        // INVARIANT: No id.
        Self {
            id: Atomic::new(NO_ID),
            is_taken: Atomic::new(false),
            operations: Opaque::zeroed(),
            none: pin_init::zeroed(),
        }
    }
}

/// Returns the state of a namespace that has none. (Cold: on the path of packets that is a branch
/// out of the way.)
#[cold]
fn no_state<P: Pernet>() -> &'static P {
    &P::ops().none
}

/// A namespace that is being set up: there are no packets yet, and no other CPU accesses what the
/// module keeps for it, unless [`Pernet::init`] has made it accessible.
pub(crate) struct NewNet<'a> {
    net: &'a Net,
    belongings: &'a Belongings,
    /// One task sets the namespace up.
    not_sync: PhantomData<*mut ()>,
}

impl Deref for NewNet<'_> {
    type Target = Net;

    fn deref(&self) -> &Net {
        self.net
    }
}

impl NewNet<'_> {
    /// Keeps a value until no packet enters a hook of the namespace any more, or until `init` has
    /// failed. The last one is dropped first. May sleep.
    ///
    /// `ENOMEM`: no memory; the value is dropped.
    pub(in crate::nf) fn keep(&self, value: impl Send + 'static) -> Result {
        self.belongings.kept.add(value)
    }
}

/// A place in the state of a namespace for what is registered there. Zeroed, it is closed, and
/// takes nothing.
///
/// [`NewNet::open`] opens it for the life of the state.
pub(in crate::nf) trait Place: 'static {
    /// Opens the place for `net`, which closes it later.
    ///
    /// `EBUSY`: it is open already.
    fn open_for(&self, net: &NewNet<'_>) -> Result;

    /// Ends what is registered, and closes the place, if it is open for `net`. May sleep.
    fn close_for(&self, net: &Net);
}

/// Closes a place when it is dropped.
struct Closer<P: Pernet, L: Place> {
    net: *mut bindings::net,
    place: fn(&P) -> &L,
}

// SAFETY: Any thread may close the place; the namespace is valid for all of them.
unsafe impl<P: Pernet, L: Place> Send for Closer<P, L> {}

impl<P: Pernet, L: Place> Drop for Closer<P, L> {
    fn drop(&mut self) {
        // SAFETY: The namespace keeps this value, and drops it.
        let net = unsafe { Net::from_raw(self.net) };
        (self.place)(net.state()).close_for(net);
    }
}

impl NewNet<'_> {
    /// Opens a place in the state, until the namespace drops what it [keeps](NewNet::keep). May
    /// sleep.
    ///
    /// `EBUSY`: it is open already. `ENOMEM`: no memory.
    pub(in crate::nf) fn open<P: Pernet, L: Place>(&self, place: fn(&P) -> &L) -> Result {
        place(self.state()).open_for(self)?;
        // Without memory it is dropped here, which closes the place.
        self.keep(Closer {
            net: self.raw(),
            place,
        })
    }
}

/// Keeps [`Pernet`] registered.
///
/// # Invariants
///
/// `operations` is registered.
pub(crate) struct PernetRegistration {
    operations: *mut bindings::pernet_operations,
    /// Dropped last: entries and packets count in the statistics.
    _netns_ct: netns_ct::Use,
}

// SAFETY: Registering and unregistering may be done by any thread.
unsafe impl Send for PernetRegistration {}
// SAFETY: A reference gives no access.
unsafe impl Sync for PernetRegistration {}

impl PernetRegistration {
    /// Calls `P::init` for every namespace that exists, and for each new one. Each has the
    /// statistics and the list of GRE keymaps by then. May sleep.
    ///
    /// `EBUSY`: it was registered before. `ENOMEM`: no memory.
    pub(crate) fn new<P: Pernet>() -> Result<Self> {
        let netns_ct = netns_ct::Use::new()?;
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
        kernel::error::to_result(unsafe { bindings::register_pernet_subsys(ops) })
            // INVARIANT: No id; the kernel has taken back the one that it gave.
            .inspect_err(|_| P::ops().id.store(NO_ID, Relaxed))?;
        // INVARIANT: Just registered.
        Ok(Self {
            operations: ops,
            _netns_ct: netns_ct,
        })
    }
}

impl Drop for PernetRegistration {
    fn drop(&mut self) {
        // SAFETY: By the type invariants; the id is that of a static `PernetOps`.
        unsafe {
            let id = Atomic::from_ptr((*self.operations).id);
            bindings::unregister_pernet_subsys(self.operations);
            // INVARIANT: No id; the kernel has taken back the one that it gave.
            id.store(NO_ID, Relaxed);
        }
    }
}

/// Calls [`Pernet::init`], as `pernet_operations.init`.
///
/// # Safety
///
/// For the core alone, with a namespace that is being set up.
unsafe extern "C" fn init<P: Pernet>(net: *mut bindings::net) -> core::ffi::c_int {
    // SAFETY: By the safety requirements.
    let net = unsafe { Net::from_raw(net) };
    from_result(|| Area::<P>::set_up(net).map(|()| 0))
}

/// Calls [`Pernet::close`] and [`Pernet::empty`], as `pernet_operations.exit_batch`.
///
/// # Safety
///
/// For the core alone, with the list of namespaces that are being torn down.
unsafe extern "C" fn exit<P: Pernet>(list: *mut bindings::list_head) {
    let nets = || {
        // SAFETY: The list does not change during this call.
        unsafe { hlist::nodes(list) }.map(|node| {
            // SAFETY: The nodes are those of namespaces, which are freed after this call.
            unsafe { Net::from_raw(bindings::rct_net_of_exit_list(node.as_ptr())) }
        })
    };
    for net in nets() {
        P::close(net);
        Area::<P>::drop_kept(net);
    }
    // Packets in the hooks have left them after this.
    rcu::synchronize_expedited();
    nets().for_each(P::empty);
    // Another one that looks at an entry without a reference may have found the last one in the
    // table, and follow its pointer to the namespace.
    rcu::synchronize_expedited();
    nets().for_each(Area::<P>::end);
}
