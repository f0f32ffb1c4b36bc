// SPDX-License-Identifier: GPL-2.0

//! News of devices that go down, and of addresses that go.
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

use crate::nf::bindings;

use super::device::Device;

/// Who wants to know.
pub(crate) trait Watcher: 'static {
    /// A device went down. Process context.
    fn device_down(device: &Device);

    /// An address was taken from a device; an IPv4 address ends in zeroes. Atomic context.
    fn address_gone(device: &Device, address: [u8; 16]);
}

/// Places for what the kernel links into its lists.
struct Block(Opaque<bindings::notifier_block>);

// SAFETY: The kernel's own lists of them are locked.
unsafe impl Sync for Block {}

static DEVICES: Block = Block(Opaque::zeroed());
static IPV4: Block = Block(Opaque::zeroed());
static IPV6: Block = Block(Opaque::zeroed());

/// Whether there is a [`WatcherRegistration`], or one is being made or dropped.
static IS_REGISTERED: Atomic<bool> = Atomic::new(false);

type Function = unsafe extern "C" fn(*mut bindings::notifier_block, usize, *mut c_void) -> c_int;

impl Block {
    fn with(&'static self, function: Function) -> *mut bindings::notifier_block {
        let block = self.0.get();
        // SAFETY: Not registered at present: there is one registration at a time.
        unsafe { (*block).notifier_call = Some(function) };
        block
    }
}

/// Keeps a [`Watcher`] informed. There is one at a time.
///
/// # Invariants
///
/// The three blocks are registered.
pub(crate) struct WatcherRegistration(());

impl WatcherRegistration {
    /// Begins to inform `W`. May sleep. The caller has seen to it that nobody else is informed.
    pub(crate) fn new<W: Watcher>() -> Result<Self> {
        if IS_REGISTERED.xchg(true, Full) {
            return Err(EBUSY);
        }
        Self::register::<W>()
            .inspect_err(|_| IS_REGISTERED.store(false, Release))
            // INVARIANT: As just registered.
            .map(|()| Self(()))
    }

    /// Registers all three notifiers, or none.
    fn register<W: Watcher>() -> Result {
        // SAFETY: Static memory, in process context, and undone in `drop`.
        unsafe {
            to_result(bindings::register_netdevice_notifier(
                DEVICES.with(device::<W>),
            ))?;
            if let Err(error) =
                to_result(bindings::register_inetaddr_notifier(IPV4.with(ipv4::<W>)))
            {
                bindings::unregister_netdevice_notifier(DEVICES.0.get());
                return Err(error);
            }
            if let Err(error) =
                to_result(bindings::register_inet6addr_notifier(IPV6.with(ipv6::<W>)))
            {
                bindings::unregister_inetaddr_notifier(IPV4.0.get());
                bindings::unregister_netdevice_notifier(DEVICES.0.get());
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Drop for WatcherRegistration {
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

/// NOTIFY_DONE: nothing that would concern others.
const DONE: c_int = 0;

fn is_down(event: usize) -> bool {
    event == bindings::RCT_NETDEV_DOWN
}

/// # Safety
///
/// For the core alone, with what its notifiers of devices get.
unsafe extern "C" fn device<W: Watcher>(
    _block: *mut bindings::notifier_block,
    event: usize,
    info: *mut c_void,
) -> c_int {
    if is_down(event) {
        // SAFETY: The core's promise.
        if let Some(device) = unsafe { Device::from_raw(bindings::rct_netdev_of_event(info)) } {
            W::device_down(device);
        }
    }
    DONE
}

/// # Safety
///
/// For the core alone, with what its notifiers of IPv4 addresses get.
unsafe extern "C" fn ipv4<W: Watcher>(
    _block: *mut bindings::notifier_block,
    event: usize,
    ifa: *mut c_void,
) -> c_int {
    if is_down(event) {
        let ifa = ifa.cast::<bindings::in_ifaddr>();
        // SAFETY: The core's promise. If the device itself goes, we hear so by the other way.
        if let Some(device) = unsafe { Device::from_raw(bindings::rct_ipv4_address_dev(ifa)) } {
            // SAFETY: As above.
            let [a, b, c, d] = unsafe { bindings::rct_ipv4_address(ifa) }.to_ne_bytes();
            W::address_gone(device, [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        }
    }
    DONE
}

/// # Safety
///
/// For the core alone, with what its notifiers of IPv6 addresses get.
unsafe extern "C" fn ipv6<W: Watcher>(
    _block: *mut bindings::notifier_block,
    event: usize,
    ifa: *mut c_void,
) -> c_int {
    if is_down(event) {
        let ifa = ifa.cast::<bindings::inet6_ifaddr>();
        // SAFETY: The core's promise.
        unsafe {
            if let Some(device) = Device::from_raw(bindings::rct_ipv6_address_dev(ifa)) {
                let address = core::mem::transmute_copy(&*bindings::rct_ipv6_address(ifa));
                W::address_gone(device, address);
            }
        }
    }
    DONE
}
