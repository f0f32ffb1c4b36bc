// SPDX-License-Identifier: GPL-2.0

//! The mutexes of the control plane.

use kernel::{
    prelude::*,
    sync::{
        global_lock,
        GlobalGuard, //
    }, //
};

use crate::nf::packet::{
    bridge::BridgeHooks,
    notify::WatcherRegistration, //
};

/// Who masquerades: how many rules' modules, and what keeps them informed.
pub(crate) struct Masqueraders {
    /// How many there are.
    pub(crate) users: u32,
    /// There, while there are any.
    pub(crate) watcher: Option<WatcherRegistration>,
}

global_lock! {
    /// Serialises resizing, and all that must not meet a resize half done.
    unsafe(uninit) static RESIZE: Mutex<()> = ();
}

global_lock! {
    /// Serialises taking and giving back the hooks of a namespace; holds those of the bridge
    /// family, while their module is loaded.
    unsafe(uninit) static HOOKS: Mutex<Option<BridgeHooks>> = None;
}

global_lock! {
    /// Serialises the coming and going of helpers.
    unsafe(uninit) static HELPERS: Mutex<()> = ();
}

global_lock! {
    /// Serialises the coming and going of NAT's chains.
    unsafe(uninit) static NAT: Mutex<()> = ();
}

global_lock! {
    /// Serialises the coming and going of who masquerades. The lock of all devices is taken
    /// under it, and may be held by who waits for nf_tables, which waits for [`NAT`]: so these
    /// are two.
    unsafe(uninit) static MASQUERADERS: Mutex<Masqueraders> = Masqueraders {
        users: 0,
        watcher: None,
    };
}

/// Makes the mutexes usable; once, before anything else of the module runs.
pub(crate) fn init() {
    // SAFETY: Called once, first thing when the module is loaded.
    unsafe {
        RESIZE.init();
        HOOKS.init();
        HELPERS.init();
        NAT.init();
        MASQUERADERS.init();
    }
}

/// Keeps the table from being resized while it lives.
#[must_use = "the mutex is given back when the guard is dropped"]
pub(crate) struct ResizeGuard(#[expect(dead_code)] GlobalGuard<RESIZE>);

/// Keeps the users of hooks as they are while it lives.
#[must_use = "the mutex is given back when the guard is dropped"]
pub(crate) struct HooksGuard(GlobalGuard<HOOKS>);

impl HooksGuard {
    /// The hooks of the bridge family.
    pub(crate) fn bridge(&mut self) -> &mut Option<BridgeHooks> {
        &mut self.0
    }
}

/// Keeps the registered helpers as they are while it lives.
#[must_use = "the mutex is given back when the guard is dropped"]
pub(crate) struct HelpersGuard(#[expect(dead_code)] GlobalGuard<HELPERS>);

/// Waits until nobody resizes the table. May sleep.
pub(crate) fn resize() -> ResizeGuard {
    ResizeGuard(RESIZE.lock())
}

/// Waits until nobody changes the users of hooks. May sleep.
pub(crate) fn hooks() -> HooksGuard {
    HooksGuard(HOOKS.lock())
}

/// Waits until no helper comes or goes. May sleep.
pub(crate) fn helpers() -> HelpersGuard {
    HelpersGuard(HELPERS.lock())
}

/// Keeps NAT's chains as they are while it lives.
#[must_use = "the mutex is given back when the guard is dropped"]
pub(crate) struct NatGuard(#[expect(dead_code)] GlobalGuard<NAT>);

/// Keeps who masquerades as they are while it lives.
#[must_use = "the mutex is given back when the guard is dropped"]
pub(crate) struct MasqueradersGuard(GlobalGuard<MASQUERADERS>);

impl MasqueradersGuard {
    /// Who masquerades.
    pub(crate) fn masqueraders(&mut self) -> &mut Masqueraders {
        &mut self.0
    }
}

/// Waits until nobody begins or ceases to masquerade. May sleep.
pub(crate) fn masqueraders() -> MasqueradersGuard {
    MasqueradersGuard(MASQUERADERS.lock())
}

/// Waits until no chain of NAT comes or goes. May sleep.
pub(crate) fn nat() -> NatGuard {
    NatGuard(NAT.lock())
}
