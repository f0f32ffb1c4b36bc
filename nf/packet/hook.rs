// SPDX-License-Identifier: GPL-2.0

//! Netfilter hooks: functions that the network stack calls for every packet.
//!
//! C header: [`include/linux/netfilter.h`](srctree/include/linux/netfilter.h)

use core::{
    ffi::{
        c_int,
        c_uint,
        c_void, //
    },
    marker::PhantomData,
    ptr::{
        from_ref,
        null_mut,
        NonNull, //
    },
};

use kernel::{
    error::to_result,
    prelude::*,
    sync::atomic::{
        Atomic,
        Full,
        Relaxed, //
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

use super::skb::Skb;

/// The verdict of a hook function on a packet (`NF_*`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// `NF_ACCEPT`: the packet goes on.
    Accept,
    /// `NF_DROP`: the caller of the hook frees the packet.
    Drop,
    /// Another verdict of C code: the packet waits in a queue, was stolen, or is dropped with an
    /// errno.
    Other(c_uint),
}

impl Verdict {
    /// Returns the number that C code uses.
    #[inline]
    pub(crate) const fn as_raw(self) -> c_uint {
        match self {
            Self::Accept => bindings::NF_ACCEPT,
            Self::Drop => bindings::NF_DROP,
            Self::Other(number) => number,
        }
    }

    /// Returns the same as a signed number, for functions that C code declares so.
    #[inline]
    pub(crate) const fn as_int(self) -> c_int {
        // CAST: C code converts it back.
        self.as_raw() as c_int
    }

    /// Converts a verdict of C code.
    #[inline]
    pub(crate) const fn from_raw(number: c_uint) -> Self {
        match number {
            bindings::NF_ACCEPT => Self::Accept,
            bindings::NF_DROP => Self::Drop,
            other => Self::Other(other),
        }
    }
}

/// A hook of the IPv4 and IPv6 stacks (`enum nf_inet_hooks`), as far as connection tracking uses
/// them.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum InetHook {
    /// `NF_INET_PRE_ROUTING`: all received packets, before routing.
    PreRouting = bindings::nf_inet_hooks_NF_INET_PRE_ROUTING,
    /// `NF_INET_LOCAL_IN`: packets for this machine.
    LocalIn = bindings::nf_inet_hooks_NF_INET_LOCAL_IN,
    /// `NF_INET_LOCAL_OUT`: packets from this machine.
    LocalOut = bindings::nf_inet_hooks_NF_INET_LOCAL_OUT,
    /// `NF_INET_POST_ROUTING`: all packets that leave, after routing.
    PostRouting = bindings::nf_inet_hooks_NF_INET_POST_ROUTING,
}

impl InetHook {
    /// Returns the number of the hook.
    #[inline]
    pub(crate) const fn number(self) -> u32 {
        // CAST: The discriminants are of this type.
        self as u32
    }
}

/// The priority of a hook function: functions at one hook run in ascending order.
#[derive(Clone, Copy)]
pub(crate) struct Priority(i32);

impl Priority {
    /// Connection tracking looks entries up (`NF_IP_PRI_CONNTRACK`).
    pub(crate) const CONNTRACK: Self = Self(bindings::nf_ip_hook_priorities_NF_IP_PRI_CONNTRACK);
    /// Behind all other functions (`NF_IP_PRI_LAST`).
    pub(crate) const LAST: Self = Self(bindings::nf_ip_hook_priorities_NF_IP_PRI_LAST);
    /// One before [`Priority::LAST`].
    pub(crate) const BEFORE_LAST: Self = Self(bindings::nf_ip_hook_priorities_NF_IP_PRI_LAST - 1);
}

/// The context of a call of a hook function (`struct nf_hook_state`).
///
/// # Invariants
///
/// `0` points to the state that the core handed to the hook, valid for `'a`.
#[derive(Clone, Copy)]
pub(crate) struct HookState<'a>(NonNull<bindings::nf_hook_state>, PhantomData<&'a ()>);

impl<'a> HookState<'a> {
    /// # Safety
    ///
    /// `state` meets the type invariants.
    #[inline]
    pub(crate) unsafe fn from_raw(state: NonNull<bindings::nf_hook_state>) -> Self {
        // INVARIANT: By the safety requirements.
        Self(state, PhantomData)
    }

    #[inline]
    pub(in crate::nf) fn raw(&self) -> &'a bindings::nf_hook_state {
        // SAFETY: By the type invariants.
        unsafe { self.0.as_ref() }
    }

    /// Returns the namespace.
    #[inline]
    pub(crate) fn net(&self) -> &'a Net {
        // SAFETY: The namespace outlives the call.
        unsafe { Net::from_raw(self.raw().net) }
    }

    /// Returns the protocol family. [`None`]: it is neither IPv4 nor IPv6.
    #[inline]
    pub(crate) fn family(&self) -> Option<Family> {
        match u32::from(self.raw().pf) {
            bindings::NFPROTO_IPV4 => Some(Family::Ipv4),
            bindings::NFPROTO_IPV6 => Some(Family::Ipv6),
            _ => None,
        }
    }

    /// Returns whether the packet is at `hook`.
    #[inline]
    pub(crate) fn is_at(&self, hook: InetHook) -> bool {
        u32::from(self.raw().hook) == hook.number()
    }

    /// Returns the number of the hook.
    #[inline]
    pub(crate) fn hooknum(&self) -> u32 {
        u32::from(self.raw().hook)
    }

    /// Returns whether the packet leaves through the master device of a VRF. It passes POST_ROUTING
    /// again with the real device.
    #[inline]
    pub(crate) fn leaves_through_vrf(&self) -> bool {
        let out = self.raw().out;
        self.is_at(InetHook::PostRouting)
            && !out.is_null()
            // SAFETY: The device outlives the call.
            && unsafe { bindings::rct_netif_is_l3_master(out) }
    }
}

/// A function that the stack calls for every packet at a hook.
///
/// # Examples
///
/// ```ignore
/// struct CountFragments;
///
/// impl Hook for CountFragments {
///     fn run(skb: &mut Skb, state: HookState<'_>, _rcu: Rcu<'_>) -> Verdict {
///         // Reads take `&Skb`. A packet that ends early reads as `None`.
///         let Some([_, _, _, _, _, _, flags, _]) = skb.read::<8>(0) else {
///             return Verdict::Drop;
///         };
///         if flags & MORE_FRAGMENTS != 0 {
///             state.net().state::<MyState>().fragments.fetch_add(1, Relaxed);
///         }
///         Verdict::Accept
///     }
/// }
///
/// static IPV4_HOOKS: FamilyHooks = FamilyHooks::new(Family::Ipv4, [
///     hook::<CountFragments>(InetHook::PreRouting, Priority::CONNTRACK),
///     ..
/// ]);
///
/// // `MyState` has a field `hooks: HookSlot`, which `Pernet::init` opens.
/// HookSlot::open(net, |state: &MyState| &state.hooks)?;
/// net.state::<MyState>().hooks.register(net, &IPV4_HOOKS)?;
/// ```
pub(crate) trait Hook: 'static {
    /// Handles a packet, inside an RCU read-side section.
    fn run(skb: &mut Skb, state: HookState<'_>, rcu: Rcu<'_>) -> Verdict;
}

/// Calls [`Hook::run`] for the core (`nf_hookfn`).
///
/// # Safety
///
/// For the core alone, with a packet and a state that are valid until the return, under
/// `rcu_read_lock()`.
unsafe extern "C" fn call<H: Hook>(
    _data: *mut c_void,
    skb: *mut bindings::sk_buff,
    state: *const bindings::nf_hook_state,
) -> c_uint {
    // SAFETY: The core hands over a packet that is the hook's until it returns.
    let skb = unsafe { Skb::from_raw(skb) };
    // SAFETY: The core hands over a valid state.
    let state = unsafe { HookState::from_raw(NonNull::new_unchecked(state.cast_mut())) };
    // SAFETY: The core calls hooks under `rcu_read_lock()`.
    let rcu = unsafe { Rcu::assume_held() };
    H::run(skb, state, rcu).as_raw()
}

/// Describes one of the hooks of [`FamilyHooks`].
pub(crate) const fn hook<H: Hook>(hook: InetHook, priority: Priority) -> bindings::nf_hook_ops {
    // SAFETY: All fields of the structure may be zero.
    let mut ops: bindings::nf_hook_ops = unsafe { core::mem::zeroed() };
    ops.hook = Some(call::<H>);
    ops.hooknum = hook.number();
    ops.priority = priority.0;
    ops
}

/// Number of hooks in [`FamilyHooks`].
const HOOKS: usize = 4;

// CAST: A small number.
const COUNT: c_uint = HOOKS as c_uint;

/// The hooks of one family, which are registered together, behind the reassembly of fragments.
///
/// They are static: the list of hooks of a namespace points to them.
pub(crate) struct FamilyHooks {
    family: Family,
    ops: [bindings::nf_hook_ops; HOOKS],
}

// SAFETY: It is never changed.
unsafe impl Sync for FamilyHooks {}

impl FamilyHooks {
    /// Makes a set of hooks for packets of `family`.
    pub(crate) const fn new(family: Family, mut ops: [bindings::nf_hook_ops; HOOKS]) -> Self {
        let mut index = 0;
        while index < HOOKS {
            ops[index].pf = family.to_u8();
            index += 1;
        }
        Self { family, ops }
    }

    /// Enables the reassembly of fragments, then registers the hooks. May sleep.
    fn register(&'static self, net: &Net) -> Result {
        // SAFETY: Process context; the namespace is valid.
        to_result(unsafe {
            match self.family {
                Family::Ipv4 => bindings::nf_defrag_ipv4_enable(net.raw()),
                Family::Ipv6 => bindings::nf_defrag_ipv6_enable(net.raw()),
            }
        })?;
        // SAFETY: The array is static, and `call` is safe for the arguments of the core.
        to_result(unsafe { bindings::nf_register_net_hooks(net.raw(), self.ops.as_ptr(), COUNT) })
            // SAFETY: Enabled above.
            .inspect_err(|_| unsafe { self.disable_defrag(net) })
    }

    /// Undoes [`FamilyHooks::register`].
    ///
    /// # Safety
    ///
    /// The hooks are registered in `net`.
    unsafe fn unregister(&'static self, net: &Net) {
        // SAFETY: By the safety requirements.
        unsafe {
            bindings::nf_unregister_net_hooks(net.raw(), self.ops.as_ptr(), COUNT);
            self.disable_defrag(net);
        }
    }

    /// Ends one use of the reassembly of fragments; the last use disables it.
    ///
    /// # Safety
    ///
    /// Reassembly was enabled in `net`, and this use of it has not ended.
    unsafe fn disable_defrag(&self, net: &Net) {
        // SAFETY: Process context; by the safety requirements.
        unsafe {
            match self.family {
                Family::Ipv4 => bindings::nf_defrag_ipv4_disable(net.raw()),
                Family::Ipv6 => bindings::nf_defrag_ipv6_disable(net.raw()),
            }
        }
    }
}

/// Serialises registering and unregistering through the places in the states of namespaces.
pub(super) static REGISTERING: StaticMutex<()> = StaticMutex::new(c"REGISTERING", || ());

/// A place in the state of a namespace for one registration of [`FamilyHooks`]. Zeroed: it is
/// closed.
///
/// [`HookSlot::open`] opens it for the life of the state, at whose end `nf` unregisters what is in
/// it.
///
/// # Invariants
///
/// If `hooks` is not null, it points to static [`FamilyHooks`] that are registered in the namespace
/// `net`, which closes it ([`Place`]). Both are changed under [`REGISTERING`].
pub(crate) struct HookSlot {
    /// The namespace for which the slot is open, or null.
    net: Atomic<*mut bindings::net>,
    hooks: Atomic<*mut FamilyHooks>,
}

// SAFETY: Null is a valid value of either pointer.
unsafe impl pin_init::Zeroable for HookSlot {}
// SAFETY: The fields are atomic. `hooks` is static, and `net` is only compared.
unsafe impl Sync for HookSlot {}

impl Place for HookSlot {
    fn open_for(&self, net: &NewNet<'_>) -> Result {
        let _guard = REGISTERING.lock();
        if !self.net.load(Relaxed).is_null() {
            return Err(EBUSY);
        }
        self.net.store(net.raw(), Relaxed);
        Ok(())
    }

    fn close_for(&self, net: &Net) {
        let _guard = REGISTERING.lock();
        self.clear(net);
        self.net.store(null_mut(), Relaxed);
    }
}

impl HookSlot {
    /// Opens the slot in the state of a namespace that is being set up. May sleep.
    ///
    /// `EBUSY`: it is open already. `ENOMEM`: no memory.
    pub(crate) fn open<P: Pernet>(net: &NewNet<'_>, slot: fn(&P) -> &HookSlot) -> Result {
        net.open(slot)
    }

    /// Registers hooks in `net`, behind the reassembly of fragments. May sleep.
    ///
    /// `EBUSY`: the slot is taken, or not open for `net`.
    pub(crate) fn register(&self, net: &Net, hooks: &'static FamilyHooks) -> Result {
        let _guard = REGISTERING.lock();
        if self.net.load(Relaxed) != net.raw() || !self.hooks.load(Relaxed).is_null() {
            return Err(EBUSY);
        }
        hooks.register(net)?;
        // INVARIANT: As just registered; the slot is open.
        self.hooks.store(from_ref(hooks).cast_mut(), Relaxed);
        Ok(())
    }

    /// Unregisters the hooks, and leaves the slot empty. Does nothing if it holds no hooks that
    /// are registered in `net`. May sleep.
    ///
    /// Calls under way may go on until a grace period has passed. What the hooks use is freed
    /// after it.
    pub(crate) fn unregister(&self, net: &Net) {
        let _guard = REGISTERING.lock();
        self.clear(net);
    }

    /// Does the work of [`HookSlot::unregister`], under [`REGISTERING`].
    fn clear(&self, net: &Net) {
        if self.net.load(Relaxed) != net.raw() {
            return;
        }
        let hooks = self.hooks.xchg(null_mut(), Full);
        // SAFETY: The pointer is null or to a static, by the type invariants.
        if let Some(hooks) = unsafe { hooks.cast_const().as_ref() } {
            // SAFETY: By the type invariants.
            unsafe { hooks.unregister(net) };
        }
    }
}
