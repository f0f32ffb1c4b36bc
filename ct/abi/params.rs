// SPDX-License-Identifier: GPL-2.0

//! Module parameters that are functions, not variables.

use core::ffi::{
    c_int,
    c_uint, //
};

use kernel::error::from_result;

use crate::{
    ct::table::resize,
    nf::{
        bindings,
        c_export::c_export, //
    },
};

c_export! {
    /// Parameter `hashsize`, written: resizes the table.
    fn rct_table_resize(buckets: c_uint) -> c_int {
        from_result(|| resize::resize(buckets).map(|()| 0))
    }
}

c_export! {
    /// Parameter `hashsize`, read: returns the number of buckets.
    fn rct_table_buckets() -> c_uint {
        resize::buckets()
    }
}
