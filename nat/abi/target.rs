// SPDX-License-Identifier: GPL-2.0

//! Functions for rules that masquerade or redirect.

use core::ffi::{
    c_int,
    c_uint, //
};

use crate::{
    nat::{
        masquerade,
        redirect, //
    },
    nf::{
        bindings,
        c_export::c_export,
        packet::device::Device,
        prelude::*, //
    },
    proto::nat::range::Range, //
};

use super::{
    range, //
};

/// # Safety
///
/// As for [`nf_nat_masquerade_ipv4`].
unsafe fn masquerade_with(
    skb: *mut bindings::sk_buff,
    allowed: *const bindings::nf_nat_range2,
    out: *const bindings::net_device,
    masquerade: impl FnOnce(&mut Skb, &Range, &Device, Rcu<'_>) -> Verdict,
) -> c_uint {
    // SAFETY: A rule at a hook calls under `rcu_read_lock()`, with a packet of its own, a range or
    // null, and a device or null.
    let verdict = unsafe {
        match (range(allowed), Device::from_raw(out)) {
            (Some(range), Some(out)) => {
                masquerade(Skb::from_raw(skb), range, out, Rcu::assume_held())
            }
            _ => Verdict::Drop,
        }
    };
    verdict.as_raw()
}

c_export! {
    /// Masquerades an IPv4 connection that leaves through `out`.
    fn nf_nat_masquerade_ipv4(
        skb: *mut bindings::sk_buff,
        _hooknum: c_uint,
        allowed: *const bindings::nf_nat_range2,
        out: *const bindings::net_device
    ) -> c_uint {
        // SAFETY: By the safety requirements.
        unsafe { masquerade_with(skb, allowed, out, masquerade::ipv4) }
    }
}

c_export! {
    /// Masquerades an IPv6 connection that leaves through `out`.
    fn nf_nat_masquerade_ipv6(
        skb: *mut bindings::sk_buff,
        allowed: *const bindings::nf_nat_range2,
        out: *const bindings::net_device
    ) -> c_uint {
        // SAFETY: By the safety requirements.
        unsafe { masquerade_with(skb, allowed, out, masquerade::ipv6) }
    }
}

c_export! {
    /// Adds a module with masquerading rules.
    fn nf_nat_masquerade_inet_register_notifiers() -> c_int {
        masquerade::register();
        0
    }
}

c_export! {
    /// Removes a module with masquerading rules.
    fn nf_nat_masquerade_inet_unregister_notifiers() {
        masquerade::unregister();
    }
}

/// # Safety
///
/// As for [`nf_nat_redirect_ipv4`].
unsafe fn redirect_with(
    skb: *mut bindings::sk_buff,
    allowed: *const bindings::nf_nat_range2,
    hooknum: c_uint,
    family: Family,
) -> c_uint {
    // SAFETY: A rule at a hook calls under `rcu_read_lock()`, with a packet of its own and a range
    // or null.
    let verdict = unsafe {
        match range(allowed) {
            Some(range) => redirect::redirect(
                Skb::from_raw(skb),
                range,
                family,
                hooknum,
                Rcu::assume_held(),
            ),
            None => Verdict::Drop,
        }
    };
    verdict.as_raw()
}

c_export! {
    /// Redirects an IPv4 connection to this machine.
    fn nf_nat_redirect_ipv4(
        skb: *mut bindings::sk_buff,
        allowed: *const bindings::nf_nat_range2,
        hooknum: c_uint
    ) -> c_uint {
        // SAFETY: By the safety requirements.
        unsafe { redirect_with(skb, allowed, hooknum, Family::Ipv4) }
    }
}

c_export! {
    /// Redirects an IPv6 connection to this machine.
    fn nf_nat_redirect_ipv6(
        skb: *mut bindings::sk_buff,
        allowed: *const bindings::nf_nat_range2,
        hooknum: c_uint
    ) -> c_uint {
        // SAFETY: By the safety requirements.
        unsafe { redirect_with(skb, allowed, hooknum, Family::Ipv6) }
    }
}
