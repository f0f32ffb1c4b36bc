// SPDX-License-Identifier: GPL-2.0

//! `nf_ct_hook`: the calls of the rest of the kernel to the connection tracker.
//!
//! C header: [`include/linux/netfilter.h`](srctree/include/linux/netfilter.h)

use core::{
    ffi::c_int,
    ptr::{
        null,
        NonNull, //
    },
};

use kernel::prelude::*;

use crate::{
    nf::{
        bindings,
        entry::{
            conn::Conn,
            end::Dead, //
        },
        kernel::{
            log::pr_err,
            net::Net,
            rcu::Rcu, //
        },
    },
    proto::types::tuple::Tuple, //
};

use super::{
    hook::Verdict,
    skb::Skb, //
};

/// A connection tracker.
pub(crate) trait Tracker: 'static {
    /// Looks a packet up again that user space returned from a queue (nfnetlink_queue).
    fn update(net: &Net, skb: &mut Skb, rcu: Rcu<'_>) -> Verdict;

    /// Destroys an entry after its last reference was dropped.
    fn destroy(conn: Dead, rcu: Rcu<'_>);

    /// Returns the tuple of the direction of `skb`, before any translation.
    fn tuple_of(skb: &Skb, rcu: Rcu<'_>) -> Option<Tuple>;

    /// Attaches the entry of `old` to `new`, which this machine sends in reply.
    fn attach(new: &mut Skb, old: &Skb);

    /// Marks the connection as closing, because a rule resets it.
    fn set_closing(conn: &Conn, rcu: Rcu<'_>);

    /// Confirms the entry of a packet that passed all hooks.
    fn confirm(skb: &mut Skb, rcu: Rcu<'_>) -> Verdict;

    /// Returns the id of an entry for user space, which is constant over the entry's life.
    fn id(conn: &Conn) -> u32;
}

/// Keeps a [`Tracker`] registered.
///
/// # Invariants
///
/// `nf_ct_hook` points to the hook of this module.
pub(crate) struct TrackerRegistration(());

impl TrackerRegistration {
    /// Registers `T`.
    ///
    /// `EBUSY`: another tracker is registered.
    pub(crate) fn new<T: Tracker>() -> Result<Self> {
        // SAFETY: The pointer is compared, not followed.
        if unsafe { bindings::rct_ct_hook_present() } {
            pr_err!("another connection tracker is active; unload it first\n");
            return Err(EBUSY);
        }
        let hook: &'static bindings::nf_ct_hook = &const {
            bindings::nf_ct_hook {
                update: Some(update::<T>),
                destroy: Some(destroy::<T>),
                get_tuple_skb: Some(get_tuple_skb::<T>),
                attach: Some(attach::<T>),
                set_closing: Some(set_closing::<T>),
                confirm: Some(confirm::<T>),
                get_id: Some(get_id::<T>),
            }
        };
        // SAFETY: The hook is static.
        unsafe { bindings::rct_ct_hook_set(hook) };
        // INVARIANT: As just set.
        Ok(Self(()))
    }
}

impl Drop for TrackerRegistration {
    /// Runs after the last entry is freed: the kernel warns of an entry without a hook.
    fn drop(&mut self) {
        // SAFETY: By the type invariants the hook is that of this module.
        unsafe { bindings::rct_ct_hook_set(null()) };
        kernel::sync::rcu::synchronize_rcu();
    }
}

/// Calls [`Tracker::update`] for the core.
///
/// # Safety
///
/// For the core alone, with a valid namespace and packet, under `rcu_read_lock()`.
unsafe extern "C" fn update<T: Tracker>(
    net: *mut bindings::net,
    skb: *mut bindings::sk_buff,
) -> c_int {
    // SAFETY: The core calls under `rcu_read_lock()`, with a valid namespace, and a packet that is
    // the tracker's until the return.
    let verdict = unsafe { T::update(Net::from_raw(net), Skb::from_raw(skb), Rcu::assume_held()) };
    verdict.as_int()
}

/// Calls [`Tracker::destroy`] for the core.
///
/// # Safety
///
/// For the core alone, with an entry without references left, under `rcu_read_lock()`.
unsafe extern "C" fn destroy<T: Tracker>(nfct: *mut bindings::nf_conntrack) {
    // SAFETY: The count just became zero; `ct_general` is the first field of the entry. The core
    // reads the hook under `rcu_read_lock()`.
    let (dead, rcu) = unsafe {
        (
            Dead::from_raw(NonNull::new_unchecked(nfct.cast())),
            Rcu::assume_held(),
        )
    };
    T::destroy(dead, rcu);
}

/// Calls [`Tracker::tuple_of`] for the core.
///
/// # Safety
///
/// For the core alone, with room for a tuple and a valid packet, under `rcu_read_lock()`.
unsafe extern "C" fn get_tuple_skb<T: Tracker>(
    tuple: *mut bindings::nf_conntrack_tuple,
    skb: *const bindings::sk_buff,
) -> bool {
    // SAFETY: The core calls under `rcu_read_lock()` with a packet that does not change.
    match unsafe { T::tuple_of(Skb::from_raw_shared(skb), Rcu::assume_held()) } {
        Some(found) => {
            // SAFETY: `tuple` has room for one; the types have the same bytes.
            unsafe { tuple.cast::<Tuple>().write(found) };
            true
        }
        None => false,
    }
}

/// Calls [`Tracker::attach`] for the core.
///
/// # Safety
///
/// For the core alone, with two valid packets; the first is its own.
unsafe extern "C" fn attach<T: Tracker>(
    new: *mut bindings::sk_buff,
    old: *const bindings::sk_buff,
) {
    // SAFETY: By the safety requirements.
    unsafe { T::attach(Skb::from_raw(new), Skb::from_raw_shared(old)) };
}

/// Calls [`Tracker::set_closing`] for the core.
///
/// # Safety
///
/// For the core alone, with an entry to which it holds a reference, under `rcu_read_lock()`.
unsafe extern "C" fn set_closing<T: Tracker>(nfct: *mut bindings::nf_conntrack) {
    // SAFETY: The core holds a reference, and reads the hook under `rcu_read_lock()`.
    unsafe { T::set_closing(Conn::from_raw(nfct.cast()), Rcu::assume_held()) };
}

/// Calls [`Tracker::confirm`] for the core.
///
/// # Safety
///
/// For the core alone, with a valid packet of its own, under `rcu_read_lock()`.
unsafe extern "C" fn confirm<T: Tracker>(skb: *mut bindings::sk_buff) -> c_int {
    // SAFETY: The core calls under `rcu_read_lock()` with a packet that is its own.
    unsafe { T::confirm(Skb::from_raw(skb), Rcu::assume_held()) }.as_int()
}

/// Calls [`Tracker::id`] for the core.
///
/// # Safety
///
/// For the core alone, with an entry to which it holds a reference.
unsafe extern "C" fn get_id<T: Tracker>(nfct: *const bindings::nf_conntrack) -> u32 {
    // SAFETY: The core holds a reference.
    T::id(unsafe { Conn::from_raw(nfct.cast_mut().cast()) })
}
