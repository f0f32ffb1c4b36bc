// SPDX-License-Identifier: GPL-2.0

//! Labels of entries.

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
    proto::types::num::u32_as_usize, //
};

c_export! {
    /// Changes the labels of an entry where `mask` has bits; null: all of them.
    fn nf_connlabels_replace(
        ct: *mut bindings::nf_conn,
        data: *const u32,
        mask: *const u32,
        words32: c_uint
    ) -> c_int {
        // SAFETY: The caller holds a reference.
        let conn = unsafe { Conn::from_raw(ct) };
        // SAFETY: The caller passes that many words.
        let data = |index| unsafe { *data.add(index) };
        let mask = |index| {
            if mask.is_null() {
                return u32::MAX;
            }
            // SAFETY: As many words as there is data.
            unsafe { *mask.add(index) }
        };
        from_result(|| labels::replace(conn, data, mask, u32_as_usize(words32)).map(|()| 0))
    }
}

c_export! {
    /// Adds a rule that uses labels up to `bit`: new entries get the labels extension. `ERANGE`: no
    /// label has that number.
    fn nf_connlabels_get(net: *mut bindings::net, bit: c_uint) -> c_int {
        if u32_as_usize(bit) / 32 >= Labels::WORDS {
            return ERANGE.to_errno();
        }
        // SAFETY: The caller passes a namespace.
        unsafe { Net::from_raw(net) }.use_labels(1);
        0
    }
}

c_export! {
    /// Removes a rule that uses labels.
    fn nf_connlabels_put(net: *mut bindings::net) {
        // SAFETY: The caller passes a namespace.
        unsafe { Net::from_raw(net) }.use_labels(-1);
    }
}
