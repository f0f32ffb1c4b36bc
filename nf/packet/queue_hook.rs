// SPDX-License-Identifier: GPL-2.0

//! `nfnl_ct_hook`: the part of the messages of nfnetlink_queue and nfnetlink_log that is about a
//! packet's entry, and the changes that user space sends with its verdict.
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

/// A writer and reader of that part of the messages (`NETFILTER_NETLINK_GLUE_CT`).
pub(crate) trait Glue: 'static {
    /// Returns an upper bound of the bytes that [`Glue::put`] writes, without the nest and the
    /// state of the packet.
    fn size(conn: &Conn) -> usize;

    /// Writes the attributes of an entry.
    fn put(conn: &Conn, message: &mut Message<'_>) -> Result;

    /// Applies the changes of user space to an entry. Atomic context.
    fn change(conn: &Conn, attribute: Attribute<'_>, rcu: Rcu<'_>) -> Result;

    /// Adds an expectation of user space, with `conn` as master. Atomic context.
    fn expect(conn: &Conn, attribute: Attribute<'_>, by: Requester, rcu: Rcu<'_>) -> Result;

    /// Returns whether sequence numbers are adjusted when user space changes the length of a
    /// packet.
    fn shifts(conn: &Conn) -> bool;
}

/// Keeps a [`Glue`] registered.
///
/// # Invariants
///
/// `nfnl_ct_hook` points to the hook of this module.
pub(crate) struct GlueRegistration(());

impl GlueRegistration {
    /// Registers `G`.
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
        // SAFETY: The hook is static. Another module that sets it exports the symbols of this
        // module, so that only one of the two is loaded.
        unsafe { bindings::rct_nfnl_ct_hook_set(hook) };
        // INVARIANT: As just set.
        Self(())
    }
}

impl Drop for GlueRegistration {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the hook is that of this module.
        unsafe { bindings::rct_nfnl_ct_hook_set(null()) };
        synchronize_rcu();
    }
}

/// Calls [`Glue::size`].
///
/// # Safety
///
/// The caller holds a reference to the entry.
unsafe extern "C" fn build_size<G: Glue>(ct: *const bindings::nf_conn) -> usize {
    // SAFETY: By the safety requirements.
    G::size(unsafe { Conn::from_raw(ct.cast_mut()) })
}

/// Writes [`Glue::put`] in a nest, then the relation of the packet to the entry.
///
/// # Safety
///
/// The caller holds a reference to the entry, and is writing the message.
unsafe extern "C" fn build<G: Glue>(
    skb: *mut bindings::sk_buff,
    ct: *mut bindings::nf_conn,
    info: bindings::ip_conntrack_info,
    nest: u16,
    place: u16,
) -> c_int {
    // SAFETY: By the safety requirements.
    let (conn, mut message) = unsafe { (Conn::from_raw(ct), Message::from_raw(skb)) };
    let result = message
        .nest(nest, |message| G::put(conn, message))
        .and_then(|()| message.put_be32(place, info));
    from_result(|| result.map(|()| 0).map_err(|_| ENOSPC))
}

/// Calls [`Glue::change`].
///
/// # Safety
///
/// The caller holds a reference to the entry, and hands over a validated attribute, under
/// `rcu_read_lock()`.
unsafe extern "C" fn parse<G: Glue>(
    attribute: *const bindings::nlattr,
    ct: *mut bindings::nf_conn,
) -> c_int {
    // SAFETY: By the safety requirements.
    let (conn, attribute, rcu) = unsafe {
        (
            Conn::from_raw(ct),
            Attribute::from_raw(NonNull::new_unchecked(attribute.cast_mut())),
            Rcu::assume_held(),
        )
    };
    from_result(|| G::change(conn, attribute, rcu).map(|()| 0))
}

/// Calls [`Glue::expect`].
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
    // SAFETY: By the safety requirements.
    let (conn, attribute, rcu) = unsafe {
        (
            Conn::from_raw(ct),
            Attribute::from_raw(NonNull::new_unchecked(attribute.cast_mut())),
            Rcu::assume_held(),
        )
    };
    from_result(|| G::expect(conn, attribute, by, rcu).map(|()| 0))
}

/// Records that user space made a packet `more` bytes longer.
///
/// # Safety
///
/// The caller holds a reference to the entry, and hands over a packet of its own that belongs to
/// the entry.
unsafe extern "C" fn seq_adjust<G: Glue>(
    skb: *mut bindings::sk_buff,
    ct: *mut bindings::nf_conn,
    info: bindings::ip_conntrack_info,
    more: i32,
) {
    // SAFETY: By the safety requirements.
    unsafe {
        if G::shifts(Conn::from_raw(ct)) {
            bindings::nf_ct_tcp_seqadj_set(skb, ct, info, more);
        }
    }
}
