// SPDX-License-Identifier: GPL-2.0

//! Functions for helpers that rewrite addresses in payloads.

use core::{
    ffi::c_uint,
    ptr::NonNull, //
};

use kernel::{
    ffi::c_char,
    prelude::*,
    types::Opaque, //
};

use crate::{
    nat::helper::{
        self,
        Replacement, //
    },
    nf::{
        bindings,
        c_export::c_export,
        entry::conn::Entry,
        expect::{
            draft::Draft,
            expectation::Expectation,
            expectfn,
            lock::ExpectGuard, //
        },
        packet::nat::Unconfirmed,
        prelude::*, //
    },
    proto::types::num::u32_as_usize, //
};

/// # Safety
///
/// `new` points to `new_len` bytes that are valid during `'a`.
unsafe fn replacement<'a>(
    transport: c_uint,
    offset: c_uint,
    len: c_uint,
    new: *const c_char,
    new_len: c_uint,
) -> Replacement<'a> {
    let new = if new_len == 0 {
        &[]
    } else {
        // SAFETY: By the safety requirements.
        unsafe { core::slice::from_raw_parts(new.cast::<u8>(), u32_as_usize(new_len)) }
    };
    Replacement {
        transport,
        offset,
        len,
        new,
    }
}

c_export! {
    /// Replaces bytes of a TCP segment's payload.
    fn __nf_nat_mangle_tcp_packet(
        skb: *mut bindings::sk_buff,
        ct: *mut bindings::nf_conn,
        ctinfo: bindings::ip_conntrack_info,
        protoff: c_uint,
        match_offset: c_uint,
        match_len: c_uint,
        rep_buffer: *const c_char,
        rep_len: c_uint,
        adjust: bool
    ) -> bool {
        // SAFETY: The caller hands over a packet of its own, and bytes that are not part of it,
        // and holds a reference to the entry.
        unsafe {
            let (conn, skb) = (Conn::from_raw(ct), Skb::from_raw(skb));
            let replacement = replacement(protoff, match_offset, match_len, rep_buffer, rep_len);
            let dir = CtInfo::from_number(ctinfo).dir();
            helper::mangle_tcp(skb, conn, dir, &replacement, adjust).is_some()
        }
    }
}

c_export! {
    /// Replaces bytes of a UDP datagram's payload.
    fn nf_nat_mangle_udp_packet(
        skb: *mut bindings::sk_buff,
        ct: *mut bindings::nf_conn,
        _ctinfo: bindings::ip_conntrack_info,
        protoff: c_uint,
        match_offset: c_uint,
        match_len: c_uint,
        rep_buffer: *const c_char,
        rep_len: c_uint
    ) -> bool {
        // SAFETY: By the safety requirements, as for TCP.
        unsafe {
            let (conn, skb) = (Conn::from_raw(ct), Skb::from_raw(skb));
            let replacement = replacement(protoff, match_offset, match_len, rep_buffer, rep_len);
            helper::mangle_udp(skb, conn, &replacement).is_some()
        }
    }
}

c_export! {
    /// Translates an expected connection after its master.
    fn nf_nat_follow_master(
        ct: *mut bindings::nf_conn,
        this: *mut bindings::nf_conntrack_expect
    ) {
        // SAFETY: The tracker calls with an entry that it is creating for a packet, and with the
        // expectation that matched.
        unsafe {
            let nat = Expectation::from_raw(this).nat();
            if let Some(entry) = Unconfirmed::from_conn(Entry::from_raw(ct)) {
                helper::follow_master(entry, nat.dir, nat.key);
            }
        }
    }
}

c_export! {
    /// Adds an expectation for a port, or for one above it. 0: for none.
    fn nf_nat_exp_find_port(exp: *mut bindings::nf_conntrack_expect, port: u16) -> u16 {
        // SAFETY: The caller made the expectation, and holds its master.
        helper::expect_port(unsafe { Draft::from_raw(NonNull::new_unchecked(exp)) }, port)
    }
}

/// The function under the name that rules and user space use for it.
static FOLLOW_MASTER: LinkedByC<bindings::nf_ct_helper_expectfn> = LinkedByC(Opaque::zeroed());

/// Registers the name, for as long as the module is loaded. Does nothing the second time.
pub(crate) fn register_follow_master() {
    let element = FOLLOW_MASTER.0.get();
    let guard = ExpectGuard::new();
    // SAFETY: Under the lock. The element is static, and on no list as long as it has no name. The
    // list is a static of this module, which goes with the element.
    unsafe {
        if !(*element).name.is_null() {
            return;
        }
        (*element).name = c"nat-follow-master".as_char_ptr();
        (*element).expectfn = Some(nf_nat_follow_master);
        expectfn::insert(element, guard.locked());
    }
}

/// A C structure of this module that C code links into a list.
struct LinkedByC<T>(Opaque<T>);

// SAFETY: C code changes the links under a lock of its own.
unsafe impl<T> Sync for LinkedByC<T> {}
