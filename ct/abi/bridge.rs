// SPDX-License-Identifier: GPL-2.0

//! The bridge family, whose hooks are in a module of their own.

use crate::{
    ct::packet::hooks,
    nf::{
        bindings,
        c_export::c_export,
        packet::bridge::BridgeHooks, //
    },
};

c_export! {
    /// The bridge's module brings its hooks.
    fn nf_ct_bridge_register(info: *mut bindings::nf_ct_bridge_info) {
        // SAFETY: They stay valid until they are unregistered.
        hooks::set_bridge(unsafe { BridgeHooks::from_raw(info) });
    }
}

c_export! {
    /// The bridge's module goes.
    fn nf_ct_bridge_unregister(_info: *mut bindings::nf_ct_bridge_info) {
        hooks::set_bridge(None);
    }
}
