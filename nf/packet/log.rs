// SPDX-License-Identifier: GPL-2.0

//! Log messages, rate-limited or on request.
//!
//! C header: [`include/net/netfilter/nf_log.h`](srctree/include/net/netfilter/nf_log.h)

use core::ptr::null;

use kernel::str::CStrExt as _;

use crate::nf::bindings;

use super::{
    hook::HookState,
    skb::Skb, //
};

/// Whether another message of the network stack may be logged now (`net_ratelimit()`).
pub(crate) fn ratelimit() -> bool {
    // SAFETY: May be called in any context.
    unsafe { bindings::rct_net_ratelimit() }
}

/// Requests a packet logging backend to be loaded, if there is none. May sleep.
pub(crate) fn request_backend() {
    // SAFETY: Process context, without a spinlock.
    unsafe { bindings::rct_request_log_backend() };
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
