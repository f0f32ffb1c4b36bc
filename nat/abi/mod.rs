// SPDX-License-Identifier: GPL-2.0

//! The functions of NAT that C code calls: raw pointers in, one safe call, a number out.
//!
//! They have the names and types under which the kernel's modules import them; `nf/exports.c`
//! exports them.

use core::{
    ffi::{
        c_int,
        c_uint,
        c_void, //
    },
    mem::{
        offset_of,
        size_of, //
    },
    ptr::{
        null_mut,
        NonNull, //
    },
};

use kernel::{
    error::from_result,
    prelude::*, //
};

use crate::{
    nat::{
        hooks,
        icmp,
        ovs,
        packet,
        setup, //
    },
    nf::{
        bindings,
        c_export::c_export,
        entry::conn::Entry,
        kernel::layout::SameLayout,
        packet::{
            hook::HookState,
            nat::Unconfirmed,
            nat_hook::Chain, //
        },
        prelude::*, //
    },
    proto::nat::{
        range::Range,
        Manip, //
    },
};

mod helper;
mod target;

pub(super) use crate::nat::abi::helper::register_follow_master;

const _: () = {
    use bindings::nf_nat_range2 as C;
    assert!(size_of::<Range>() == size_of::<C>());
    assert!(offset_of!(Range, min_addr) == offset_of!(C, min_addr));
    assert!(offset_of!(Range, max_addr) == offset_of!(C, max_addr));
    assert!(offset_of!(Range, min_key) == offset_of!(C, min_proto));
    assert!(offset_of!(Range, max_key) == offset_of!(C, max_proto));
    assert!(offset_of!(Range, base_key) == offset_of!(C, base_proto));
};
// SAFETY: The layouts are compared above; the type consists of integers.
unsafe impl SameLayout for Range {
    type C = bindings::nf_nat_range2;
}

/// # Safety
///
/// `range` is null or points to a range.
unsafe fn range<'a>(range: *const bindings::nf_nat_range2) -> Option<&'a Range> {
    // SAFETY: By the safety requirements; the types have the same layout.
    unsafe { range.cast::<Range>().as_ref() }
}

/// Converts the number of an end.
fn manip(number: bindings::nf_nat_manip_type) -> Option<Manip> {
    match number {
        bindings::nf_nat_manip_type_NF_NAT_MANIP_SRC => Some(Manip::Source),
        bindings::nf_nat_manip_type_NF_NAT_MANIP_DST => Some(Manip::Destination),
        _ => None,
    }
}

c_export! {
    /// Decides about one end of a connection, within a range.
    fn nf_nat_setup_info(
        ct: *mut bindings::nf_conn,
        allowed: *const bindings::nf_nat_range2,
        maniptype: bindings::nf_nat_manip_type
    ) -> c_uint {
        // SAFETY: The caller handles the packet that created the entry, and hands over a range or
        // null.
        let (entry, allowed) =
            unsafe { (Unconfirmed::from_conn(Entry::from_raw(ct)), range(allowed)) };
        let verdict = match (entry, allowed, manip(maniptype)) {
            (Some(entry), Some(allowed), Some(manip)) => setup::setup_info(entry, allowed, manip),
            // All decisions about a confirmed connection are made.
            (None, ..) => Verdict::Accept,
            _ => Verdict::Drop,
        };
        verdict.as_raw()
    }
}

c_export! {
    /// Decides that one end of a connection keeps its address and key.
    fn nf_nat_alloc_null_binding(ct: *mut bindings::nf_conn, hooknum: c_uint) -> c_uint {
        // SAFETY: The caller handles the packet that created the entry.
        let entry = unsafe { Unconfirmed::from_conn(Entry::from_raw(ct)) };
        match entry {
            Some(entry) => setup::null_binding(entry, setup::manip_at(hooknum)).as_raw(),
            None => Verdict::Accept.as_raw(),
        }
    }
}

c_export! {
    /// Translates a packet as decided for its connection.
    fn nf_nat_packet(
        ct: *mut bindings::nf_conn,
        ctinfo: bindings::ip_conntrack_info,
        hooknum: c_uint,
        skb: *mut bindings::sk_buff
    ) -> c_uint {
        // SAFETY: The caller hands over a packet of its own, and holds a reference to the entry.
        let (conn, skb) = unsafe { (Conn::from_raw(ct), Skb::from_raw(skb)) };
        let manip = setup::manip_at(hooknum);
        let dir = CtInfo::from_number(ctinfo).dir();
        packet::translate_as(skb, conn, dir, manip).as_raw()
    }
}

c_export! {
    /// Translates a packet at a hook, without running chains. ICMP errors are not handled.
    fn nf_nat_inet_fn(
        _place: *mut c_void,
        skb: *mut bindings::sk_buff,
        state: *const bindings::nf_hook_state
    ) -> c_uint {
        // SAFETY: The caller hands over a packet and a state that are valid until the return.
        unsafe {
            let state = HookState::from_raw(NonNull::new_unchecked(state.cast_mut()));
            let manip = setup::manip_at(state.hooknum());
            hooks::translate(Skb::from_raw(skb), state, manip, None).as_raw()
        }
    }
}

c_export! {
    /// Returns the NAT extension, which is added if the entry has none and is not confirmed.
    fn nf_ct_nat_ext_add(ct: *mut bindings::nf_conn) -> *mut bindings::nf_conn_nat {
        // SAFETY: The caller holds a reference to the entry; if the entry is not confirmed, the
        // caller handles the packet that created it.
        unsafe {
            let conn = Conn::from_raw(ct);
            let extension = match Unconfirmed::from_conn(conn) {
                Some(mut entry) => entry.ensure_nat_extension(),
                None => conn.extensions().find(),
            };
            extension.map_or(null_mut(), |extension| extension.raw())
        }
    }
}

/// # Safety
///
/// The caller hands over a packet of its own, pulled to the network header, and holds a
/// reference to the entry.
unsafe fn translate_error(
    skb: *mut bindings::sk_buff,
    ct: *mut bindings::nf_conn,
    ctinfo: bindings::ip_conntrack_info,
    hooknum: c_uint,
    family: Family,
    header_len: Option<u32>,
) -> c_int {
    // SAFETY: By the safety requirements.
    let (conn, skb) = unsafe { (Conn::from_raw(ct), Skb::from_raw(skb)) };
    let dir = CtInfo::from_number(ctinfo).dir();
    let manip = setup::manip_at(hooknum);
    let offset = header_len.or_else(|| icmp::message_of(skb, family));
    let done = offset.and_then(|at| icmp::translate(skb, conn, dir, hooknum, manip, family, at));
    done.is_some().into()
}

c_export! {
    /// Translates an ICMP error. 0: the packet has to be dropped.
    fn nf_nat_icmp_reply_translation(
        skb: *mut bindings::sk_buff,
        ct: *mut bindings::nf_conn,
        ctinfo: bindings::ip_conntrack_info,
        hooknum: c_uint
    ) -> c_int {
        // SAFETY: By the safety requirements.
        unsafe { translate_error(skb, ct, ctinfo, hooknum, Family::Ipv4, None) }
    }
}

c_export! {
    /// Translates an ICMPv6 error at `hdrlen`. 0: the packet has to be dropped.
    fn nf_nat_icmpv6_reply_translation(
        skb: *mut bindings::sk_buff,
        ct: *mut bindings::nf_conn,
        ctinfo: bindings::ip_conntrack_info,
        hooknum: c_uint,
        hdrlen: c_uint
    ) -> c_int {
        // SAFETY: By the safety requirements.
        unsafe { translate_error(skb, ct, ctinfo, hooknum, Family::Ipv6, Some(hdrlen)) }
    }
}

/// # Safety
///
/// `net` is valid, and `ops` is a chain that lives until it is unregistered.
unsafe fn register(
    net: *mut bindings::net,
    ops: *const bindings::nf_hook_ops,
    families: &[Family],
) -> Result {
    // SAFETY: By the safety requirements.
    let (net, chain) = unsafe { (Net::from_raw(net), Chain::from_raw(ops)) };
    for (done, &family) in families.iter().enumerate() {
        if let Err(error) = hooks::register(net, family, chain) {
            for &family in families.iter().take(done) {
                hooks::unregister(net, family, chain);
            }
            return Err(error);
        }
    }
    Ok(())
}

/// # Safety
///
/// The chain was registered with [`register`].
unsafe fn unregister(
    net: *mut bindings::net,
    ops: *const bindings::nf_hook_ops,
    families: &[Family],
) {
    // SAFETY: By the safety requirements.
    let (net, chain) = unsafe { (Net::from_raw(net), Chain::from_raw(ops)) };
    for &family in families {
        hooks::unregister(net, family, chain);
    }
}

/// Both families, in the order of registration.
const INET: [Family; 2] = [Family::Ipv6, Family::Ipv4];

c_export! {
    /// Adds a NAT chain for IPv4 packets.
    fn nf_nat_ipv4_register_fn(
        net: *mut bindings::net,
        ops: *const bindings::nf_hook_ops
    ) -> c_int {
        // SAFETY: By the safety requirements.
        from_result(|| unsafe { register(net, ops, &[Family::Ipv4]) }.map(|()| 0))
    }
}

c_export! {
    /// Removes a NAT chain for IPv4 packets.
    fn nf_nat_ipv4_unregister_fn(net: *mut bindings::net, ops: *const bindings::nf_hook_ops) {
        // SAFETY: By the safety requirements.
        unsafe { unregister(net, ops, &[Family::Ipv4]) };
    }
}

c_export! {
    /// Adds a NAT chain for IPv6 packets.
    fn nf_nat_ipv6_register_fn(
        net: *mut bindings::net,
        ops: *const bindings::nf_hook_ops
    ) -> c_int {
        // SAFETY: By the safety requirements.
        from_result(|| unsafe { register(net, ops, &[Family::Ipv6]) }.map(|()| 0))
    }
}

c_export! {
    /// Removes a NAT chain for IPv6 packets.
    fn nf_nat_ipv6_unregister_fn(net: *mut bindings::net, ops: *const bindings::nf_hook_ops) {
        // SAFETY: By the safety requirements.
        unsafe { unregister(net, ops, &[Family::Ipv6]) };
    }
}

c_export! {
    /// Adds a NAT chain for packets of both families.
    fn nf_nat_inet_register_fn(
        net: *mut bindings::net,
        ops: *const bindings::nf_hook_ops
    ) -> c_int {
        // SAFETY: By the safety requirements.
        from_result(|| unsafe { register(net, ops, &INET) }.map(|()| 0))
    }
}

c_export! {
    /// Removes a NAT chain for packets of both families.
    fn nf_nat_inet_unregister_fn(net: *mut bindings::net, ops: *const bindings::nf_hook_ops) {
        // SAFETY: By the safety requirements.
        unsafe { unregister(net, ops, &INET) };
    }
}

c_export! {
    /// Translates a packet as a rule of Open vSwitch or act_ct asks.
    fn nf_ct_nat(
        skb: *mut bindings::sk_buff,
        _ct: *mut bindings::nf_conn,
        _ctinfo: bindings::ip_conntrack_info,
        action: *mut c_int,
        allowed: *const bindings::nf_nat_range2,
        commit: bool
    ) -> c_int {
        const SOURCE: c_int = 1 << bindings::nf_nat_manip_type_NF_NAT_MANIP_SRC;
        const DESTINATION: c_int = 1 << bindings::nf_nat_manip_type_NF_NAT_MANIP_DST;
        // SAFETY: The caller hands over a packet of its own with the entry attached, room for the
        // result, and a range or null.
        unsafe {
            let mut manips = ovs::ManipSet {
                source: *action & SOURCE != 0,
                destination: *action & DESTINATION != 0,
            };
            let skb = Skb::from_raw(skb);
            let verdict = ovs::translate_for_rule(skb, &mut manips, range(allowed), commit);
            *action = if manips.source { SOURCE } else { 0 }
                | if manips.destination { DESTINATION } else { 0 };
            verdict.as_int()
        }
    }
}
