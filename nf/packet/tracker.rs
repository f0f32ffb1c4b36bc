// SPDX-License-Identifier: GPL-2.0

//! `nf_ct_hook`: what the rest of the kernel asks of whoever tracks connections.
//!
//! C header: [`include/linux/netfilter.h`](srctree/include/linux/netfilter.h)

use core::{
    ffi::c_int,
    ptr::{
        null,
        NonNull, //
    }, //
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
            net::Net,
            rcu::Rcu, //
        }, //
    },
    proto::types::tuple::Tuple, //
};

use super::{
    hook::Verdict,
    skb::Skb, //
};

/// A connection tracker.
pub(crate) trait Tracker: 'static {
    /// User space gave a queued packet back (nfnetlink_queue).
    fn update(net: &Net, skb: &mut Skb, rcu: Rcu<'_>) -> Verdict;

    /// The last reference to an entry is gone.
    fn destroy(conn: Dead, rcu: Rcu<'_>);

    /// The tuple of the way that `skb` goes, as seen before any translation.
    fn tuple_of(skb: &Skb, rcu: Rcu<'_>) -> Option<Tuple>;

    /// `new` answers `old`, on behalf of this machine.
    fn attach(new: &mut Skb, old: &Skb);

    /// A rule resets the connection.
    fn set_closing(conn: &Conn);

    /// The packet has passed every check: its connection counts from now on.
    fn confirm(skb: &mut Skb, rcu: Rcu<'_>) -> Verdict;

    /// A number for user space that stays the same over the entry's life.
    fn id(conn: &Conn) -> u32;
}

/// Keeps the hook in place.
///
/// # Invariants
///
/// `nf_ct_hook` points to the hook of this module.
pub(crate) struct TrackerRegistration(());

impl TrackerRegistration {
    /// Makes `T` the machine's tracker. Fails if there is another.
    pub(crate) fn new<T: Tracker>() -> Result<Self> {
        // SAFETY: Looks at the pointer, does not follow it.
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
        // INVARIANT: just set.
        Ok(Self(()))
    }
}

impl Drop for TrackerRegistration {
    /// After the last entry is gone: the kernel warns if it has one and finds no hook.
    fn drop(&mut self) {
        // SAFETY: By the type invariants the hook is ours to take away.
        unsafe { bindings::rct_ct_hook_set(null()) };
        kernel::sync::rcu::synchronize_rcu();
    }
}

/// [`Tracker::update`], as the core calls it.
///
/// # Safety
///
/// For the core alone, with a valid namespace and packet, under `rcu_read_lock()`.
unsafe extern "C" fn update<T: Tracker>(
    net: *mut bindings::net,
    skb: *mut bindings::sk_buff,
) -> c_int {
    // SAFETY: The core calls under `rcu_read_lock()`, with a namespace and a packet that is
    // ours until we return.
    let verdict = unsafe { T::update(Net::from_raw(net), Skb::from_raw(skb), Rcu::assume_held()) };
    verdict.as_raw() as c_int
}

/// [`Tracker::destroy`], as the core calls it.
///
/// # Safety
///
/// For the core alone, with an entry whose last reference it gave back, under
/// `rcu_read_lock()`.
unsafe extern "C" fn destroy<T: Tracker>(nfct: *mut bindings::nf_conntrack) {
    // SAFETY: The count just became zero; `ct_general` is the entry's first field. The core
    // looked us up under `rcu_read_lock()`.
    let (dead, rcu) = unsafe {
        (
            Dead::from_raw(NonNull::new_unchecked(nfct.cast())),
            Rcu::assume_held(),
        )
    };
    T::destroy(dead, rcu);
}

/// [`Tracker::tuple_of`], as the core calls it.
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

/// [`Tracker::attach`], as the core calls it.
///
/// # Safety
///
/// For the core alone, with two valid packets, the first of which is its own.
unsafe extern "C" fn attach<T: Tracker>(
    new: *mut bindings::sk_buff,
    old: *const bindings::sk_buff,
) {
    // SAFETY: The core hands over a new packet that is its own, and the one that it answers.
    unsafe { T::attach(Skb::from_raw(new), Skb::from_raw_shared(old)) };
}

/// [`Tracker::set_closing`], as the core calls it.
///
/// # Safety
///
/// For the core alone, with an entry on which it holds a reference.
unsafe extern "C" fn set_closing<T: Tracker>(nfct: *mut bindings::nf_conntrack) {
    // SAFETY: The caller holds a reference.
    T::set_closing(unsafe { Conn::from_raw(nfct.cast()) });
}

/// [`Tracker::confirm`], as the core calls it.
///
/// # Safety
///
/// For the core alone, with a valid packet of its own, under `rcu_read_lock()`.
unsafe extern "C" fn confirm<T: Tracker>(skb: *mut bindings::sk_buff) -> c_int {
    // SAFETY: The core calls under `rcu_read_lock()` with a packet that is its own.
    unsafe { T::confirm(Skb::from_raw(skb), Rcu::assume_held()) }.as_raw() as c_int
}

/// [`Tracker::id`], as the core calls it.
///
/// # Safety
///
/// For the core alone, with an entry on which it holds a reference.
unsafe extern "C" fn get_id<T: Tracker>(nfct: *const bindings::nf_conntrack) -> u32 {
    // SAFETY: The caller holds a reference.
    T::id(unsafe { Conn::from_raw(nfct.cast_mut().cast()) })
}
