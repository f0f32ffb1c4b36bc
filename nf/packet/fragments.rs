// SPDX-License-Identifier: GPL-2.0

//! Packets from below the IP layer (Open vSwitch, act_ct): padded, and in fragments.
//!
//! C header: [`include/net/ipv6_frag.h`](srctree/include/net/ipv6_frag.h)

use core::ffi::c_int;

use crate::nf::{
    bindings,
    kernel::{
        errno::{
            EINPROGRESS,
            EPFNOSUPPORT, //
        },
        lock::BhDisabled, //
    },
};

/// Removes link-layer padding behind the IP packet (`nf_ct_skb_network_trim`). Returns 0 or a
/// negative errno.
///
/// # Safety
///
/// The packet is valid, the caller's own, and begins with the network header of `family`.
pub(crate) unsafe fn trim(skb: *mut bindings::sk_buff, family: c_int) -> c_int {
    // CAST: A protocol family is a small number.
    // SAFETY: By the safety requirements.
    unsafe {
        let len = match family as u32 {
            bindings::NFPROTO_IPV4 => bindings::rct_ipv4_total_len(skb),
            bindings::NFPROTO_IPV6 => {
                let mut len = bindings::rct_ipv6_payload_len(skb);
                if u32::from(bindings::rct_ipv6_nexthdr(skb)) == bindings::IPPROTO_HOPOPTS {
                    // A jumbogram has its length in the hop-by-hop options.
                    let error = bindings::nf_ip6_check_hbh_len(skb, &mut len);
                    if error != 0 {
                        return error;
                    }
                }
                len.wrapping_add(IPV6_HEADER_LEN)
            }
            _ => return 0,
        };
        bindings::rct_pskb_trim(skb, len)
    }
}

/// The length of an IPv6 header in bytes.
const IPV6_HEADER_LEN: u32 = 40;

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
                // CAST: A number of an enumeration.
                const USER: u32 = bindings::RCT_IP_DEFRAG_CONNTRACK_IN as u32;
                bindings::rct_ipv4_clear_cb(skb);
                let error = {
                    let _bh = BhDisabled::new();
                    bindings::ip_defrag(net, skb, USER.wrapping_add(zone.into()))
                };
                if error != 0 {
                    return error;
                }
                mru.write(bindings::rct_ipv4_frag_max_size(skb));
            }
            bindings::NFPROTO_IPV6 => {
                // CAST: A number of an enumeration.
                const USER: u32 = bindings::RCT_IP6_DEFRAG_CONNTRACK_IN as u32;
                bindings::rct_ipv6_clear_cb(skb);
                let error = bindings::nf_ct_frag6_gather(net, skb, USER.wrapping_add(zone.into()));
                if error != 0 {
                    if error != EINPROGRESS.to_errno() {
                        bindings::rct_kfree_skb(skb);
                    }
                    return error;
                }
                protocol.write(bindings::rct_ipv6_nexthdr(skb));
                mru.write(bindings::rct_ipv6_frag_max_size(skb));
            }
            _ => {
                bindings::rct_kfree_skb(skb);
                return EPFNOSUPPORT.to_errno();
            }
        }
        // The hash was that of a fragment; the packet may be larger than the route's MTU.
        bindings::rct_skb_clear_hash(skb);
        bindings::rct_skb_set_ignore_df(skb);
    }
    0
}
