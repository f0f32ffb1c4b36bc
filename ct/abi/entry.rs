// SPDX-License-Identifier: GPL-2.0

//! Entries: the end of references, ids, counts, deletion, extensions.

use core::{
    ffi::{
        c_int,
        c_uint,
        c_void, //
    },
    ptr::{
        null_mut,
        NonNull, //
    },
};

use crate::{
    ct::{
        entry,
        life::delete::{
            self,
            Deletion,
            DestroyReason, //
        },
        netns::NetState,
        packet::kernel_hook::ConntrackHook,
        table::index::{
            self,
            Scope, //
        },
    },
    nf::{
        bindings,
        c_export::c_export,
        entry::{
            end::Dead,
            ext, //
        },
        kernel::nfnetlink::Requester,
        packet::tracker::Tracker,
        prelude::*, //
    },
};

c_export! {
    /// Destroys an entry whose last reference was dropped.
    fn nf_ct_destroy(nfct: *mut bindings::nf_conntrack) {
        // SAFETY: The reference count just became zero; `ct_general` is the entry's first field.
        let dead = unsafe { Dead::from_raw(NonNull::new_unchecked(nfct.cast())) };
        ConntrackHook::destroy(dead, RcuGuard::new().token());
    }
}

c_export! {
    /// Returns the number of entries of a namespace.
    fn nf_conntrack_count(net: *const bindings::net) -> u32 {
        // SAFETY: The caller passes a namespace.
        unsafe { Net::from_raw(net.cast_mut()) }.state::<NetState>().entries()
    }
}

c_export! {
    /// Returns the id of an entry for user space, which stays the same over the entry's life.
    fn nf_ct_get_id(ct: *const bindings::nf_conn) -> u32 {
        // SAFETY: The caller holds a reference.
        ConntrackHook::id(unsafe { Conn::from_raw(ct.cast_mut()) })
    }
}

c_export! {
    /// Removes an entry from the table. Returns whether this call did it, and no event is left to
    /// be sent.
    fn nf_ct_delete(ct: *mut bindings::nf_conn, pid: u32, report: c_int) -> bool {
        let by = Requester { portid: pid, report: report != 0 };
        // SAFETY: The caller holds a reference.
        let conn = unsafe { Conn::from_raw(ct) };
        let reason = if delete::is_due(conn) {
            DestroyReason::TimedOut
        } else {
            DestroyReason::ByModule
        };
        delete::delete_for(conn, reason, by) == Deletion::Done
    }
}

c_export! {
    /// Adds packets of one direction to an entry's counters: packets that a flow table forwarded.
    fn nf_ct_acct_add(ct: *mut bindings::nf_conn, dir: u32, packets: c_uint, bytes: c_uint) {
        // SAFETY: The caller holds a reference.
        let conn = unsafe { Conn::from_raw(ct) };
        entry::account_many(conn, direction(dir), packets, bytes);
    }
}

fn direction(dir: u32) -> Direction {
    if dir == 0 {
        Direction::Original
    } else {
        Direction::Reply
    }
}

c_export! {
    /// Renews an entry's timeout, and counts a packet of `bytes` bytes unless `bytes` is zero.
    fn __nf_ct_refresh_acct(
        ct: *mut bindings::nf_conn,
        ctinfo: bindings::ip_conntrack_info,
        extra_jiffies: u32,
        bytes: c_uint
    ) {
        // SAFETY: The caller holds a reference.
        let conn = unsafe { Conn::from_raw(ct) };
        entry::refresh(conn, extra_jiffies);
        if bytes != 0 {
            entry::account(conn, CtInfo::from_number(ctinfo).dir(), bytes);
        }
    }
}

c_export! {
    /// Adds an extension to an unconfirmed entry or a template.
    fn nf_ct_ext_add(
        ct: *mut bindings::nf_conn,
        id: bindings::nf_ct_ext_id,
        gfp: bindings::gfp_t
    ) -> *mut c_void {
        // SAFETY: The caller holds the only reference, or that of a packet which it handles.
        match unsafe { ext::add_by_number(ct, id, gfp) } {
            Some(extension) => extension.as_ptr(),
            None => null_mut(),
        }
    }
}

/// Returns a function that deletes an entry if the C function `iter` returns non-zero for it.
///
/// # Safety
///
/// `iter` may be called with a valid entry and `data`.
unsafe fn remove_if(
    iter: unsafe extern "C" fn(*mut bindings::nf_conn, *mut c_void) -> c_int,
    data: *mut c_void,
    by: Requester,
) -> impl FnMut(&Conn) {
    move |conn| {
        // SAFETY: As the caller of `remove_if` guarantees.
        if unsafe { iter(conn.raw(), data) } != 0 {
            delete::delete_for(conn, DestroyReason::ByModule, by);
        }
    }
}

c_export! {
    /// Deletes the entries of a namespace for which `iter` returns non-zero. May sleep.
    fn nf_ct_iterate_cleanup_net(
        iter: Option<
            unsafe extern "C" fn(*mut bindings::nf_conn, *mut c_void) -> c_int
        >,
        iter_data: *const bindings::nf_ct_iter_data
    ) {
        let Some(iter) = iter else {
            return;
        };
        // SAFETY: The caller passes valid data, with a namespace in it.
        let (data, net) = unsafe { (&*iter_data, Net::from_raw((*iter_data).net)) };
        if net.state::<NetState>().entries() == 0 {
            return;
        }
        let by = Requester { portid: data.portid, report: data.report != 0 };
        // SAFETY: The data has the argument of the function.
        index::for_each(net, Scope::Namespace, unsafe { remove_if(iter, data.data, by) });
    }
}
