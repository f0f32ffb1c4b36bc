// SPDX-License-Identifier: GPL-2.0

//! Labels.

use core::ffi::{
    c_int,
    c_uint, //
};

use kernel::{
    error::from_result,
    prelude::*, //
};

use crate::{
    ct::entry::labels,
    nf::{
        bindings,
        c_export::c_export,
        entry::ext::Labels,
        prelude::*, //
    },
};

c_export! {
    /// Replaces an entry's labels.
    fn nf_connlabels_replace(
        ct: *mut bindings::nf_conn,
        data: *const u32,
        mask: *const u32,
        words32: c_uint
    ) -> c_int {
        // SAFETY: The caller holds a reference.
        let conn = unsafe { Conn::from_raw(ct) };
        // SAFETY: The caller hands over that many words.
        let data = |index| unsafe { *data.add(index) };
        let mask = |index| {
            if mask.is_null() {
                return u32::MAX;
            }
            // SAFETY: As many words as there is data.
            unsafe { *mask.add(index) }
        };
        from_result(|| labels::replace(conn, data, mask, words32 as usize).map(|()| 0))
    }
}

c_export! {
    /// A rule uses labels up to `bit`.
    fn nf_connlabels_get(net: *mut bindings::net, bit: c_uint) -> c_int {
        if bit as usize / 32 >= Labels::WORDS {
            return ERANGE.to_errno();
        }
        // SAFETY: The caller hands over a namespace.
        unsafe { Net::from_raw(net) }.use_labels(1);
        0
    }
}

c_export! {
    /// The rule is gone.
    fn nf_connlabels_put(net: *mut bindings::net) {
        // SAFETY: The caller hands over a namespace.
        unsafe { Net::from_raw(net) }.use_labels(-1);
    }
}
