// SPDX-License-Identifier: GPL-2.0

//! `nfnl_ct_hook`: what nfnetlink_queue and nfnetlink_log tell user space of a packet's
//! connection, and what user space says of it with its verdict.
//!
//! C header: [`include/linux/netfilter.h`](srctree/include/linux/netfilter.h)

use core::{
    ffi::c_int,
    ptr::{
        null,
        NonNull, //
    },
};

use kernel::{
    error::from_result,
    prelude::*,
    sync::rcu::synchronize_rcu, //
};

use crate::nf::{
    bindings,
    entry::conn::Conn,
    kernel::{
        attr::{
            Attribute,
            Message, //
        },
        nfnetlink::Requester,
        rcu::Rcu, //
    },
};

/// Tells of packets' connections.
pub(crate) trait Glue: 'static {
    /// Bytes that [`Glue::put`] needs at most, without the nest and the packet's state.
    fn size(conn: &Conn) -> usize;

    /// Tells of a connection.
    fn put(conn: &Conn, message: &mut Message<'_>) -> Result;

    /// User space wants to change it. Atomic context.
    fn change(conn: &Conn, attribute: Attribute<'_>, rcu: Rcu<'_>) -> Result;

    /// User space announces another connection. Atomic context.
    fn expect(conn: &Conn, attribute: Attribute<'_>, by: Requester, rcu: Rcu<'_>) -> Result;

    /// Whether a connection's sequence numbers are shifted if user space makes a packet longer.
    fn shifts(conn: &Conn) -> bool;
}

/// Keeps the hook in place.
///
/// # Invariants
///
/// `nfnl_ct_hook` points to the hook of this module.
pub(crate) struct GlueRegistration(());

impl GlueRegistration {
    /// Has `G` asked from now on.
    pub(crate) fn new<G: Glue>() -> Self {
        let hook: &'static bindings::nfnl_ct_hook = &const {
            bindings::nfnl_ct_hook {
                build_size: Some(build_size::<G>),
                build: Some(build::<G>),
                parse: Some(parse::<G>),
                attach_expect: Some(attach_expect::<G>),
                seq_adjust: Some(seq_adjust::<G>),
            }
        };
        // SAFETY: The hook is static. Who else would set it cannot be loaded beside us.
        unsafe { bindings::rct_nfnl_ct_hook_set(hook) };
        // INVARIANT: just set.
        Self(())
    }
}

impl Drop for GlueRegistration {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the hook is ours to take away.
        unsafe { bindings::rct_nfnl_ct_hook_set(null()) };
        synchronize_rcu();
    }
}

/// [`Glue::size`].
///
/// # Safety
///
/// For who holds a reference to the entry.
unsafe extern "C" fn build_size<G: Glue>(ct: *const bindings::nf_conn) -> usize {
    // SAFETY: The caller's promise.
    G::size(unsafe { Conn::from_raw(ct.cast_mut()) })
}

/// [`Glue::put`], in a nest, and behind it how the packet belongs to the entry.
///
/// # Safety
///
/// For who holds a reference to the entry and writes the message.
unsafe extern "C" fn build<G: Glue>(
    skb: *mut bindings::sk_buff,
    ct: *mut bindings::nf_conn,
    info: bindings::ip_conntrack_info,
    nest: u16,
    place: u16,
) -> c_int {
    // SAFETY: The caller's promise.
    let (conn, mut message) = unsafe { (Conn::from_raw(ct), Message::from_raw(skb)) };
    let result = message
        .nest(nest, |message| G::put(conn, message))
        .and_then(|()| message.put_be32(place, info));
    from_result(|| result.map(|()| 0).map_err(|_| ENOSPC))
}

/// [`Glue::change`].
///
/// # Safety
///
/// For who holds a reference to the entry, with an attribute that was checked to be whole,
/// under `rcu_read_lock()`.
unsafe extern "C" fn parse<G: Glue>(
    attribute: *const bindings::nlattr,
    ct: *mut bindings::nf_conn,
) -> c_int {
    // SAFETY: The caller's promise.
    let (conn, attribute, rcu) = unsafe {
        (
            Conn::from_raw(ct),
            Attribute::from_raw(NonNull::new_unchecked(attribute.cast_mut())),
            Rcu::assume_held(),
        )
    };
    from_result(|| G::change(conn, attribute, rcu).map(|()| 0))
}

/// [`Glue::expect`].
///
/// # Safety
///
/// As for [`parse`].
unsafe extern "C" fn attach_expect<G: Glue>(
    attribute: *const bindings::nlattr,
    ct: *mut bindings::nf_conn,
    portid: u32,
    report: u32,
) -> c_int {
    let by = Requester {
        portid,
        report: report != 0,
    };
    // SAFETY: The caller's promise.
    let (conn, attribute, rcu) = unsafe {
        (
            Conn::from_raw(ct),
            Attribute::from_raw(NonNull::new_unchecked(attribute.cast_mut())),
            Rcu::assume_held(),
        )
    };
    from_result(|| G::expect(conn, attribute, by, rcu).map(|()| 0))
}

/// User space made a packet `more` bytes longer.
///
/// # Safety
///
/// For who holds a reference to the entry, with a packet of its own, which is of the entry.
unsafe extern "C" fn seq_adjust<G: Glue>(
    skb: *mut bindings::sk_buff,
    ct: *mut bindings::nf_conn,
    info: bindings::ip_conntrack_info,
    more: i32,
) {
    // SAFETY: The caller's promise.
    unsafe {
        if G::shifts(Conn::from_raw(ct)) {
            bindings::nf_ct_tcp_seqadj_set(skb, ct, info, more);
        }
    }
}
