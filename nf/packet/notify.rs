// SPDX-License-Identifier: GPL-2.0

//! Notifications of devices that go down, and of addresses that are removed.
//!
//! C header: [`include/linux/notifier.h`](srctree/include/linux/notifier.h)

use core::ffi::{
    c_int,
    c_void, //
};

use kernel::{
    error::to_result,
    prelude::*,
    sync::atomic::{
        Atomic,
        Full,
        Release, //
    },
    types::Opaque, //
};

use crate::{
    nf::bindings,
    proto::types::tuple::widen, //
};

use super::device::Device;

/// A receiver of notifications.
pub(crate) trait Notifier: 'static {
    /// Handles a device that went down. Process context.
    fn device_down(device: &Device);

    /// Handles an address that was removed from a device, perhaps because the device goes. An IPv4
    /// address is padded with zeroes. Atomic context.
    fn address_gone(device: &Device, address: [u8; 16], goes_with_device: bool);
}

/// A notifier block, which the kernel links into its list.
struct Block(Opaque<bindings::notifier_block>);

// SAFETY: The kernel changes the links under a lock of its own.
unsafe impl Sync for Block {}

static DEVICES: Block = Block(Opaque::zeroed());
static IPV4: Block = Block(Opaque::zeroed());
static IPV6: Block = Block(Opaque::zeroed());

/// Whether there is a [`NotifierRegistration`], or one is being made or dropped.
static IS_REGISTERED: Atomic<bool> = Atomic::new(false);

type Function = unsafe extern "C" fn(*mut bindings::notifier_block, usize, *mut c_void) -> c_int;

impl Block {
    fn with(&'static self, function: Function) -> *mut bindings::notifier_block {
        let block = self.0.get();
        // SAFETY: The block is not registered: `IS_REGISTERED` admits one registration at a time.
        unsafe { (*block).notifier_call = Some(function) };
        block
    }
}

/// Keeps a [`Notifier`] registered. There is one registration at a time.
///
/// # Invariants
///
/// The three blocks are registered, and `IS_REGISTERED` is true.
pub(crate) struct NotifierRegistration(());

impl NotifierRegistration {
    /// Registers `N`. May sleep.
    ///
    /// `EBUSY`: there is another registration.
    pub(crate) fn new<N: Notifier>() -> Result<Self> {
        if IS_REGISTERED.xchg(true, Full) {
            return Err(EBUSY);
        }
        Self::register::<N>()
            .inspect_err(|_| IS_REGISTERED.store(false, Release))
            // INVARIANT: As just registered.
            .map(|()| Self(()))
    }

    /// Registers all three notifiers, or none.
    fn register<N: Notifier>() -> Result {
        // SAFETY: Process context; the blocks are static. They are unregistered in `drop`, before
        // the module is freed.
        unsafe {
            to_result(bindings::register_netdevice_notifier(
                DEVICES.with(device::<N>),
            ))?;
            if let Err(error) =
                to_result(bindings::register_inetaddr_notifier(IPV4.with(ipv4::<N>)))
            {
                bindings::unregister_netdevice_notifier(DEVICES.0.get());
                return Err(error);
            }
            if let Err(error) =
                to_result(bindings::register_inet6addr_notifier(IPV6.with(ipv6::<N>)))
            {
                bindings::unregister_inetaddr_notifier(IPV4.0.get());
                bindings::unregister_netdevice_notifier(DEVICES.0.get());
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Drop for NotifierRegistration {
    fn drop(&mut self) {
        // SAFETY: By the type invariants; process context.
        unsafe {
            bindings::unregister_inet6addr_notifier(IPV6.0.get());
            bindings::unregister_inetaddr_notifier(IPV4.0.get());
            bindings::unregister_netdevice_notifier(DEVICES.0.get());
        }
        IS_REGISTERED.store(false, Release);
    }
}

/// `NOTIFY_DONE`: the notifier has no objection.
const DONE: c_int = 0;

fn is_down(event: usize) -> bool {
    event == bindings::RCT_NETDEV_DOWN
}

/// # Safety
///
/// For the core alone, with the arguments of a notifier of devices.
unsafe extern "C" fn device<N: Notifier>(
    _block: *mut bindings::notifier_block,
    event: usize,
    info: *mut c_void,
) -> c_int {
    if is_down(event) {
        // SAFETY: By the safety requirements.
        if let Some(device) = unsafe { Device::from_raw(bindings::rct_netdev_of_event(info)) } {
            N::device_down(device);
        }
    }
    DONE
}

/// # Safety
///
/// For the core alone, with the arguments of a notifier of IPv4 addresses.
unsafe extern "C" fn ipv4<N: Notifier>(
    _block: *mut bindings::notifier_block,
    event: usize,
    ifa: *mut c_void,
) -> c_int {
    if is_down(event) {
        let ifa = ifa.cast::<bindings::in_ifaddr>();
        // SAFETY: By the safety requirements.
        let is_dead = unsafe { bindings::rct_ipv4_device_is_dead(ifa) };
        // SAFETY: By the safety requirements.
        if let Some(device) = unsafe { Device::from_raw(bindings::rct_ipv4_address_dev(ifa)) } {
            // SAFETY: By the safety requirements.
            let address = unsafe { bindings::rct_ipv4_address(ifa) }.to_ne_bytes();
            N::address_gone(device, widen(address), is_dead);
        }
    }
    DONE
}

/// # Safety
///
/// For the core alone, with the arguments of a notifier of IPv6 addresses.
unsafe extern "C" fn ipv6<N: Notifier>(
    _block: *mut bindings::notifier_block,
    event: usize,
    ifa: *mut c_void,
) -> c_int {
    if is_down(event) {
        let ifa = ifa.cast::<bindings::inet6_ifaddr>();
        // SAFETY: By the safety requirements.
        unsafe {
            if let Some(device) = Device::from_raw(bindings::rct_ipv6_address_dev(ifa)) {
                let address = core::mem::transmute_copy(&*bindings::rct_ipv6_address(ifa));
                N::address_gone(device, address, false);
            }
        }
    }
    DONE
}
