// SPDX-License-Identifier: GPL-2.0

//! New routes for packets that NAT changed after they were routed.
//!
//! C header: [`include/linux/netfilter_ipv4.h`](srctree/include/linux/netfilter_ipv4.h)

use kernel::{
    error::to_result,
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
    let raw_state: *const _ = state.raw();
    // SAFETY: By the invariants of both types; the packet has a route.
    to_result(unsafe {
        match family {
            Family::Ipv4 => bindings::rct_reroute_ipv4(raw_state, skb.raw()),
            Family::Ipv6 => bindings::rct_reroute_ipv6(raw_state, skb.raw()),
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
    let has_policies = skb.is_routed()
        && unsafe {
            bindings::rct_xfrm_has_policies(state.net().raw())
                || bindings::rct_skb_has_xfrm(skb.raw())
        };
    // Without policies the lookup would return the same route, after dissecting the packet: that
    // costs more than all the rest of a translation.
    if !has_policies {
        return Ok(());
    }
    lookup_policy(skb, state, family)
}

#[cfg(CONFIG_XFRM)]
#[cold]
fn lookup_policy(skb: &mut Skb, state: HookState<'_>, family: Family) -> Result {
    let address_family = match family {
        Family::Ipv4 => bindings::RCT_AF_INET,
        Family::Ipv6 => bindings::RCT_AF_INET6,
    };
    let net = state.net().raw();
    // SAFETY: A flow is plain data; all zeroes is the empty one.
    let mut flow: bindings::flowi = unsafe { core::mem::zeroed() };
    // SAFETY: By the invariants of `Skb`; the packet has a route. The reference that the first
    // function takes is given to the second, and that of its result to the third.
    unsafe {
        // CAST: An address family is a small number.
        to_result(bindings::rct_xfrm_decode_session(
            net,
            skb.raw(),
            &mut flow,
            address_family as u8,
        ))?;
        let plain = bindings::rct_skb_get_plain_dst(skb.raw());
        if plain.is_null() {
            return Err(EHOSTUNREACH);
        }
        let route = bindings::rct_xfrm_lookup(net, plain, &flow, skb.raw());
        if bindings::rct_is_err(route.cast()) {
            // CAST: An errno is a small negative number.
            return Err(Error::from_errno(route as isize as i32));
        }
        bindings::rct_skb_replace_dst(skb.raw(), route);
        to_result(bindings::rct_skb_room_for_link(skb.raw()))
    }
}

/// Does nothing: the kernel has no IPsec.
#[cfg(not(CONFIG_XFRM))]
pub(crate) fn lookup_xfrm(_skb: &mut Skb, _state: HookState<'_>, _family: Family) -> Result {
    Ok(())
}
