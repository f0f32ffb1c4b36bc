// SPDX-License-Identifier: GPL-2.0

//! What is used in the `struct netns_ct` of every namespace: the statistics per CPU, the list of
//! GRE keymaps, and the [number of changes of rules](super::net::Net::note_rules_change). They are
//! there as long as a [`super::pernet::PernetRegistration`] exists: before the first state of the
//! module is set up in a namespace, and until the last one is torn down.
//!
//! C header: [`include/net/netns/conntrack.h`](srctree/include/net/netns/conntrack.h)

use core::{
    ffi::c_int,
    ptr::{
        addr_of_mut,
        null_mut, //
    },
};

use kernel::{
    error::{
        from_result,
        to_result, //
    },
    prelude::*,
    types::Opaque, //
};

use crate::nf::bindings;

use super::{
    net::Net,
    static_lock::StaticMutex, //
};

/// The kernel's object for it. Changes need [`USERS`].
static OPS: Operations = Operations(Opaque::zeroed());

struct Operations(Opaque<bindings::pernet_operations>);

// SAFETY: Changed under `USERS` alone, and by the core.
unsafe impl Sync for Operations {}

/// The number of [`Use`]s. [`OPS`] is registered while it is not zero.
static USERS: StaticMutex<u32> = StaticMutex::new(c"netns_ct", || 0);

/// A use of it.
///
/// # Invariants
///
/// One of [`USERS`] is that of this value.
pub(super) struct Use(());

impl Use {
    /// Sets up each namespace, and each new one, unless that is done. May sleep.
    ///
    /// `ENOMEM`: no memory.
    pub(super) fn new() -> Result<Self> {
        let mut users = USERS.lock();
        if *users == 0 {
            let ops = OPS.0.get();
            // SAFETY: Not registered, by what `USERS` says; complete, and in static memory.
            to_result(unsafe {
                (*ops).init = Some(init);
                (*ops).exit = Some(exit);
                bindings::register_pernet_subsys(ops)
            })?;
        }
        *users = users.checked_add(1).ok_or(EBUSY)?;
        // INVARIANT: As just counted.
        Ok(Self(()))
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        let mut users = USERS.lock();
        *users = users.saturating_sub(1);
        if *users == 0 {
            // SAFETY: By the type invariants it is registered.
            unsafe { bindings::unregister_pernet_subsys(OPS.0.get()) };
        }
    }
}

/// Sets up a namespace.
///
/// # Safety
///
/// For the core alone, with a namespace that is being set up.
unsafe extern "C" fn init(net: *mut bindings::net) -> c_int {
    // SAFETY: By the safety requirements.
    let net = unsafe { Net::from_raw(net) };
    // SAFETY: Nothing is on the list yet, and no other CPU looks at it.
    unsafe { bindings::rct_list_init(net.keymaps()) };
    from_result(|| {
        // SAFETY: Process context.
        let stats = unsafe { bindings::rct_stat_alloc() };
        if stats.is_null() {
            return Err(ENOMEM);
        }
        // SAFETY: The namespace has no packets yet.
        unsafe { addr_of_mut!((*net.ct()).stat).write(stats.cast()) };
        Ok(0)
    })
}

/// Ends it: the states of the module in the namespace have been torn down before.
///
/// # Safety
///
/// For the core alone, with a namespace that [`init`] has set up.
unsafe extern "C" fn exit(net: *mut bindings::net) {
    // SAFETY: By the safety requirements. No packet and no entry is left that counts.
    unsafe {
        bindings::rct_net_forget_rules_changes(net);
        let ct = bindings::rct_net_ct(net);
        let stats = addr_of_mut!((*ct).stat).replace(null_mut());
        bindings::rct_free_percpu(stats.cast());
    }
}
