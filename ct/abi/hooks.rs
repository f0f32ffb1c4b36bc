// SPDX-License-Identifier: GPL-2.0

//! Who wants connections tracked.

use core::ffi::c_int;

use kernel::prelude::*;

use crate::{
    ct::packet::hooks::{
        self,
        Wish, //
    },
    nf::{
        bindings,
        kernel::net::Net, //
    },
    proto::types::family::Family, //
};

fn wish(family: u8) -> Result<Wish> {
    match u32::from(family) {
        bindings::NFPROTO_IPV4 => Ok(Wish::Family(Family::Ipv4)),
        bindings::NFPROTO_IPV6 => Ok(Wish::Family(Family::Ipv6)),
        bindings::NFPROTO_INET => Ok(Wish::Inet),
        bindings::NFPROTO_BRIDGE => Ok(Wish::Bridge),
        _ => Err(EPROTO),
    }
}

c_export! {
    /// A rule wants connections tracked in a namespace.
    fn nf_ct_netns_get(net: *mut bindings::net, nfproto: u8) -> c_int {
        // SAFETY: The caller hands over a namespace.
        let net = unsafe { Net::from_raw(net) };
        match wish(nfproto).and_then(|wish| hooks::get(net, wish)) {
            Ok(()) => 0,
            Err(error) => error.to_errno(),
        }
    }
}

c_export! {
    /// A rule wants that no longer.
    fn nf_ct_netns_put(net: *mut bindings::net, nfproto: u8) {
        // SAFETY: The caller hands over a namespace.
        let net = unsafe { Net::from_raw(net) };
        if let Ok(wish) = wish(nfproto) {
            hooks::put(net, wish);
        }
    }
}
