// SPDX-License-Identifier: GPL-2.0

//! Descriptions of protocols, and ports in messages.

use core::ffi::{
    c_int,
    c_uint, //
};

use crate::{
    ct::entry::l4proto::{
        self,
        Ports,
        PORT_POLICY, //
    },
    nf::{
        bindings,
        c_export::c_export,
        entry::{
            cta::CTA_PROTO_MAX,
            l4proto::{
                nlattr_to_tuple,
                tuple_size,
                tuple_to_nlattr, //
            },
        },
        kernel::attr::Policy, //
    },
};

c_export! {
    /// Returns the description of a protocol.
    fn nf_ct_l4proto_find(l4proto: u8) -> *const bindings::nf_conntrack_l4proto {
        l4proto::find(l4proto)
    }
}

/// The policies of the attributes of ports.
#[no_mangle]
#[allow(non_upper_case_globals)]
pub(crate) static nf_ct_port_nla_policy: [Policy; CTA_PROTO_MAX + 1] = PORT_POLICY;

c_export! {
    /// Writes the ports of a tuple into a message.
    fn nf_ct_port_tuple_to_nlattr(
        skb: *mut bindings::sk_buff,
        tuple: *const bindings::nf_conntrack_tuple
    ) -> c_int {
        // SAFETY: The caller passes a message that it writes, and a tuple.
        unsafe { tuple_to_nlattr::<Ports>(skb, tuple) }
    }
}

c_export! {
    /// Reads the ports of a tuple that `flags` names.
    fn nf_ct_port_nlattr_to_tuple(
        tb: *mut *mut bindings::nlattr,
        t: *mut bindings::nf_conntrack_tuple,
        flags: u32
    ) -> c_int {
        // SAFETY: The caller passes attributes that it parsed, and a tuple of its own.
        unsafe { nlattr_to_tuple::<Ports>(tb, t, flags) }
    }
}

c_export! {
    /// Returns the number of bytes that the ports of a tuple take in a message.
    fn nf_ct_port_nlattr_tuple_size() -> c_uint {
        const { tuple_size::<Ports>() }
    }
}
