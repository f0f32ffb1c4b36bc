// SPDX-License-Identifier: GPL-2.0

//! Network devices and their addresses.
//!
//! C headers: [`include/linux/inetdevice.h`](srctree/include/linux/inetdevice.h),
//! [`include/net/addrconf.h`](srctree/include/net/addrconf.h)

use core::ptr::NonNull;

use kernel::types::Opaque;

use crate::nf::{
    bindings,
    kernel::{
        endpoint::Endpoint,
        hlist,
        net::Net,
        rcu::Rcu, //
    },
};

use super::{
    hook::HookState,
    skb::Skb, //
};

/// Size of a device's name in bytes (`IFNAMSIZ`).
const NAME_LEN: usize = bindings::RCT_IFNAMSIZ;

/// A network device.
///
/// # Invariants
///
/// The device is registered, or not freed yet.
#[repr(transparent)]
pub(crate) struct Device(Opaque<bindings::net_device>);

/// The type and scope of an IPv6 address (`IPV6_ADDR_*`).
#[derive(Clone, Copy)]
pub(crate) struct Ipv6AddrType(u32);

impl Ipv6AddrType {
    // CAST: The bits of a type fit in 32.
    const MAPPED: u32 = bindings::RCT_IPV6_ADDR_MAPPED as u32;
    // CAST: As above.
    const SCOPE_MASK: u32 = bindings::RCT_IPV6_ADDR_SCOPE_MASK as u32;

    /// Classifies an address.
    pub(crate) fn of(address: &[u8; 16]) -> Self {
        // SAFETY: The argument is a valid address.
        Self(unsafe { bindings::rct_ipv6_address_type(&to_c(address)) })
    }

    /// Returns whether the address is an IPv4-mapped one (RFC 4291, section 2.5.5.2).
    pub(crate) fn is_mapped(self) -> bool {
        self.0 & Self::MAPPED != 0
    }

    /// Returns the scope bits; 0: global.
    pub(crate) fn scope(self) -> u32 {
        self.0 & Self::SCOPE_MASK
    }
}

fn to_c(address: &[u8; 16]) -> bindings::in6_addr {
    // SAFETY: The type is 16 bytes, and any value is valid.
    unsafe { core::mem::transmute_copy(address) }
}

impl Device {
    /// # Safety
    ///
    /// `dev` points to a device that lives for `'a`.
    pub(crate) unsafe fn from_raw<'a>(dev: *const bindings::net_device) -> Option<&'a Self> {
        // SAFETY: By the safety requirements; the type is transparent.
        unsafe { dev.cast::<Self>().as_ref() }
    }

    fn raw(&self) -> *mut bindings::net_device {
        self.0.get()
    }

    /// Returns the interface index.
    #[inline]
    pub(crate) fn index(&self) -> i32 {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_dev_ifindex(self.raw()) }
    }

    /// Returns the namespace of the device.
    pub(crate) fn net(&self) -> &Net {
        // SAFETY: By the type invariants; a device's namespace outlives it.
        unsafe { Net::from_raw(bindings::rct_dev_net(self.raw())) }
    }

    /// Returns the name, padded with zeroes.
    pub(crate) fn name(&self) -> [u8; NAME_LEN] {
        // SAFETY: By the type invariants; a name has that many bytes. It may change during the
        // copy.
        unsafe {
            bindings::rct_dev_name(self.raw())
                .cast::<[u8; NAME_LEN]>()
                .read()
        }
    }

    /// Returns the primary IPv4 address (`ifa_local` of the first one).
    pub(crate) fn first_ipv4(&self, _rcu: Rcu<'_>) -> Option<[u8; 4]> {
        // SAFETY: By the type invariants, in an RCU read-side section, during which neither the
        // device's IPv4 data nor an address is freed.
        let address = unsafe {
            let in_device = NonNull::new(bindings::rct_dev_ipv4(self.raw()))?;
            let ifa = NonNull::new(bindings::rct_ipv4_first_address(in_device.as_ptr()))?;
            bindings::rct_ipv4_local_address(ifa.as_ptr())
        };
        (address != 0).then(|| address.to_ne_bytes())
    }

    /// Returns the first IPv6 address that is in use and in `scope`; 0: in any scope.
    pub(crate) fn first_ipv6(&self, scope: u32, _rcu: Rcu<'_>) -> Option<[u8; 16]> {
        // CAST: The flags of an address fit in 32 bits.
        const TENTATIVE: u32 = bindings::RCT_IFA_F_TENTATIVE as u32;
        // CAST: As above.
        const OPTIMISTIC: u32 = bindings::RCT_IFA_F_OPTIMISTIC as u32;

        // SAFETY: By the type invariants, in an RCU read-side section.
        let device = NonNull::new(unsafe { bindings::rct_dev_ipv6(self.raw()) })?.as_ptr();
        // SAFETY: The device's IPv6 data is not freed during the RCU section.
        unsafe { bindings::rct_ipv6_addresses_lock(device) };
        // SAFETY: The list is locked, so that its elements stay.
        let found =
            unsafe { hlist::nodes(bindings::rct_ipv6_addresses(device)) }.find_map(|node| {
                // SAFETY: The node is that of an address.
                let (address, flags) = unsafe {
                    let ifa = bindings::rct_ipv6_address_of(node.as_ptr());
                    (
                        Endpoint::address_of_ipv6(*bindings::rct_ipv6_address(ifa)),
                        bindings::rct_ipv6_address_flags(ifa),
                    )
                };
                let addr_type = Ipv6AddrType::of(&address);
                let in_use = flags & TENTATIVE == 0 || flags & OPTIMISTIC != 0;
                let is_in_scope = scope == 0 || addr_type.scope() & scope != 0;
                (in_use && !addr_type.is_mapped() && is_in_scope).then_some(address)
            });
        // SAFETY: Locked above.
        unsafe { bindings::rct_ipv6_addresses_unlock(device) };
        found
    }

    /// Selects the IPv4 source address for a packet that leaves through the device.
    ///
    /// [`None`]: there is no address, or the packet has no route.
    pub(crate) fn ipv4_source_for(&self, skb: &Skb, _rcu: Rcu<'_>) -> Option<[u8; 4]> {
        if !skb.is_routed() {
            return None;
        }
        // SAFETY: By the type invariants, in an RCU section; the packet has a route.
        let address = unsafe { bindings::rct_ipv4_source_for(skb.raw(), self.raw()) };
        (address != 0).then(|| address.to_ne_bytes())
    }

    /// Selects the IPv6 source address for a packet to `destination` that leaves through the
    /// device.
    pub(crate) fn ipv6_source_for(
        &self,
        net: &Net,
        destination: &[u8; 16],
        _rcu: Rcu<'_>,
    ) -> Option<[u8; 16]> {
        let mut source = to_c(&[0; 16]);
        // SAFETY: By the type invariants, in an RCU section.
        let error = unsafe {
            bindings::ipv6_dev_get_saddr(net.raw(), self.raw(), &to_c(destination), 0, &mut source)
        };
        (error >= 0).then(|| Endpoint::address_of_ipv6(source))
    }
}

impl Skb {
    /// Returns the device that the packet came in by.
    pub(crate) fn device(&self) -> Option<&Device> {
        // SAFETY: By the invariants of `Skb`; a packet's device outlives it.
        unsafe { Device::from_raw(bindings::rct_skb_dev(self.raw())) }
    }
}

impl<'a> HookState<'a> {
    /// Returns the device that the packet came in by.
    pub(crate) fn input(&self) -> Option<&'a Device> {
        // SAFETY: By the type invariants.
        unsafe { Device::from_raw(self.raw().in_) }
    }

    /// Returns the device that the packet leaves by.
    #[inline]
    pub(crate) fn out(&self) -> Option<&'a Device> {
        // SAFETY: By the type invariants.
        unsafe { Device::from_raw(self.raw().out) }
    }
}
