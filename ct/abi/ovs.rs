// SPDX-License-Identifier: GPL-2.0

//! Functions for Open vSwitch and act_ct, which track packets without the netfilter hooks: helpers,
//! and defragmentation.

use core::ffi::c_int;

use kernel::{
    ffi::c_char,
    prelude::*, //
};

use crate::{
    ct::{
        helper,
        packet::help, //
    },
    nf::{
        bindings,
        c_export::c_export,
        entry::help::HelperTarget,
        expect::helper_name::HelperName,
        packet::fragments,
        prelude::*, //
    },
};

c_export! {
    /// Passes a packet to the helper of its connection. Returns a verdict.
    fn nf_ct_helper(
        skb: *mut bindings::sk_buff,
        ct: *mut bindings::nf_conn,
        ctinfo: bindings::ip_conntrack_info,
        proto: u16
    ) -> c_int {
        let Some(family) = Family::from_number(proto) else {
            return Verdict::Drop.as_int();
        };
        // SAFETY: The caller passes a packet that it owns, pulled to the network header, and
        // holds a reference to the entry, under `rcu_read_lock()`.
        let (skb, conn, rcu) =
            unsafe { (Skb::from_raw(skb), Conn::from_raw(ct), Rcu::assume_held()) };
        help::help_packet(skb, conn, CtInfo::from_number(ctinfo), family, rcu).as_int()
    }
}

c_export! {
    /// Assigns a helper to a template, and returns it in `hp`.
    fn nf_ct_add_helper(
        ct: *mut bindings::nf_conn,
        name: *const c_char,
        family: u8,
        proto: u8,
        nat: bool,
        hp: *mut *mut bindings::nf_conntrack_helper
    ) -> c_int {
        // SAFETY: The caller passes a name, and a template that it owns.
        let (name, conn, template) = unsafe {
            let template = HelperTarget::from_raw(ct, bindings::gfp::KERNEL);
            (HelperName::from_c_string(name.cast()), Conn::from_raw(ct), template)
        };
        let Some(name) = name else {
            return EINVAL.to_errno();
        };
        if let Err(error) = helper::add(template, &name, family, proto, nat) {
            return Error::from(error).to_errno();
        }
        let rcu = RcuGuard::new();
        if let Some(helper) = helper::of(conn, rcu.token()) {
            // SAFETY: There is room for the pointer.
            unsafe { hp.write(helper.raw()) };
        }
        0
    }
}

c_export! {
    /// Removes the padding of the link layer from a packet.
    fn nf_ct_skb_network_trim(skb: *mut bindings::sk_buff, family: c_int) -> c_int {
        // SAFETY: The caller passes a packet that it owns, pulled to the network header.
        unsafe { fragments::trim(skb, family) }
    }
}

c_export! {
    /// Defragments a packet. `EINPROGRESS`: fragments are missing, and the packet is queued. After
    /// any other error the packet is freed.
    fn nf_ct_handle_fragments(
        net: *mut bindings::net,
        skb: *mut bindings::sk_buff,
        zone: u16,
        family: u8,
        proto: *mut u8,
        mru: *mut u16
    ) -> c_int {
        // SAFETY: The caller passes a packet, and pointers for the results.
        unsafe { fragments::defragment(net, skb, zone, family, proto, mru) }
    }
}
