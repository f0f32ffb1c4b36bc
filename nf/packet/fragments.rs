// SPDX-License-Identifier: GPL-2.0

//! Packets from below the IP layer (Open vSwitch, act_ct): padded, and in fragments.
//!
//! C header: [`include/net/ipv6_frag.h`](srctree/include/net/ipv6_frag.h)

use core::ffi::c_int;

use kernel::prelude::*;

use crate::nf::bindings;

/// Removes link-layer padding behind the IP packet (`nf_ct_skb_network_trim`). Returns 0 or a
/// negative errno.
///
/// # Safety
///
/// The packet is valid, the caller's own, and begins with the network header of `family`.
pub(crate) unsafe fn trim(skb: *mut bindings::sk_buff, family: c_int) -> c_int {
    let mut len = 0;
    // CAST: A protocol family is a small number.
    // SAFETY: By the safety requirements.
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

/// Reassembles the fragments of one zone (`nf_ct_handle_fragments`). Returns 0 when the packet is
/// whole.
///
/// After a negative errno the packet is no longer the caller's: it waits for other fragments
/// (`EINPROGRESS`), or was freed.
///
/// # Safety
///
/// The packet is valid and the caller's own. `protocol` and `mru` point to room for the protocol
/// behind the fragment header and the size of the largest fragment in bytes.
pub(crate) unsafe fn defragment(
    net: *mut bindings::net,
    skb: *mut bindings::sk_buff,
    zone: u16,
    family: u8,
    protocol: *mut u8,
    mru: *mut u16,
) -> c_int {
    // SAFETY: By the safety requirements, for all calls.
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
