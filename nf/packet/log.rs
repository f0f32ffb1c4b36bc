// SPDX-License-Identifier: GPL-2.0

//! Log messages, rate-limited or on request.
//!
//! C header: [`include/net/netfilter/nf_log.h`](srctree/include/net/netfilter/nf_log.h)

use core::{
    ffi::c_void,
    ptr::null, //
};

use kernel::str::CStrExt as _;

use crate::nf::bindings;

use super::{
    hook::HookState,
    skb::Skb, //
};

/// Returns whether another message of the network stack may be logged now (`net_ratelimit()`).
pub(crate) fn ratelimit() -> bool {
    // SAFETY: May be called in any context.
    unsafe { bindings::rct_net_ratelimit() }
}

/// Requests a packet logging backend to be loaded, if there is none. May sleep.
pub(crate) fn request_backend() {
    // CAST: A small number.
    const FAMILIES: u8 = bindings::NFPROTO_NUMPROTO as u8;
    // SAFETY: Any number below that of families is valid.
    if !(0..FAMILIES).any(|family| unsafe { bindings::nf_log_is_registered(family) }) {
        // SAFETY: Process context, without a spinlock; the format has no arguments. Without the
        // module nothing is logged.
        let _ = unsafe { bindings::__request_module(true, c"nf_log_syslog".as_char_ptr()) };
    }
}

/// Logs a packet for `nf_conntrack_log_invalid`: the protocol number, the reason, and a number that
/// belongs to the reason.
///
/// The caller has checked the sysctl. No lock of an entry is held: a logging backend may take it.
#[cold]
pub(crate) fn invalid(
    skb: &Skb,
    state: HookState<'_>,
    protocol: u8,
    message: &'static str,
    value: Option<u32>,
) {
    let raw = state.raw();
    // CAST: The length of a message in this module.
    let len = message.len() as i32;
    // SAFETY: The packet and the devices outlive the call; the arguments fit the formats, and
    // `%.*s` reads no more than the given length.
    unsafe {
        match value {
            Some(value) => bindings::nf_log_packet(
                raw.net,
                raw.pf,
                0,
                skb.raw(),
                raw.in_,
                raw.out,
                null(),
                c"nf_ct_proto_%d: %.*s %u ".as_char_ptr(),
                i32::from(protocol),
                len,
                message.as_ptr(),
                value,
            ),
            None => bindings::nf_log_packet(
                raw.net,
                raw.pf,
                0,
                skb.raw(),
                raw.in_,
                raw.out,
                null(),
                c"nf_ct_proto_%d: %.*s ".as_char_ptr(),
                i32::from(protocol),
                len,
                message.as_ptr(),
            ),
        }
    }
}

/// Logs a packet for `nf_conntrack_log_invalid`, with a message of C code's. The conditions of
/// [`invalid`] apply.
///
/// # Safety
///
/// `message` points to a `struct va_format` whose arguments fit its format.
pub(crate) unsafe fn invalid_formatted(
    skb: &Skb,
    state: HookState<'_>,
    protocol: u8,
    message: *const c_void,
) {
    let raw = state.raw();
    // SAFETY: The packet and the devices outlive the call; the arguments fit the format, by the
    // safety requirements also those of the message.
    unsafe {
        bindings::nf_log_packet(
            raw.net,
            raw.pf,
            0,
            skb.raw(),
            raw.in_,
            raw.out,
            null(),
            c"nf_ct_proto_%d: %pV ".as_char_ptr(),
            i32::from(protocol),
            message,
        );
    }
}
