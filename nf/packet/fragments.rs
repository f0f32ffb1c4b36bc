// SPDX-License-Identifier: GPL-2.0

//! Packets that come from below the IP layer: padded, and in fragments.
//!
//! C header: [`include/net/ipv6_frag.h`](srctree/include/net/ipv6_frag.h)

use core::ffi::c_int;

use kernel::prelude::*;

use crate::nf::bindings;

/// Cuts off what the link layer padded. Returns 0 or an errno.
///
/// # Safety
///
/// The packet is valid, the caller's own, and begins with the network header of `family`.
pub(crate) unsafe fn trim(skb: *mut bindings::sk_buff, family: c_int) -> c_int {
    let mut len = 0;
    // CAST: family numbers are small.
    // SAFETY: The caller's promise.
    unsafe {
        match family as u32 {
            bindings::NFPROTO_IPV4 => len = bindings::rct_ipv4_total_len(skb),
            bindings::NFPROTO_IPV6 => {
                let error = bindings::rct_ipv6_total_len(skb, &mut len);
                if error != 0 {
                    return error;
                }
            }
            _ => return 0,
        }
        bindings::rct_pskb_trim(skb, len)
    }
}

/// Puts fragments of one zone together. Returns 0 when the packet is whole, or an errno
/// after which the packet is no longer the caller's.
///
/// # Safety
///
/// The packet is valid and the caller's own; `protocol` and `mru` have room for the
/// protocol behind the fragment header and the size of the largest fragment.
pub(crate) unsafe fn defragment(
    net: *mut bindings::net,
    skb: *mut bindings::sk_buff,
    zone: u16,
    family: u8,
    protocol: *mut u8,
    mru: *mut u16,
) -> c_int {
    // SAFETY: The caller's promise, for all calls.
    unsafe {
        match u32::from(family) {
            bindings::NFPROTO_IPV4 => {
                let error = bindings::rct_ipv4_gather(net, skb, zone, mru);
                if error != 0 {
                    return error;
                }
            }
            bindings::NFPROTO_IPV6 => {
                let error = bindings::rct_ipv6_gather(net, skb, zone, protocol, mru);
                if error != 0 {
                    if error != EINPROGRESS.to_errno() {
                        bindings::rct_kfree_skb(skb);
                    }
                    return error;
                }
            }
            _ => {
                bindings::rct_kfree_skb(skb);
                return EPFNOSUPPORT.to_errno();
            }
        }
        bindings::rct_skb_now_whole(skb);
    }
    0
}
