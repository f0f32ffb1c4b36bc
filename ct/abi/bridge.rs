// SPDX-License-Identifier: GPL-2.0

//! The hooks of the bridge family, which are in a module of their own (`nf_conntrack_bridge`).

use crate::{
    ct::packet::hooks,
    nf::{
        bindings,
        c_export::c_export,
        packet::bridge::BridgeHooks, //
    },
};

c_export! {
    /// Registers the hooks of the bridge module.
    fn nf_ct_bridge_register(info: *mut bindings::nf_ct_bridge_info) {
        // SAFETY: The hooks stay valid until they are unregistered.
        hooks::set_bridge(unsafe { BridgeHooks::from_raw(info) });
    }
}

c_export! {
    /// Unregisters the hooks of the bridge module.
    fn nf_ct_bridge_unregister(_info: *mut bindings::nf_ct_bridge_info) {
        hooks::set_bridge(None);
    }
}
