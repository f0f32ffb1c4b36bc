// SPDX-License-Identifier: GPL-2.0

//! Devices and their addresses.
//!
//! C headers: [`include/linux/inetdevice.h`](srctree/include/linux/inetdevice.h),
//! [`include/net/addrconf.h`](srctree/include/net/addrconf.h)

use core::ptr::{
    null_mut,
    NonNull, //
};

use kernel::types::Opaque;

use crate::nf::{
    bindings,
    kernel::{
        net::Net,
        rcu::Rcu, //
    }, //
};

use super::{
    hook::HookState,
    skb::Skb, //
};

/// Bytes of a device's name.
const NAME_LEN: usize = bindings::RCT_IFNAMSIZ;

/// A network device.
///
/// # Invariants
///
/// Registered, or not yet freed.
#[repr(transparent)]
pub(crate) struct Device(Opaque<bindings::net_device>);

/// What an IPv6 address is good for.
#[derive(Clone, Copy)]
pub(crate) struct Ipv6AddrType(u32);

impl Ipv6AddrType {
    /// Of an address.
    pub(crate) fn of(address: &[u8; 16]) -> Self {
        // SAFETY: Reads 16 bytes; the type has no larger alignment than the C code needs.
        Self(unsafe { bindings::rct_ipv6_address_type(&to_c(address)) })
    }

    /// Whether it stands for an IPv4 address.
    pub(crate) fn is_mapped(self) -> bool {
        self.0 as usize & bindings::RCT_IPV6_ADDR_MAPPED != 0
    }

    /// The bits that say where it is valid; 0: everywhere.
    pub(crate) fn scope(self) -> u32 {
        self.0 & bindings::RCT_IPV6_ADDR_SCOPE_MASK as u32
    }
}

fn to_c(address: &[u8; 16]) -> bindings::in6_addr {
    // SAFETY: The type is 16 bytes, and any are valid.
    unsafe { core::mem::transmute_copy(address) }
}

fn from_c(address: &bindings::in6_addr) -> [u8; 16] {
    // SAFETY: As above.
    unsafe { core::mem::transmute_copy(address) }
}

impl Device {
    /// # Safety
    ///
    /// `dev` points to a device that lives for `'a`.
    pub(crate) unsafe fn from_raw<'a>(dev: *const bindings::net_device) -> Option<&'a Self> {
        // SAFETY: The caller's promise; the type is transparent.
        unsafe { dev.cast::<Self>().as_ref() }
    }

    fn raw(&self) -> *mut bindings::net_device {
        self.0.get()
    }

    /// The device's number in its namespace.
    #[inline]
    pub(crate) fn index(&self) -> i32 {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_dev_ifindex(self.raw()) }
    }

    /// The namespace.
    pub(crate) fn net(&self) -> &Net {
        // SAFETY: By the type invariants; a device's namespace outlives it.
        unsafe { Net::from_raw(bindings::rct_dev_net(self.raw())) }
    }

    /// The name, filled up with zeroes.
    pub(crate) fn name(&self) -> [u8; NAME_LEN] {
        // SAFETY: By the type invariants; a name has so many bytes, and may change meanwhile.
        unsafe {
            bindings::rct_dev_name(self.raw())
                .cast::<[u8; NAME_LEN]>()
                .read()
        }
    }

    /// The first of its IPv4 addresses.
    pub(crate) fn first_ipv4(&self, _rcu: Rcu<'_>) -> Option<[u8; 4]> {
        // SAFETY: By the type invariants, in an RCU read-side section.
        let address = unsafe { bindings::rct_dev_first_ipv4(self.raw()) };
        (address != 0).then(|| address.to_ne_bytes())
    }

    /// The first of its IPv6 addresses that is in use and in `scope` (0: in any).
    pub(crate) fn first_ipv6(&self, scope: u32, _rcu: Rcu<'_>) -> Option<[u8; 16]> {
        const TENTATIVE: u32 = bindings::RCT_IFA_F_TENTATIVE as u32;
        const OPTIMISTIC: u32 = bindings::RCT_IFA_F_OPTIMISTIC as u32;

        // SAFETY: By the type invariants, in an RCU read-side section.
        let addresses = NonNull::new(unsafe { bindings::rct_dev_ipv6(self.raw()) })?.as_ptr();
        // SAFETY: What the device has for IPv6 is not freed during the section.
        unsafe { bindings::rct_ipv6_addresses_lock(addresses) };
        let mut at = null_mut();
        let found = loop {
            // SAFETY: The lock is held, and `at` is null or on the list.
            at = unsafe { bindings::rct_ipv6_next_address(addresses, at) };
            if at.is_null() {
                break None;
            }
            // SAFETY: On the list, which is locked.
            let (address, flags) = unsafe {
                (
                    from_c(&*bindings::rct_ipv6_address(at)),
                    bindings::rct_ipv6_address_flags(at),
                )
            };
            let addr_type = Ipv6AddrType::of(&address);
            let in_use = flags & TENTATIVE == 0 || flags & OPTIMISTIC != 0;
            if in_use && !addr_type.is_mapped() && (scope == 0 || addr_type.scope() & scope != 0) {
                break Some(address);
            }
        };
        // SAFETY: Taken above.
        unsafe { bindings::rct_ipv6_addresses_unlock(addresses) };
        found
    }

    /// The IPv4 address that a packet which leaves here is to be sent from.
    pub(crate) fn ipv4_source_for(&self, skb: &Skb, _rcu: Rcu<'_>) -> Option<[u8; 4]> {
        if !skb.is_routed() {
            return None;
        }
        // SAFETY: By the type invariants, in an RCU section; the packet has a route.
        let address = unsafe { bindings::rct_ipv4_source_for(skb.raw(), self.raw()) };
        (address != 0).then(|| address.to_ne_bytes())
    }

    /// The IPv6 address that a packet to `destination` which leaves here is to be sent from.
    pub(crate) fn ipv6_source_for(
        &self,
        net: &Net,
        destination: &[u8; 16],
        _rcu: Rcu<'_>,
    ) -> Option<[u8; 16]> {
        let mut source = to_c(&[0; 16]);
        // SAFETY: By the type invariants; in an RCU section.
        let error = unsafe {
            bindings::ipv6_dev_get_saddr(net.raw(), self.raw(), &to_c(destination), 0, &mut source)
        };
        (error >= 0).then(|| from_c(&source))
    }
}

impl Skb {
    /// The device that the packet came in by.
    pub(crate) fn device(&self) -> Option<&Device> {
        // SAFETY: By the invariants of `Skb`; a packet's device outlives it.
        unsafe { Device::from_raw(bindings::rct_skb_dev(self.raw())) }
    }
}

impl<'a> HookState<'a> {
    /// The device that the packet leaves by.
    #[inline]
    pub(crate) fn out(&self) -> Option<&'a Device> {
        // SAFETY: By the type invariants.
        unsafe { Device::from_raw(self.raw().out) }
    }
}
