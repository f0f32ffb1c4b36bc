// SPDX-License-Identifier: GPL-2.0

//! Netfilter hooks: functions that the network stack calls for every packet.
//!
//! C header: [`include/linux/netfilter.h`](srctree/include/linux/netfilter.h)

use core::{
    ffi::{
        c_uint,
        c_void, //
    },
    marker::PhantomData,
    ptr::NonNull, //
};

use kernel::{
    error::to_result,
    prelude::*, //
};

use crate::{
    nf::{
        bindings,
        kernel::{
            net::Net,
            rcu::Rcu, //
        }, //
    },
    proto::types::family::Family, //
};

use super::skb::Skb;

/// What becomes of the packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes on.
    Accept,
    /// It is dropped, and the caller of the hook frees it.
    Drop,
    /// Something else, which C code decided: it waits in a queue, or was taken over.
    Other(c_uint),
}

impl Verdict {
    /// The number that C code expects.
    #[inline]
    pub(crate) const fn as_raw(self) -> c_uint {
        match self {
            Self::Accept => bindings::NF_ACCEPT,
            Self::Drop => bindings::NF_DROP,
            Self::Other(number) => number,
        }
    }

    /// What C code decided.
    #[inline]
    pub(crate) const fn from_raw(number: c_uint) -> Self {
        match number {
            bindings::NF_ACCEPT => Self::Accept,
            bindings::NF_DROP => Self::Drop,
            other => Self::Other(other),
        }
    }
}

/// Where in the stack a hook is.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum InetHook {
    /// Everything that arrives.
    PreRouting = bindings::nf_inet_hooks_NF_INET_PRE_ROUTING,
    /// What is for this machine.
    LocalIn = bindings::nf_inet_hooks_NF_INET_LOCAL_IN,
    /// What this machine sends.
    LocalOut = bindings::nf_inet_hooks_NF_INET_LOCAL_OUT,
    /// Everything that leaves.
    PostRouting = bindings::nf_inet_hooks_NF_INET_POST_ROUTING,
}

/// The order among hooks at one point.
#[derive(Clone, Copy)]
pub(crate) struct Priority(i32);

impl Priority {
    /// Where connections are looked up.
    pub(crate) const CONNTRACK: Self = Self(bindings::nf_ip_hook_priorities_NF_IP_PRI_CONNTRACK);
    /// Behind everything else.
    pub(crate) const LAST: Self = Self(bindings::nf_ip_hook_priorities_NF_IP_PRI_LAST);
    /// One before [`Priority::LAST`].
    pub(crate) const BEFORE_LAST: Self = Self(bindings::nf_ip_hook_priorities_NF_IP_PRI_LAST - 1);
}

/// What is known about the packet's way, for the time of the call.
///
/// # Invariants
///
/// `0` points to the state that the core handed to the hook, valid for `'a`.
#[derive(Clone, Copy)]
pub(crate) struct HookState<'a>(NonNull<bindings::nf_hook_state>, PhantomData<&'a ()>);

impl<'a> HookState<'a> {
    /// # Safety
    ///
    /// As the invariants say.
    #[inline]
    pub(crate) unsafe fn from_raw(state: NonNull<bindings::nf_hook_state>) -> Self {
        // INVARIANT: the caller's promise.
        Self(state, PhantomData)
    }

    #[inline]
    pub(in crate::nf) fn raw(&self) -> &'a bindings::nf_hook_state {
        // SAFETY: By the type invariants.
        unsafe { self.0.as_ref() }
    }

    /// The namespace.
    #[inline]
    pub(crate) fn net(&self) -> &'a Net {
        // SAFETY: The namespace outlives the call.
        unsafe { Net::from_raw(self.raw().net) }
    }

    /// The protocol family; [`None`] for one that is not tracked.
    #[inline]
    pub(crate) fn family(&self) -> Option<Family> {
        match u32::from(self.raw().pf) {
            bindings::NFPROTO_IPV4 => Some(Family::Ipv4),
            bindings::NFPROTO_IPV6 => Some(Family::Ipv6),
            _ => None,
        }
    }

    /// Whether the hook is at `point`.
    #[inline]
    pub(crate) fn is_at(&self, hook: InetHook) -> bool {
        u32::from(self.raw().hook) == hook as u32
    }

    /// The hook's number.
    #[inline]
    pub(crate) fn hooknum(&self) -> u32 {
        u32::from(self.raw().hook)
    }

    /// Whether the packet leaves through a VRF's master device. It will come by again, on
    /// its way through the real one.
    #[inline]
    pub(crate) fn leaves_through_vrf(&self) -> bool {
        // SAFETY: The device, if any, outlives the call.
        self.is_at(InetHook::PostRouting)
            && unsafe { bindings::rct_netif_is_l3_master(self.raw().out) }
    }
}

/// A function that the stack calls.
pub(crate) trait Hook: 'static {
    /// Looks at a packet, inside an RCU read-side section.
    fn run(skb: &mut Skb, state: HookState<'_>, rcu: Rcu<'_>) -> Verdict;
}

/// A hook, as the core calls it.
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

/// Hooks that are registered together.
///
/// They stand in static memory: a namespace's list of hooks points to them.
#[repr(transparent)]
pub(crate) struct Hooks<const N: usize>([bindings::nf_hook_ops; N]);

// SAFETY: Never changed.
unsafe impl<const N: usize> Sync for Hooks<N> {}

/// One of [`Hooks`].
pub(crate) const fn hook<H: Hook>(
    family: Family,
    hook: InetHook,
    priority: Priority,
) -> bindings::nf_hook_ops {
    // SAFETY: All of its fields may be zero.
    let mut ops: bindings::nf_hook_ops = unsafe { core::mem::zeroed() };
    ops.hook = Some(call::<H>);
    ops.pf = family as u8;
    ops.hooknum = hook as c_uint;
    ops.priority = priority.0;
    ops
}

impl<const N: usize> Hooks<N> {
    /// A set of hooks.
    pub(crate) const fn new(hooks: [bindings::nf_hook_ops; N]) -> Self {
        Self(hooks)
    }

    /// Begins to call them in `net`. May sleep.
    pub(crate) fn register(&'static self, net: &Net) -> Result {
        // SAFETY: The array is static; `call` is safe for what the core hands over.
        to_result(unsafe {
            bindings::nf_register_net_hooks(net.raw(), self.0.as_ptr(), N as c_uint)
        })
    }

    /// Ceases to call them in `net`. Calls under way may go on until a grace period has
    /// passed, which whoever frees what they use waits for.
    pub(crate) fn unregister(&'static self, net: &Net) {
        // SAFETY: Registered by the caller.
        unsafe { bindings::nf_unregister_net_hooks(net.raw(), self.0.as_ptr(), N as c_uint) };
    }
}

/// Puts fragments together before the hooks see them. Nests.
pub(crate) fn defragment(family: Family, net: &Net) -> Result {
    // SAFETY: Process context.
    to_result(unsafe {
        match family {
            Family::Ipv4 => bindings::nf_defrag_ipv4_enable(net.raw()),
            Family::Ipv6 => bindings::nf_defrag_ipv6_enable(net.raw()),
        }
    })
}

/// Undoes [`defragment`].
pub(crate) fn stop_defragmenting(family: Family, net: &Net) {
    // SAFETY: Process context; the caller called `defragment`.
    unsafe {
        match family {
            Family::Ipv4 => bindings::nf_defrag_ipv4_disable(net.raw()),
            Family::Ipv6 => bindings::nf_defrag_ipv6_disable(net.raw()),
        }
    }
}
