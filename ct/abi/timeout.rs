// SPDX-License-Identifier: GPL-2.0

//! Timeout policies.

use core::ffi::c_int;

use kernel::{
    error::from_result,
    ffi::c_char, //
};

use crate::{
    ct::{
        entry::timeout,
        table::index::{
            self,
            Scope, //
        },
    },
    nf::{
        bindings,
        c_export::c_export,
        entry::timeout::{
            Name,
            Template, //
            TimeoutPolicy,
        },
        prelude::*, //
    },
};

c_export! {
    /// Assigns the timeout policy of a name to a template.
    fn nf_ct_set_timeout(
        net: *mut bindings::net,
        ct: *mut bindings::nf_conn,
        l3num: u8,
        l4num: u8,
        timeout_name: *const c_char
    ) -> c_int {
        // SAFETY: The caller passes a namespace and a template that it owns.
        let (net, mut template) = unsafe { (Net::from_raw(net), Template::from_raw(ct)) };
        // SAFETY: The caller passes a C string.
        let name = unsafe { Name::from_raw(timeout_name) };
        from_result(|| timeout::assign(net, &mut template, l3num, l4num, name).map(|()| 0))
    }
}

c_export! {
    /// Removes the timeout policy of a template.
    fn nf_ct_destroy_timeout(ct: *mut bindings::nf_conn) {
        // SAFETY: The caller holds a reference to the template.
        timeout::unassign(unsafe { Conn::from_raw(ct) });
    }
}

c_export! {
    /// Removes a timeout policy, or any (null), from all entries of a namespace.
    fn nf_ct_untimeout(net: *mut bindings::net, timeout: *mut bindings::nf_ct_timeout) {
        // SAFETY: The caller passes a namespace, and null or a policy of its own.
        let (net, policy) = unsafe { (Net::from_raw(net), TimeoutPolicy::from_raw(timeout)) };
        index::for_each(net, Scope::Namespace, |conn| timeout::untimeout(conn, policy));
    }
}
