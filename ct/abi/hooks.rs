// SPDX-License-Identifier: GPL-2.0

//! The users of tracking: rules that need entries.

use core::ffi::c_int;

use kernel::{
    error::from_result,
    prelude::*, //
};

use crate::{
    ct::packet::hooks::{
        self,
        HookFamilies, //
    },
    nf::{
        bindings,
        c_export::c_export,
        kernel::errno::EPROTO,
        prelude::*, //
    },
};

fn families(family: u8) -> Result<HookFamilies> {
    match u32::from(family) {
        bindings::NFPROTO_IPV4 => Ok(HookFamilies::Family(Family::Ipv4)),
        bindings::NFPROTO_IPV6 => Ok(HookFamilies::Family(Family::Ipv6)),
        bindings::NFPROTO_INET => Ok(HookFamilies::Inet),
        bindings::NFPROTO_BRIDGE => Ok(HookFamilies::Bridge),
        _ => Err(EPROTO),
    }
}

c_export! {
    /// Adds a user of tracking in a namespace, for the families of `nfproto`.
    fn nf_ct_netns_get(net: *mut bindings::net, nfproto: u8) -> c_int {
        // SAFETY: The caller passes a namespace.
        let net = unsafe { Net::from_raw(net) };
        from_result(|| families(nfproto).and_then(|families| hooks::get(net, families)).map(|()| 0))
    }
}

c_export! {
    /// Removes a user of tracking.
    fn nf_ct_netns_put(net: *mut bindings::net, nfproto: u8) {
        // SAFETY: The caller passes a namespace.
        let net = unsafe { Net::from_raw(net) };
        if let Ok(families) = families(nfproto) {
            hooks::put(net, families);
        }
    }
}
