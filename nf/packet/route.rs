// SPDX-License-Identifier: GPL-2.0

//! New routes for packets that NAT changed after they were routed.
//!
//! C header: [`include/linux/netfilter_ipv4.h`](srctree/include/linux/netfilter_ipv4.h)

use core::ptr::{
    null_mut,
    NonNull, //
};

use kernel::{
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*, //
};

use crate::{
    nf::bindings,
    proto::types::family::Family, //
};

use super::{
    hook::HookState,
    skb::Skb, //
};

/// Routes a packet from this machine anew, by its present addresses.
///
/// `EHOSTUNREACH`: it has no route that could be replaced.
pub(crate) fn reroute(skb: &mut Skb, state: HookState<'_>, family: Family) -> Result {
    if !skb.is_routed() {
        return Err(EHOSTUNREACH);
    }
    let raw = state.raw();
    // CAST: The number of a type of routes, zero.
    const ANY_TYPE: u32 = bindings::RCT_RTN_UNSPEC as u32;
    // SAFETY: By the invariants of both types; the packet has a route.
    to_result(unsafe {
        match family {
            Family::Ipv4 => bindings::ip_route_me_harder(raw.net, raw.sk, skb.raw(), ANY_TYPE),
            Family::Ipv6 => bindings::rct_reroute_ipv6(raw, skb.raw()),
        }
    })
}

/// Looks up the IPsec policy of a packet anew, by its present addresses and ports. Does nothing if
/// the packet has been transformed already, or has no route.
#[cfg(CONFIG_XFRM)]
#[inline]
pub(crate) fn lookup_xfrm(skb: &mut Skb, state: HookState<'_>, family: Family) -> Result {
    // SAFETY: The packet is at a hook of the family, which is the user of the control block.
    let transformed = unsafe {
        match family {
            Family::Ipv4 => bindings::rct_ipv4_is_transformed(skb.raw()),
            Family::Ipv6 => bindings::rct_ipv6_is_transformed(skb.raw()),
        }
    };
    if transformed {
        return Ok(());
    }
    // SAFETY: By the invariants of both types; the packet has a route.
    let has_policies = NonNull::new(unsafe { bindings::rct_skb_dst(skb.raw()) })
        .is_some_and(|dst| net_has_policies(state) || skb_has_policy(skb, dst));
    // Without policies the lookup would return the same route, after dissecting the packet: that
    // costs more than all the rest of a translation.
    if !has_policies {
        return Ok(());
    }
    lookup_policy(skb, state, family)
}

/// Returns whether packets that the namespace sends are subject to policies.
#[cfg(CONFIG_XFRM)]
#[inline]
fn net_has_policies(state: HookState<'_>) -> bool {
    let net = state.net().raw();
    // SAFETY: The namespace is that of the call.
    unsafe {
        bindings::rct_xfrm_out_policies(net) != 0
            || u32::from(bindings::rct_xfrm_out_default(net)) != bindings::XFRM_USERPOLICY_ACCEPT
    }
}

/// Returns whether the packet came or goes through a transformation, or its socket has a policy.
/// `dst` is the packet's route.
#[cfg(CONFIG_XFRM)]
#[inline]
fn skb_has_policy(skb: &Skb, dst: NonNull<bindings::dst_entry>) -> bool {
    // SAFETY: By the invariants of `Skb`; the packet keeps its route and its socket.
    unsafe {
        bindings::rct_dst_is_transformed(dst.as_ptr())
            || bindings::rct_skb_has_sec_path(skb.raw())
            || NonNull::new(bindings::rct_skb_full_sk(skb.raw()))
                .is_some_and(|sk| bindings::rct_sock_has_out_policy(sk.as_ptr()))
    }
}

#[cfg(CONFIG_XFRM)]
#[cold]
fn lookup_policy(skb: &mut Skb, state: HookState<'_>, family: Family) -> Result {
    let address_family = match family {
        Family::Ipv4 => bindings::RCT_AF_INET,
        Family::Ipv6 => bindings::RCT_AF_INET6,
    };
    let (net, raw) = (state.net().raw(), skb.raw());
    // SAFETY: A flow is plain data; all zeroes is the empty one.
    let mut flow: bindings::flowi = unsafe { core::mem::zeroed() };
    // SAFETY: By the invariants of `Skb`; the packet has a route. The reference that the first
    // function takes is given to the second, and that of its result to the third.
    unsafe {
        // CAST: An address family is a small number.
        to_result(bindings::rct_xfrm_decode_session(
            net,
            raw,
            &mut flow,
            address_family as u8,
        ))?;
        let mut plain = bindings::rct_skb_dst(raw);
        if bindings::rct_dst_is_transformed(plain) {
            plain = bindings::rct_dst_below(plain);
        }
        // The count is zero if the route is going away.
        if !bindings::rct_dst_hold_safe(plain) {
            return Err(EHOSTUNREACH);
        }
        // Only a socket of the packet's namespace has a say.
        let mut sk = bindings::rct_skb_sk(raw);
        if !sk.is_null() && !core::ptr::eq(bindings::rct_sock_net(sk), net) {
            sk = null_mut();
        }
        let route = from_err_ptr(bindings::xfrm_lookup(net, plain, &flow, sk, 0))?;
        bindings::rct_skb_dst_drop(raw);
        bindings::rct_skb_set_dst(raw, route);
        // The device of the new route may need more room for its header.
        let needed = bindings::rct_dst_link_header_len(route);
        match needed.checked_sub(bindings::rct_skb_headroom(raw)) {
            None | Some(0) => Ok(()),
            Some(more) => skb.expand_head(more, 0),
        }
    }
}

/// Does nothing: the kernel has no IPsec.
#[cfg(not(CONFIG_XFRM))]
pub(crate) fn lookup_xfrm(_skb: &mut Skb, _state: HookState<'_>, _family: Family) -> Result {
    Ok(())
}
