// SPDX-License-Identifier: GPL-2.0

//! The hooks of the bridge family, which another module has.
//!
//! C header: [`include/net/netfilter/nf_conntrack_bridge.h`](srctree/include/net/netfilter/nf_conntrack_bridge.h)

use core::ptr::NonNull;

use kernel::{
    error::to_result,
    prelude::*, //
};

use crate::nf::{
    bindings,
    kernel::net::Net, //
};

/// The hooks, and the module that has them.
///
/// # Invariants
///
/// `0` points to valid information until the module unregisters it.
#[derive(Clone, Copy)]
pub(crate) struct BridgeHooks(NonNull<bindings::nf_ct_bridge_info>);

// SAFETY: Read only.
unsafe impl Send for BridgeHooks {}

impl BridgeHooks {
    /// # Safety
    ///
    /// As the invariants say, if it is not null.
    pub(crate) unsafe fn from_raw(info: *mut bindings::nf_ct_bridge_info) -> Option<Self> {
        // INVARIANT: the caller's promise.
        NonNull::new(info).map(Self)
    }

    fn info(&self) -> &bindings::nf_ct_bridge_info {
        // SAFETY: By the type invariants.
        unsafe { self.0.as_ref() }
    }

    /// Keeps the module from being unloaded. `EPROTO`: it is being unloaded.
    pub(crate) fn hold(&self) -> Result {
        // SAFETY: By the type invariants.
        if unsafe { bindings::rct_try_module_get(self.info().me) } {
            Ok(())
        } else {
            Err(EPROTO)
        }
    }

    /// Undoes [`BridgeHooks::hold`].
    pub(crate) fn release(&self) {
        // SAFETY: By the type invariants; the caller held it.
        unsafe { bindings::rct_module_put(self.info().me) };
    }

    /// Begins to call the hooks in `net`. May sleep.
    pub(crate) fn register(&self, net: &Net) -> Result {
        let info = self.info();
        // SAFETY: By the type invariants.
        to_result(unsafe { bindings::nf_register_net_hooks(net.raw(), info.ops, info.ops_size) })
    }

    /// Ceases to call them in `net`.
    pub(crate) fn unregister(&self, net: &Net) {
        let info = self.info();
        // SAFETY: By the type invariants; registered by the caller.
        unsafe { bindings::nf_unregister_net_hooks(net.raw(), info.ops, info.ops_size) };
    }
}

/// Asks for the module to be loaded. May sleep.
pub(crate) fn request_module() {
    // SAFETY: Process context.
    unsafe { bindings::rct_request_bridge_module() };
}
