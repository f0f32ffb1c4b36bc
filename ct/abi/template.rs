// SPDX-License-Identifier: GPL-2.0

//! Templates: the zone, helper and timeouts that a rule chooses for the entries of new connections.

use core::ptr::{
    null_mut,
    NonNull, //
};

use crate::nf::{
    bindings,
    c_export::c_export,
    entry::template,
    prelude::*, //
};

c_export! {
    /// Allocates a template; null: no memory.
    fn nf_ct_tmpl_alloc(
        net: *mut bindings::net,
        zone: *const bindings::nf_conntrack_zone,
        flags: bindings::gfp_t
    ) -> *mut bindings::nf_conn {
        // SAFETY: The caller passes a namespace and a zone.
        match template::allocate(unsafe { Net::from_raw(net) }, unsafe { *zone }, flags) {
            Some(template) => template.as_ptr(),
            None => null_mut(),
        }
    }
}

c_export! {
    /// Frees a template that was never attached to a packet.
    fn nf_ct_tmpl_free(tmpl: *mut bindings::nf_conn) {
        if let Some(tmpl) = NonNull::new(tmpl) {
            // SAFETY: The caller made it, and gives it up.
            unsafe { template::free(tmpl) };
        }
    }
}
