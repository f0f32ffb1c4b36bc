// SPDX-License-Identifier: GPL-2.0

//! The doors for C code: raw pointers in, one safe call, a number out.
//!
//! The functions have the names and types under which the kernel's own modules import
//! them; `nf/exports.c` exports them.

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

pub(super) use crate::nat::abi::helper::announce_follow_master;

const _: () = {
    use bindings::nf_nat_range2 as C;
    assert!(size_of::<Range>() == size_of::<C>());
    assert!(offset_of!(Range, min_addr) == offset_of!(C, min_addr));
    assert!(offset_of!(Range, max_addr) == offset_of!(C, max_addr));
    assert!(offset_of!(Range, min_key) == offset_of!(C, min_proto));
    assert!(offset_of!(Range, max_key) == offset_of!(C, max_proto));
    assert!(offset_of!(Range, base_key) == offset_of!(C, base_proto));
};
// SAFETY: Checked above; the type is made of integers alone.
unsafe impl SameLayout for Range {
    type C = bindings::nf_nat_range2;
}

/// # Safety
///
/// `range` is null or points to a range.
unsafe fn range<'a>(range: *const bindings::nf_nat_range2) -> Option<&'a Range> {
    // SAFETY: The caller's promise; ours has the same bytes.
    unsafe { range.cast::<Range>().as_ref() }
}

/// The end with this number.
fn manip(number: bindings::nf_nat_manip_type) -> Option<Manip> {
    match number {
        bindings::nf_nat_manip_type_NF_NAT_MANIP_SRC => Some(Manip::Source),
        bindings::nf_nat_manip_type_NF_NAT_MANIP_DST => Some(Manip::Destination),
        _ => None,
    }
}

c_export! {
    /// Decides about an end of a connection.
    fn nf_nat_setup_info(
        ct: *mut bindings::nf_conn,
        allowed: *const bindings::nf_nat_range2,
        maniptype: bindings::nf_nat_manip_type
    ) -> c_uint {
        // SAFETY: The caller handles the packet that made the entry, and hands over a range.
        let (entry, allowed) =
            unsafe { (Unconfirmed::from_conn(Conn::from_raw(ct)), range(allowed)) };
        let verdict = match (entry, allowed, manip(maniptype)) {
            (Some(entry), Some(allowed), Some(manip)) => setup::setup_info(entry, allowed, manip),
            // About a confirmed connection everything is decided.
            (None, ..) => Verdict::Accept,
            _ => Verdict::Drop,
        };
        verdict.as_raw()
    }
}

c_export! {
    /// Decides that an end of a connection stays as it is.
    fn nf_nat_alloc_null_binding(ct: *mut bindings::nf_conn, hooknum: c_uint) -> c_uint {
        // SAFETY: The caller handles the packet that made the entry.
        let entry = unsafe { Unconfirmed::from_conn(Conn::from_raw(ct)) };
        match entry {
            Some(entry) => setup::null_binding(entry, setup::manip_at(hooknum)).as_raw(),
            None => Verdict::Accept.as_raw(),
        }
    }
}

c_export! {
    /// Translates a packet as it was decided about its connection.
    fn nf_nat_packet(
        ct: *mut bindings::nf_conn,
        ctinfo: bindings::ip_conntrack_info,
        hooknum: c_uint,
        skb: *mut bindings::sk_buff
    ) -> c_uint {
        // SAFETY: The caller hands over a packet of its own, and holds a reference to the entry.
        let (conn, skb) = unsafe { (Conn::from_raw(ct), Skb::from_raw(skb)) };
        let manip = setup::manip_at(hooknum);
        let plan = packet::plan(conn, manip, CtInfo::from_number(ctinfo).dir());
        packet::translate(skb, plan, manip).as_raw()
    }
}

c_export! {
    /// Translates a packet that is no ICMP error, at a hook without chains of its own.
    fn nf_nat_inet_fn(
        _place: *mut c_void,
        skb: *mut bindings::sk_buff,
        state: *const bindings::nf_hook_state
    ) -> c_uint {
        // SAFETY: The caller hands over a packet and a state that are valid until the return.
        unsafe {
            let state = HookState::from_raw(NonNull::new_unchecked(state.cast_mut()));
            let manip = setup::manip_at(state.point());
            hooks::translate(Skb::from_raw(skb), state, manip, None).as_raw()
        }
    }
}

c_export! {
    /// The part of an entry for NAT, which it gets if it has none.
    fn nf_ct_nat_ext_add(ct: *mut bindings::nf_conn) -> *mut bindings::nf_conn_nat {
        // SAFETY: The caller holds a reference, and handles the packet that made the entry if it
        // is not confirmed.
        unsafe {
            let conn = Conn::from_raw(ct);
            let part = match Unconfirmed::from_conn(conn) {
                Some(mut entry) => entry.nat_part(),
                None => conn.extensions().find(),
            };
            part.map_or(null_mut(), |part| part.raw())
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
    point: c_uint,
    family: Family,
    header_len: Option<u32>,
) -> c_int {
    // SAFETY: The caller's promise.
    let (conn, skb) = unsafe { (Conn::from_raw(ct), Skb::from_raw(skb)) };
    let dir = CtInfo::from_number(ctinfo).dir();
    let manip = setup::manip_at(point);
    let offset = header_len.or_else(|| icmp::message_of(skb, family));
    let done = offset.and_then(|at| icmp::translate(skb, conn, dir, point, manip, family, at));
    done.is_some().into()
}

c_export! {
    /// Translates an ICMP error. 0: it has to be dropped.
    fn nf_nat_icmp_reply_translation(
        skb: *mut bindings::sk_buff,
        ct: *mut bindings::nf_conn,
        ctinfo: bindings::ip_conntrack_info,
        hooknum: c_uint
    ) -> c_int {
        // SAFETY: As the caller promises us.
        unsafe { translate_error(skb, ct, ctinfo, hooknum, Family::Ipv4, None) }
    }
}

c_export! {
    /// Translates an ICMPv6 error, which begins at `hdrlen`. 0: it has to be dropped.
    fn nf_nat_icmpv6_reply_translation(
        skb: *mut bindings::sk_buff,
        ct: *mut bindings::nf_conn,
        ctinfo: bindings::ip_conntrack_info,
        hooknum: c_uint,
        hdrlen: c_uint
    ) -> c_int {
        // SAFETY: As the caller promises us.
        unsafe { translate_error(skb, ct, ctinfo, hooknum, Family::Ipv6, Some(hdrlen)) }
    }
}

/// # Safety
///
/// The caller hands over a namespace, and a chain that lives until it is taken back.
unsafe fn register(
    net: *mut bindings::net,
    ops: *const bindings::nf_hook_ops,
    families: &[Family],
) -> Result {
    // SAFETY: The caller's promise.
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
    // SAFETY: The caller's promise.
    let (net, chain) = unsafe { (Net::from_raw(net), Chain::from_raw(ops)) };
    for &family in families {
        hooks::unregister(net, family, chain);
    }
}

/// Both families, in the order in which they are begun with.
const INET: [Family; 2] = [Family::Ipv6, Family::Ipv4];

c_export! {
    /// Has a chain called for IPv4 packets.
    fn nf_nat_ipv4_register_fn(
        net: *mut bindings::net,
        ops: *const bindings::nf_hook_ops
    ) -> c_int {
        // SAFETY: As the caller promises us.
        from_result(|| unsafe { register(net, ops, &[Family::Ipv4]) }.map(|()| 0))
    }
}

c_export! {
    /// Has a chain called for IPv4 packets no longer.
    fn nf_nat_ipv4_unregister_fn(net: *mut bindings::net, ops: *const bindings::nf_hook_ops) {
        // SAFETY: As the caller promises us.
        unsafe { unregister(net, ops, &[Family::Ipv4]) };
    }
}

c_export! {
    /// Has a chain called for IPv6 packets.
    fn nf_nat_ipv6_register_fn(
        net: *mut bindings::net,
        ops: *const bindings::nf_hook_ops
    ) -> c_int {
        // SAFETY: As the caller promises us.
        from_result(|| unsafe { register(net, ops, &[Family::Ipv6]) }.map(|()| 0))
    }
}

c_export! {
    /// Has a chain called for IPv6 packets no longer.
    fn nf_nat_ipv6_unregister_fn(net: *mut bindings::net, ops: *const bindings::nf_hook_ops) {
        // SAFETY: As the caller promises us.
        unsafe { unregister(net, ops, &[Family::Ipv6]) };
    }
}

c_export! {
    /// Has a chain called for packets of both families.
    fn nf_nat_inet_register_fn(
        net: *mut bindings::net,
        ops: *const bindings::nf_hook_ops
    ) -> c_int {
        // SAFETY: As the caller promises us.
        from_result(|| unsafe { register(net, ops, &INET) }.map(|()| 0))
    }
}

c_export! {
    /// Has a chain called for packets of both families no longer.
    fn nf_nat_inet_unregister_fn(net: *mut bindings::net, ops: *const bindings::nf_hook_ops) {
        // SAFETY: As the caller promises us.
        unsafe { unregister(net, ops, &INET) };
    }
}

c_export! {
    /// Does what a rule of Open vSwitch or act_ct wants done to a packet.
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
        // SAFETY: The caller hands over a packet of its own, to which the entry is attached, a
        // place for the answer, and a range or null.
        unsafe {
            let mut ends = ovs::Ends {
                source: *action & SOURCE != 0,
                destination: *action & DESTINATION != 0,
            };
            let skb = Skb::from_raw(skb);
            let verdict = ovs::translate_for_rule(skb, &mut ends, range(allowed), commit);
            *action = if ends.source { SOURCE } else { 0 }
                | if ends.destination { DESTINATION } else { 0 };
            verdict.as_raw() as c_int
        }
    }
}
