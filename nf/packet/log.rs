// SPDX-License-Identifier: GPL-2.0

//! What reaches the log: rarely, or on request.
//!
//! C header: [`include/net/netfilter/nf_log.h`](srctree/include/net/netfilter/nf_log.h)

use core::ptr::null;

use kernel::str::CStrExt as _;

use crate::nf::bindings;

use super::{
    hook::HookState,
    skb::Skb, //
};

/// Whether the network stack may say something now, or has said enough lately.
pub(crate) fn ratelimit() -> bool {
    // SAFETY: May be called in any context.
    unsafe { bindings::rct_net_ratelimit() }
}

/// Loads a module that logs packets, if there is none. May sleep.
pub(crate) fn request_backend() {
    // SAFETY: The callers are in process context and hold no spinlock.
    unsafe { bindings::rct_request_log_backend() };
}

/// Logs a packet for `nf_conntrack_log_invalid`, with the protocol number, what is wrong
/// with it, and a number that says more.
///
/// The caller has looked at the setting and holds no entry's lock: a logger may want it.
#[cold]
pub(crate) fn invalid(
    skb: &Skb,
    state: HookState<'_>,
    protocol: u8,
    message: &'static str,
    value: Option<u32>,
) {
    let raw = state.raw();
    // SAFETY: The packet and the devices outlive the call; the formats fit the arguments, and
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
                message.len() as i32,
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
                message.len() as i32,
                message.as_ptr(),
            ),
        }
    }
}
