// SPDX-License-Identifier: GPL-2.0

//! The hooks of NAT: four in each namespace and family, which call the NAT chains of nft_chain_nat
//! and iptable_nat.
//!
//! The first chain of a namespace and family registers the hooks, and the last one unregisters
//! them. nfnetlink_hook reads the data that they are registered with.
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

use crate::{
    nf::{
        bindings,
        kernel::{
            net::Net,
            pernet::{
                NewNet,
                Pernet,
                Place, //
            },
            rcu::Rcu,
            static_lock::StaticMutex, //
        },
    },
    proto::types::family::Family, //
};

use super::{
    hook::{
        HookState,
        InetHook,
        Verdict, //
    },
    skb::Skb, //
};

/// Number of hooks of a family.
pub(crate) const HOOKS: usize = 4;

// CAST: A small number.
const COUNT: c_uint = HOOKS as c_uint;

/// A function that the stack calls for packets in namespaces with NAT chains.
pub(crate) trait NatHook: 'static {
    /// Handles a packet, inside an RCU read-side section.
    fn run(skb: &mut Skb, state: HookState<'_>, chains: Chains<'_>, rcu: Rcu<'_>) -> Verdict;
}

/// The chains at one hook, in the order of their priorities.
///
/// # Invariants
///
/// `0` is null, or points to chains that are not freed during `'r`.
#[derive(Clone, Copy)]
pub(crate) struct Chains<'r>(
    *mut bindings::nf_hook_entries,
    core::marker::PhantomData<&'r ()>,
);

impl Chains<'_> {
    /// Runs the chains on the packet, until one does not accept it or `decided` returns true.
    /// [`None`]: all chains accepted the packet, undecided.
    pub(crate) fn run(
        self,
        skb: &mut Skb,
        state: HookState<'_>,
        mut decided: impl FnMut(&Skb) -> bool,
    ) -> Option<Verdict> {
        if self.0.is_null() {
            return None;
        }
        // SAFETY: By the type invariants.
        let count = unsafe { bindings::rct_nat_chain_count(self.0) };
        for index in 0..count {
            // SAFETY: In bounds; by the invariants of `Skb` and `HookState`.
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

/// Calls [`NatHook::run`] for the core (`nf_hookfn`).
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
    // SAFETY: The data is that of `allocate`, which is freed a grace period after the hook.
    let chains = unsafe { bindings::rct_nat_chains(data.cast()) };
    // SAFETY: The core hands over a packet that is the hook's until it returns.
    let skb = unsafe { Skb::from_raw(skb) };
    // SAFETY: The core hands over a valid state.
    let state = unsafe { HookState::from_raw(NonNull::new_unchecked(state.cast_mut())) };
    // SAFETY: The core calls hooks under `rcu_read_lock()`.
    let rcu = unsafe { Rcu::assume_held() };
    // INVARIANT: Chains are freed a grace period after they are replaced.
    H::run(skb, state, Chains(chains, core::marker::PhantomData), rcu).as_raw()
}

/// The description of one hook of a family, which is copied for each namespace.
pub(crate) struct HookTemplate(bindings::nf_hook_ops);

// SAFETY: It is never changed.
unsafe impl Sync for HookTemplate {}

impl HookTemplate {
    /// Describes a hook function, for SNAT if `source` is true, else for DNAT.
    pub(crate) const fn new<H: NatHook>(family: Family, hook: InetHook, source: bool) -> Self {
        // SAFETY: All fields of the structure may be zero.
        let mut ops: bindings::nf_hook_ops = unsafe { core::mem::zeroed() };
        ops.hook = Some(call::<H>);
        ops.pf = family.to_u8();
        ops.hooknum = hook.number();
        // IPv6 has the same numbers.
        ops.priority = if source {
            bindings::nf_ip_hook_priorities_NF_IP_PRI_NAT_SRC
        } else {
            bindings::nf_ip_hook_priorities_NF_IP_PRI_NAT_DST
        };
        Self(ops)
    }
}

/// The hooks of a family in a namespace.
#[repr(C)]
struct Registered {
    ops: [bindings::nf_hook_ops; HOOKS],
    chains: [bindings::nf_nat_lookup_hook_priv; HOOKS],
    rcu: bindings::callback_head,
    /// The table of iptables whose chain is at the first hook, or null. Changed under [`CHAINS`].
    table: Atomic<*mut c_void>,
    users: u32,
    /// Whether they are registered: no longer once the slot is closed.
    is_registered: bool,
}

/// The number of chains of iptables that are registered, in all namespaces. Changed under
/// [`CHAINS`].
static TABLES: Atomic<u32> = Atomic::new(0);

/// Frees hooks a grace period after they were unregistered.
///
/// # Safety
///
/// For `call_rcu()` alone.
unsafe extern "C" fn free(head: *mut bindings::callback_head) {
    // SAFETY: The head is a field of an allocation that no reader uses any more.
    unsafe { bindings::kfree(head.byte_sub(offset_of!(Registered, rcu)).cast()) };
}

/// Waits until the hooks that [`Slot::remove`] unregistered are freed. May sleep.
pub(crate) fn barrier() {
    rcu_barrier();
}

/// Serialises changes of the chains of all [`Slot`]s.
static CHAINS: StaticMutex<()> = StaticMutex::new(c"CHAINS", || ());

/// A place in the state of a namespace for the hooks of a family. Zeroed: there are none, and the
/// slot is closed.
///
/// [`Slot::open`] opens it for the life of the state, at whose end `nf` unregisters the hooks.
///
/// # Invariants
///
/// `hooks` is null, or to hooks from `allocate` that belong to the slot. They are registered, in
/// the namespace `net`, if they say so; that namespace closes the slot ([`Place`]). All is
/// changed under [`CHAINS`].
pub(crate) struct Slot {
    hooks: Atomic<*mut Registered>,
    /// The namespace for which the slot is open, or was. The pointer is only compared.
    net: Atomic<*mut bindings::net>,
    is_open: Atomic<bool>,
}

// SAFETY: Null and `false` are valid values.
unsafe impl pin_init::Zeroable for Slot {}
// SAFETY: The fields are atomic; what `hooks` points to is changed under `CHAINS` only.
unsafe impl Sync for Slot {}

/// The hook operations of a chain, as its module registers them.
///
/// # Invariants
///
/// `0` lives until it is unregistered.
#[derive(Clone, Copy)]
pub(crate) struct Chain<'a>(&'a bindings::nf_hook_ops);

impl<'a> Chain<'a> {
    /// # Safety
    ///
    /// `ops` meets the type invariants.
    pub(crate) unsafe fn from_raw(ops: *const bindings::nf_hook_ops) -> Self {
        // INVARIANT: By the safety requirements.
        // SAFETY: By the safety requirements.
        Self(unsafe { &*ops })
    }
}

impl Place for Slot {
    fn open_for(&self, net: &NewNet<'_>) -> Result {
        let _guard = CHAINS.lock();
        if !self.net.load(Relaxed).is_null() {
            return Err(EBUSY);
        }
        self.net.store(net.raw(), Relaxed);
        self.is_open.store(true, Relaxed);
        Ok(())
    }

    /// Unregisters the hooks. Their memory stays while they have users: nf_tables, which may have
    /// been loaded before this module, removes its chains later.
    fn close_for(&self, net: &Net) {
        let _guard = CHAINS.lock();
        if self.net.load(Relaxed) != net.raw() {
            return;
        }
        self.is_open.store(false, Relaxed);
        if let Some(hooks) = NonNull::new(self.hooks.load(Relaxed)) {
            // SAFETY: By the invariants of the slot.
            unsafe { unregister(net, hooks) };
        }
    }
}

impl Slot {
    /// Opens the slot in the state of a namespace that is being set up. May sleep.
    ///
    /// `EBUSY`: it is, or was, open already. `ENOMEM`: no memory.
    pub(crate) fn open<P: Pernet>(net: &NewNet<'_>, slot: fn(&P) -> &Slot) -> Result {
        net.open(slot)
    }

    /// Adds a chain. The first one registers the hooks. May sleep.
    ///
    /// `EINVAL`: NAT has no hook function at the chain's hook. `EBUSY`: the slot is not open for
    /// this namespace.
    pub(crate) fn add(
        &self,
        net: &Net,
        chain: Chain<'_>,
        templates: &'static [HookTemplate; HOOKS],
    ) -> Result {
        let _guard = CHAINS.lock();
        let index = index_of(templates, chain)?;
        let (hooks, is_new) = self.get(net, templates)?;
        let raw = hooks.as_ptr();
        // SAFETY: In bounds; by the invariants of `Chain`.
        let added = to_result(unsafe {
            let entry = addr_of_mut!((*raw).chains)
                .cast::<bindings::nf_nat_lookup_hook_priv>()
                .add(index);
            bindings::rct_nat_chains_add(entry, chain.0)
        });
        if added.is_ok() {
            self.add_one(hooks);
            if index == 0 {
                note_table(hooks, chain);
            }
        } else if is_new {
            // SAFETY: Registered above, and in no slot.
            unsafe { retire(net, hooks) };
        }
        added
    }

    /// Adds a user without a chain: the hooks are registered until it is removed. May sleep.
    ///
    /// `EBUSY`: the slot is not open for this namespace.
    pub(crate) fn add_user(&self, net: &Net, templates: &'static [HookTemplate; HOOKS]) -> Result {
        let _guard = CHAINS.lock();
        let (hooks, _) = self.get(net, templates)?;
        self.add_one(hooks);
        Ok(())
    }

    /// Removes a user without a chain. The last one unregisters the hooks. May sleep.
    pub(crate) fn remove_user(&self, net: &Net) {
        let _guard = CHAINS.lock();
        if let Some(hooks) = self.present(net) {
            self.remove_one(net, hooks);
        }
    }

    /// Removes a chain. The last one unregisters the hooks. May sleep.
    pub(crate) fn remove(
        &self,
        net: &Net,
        chain: Chain<'_>,
        templates: &'static [HookTemplate; HOOKS],
    ) {
        let _guard = CHAINS.lock();
        let Some(hooks) = self.present(net) else {
            return;
        };
        let Ok(index) = index_of(templates, chain) else {
            return;
        };
        if index == 0 {
            forget_table(hooks, chain);
        }
        // SAFETY: By the type invariants; in bounds; under `CHAINS`.
        unsafe {
            let entry = addr_of_mut!((*hooks.as_ptr()).chains)
                .cast::<bindings::nf_nat_lookup_hook_priv>()
                .add(index);
            bindings::rct_nat_chains_remove(entry, chain.0);
        }
        self.remove_one(net, hooks);
    }

    /// Returns a number that differs after the rules of iptables' NAT table have been replaced, if
    /// that table has chains here. Two replacements between two looks may not be seen, as memory
    /// is used again.
    #[inline]
    pub(crate) fn table_version(&self, _rcu: Rcu<'_>) -> Option<u32> {
        if TABLES.load(Relaxed) == 0 {
            return None;
        }
        let hooks = NonNull::new(self.hooks.load(Relaxed))?;
        // SAFETY: Hooks are freed a grace period after they leave the slot.
        let table = unsafe { (*hooks.as_ptr()).table.load(Relaxed) };
        // SAFETY: A table is freed a grace period after its chains are removed.
        let version = (!table.is_null()).then(|| unsafe { bindings::rct_table_version(table) })?;
        // CAST: the low half; the lowest bits of an address say nothing.
        Some((version >> 4) as u32)
    }

    /// Returns the hooks of a namespace. [`None`]: there are none, or they are another namespace's.
    fn present(&self, net: &Net) -> Option<NonNull<Registered>> {
        if self.net.load(Relaxed) != net.raw() {
            return None;
        }
        NonNull::new(self.hooks.load(Relaxed))
    }

    /// Returns the hooks, and whether they were registered just now and are not in the slot yet.
    fn get(
        &self,
        net: &Net,
        templates: &'static [HookTemplate; HOOKS],
    ) -> Result<(NonNull<Registered>, bool)> {
        if self.net.load(Relaxed) != net.raw() || !self.is_open.load(Relaxed) {
            return Err(EBUSY);
        }
        match self.present(net) {
            Some(hooks) => Ok((hooks, false)),
            None => register(net, templates).map(|hooks| (hooks, true)),
        }
    }

    /// Adds a user of the hooks that [`Slot::get`] has returned.
    fn add_one(&self, hooks: NonNull<Registered>) {
        let raw = hooks.as_ptr();
        // SAFETY: They are valid; under `CHAINS`.
        unsafe { (*raw).users = (*raw).users.saturating_add(1) };
        // INVARIANT: They are registered, in the namespace for which the slot is open.
        self.hooks.store(raw, Relaxed);
    }

    /// Removes a user of the hooks, which are in the slot.
    fn remove_one(&self, net: &Net, hooks: NonNull<Registered>) {
        let raw = hooks.as_ptr();
        // SAFETY: By the type invariants; under `CHAINS`.
        let users = unsafe {
            (*raw).users = (*raw).users.saturating_sub(1);
            (*raw).users
        };
        if users == 0 {
            self.hooks.store(null_mut(), Relaxed);
            // SAFETY: By the type invariants.
            unsafe { retire(net, hooks) };
        }
    }
}

/// Keeps the table of a chain, if it is one of iptables. The caller holds [`CHAINS`].
fn note_table(hooks: NonNull<Registered>, chain: Chain<'_>) {
    // SAFETY: By the invariants of `Chain`.
    if unsafe { bindings::rct_nat_chain_has_table(chain.0) } {
        // SAFETY: The caller has just added the chain to them.
        unsafe { (*hooks.as_ptr()).table.store(chain.0.priv_, Relaxed) };
        TABLES.store(TABLES.load(Relaxed).saturating_add(1), Relaxed);
    }
}

/// Forgets the table of a chain that is to be removed. The caller holds [`CHAINS`].
fn forget_table(hooks: NonNull<Registered>, chain: Chain<'_>) {
    // SAFETY: The chain is still one of them.
    let table = unsafe { &(*hooks.as_ptr()).table };
    let its = chain.0.priv_;
    if !its.is_null() && table.load(Relaxed) == its {
        table.store(null_mut(), Relaxed);
        TABLES.store(TABLES.load(Relaxed).saturating_sub(1), Relaxed);
    }
}

/// Allocates hooks without chains, and registers them. May sleep.
fn register(net: &Net, templates: &'static [HookTemplate; HOOKS]) -> Result<NonNull<Registered>> {
    let hooks = allocate(templates)?;
    let raw = hooks.as_ptr();
    // SAFETY: Just allocated. The hooks are complete, and are freed after they are unregistered.
    let registered = unsafe {
        let ops = addr_of_mut!((*raw).ops).cast::<bindings::nf_hook_ops>();
        bindings::nf_register_net_hooks(net.raw(), ops, COUNT)
    };
    if let Err(error) = to_result(registered) {
        // SAFETY: Some hooks may have been registered for a while.
        unsafe { bindings::call_rcu(addr_of_mut!((*raw).rcu), Some(free)) };
        return Err(error);
    }
    // SAFETY: Just allocated.
    unsafe { (*raw).is_registered = true };
    Ok(hooks)
}

/// Unregisters hooks, if they are registered.
///
/// # Safety
///
/// If they are registered, it is in `net`. The caller holds [`CHAINS`].
unsafe fn unregister(net: &Net, hooks: NonNull<Registered>) {
    let raw = hooks.as_ptr();
    // SAFETY: By the safety requirements.
    unsafe {
        if core::mem::replace(&mut (*raw).is_registered, false) {
            let ops = addr_of_mut!((*raw).ops).cast::<bindings::nf_hook_ops>();
            bindings::nf_unregister_net_hooks(net.raw(), ops, COUNT);
        }
    }
}

/// Unregisters hooks, and frees them after a grace period.
///
/// # Safety
///
/// As for [`unregister`]; no slot points to them.
unsafe fn retire(net: &Net, hooks: NonNull<Registered>) {
    // SAFETY: By the safety requirements.
    unsafe {
        unregister(net, hooks);
        bindings::call_rcu(addr_of_mut!((*hooks.as_ptr()).rcu), Some(free));
    }
}

fn index_of(templates: &[HookTemplate; HOOKS], chain: Chain<'_>) -> Result<usize> {
    templates
        .iter()
        .position(|template| template.0.hooknum == chain.0.hooknum)
        .ok_or(EINVAL)
}

fn allocate(templates: &'static [HookTemplate; HOOKS]) -> Result<NonNull<Registered>> {
    // SAFETY: Process context.
    let memory = unsafe { bindings::rct_kzalloc(size_of::<Registered>(), bindings::gfp::KERNEL) };
    let hooks = NonNull::new(memory.cast::<Registered>()).ok_or(ENOMEM)?;
    let raw = hooks.as_ptr();
    for (index, template) in templates.iter().enumerate() {
        // SAFETY: In bounds: there are as many elements as templates. A description is plain data.
        unsafe {
            let ops = addr_of_mut!((*raw).ops)
                .cast::<bindings::nf_hook_ops>()
                .add(index);
            core::ptr::copy_nonoverlapping(&template.0, ops, 1);
            let entry = addr_of_mut!((*raw).chains)
                .cast::<bindings::nf_nat_lookup_hook_priv>()
                .add(index);
            (*ops).priv_ = entry.cast();
            (*ops).set_hook_ops_type(bindings::nf_hook_ops_type_NF_HOOK_OP_NAT);
        }
    }
    Ok(hooks)
}
