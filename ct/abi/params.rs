// SPDX-License-Identifier: GPL-2.0

//! Module parameters that are functions, not variables.

use core::ffi::{
    c_int,
    c_uint, //
};

use kernel::{
    error::from_result,
    prelude::*, //
};

use crate::{
    ct::table::{
        hash::HashKind,
        resize, //
    },
    nf::{
        bindings,
        c_export::c_export, //
    },
};

c_export! {
    /// Resizes the table: a write of the parameter `hashsize`.
    fn rct_table_resize(buckets: c_uint) -> c_int {
        from_result(|| resize::resize(buckets).map(|()| 0))
    }
}

c_export! {
    /// Returns the number of buckets: a read of the parameter `hashsize`.
    fn rct_table_buckets() -> c_uint {
        resize::buckets()
    }
}

c_export! {
    /// Gives the table the hash with this number: a write of the parameter `hash`.
    fn rct_table_set_hash(number: c_uint) -> c_int {
        from_result(|| {
            let kind = HashKind::from_number(number).ok_or(EINVAL)?;
            resize::set_hash(kind).map(|()| 0)
        })
    }
}

c_export! {
    /// Returns the number of the table's hash: a read of the parameter `hash`.
    fn rct_table_hash() -> c_uint {
        // CAST: the discriminant.
        resize::hash() as c_uint
    }
}
