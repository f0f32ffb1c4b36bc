// SPDX-License-Identifier: GPL-2.0

//! The hooks of the bridge family, which `nf_conntrack_bridge` has.
//!
//! C header:
//! [`include/net/netfilter/nf_conntrack_bridge.h`](srctree/include/net/netfilter/nf_conntrack_bridge.h)

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
    kernel::{
        net::Net,
        pernet::{
            NewNet,
            Pernet,
            Place, //
        },
    },
};

use super::hook::REGISTERING;

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

/// The users of the bridge's hooks in a namespace, a field of the namespace's state. Zeroed: there
/// are none, and can be none.
///
/// [`BridgeUsers::open`] makes it usable for the life of the state, at whose end `nf` removes all.
///
/// # Invariants
///
/// `count` is not zero if and only if the hooks of `info` are registered in `net`, which closes
/// this value ([`Place`]). Each user holds a reference to the module of `info`, so that `info` is
/// valid then. All is changed under [`REGISTERING`].
pub(crate) struct BridgeUsers {
    count: Atomic<u32>,
    /// The namespace whose users these may be, or null.
    net: Atomic<*mut bindings::net>,
    info: Atomic<*mut bindings::nf_ct_bridge_info>,
}

// SAFETY: Zero is a valid value of all fields.
unsafe impl pin_init::Zeroable for BridgeUsers {}
// SAFETY: The fields are atomic, and the pointers are only compared.
unsafe impl Sync for BridgeUsers {}

impl Place for BridgeUsers {
    fn open_for(&self, net: &NewNet<'_>) -> Result {
        let _guard = REGISTERING.lock();
        if !self.net.load(Relaxed).is_null() {
            return Err(EBUSY);
        }
        self.net.store(net.raw(), Relaxed);
        Ok(())
    }

    fn close_for(&self, net: &Net) {
        let _guard = REGISTERING.lock();
        if self.net.load(Relaxed) == net.raw() {
            while self.remove_one() {}
            self.net.store(null_mut(), Relaxed);
        }
    }
}

impl BridgeUsers {
    /// Makes the field usable in the state of a namespace that is being set up. May sleep.
    ///
    /// `EBUSY`: it is usable already. `ENOMEM`: no memory.
    pub(crate) fn open<P: Pernet>(net: &NewNet<'_>, users: fn(&P) -> &BridgeUsers) -> Result {
        net.open(users)
    }

    /// Removes a user, under [`REGISTERING`]; the last one unregisters the hooks. Returns whether
    /// there was one.
    fn remove_one(&self) -> bool {
        let Some(count) = self.count.load(Relaxed).checked_sub(1) else {
            return false;
        };
        // INVARIANT: The hooks are unregistered, and the reference given back, below.
        self.count.store(count, Relaxed);
        // SAFETY: By the type invariants.
        unsafe {
            let info = &*self.info.load(Relaxed);
            if count == 0 {
                bindings::nf_unregister_net_hooks(self.net.load(Relaxed), info.ops, info.ops_size);
            }
            bindings::rct_module_put(info.me);
        }
        true
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
    /// `EPROTO`: the module is being unloaded. `EBUSY`: `users` are those of other hooks, or of
    /// another namespace, or there are too many.
    pub(crate) fn add_user(&mut self, net: &Net, users: &BridgeUsers) -> Result {
        let _guard = REGISTERING.lock();
        let count = users.count.load(Relaxed);
        let is_theirs = count == 0 || users.info.load(Relaxed) == self.0.as_ptr();
        if users.net.load(Relaxed) != net.raw() || !is_theirs {
            return Err(EBUSY);
        }
        let more = count.checked_add(1).ok_or(EBUSY)?;
        let info = self.info();
        // SAFETY: By the type invariants the module is loaded.
        if !unsafe { bindings::rct_try_module_get(info.me) } {
            return Err(EPROTO);
        }
        if count == 0 {
            // SAFETY: By the type invariants.
            to_result(unsafe {
                bindings::nf_register_net_hooks(net.raw(), info.ops, info.ops_size)
            })
            // SAFETY: The reference was taken above.
            .inspect_err(|_| unsafe { bindings::rct_module_put(info.me) })?;
            users.info.store(self.0.as_ptr(), Relaxed);
        }
        // INVARIANT: The hooks are registered, and a reference was taken for this user.
        users.count.store(more, Relaxed);
        Ok(())
    }

    /// Removes a user in `net`, if there is one. The last one unregisters the hooks. May sleep.
    pub(crate) fn remove_user(&mut self, net: &Net, users: &BridgeUsers) {
        let _guard = REGISTERING.lock();
        if users.net.load(Relaxed) == net.raw() && users.info.load(Relaxed) == self.0.as_ptr() {
            users.remove_one();
        }
    }
}

/// Requests `nf_conntrack_bridge` to be loaded. May sleep.
pub(crate) fn request_module() {
    // SAFETY: Process context; the format has no arguments. Without the module there are no hooks.
    let _ = unsafe { bindings::__request_module(true, c"nf_conntrack_bridge".as_char_ptr()) };
}
