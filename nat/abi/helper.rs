// SPDX-License-Identifier: GPL-2.0

//! For the modules that translate addresses in what connections say.

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
        Words, //
    },
    nf::{
        bindings,
        c_export::c_export,
        expect::{
            draft::Draft,
            expectation::Expectation,
            expectfn,
            lock::ExpectGuard, //
        },
        packet::nat::Unconfirmed,
        prelude::*, //
    },
};

/// # Safety
///
/// `new` points to `new_len` bytes that stay for `'a`.
unsafe fn words<'a>(
    transport: c_uint,
    at: c_uint,
    len: c_uint,
    new: *const c_char,
    new_len: c_uint,
) -> Words<'a> {
    let new = if new_len == 0 {
        &[]
    } else {
        // SAFETY: The caller's promise.
        unsafe { core::slice::from_raw_parts(new.cast::<u8>(), new_len as usize) }
    };
    Words {
        transport,
        at,
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
            let words = words(protoff, match_offset, match_len, rep_buffer, rep_len);
            let dir = CtInfo::from_number(ctinfo).dir();
            helper::mangle_tcp(skb, conn, dir, &words, adjust).is_some()
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
        // SAFETY: As above.
        unsafe {
            let (conn, skb) = (Conn::from_raw(ct), Skb::from_raw(skb));
            let words = words(protoff, match_offset, match_len, rep_buffer, rep_len);
            helper::mangle_udp(skb, conn, &words).is_some()
        }
    }
}

c_export! {
    /// Translates a connection that was announced, as its master is.
    fn nf_nat_follow_master(
        ct: *mut bindings::nf_conn,
        this: *mut bindings::nf_conntrack_expect
    ) {
        // SAFETY: The tracker calls with an entry that it is making for a packet, and with the
        // expectation that was met.
        unsafe {
            let nat = Expectation::from_raw(this).nat();
            if let Some(entry) = Unconfirmed::from_conn(Conn::from_raw(ct)) {
                helper::follow_master(entry, nat.dir, nat.key);
            }
        }
    }
}

c_export! {
    /// Expects a connection to a port, or to one above it. 0: to none.
    fn nf_nat_exp_find_port(exp: *mut bindings::nf_conntrack_expect, port: u16) -> u16 {
        // SAFETY: The caller made the expectation of an entry that it has at hand.
        helper::expect_port(unsafe { Draft::from_raw(NonNull::new_unchecked(exp)) }, port)
    }
}

/// By this name rules and user space have a connection follow its master.
static FOLLOW_MASTER: LinkedByC<bindings::nf_ct_helper_expectfn> = LinkedByC(Opaque::zeroed());

/// Makes the name known, for as long as the module is loaded.
pub(crate) fn announce_follow_master() {
    let element = FOLLOW_MASTER.0.get();
    let guard = ExpectGuard::new();
    // SAFETY: Static, and on no list yet. The list is a static of ours as well: both go with the
    // module, when nobody looks for functions any more.
    unsafe {
        (*element).name = c"nat-follow-master".as_char_ptr();
        (*element).expectfn = Some(nf_nat_follow_master);
        expectfn::insert(element, guard.locked());
    }
}

/// A C structure of this module's that C code links into a list of its own.
struct LinkedByC<T>(Opaque<T>);

// SAFETY: C code changes the links under a lock of its own.
unsafe impl<T> Sync for LinkedByC<T> {}
