// SPDX-License-Identifier: GPL-2.0

//! The hooks of NAT: in each namespace and family four, at which the chains of those are
//! called that have rules (nft_chain_nat, iptable_nat).
//!
//! They are registered when the first chain comes, and go with the last one. nfnetlink_hook
//! looks into what they are registered with.
//!
//! C header: [`include/linux/netfilter.h`](srctree/include/linux/netfilter.h)

use core::{
    ffi::{
        c_uint,
        c_void, //
    },
    mem::{
        offset_of,
        size_of, //
    },
    ptr::{
        addr_of_mut,
        null_mut,
        NonNull, //
    },
};

use kernel::{
    error::to_result,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        rcu::rcu_barrier, //
    },
};

use crate::nf::{
    bindings,
    kernel::{
        net::Net,
        rcu::Rcu,
        static_lock::StaticMutex, //
    },
};

use super::{
    hook::{
        HookState,
        Verdict, //
    },
    skb::Skb, //
};

/// Hooks of a family.
pub(crate) const POINTS: usize = 4;

/// A function that the stack calls for packets of namespaces with NAT rules.
pub(crate) trait NatHook: 'static {
    /// Looks at a packet, inside an RCU read-side section.
    fn run(skb: &mut Skb, state: HookState<'_>, chains: Chains<'_>, rcu: Rcu<'_>) -> Verdict;
}

/// The chains at one hook, in the order of their priorities.
///
/// # Invariants
///
/// `0` is null or points to chains that stay for `'r`.
#[derive(Clone, Copy)]
pub(crate) struct Chains<'r>(
    *mut bindings::nf_hook_entries,
    core::marker::PhantomData<&'r ()>,
);

impl Chains<'_> {
    /// Shows the packet to the chains, one after the other, until one does not accept it, or
    /// `decided` is true. [`None`]: all accepted it, undecided.
    pub(crate) fn show(
        self,
        skb: &mut Skb,
        state: HookState<'_>,
        mut decided: impl FnMut(&Skb) -> bool,
    ) -> Option<Verdict> {
        // SAFETY: By the type invariants.
        let count = unsafe { bindings::rct_nat_chain_count(self.0) };
        for index in 0..count {
            // SAFETY: In bounds; the packet is ours to hand on, and the state is valid.
            let verdict =
                unsafe { bindings::rct_nat_chain_run(self.0, index, skb.raw(), state.raw()) };
            if verdict != bindings::NF_ACCEPT {
                return Some(Verdict::from_raw(verdict));
            }
            if decided(skb) {
                return Some(Verdict::Accept);
            }
        }
        None
    }
}

/// One of four hooks, as the core calls it.
///
/// # Safety
///
/// For the core alone, with the data that the hook was registered with, and a packet and a
/// state that are valid until the return, under `rcu_read_lock()`.
unsafe extern "C" fn call<H: NatHook>(
    data: *mut c_void,
    skb: *mut bindings::sk_buff,
    state: *const bindings::nf_hook_state,
) -> c_uint {
    // SAFETY: The data is a place for chains, which outlives the hook by a grace period.
    let chains = unsafe { bindings::rct_nat_chains(data.cast()) };
    // SAFETY: The core hands over a packet that is the hook's until it returns.
    let skb = unsafe { Skb::from_raw(skb) };
    // SAFETY: The core hands over a valid state.
    let state = unsafe { HookState::from_raw(NonNull::new_unchecked(state.cast_mut())) };
    // SAFETY: The core calls hooks under `rcu_read_lock()`.
    let rcu = unsafe { Rcu::assume_held() };
    // INVARIANT: Chains are freed a grace period after they were replaced.
    H::run(skb, state, Chains(chains, core::marker::PhantomData), rcu).as_raw()
}

/// One of the hooks of a family.
pub(crate) struct Template(bindings::nf_hook_ops);

// SAFETY: Never changed.
unsafe impl Sync for Template {}

impl Template {
    /// A hook, at one of `bindings::nf_inet_hooks`.
    pub(crate) const fn new<H: NatHook>(family: u8, point: u32, source: bool) -> Self {
        // SAFETY: All of its fields may be zero.
        let mut ops: bindings::nf_hook_ops = unsafe { core::mem::zeroed() };
        ops.hook = Some(call::<H>);
        ops.pf = family;
        ops.hooknum = point;
        // The numbers are the same for IPv6.
        ops.priority = if source {
            bindings::nf_ip_hook_priorities_NF_IP_PRI_NAT_SRC
        } else {
            bindings::nf_ip_hook_priorities_NF_IP_PRI_NAT_DST
        };
        Self(ops)
    }
}

/// The registered hooks of a family in a namespace.
#[repr(C)]
struct Registered {
    ops: [bindings::nf_hook_ops; POINTS],
    places: [bindings::nf_nat_lookup_hook_priv; POINTS],
    rcu: bindings::callback_head,
    users: u32,
}

/// A grace period has passed since the hooks were taken away.
///
/// # Safety
///
/// For `call_rcu()` alone.
unsafe extern "C" fn free(head: *mut bindings::callback_head) {
    // SAFETY: The head is inside of an allocation of ours, which nobody uses any more.
    unsafe { bindings::kfree(head.byte_sub(offset_of!(Registered, rcu)).cast()) };
}

/// Waits until what [`Slot::remove`] took away is freed. May sleep.
pub(crate) fn barrier() {
    rcu_barrier();
}

/// Serialises changes of the chains of every [`Slot`].
static CHAINS: StaticMutex<()> = StaticMutex::new(c"CHAINS", || ());

/// Where a namespace keeps the hooks of a family. Zeroed: there are none.
///
/// # Invariants
///
/// Null, or an allocation of ours with hooks that are registered; changed under [`CHAINS`].
#[repr(transparent)]
pub(crate) struct Slot(Atomic<*mut Registered>);

// SAFETY: Null is a valid pointer; the type is transparent.
unsafe impl pin_init::Zeroable for Slot {}
// SAFETY: Changed under `CHAINS` only.
unsafe impl Sync for Slot {}

/// What a chain is registered with, as its module hands it over.
///
/// # Invariants
///
/// Points to hook operations that live until they are unregistered.
#[derive(Clone, Copy)]
pub(crate) struct Chain<'a>(&'a bindings::nf_hook_ops);

impl<'a> Chain<'a> {
    /// # Safety
    ///
    /// As the invariants say.
    pub(crate) unsafe fn from_raw(ops: *const bindings::nf_hook_ops) -> Self {
        // INVARIANT: The caller's promise.
        // SAFETY: As above.
        Self(unsafe { &*ops })
    }
}

impl Slot {
    /// Has a chain called. The first one brings the hooks. May sleep.
    ///
    /// `EINVAL`: there is no NAT at the chain's hook.
    pub(crate) fn add(
        &self,
        net: &Net,
        chain: Chain<'_>,
        templates: &'static [Template; POINTS],
    ) -> Result {
        let _guard = CHAINS.lock();
        let index = index_of(templates, chain)?;
        let present = NonNull::new(self.0.load(Relaxed));
        let hooks = match present {
            Some(hooks) => hooks,
            None => allocate(templates)?,
        };
        let raw = hooks.as_ptr();
        // SAFETY: Registered, or just allocated.
        let ops = unsafe { addr_of_mut!((*raw).ops).cast::<bindings::nf_hook_ops>() };
        if present.is_none() {
            // SAFETY: Complete; it stays where it is until it is unregistered.
            let registered =
                unsafe { bindings::nf_register_net_hooks(net.raw(), ops, POINTS as c_uint) };
            if let Err(error) = to_result(registered) {
                // SAFETY: Some may have been registered for a while.
                unsafe { bindings::call_rcu(addr_of_mut!((*raw).rcu), Some(free)) };
                return Err(error);
            }
        }
        // SAFETY: In bounds; the chain is valid.
        let added = to_result(unsafe {
            let place = addr_of_mut!((*raw).places)
                .cast::<bindings::nf_nat_lookup_hook_priv>()
                .add(index);
            bindings::rct_nat_chains_add(place, chain.0)
        });
        match (&added, present) {
            (Ok(()), _) => {
                // SAFETY: Under the mutex.
                unsafe { (*raw).users = (*raw).users.saturating_add(1) };
                // INVARIANT: As just registered.
                self.0.store(raw, Relaxed);
            }
            // SAFETY: Registered above.
            (Err(_), None) => unsafe { retire(net, hooks) },
            (Err(_), Some(_)) => {}
        }
        added
    }

    /// Has a chain called no longer. The last one takes the hooks with it. May sleep.
    pub(crate) fn remove(
        &self,
        net: &Net,
        chain: Chain<'_>,
        templates: &'static [Template; POINTS],
    ) {
        let _guard = CHAINS.lock();
        let Some(hooks) = NonNull::new(self.0.load(Relaxed)) else {
            return;
        };
        let Ok(index) = index_of(templates, chain) else {
            return;
        };
        let raw = hooks.as_ptr();
        // SAFETY: By the type invariants; in bounds; under the mutex.
        let users = unsafe {
            let place = addr_of_mut!((*raw).places)
                .cast::<bindings::nf_nat_lookup_hook_priv>()
                .add(index);
            bindings::rct_nat_chains_remove(place, chain.0);
            (*raw).users = (*raw).users.saturating_sub(1);
            (*raw).users
        };
        if users == 0 {
            self.0.store(null_mut(), Relaxed);
            // SAFETY: By the type invariants.
            unsafe { retire(net, hooks) };
        }
    }
}

/// Takes hooks away, and frees them when nobody is in them any more.
///
/// # Safety
///
/// They are registered in `net`, and nobody will look for them.
unsafe fn retire(net: &Net, hooks: NonNull<Registered>) {
    let raw = hooks.as_ptr();
    // SAFETY: The caller's promise.
    unsafe {
        let ops = addr_of_mut!((*raw).ops).cast::<bindings::nf_hook_ops>();
        bindings::nf_unregister_net_hooks(net.raw(), ops, POINTS as c_uint);
        bindings::call_rcu(addr_of_mut!((*raw).rcu), Some(free));
    }
}

fn index_of(templates: &[Template; POINTS], chain: Chain<'_>) -> Result<usize> {
    templates
        .iter()
        .position(|template| template.0.hooknum == chain.0.hooknum)
        .ok_or(EINVAL)
}

fn allocate(templates: &'static [Template; POINTS]) -> Result<NonNull<Registered>> {
    // SAFETY: Process context.
    let memory =
        unsafe { bindings::rct_kzalloc(size_of::<Registered>(), bindings::RCT_GFP_KERNEL as u32) };
    let hooks = NonNull::new(memory.cast::<Registered>()).ok_or(ENOMEM)?;
    let raw = hooks.as_ptr();
    for (index, template) in templates.iter().enumerate() {
        // SAFETY: In bounds: as many as there are templates. A hook's description is plain data.
        unsafe {
            let ops = addr_of_mut!((*raw).ops)
                .cast::<bindings::nf_hook_ops>()
                .add(index);
            core::ptr::copy_nonoverlapping(&template.0, ops, 1);
            let place = addr_of_mut!((*raw).places)
                .cast::<bindings::nf_nat_lookup_hook_priv>()
                .add(index);
            (*ops).priv_ = place.cast();
            (*ops).set_hook_ops_type(bindings::nf_hook_ops_type_NF_HOOK_OP_NAT);
        }
    }
    Ok(hooks)
}
