// SPDX-License-Identifier: GPL-2.0

//! The hooks of the bridge family, which `nf_conntrack_bridge` has.
//!
//! C header: [`include/net/netfilter/nf_conntrack_bridge.h`](srctree/include/net/netfilter/nf_conntrack_bridge.h)

use core::ptr::{
    null_mut,
    NonNull, //
};

use kernel::{
    error::to_result,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
};

use crate::nf::{
    bindings,
    kernel::net::Net, //
};

/// The hooks of the bridge family, and the module that has them.
///
/// There is one value at a time, which the tracker keeps behind a mutex: `&mut self` is the
/// evidence that users of the hooks are added and removed one at a time.
///
/// # Invariants
///
/// `0` points to valid information until the module unregisters it. No other value points to it.
pub(crate) struct BridgeHooks(NonNull<bindings::nf_ct_bridge_info>);

// SAFETY: The information is only read.
unsafe impl Send for BridgeHooks {}

/// The users of the bridge's hooks in a namespace, a field of the namespace's state. Zeroed: none.
///
/// # Invariants
///
/// `count` is not zero if and only if the hooks of `info` are registered in `net`. Each user holds
/// a reference to the module of `info`, so that `info` is valid then.
pub(crate) struct BridgeUsers {
    count: Atomic<u32>,
    net: Atomic<*mut bindings::net>,
    info: Atomic<*mut bindings::nf_ct_bridge_info>,
}

// SAFETY: Zero is a valid value of all fields.
unsafe impl pin_init::Zeroable for BridgeUsers {}
// SAFETY: The fields are atomic, and the pointers are only compared.
unsafe impl Sync for BridgeUsers {}

impl BridgeUsers {
    fn are_of(&self, net: *mut bindings::net, info: *mut bindings::nf_ct_bridge_info) -> bool {
        self.net.load(Relaxed) == net && self.info.load(Relaxed) == info
    }
}

impl BridgeHooks {
    /// Returns [`None`] if `info` is null.
    ///
    /// # Safety
    ///
    /// As the type invariants say, if `info` is not null.
    pub(crate) unsafe fn from_raw(info: *mut bindings::nf_ct_bridge_info) -> Option<Self> {
        // INVARIANT: By the safety requirements.
        NonNull::new(info).map(Self)
    }

    fn info(&self) -> &bindings::nf_ct_bridge_info {
        // SAFETY: By the type invariants.
        unsafe { self.0.as_ref() }
    }

    /// Adds a user in `net`. The first one registers the hooks there, and each keeps the module
    /// from being unloaded. May sleep.
    ///
    /// `EPROTO`: the module is being unloaded. `EBUSY`: `users` are those of other hooks.
    pub(crate) fn add_user(&mut self, net: &Net, users: &BridgeUsers) -> Result {
        let (raw_net, raw_info) = (net.raw(), self.0.as_ptr());
        let count = users.count.load(Relaxed);
        if count != 0 && !users.are_of(raw_net, raw_info) {
            return Err(EBUSY);
        }
        let info = self.info();
        // SAFETY: By the type invariants the module is loaded.
        if !unsafe { bindings::rct_try_module_get(info.me) } {
            return Err(EPROTO);
        }
        if count == 0 {
            // SAFETY: By the type invariants.
            to_result(unsafe { bindings::nf_register_net_hooks(raw_net, info.ops, info.ops_size) })
                // SAFETY: The reference was taken above.
                .inspect_err(|_| unsafe { bindings::rct_module_put(info.me) })?;
            users.net.store(raw_net, Relaxed);
            users.info.store(raw_info, Relaxed);
        }
        // INVARIANT: The hooks are registered, and a reference was taken for this user.
        users.count.store(count.saturating_add(1), Relaxed);
        Ok(())
    }

    /// Removes a user in `net`, if there is one. The last one unregisters the hooks. May sleep.
    pub(crate) fn remove_user(&mut self, net: &Net, users: &BridgeUsers) {
        let raw_net = net.raw();
        let Some(count) = users.count.load(Relaxed).checked_sub(1) else {
            return;
        };
        if !users.are_of(raw_net, self.0.as_ptr()) {
            return;
        }
        let info = self.info();
        // INVARIANT: The hooks are unregistered, and the reference given back, below.
        users.count.store(count, Relaxed);
        // SAFETY: By the invariants of both types.
        unsafe {
            if count == 0 {
                bindings::nf_unregister_net_hooks(raw_net, info.ops, info.ops_size);
                users.net.store(null_mut(), Relaxed);
            }
            bindings::rct_module_put(info.me);
        }
    }
}

/// Requests `nf_conntrack_bridge` to be loaded. May sleep.
pub(crate) fn request_module() {
    // SAFETY: Process context; the format has no arguments. Without the module there are no hooks.
    let _ = unsafe { bindings::__request_module(true, c"nf_conntrack_bridge".as_char_ptr()) };
}
