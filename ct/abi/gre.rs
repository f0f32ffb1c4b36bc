// SPDX-License-Identifier: GPL-2.0

//! The map of GRE keys, for the PPTP helper.

use crate::{
    ct::{
        entry::gre_keymap,
        life::pptp, //
    },
    nf::{
        bindings,
        c_export::c_export,
        expect::gre_keymap::PptpMaster,
        prelude::*, //
    },
};

c_export! {
    /// Adds the GRE keys of a call, one per direction, that a PPTP control connection agreed on.
    fn nf_ct_gre_keymap_add(
        ct: *mut bindings::nf_conn,
        orig: *const bindings::nf_conntrack_tuple,
        repl: *const bindings::nf_conntrack_tuple
    ) -> bool {
        // SAFETY: The caller holds a reference, and is the helper of this connection.
        let conn = unsafe { Conn::from_raw(ct) };
        // SAFETY: As above.
        let Some(control) = (unsafe { PptpMaster::of(conn) }) else {
            return false;
        };
        // SAFETY: The caller passes two tuples; the Rust type has the layout of the C type.
        let (original, reply) = unsafe { (&*orig.cast::<Tuple>(), &*repl.cast::<Tuple>()) };
        gre_keymap::add(&control, original, reply)
    }
}

c_export! {
    /// Removes the GRE keys of a PPTP control connection.
    fn nf_ct_gre_keymap_destroy(ct: *mut bindings::nf_conn) {
        // SAFETY: The caller holds a reference, and is the helper of this connection.
        if let Some(control) = unsafe { PptpMaster::of(Conn::from_raw(ct)) } {
            gre_keymap::remove(&control);
        }
    }
}

#[cfg(CONFIG_NF_CONNTRACK_PPTP)]
c_export! {
    /// Ends the calls of a PPTP control connection.
    fn gre_pptp_destroy_siblings(ct: *mut bindings::nf_conn) {
        // SAFETY: The caller holds a reference, and is the helper of this connection.
        let conn = unsafe { Conn::from_raw(ct) };
        // SAFETY: As above.
        if let Some(control) = unsafe { PptpMaster::of(conn) } {
            pptp::end_calls(&control);
        }
    }
}
