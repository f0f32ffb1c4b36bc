// SPDX-License-Identifier: GPL-2.0

//! Events, and their listeners.

use core::ffi::{
    c_int,
    c_uint, //
};

use crate::{
    ct::entry::events,
    nf::{
        bindings,
        c_export::c_export,
        entry::{
            ecache,
            ext, //
        },
        kernel::{
            errno::ENOBUFS,
            nfnetlink::Requester, //
        },
        prelude::*, //
    },
};

c_export! {
    /// Delivers the pending events of an entry.
    fn nf_ct_deliver_cached_events(ct: *mut bindings::nf_conn) {
        // SAFETY: The caller holds a reference.
        events::deliver(unsafe { Conn::from_raw(ct) });
    }
}

c_export! {
    /// Delivers events immediately. `ENOBUFS`: the listener's buffer is full.
    fn nf_conntrack_eventmask_report(
        eventmask: c_uint,
        ct: *mut bindings::nf_conn,
        portid: u32,
        report: c_int
    ) -> c_int {
        // SAFETY: The caller holds a reference.
        let conn = unsafe { Conn::from_raw(ct) };
        match events::notify_now(conn, eventmask, Requester { portid, report: report != 0 }) {
            Ok(()) => 0,
            Err(_) => ENOBUFS.to_errno(),
        }
    }
}

c_export! {
    /// Adds the event cache to an entry or a template, if the namespace or the masks ask for one.
    /// Returns whether there was memory.
    fn nf_ct_ecache_ext_add(
        ct: *mut bindings::nf_conn,
        ctmask: u16,
        expmask: u16,
        gfp: bindings::gfp_t
    ) -> bool {
        // SAFETY: The caller holds the only reference.
        let conn = unsafe { Conn::from_raw(ct) };
        let Some((ct_mask, expect_mask)) = events::masks_for(conn.net(), ctmask, expmask) else {
            return true;
        };
        let id = bindings::nf_ct_ext_id_NF_CT_EXT_ECACHE;
        // SAFETY: As above; the entry is not confirmed.
        if unsafe { ext::add_by_number(ct, id, gfp) }.is_none() {
            return false;
        }
        events::init_cache(conn, ct_mask, expect_mask);
        true
    }
}

c_export! {
    /// Sets the listener of a namespace.
    fn nf_conntrack_register_notifier(
        net: *mut bindings::net,
        nb: *const bindings::nf_ct_event_notifier
    ) {
        // SAFETY: The caller keeps the listener until a grace period after unregistering it.
        unsafe { ecache::set_listener(Net::from_raw(net), nb) };
    }
}

c_export! {
    /// Removes the listener of a namespace.
    fn nf_conntrack_unregister_notifier(net: *mut bindings::net) {
        // SAFETY: As above.
        unsafe { ecache::set_listener(Net::from_raw(net), core::ptr::null()) };
    }
}
