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

c_export! {
    /// Parameter `hash`, written: gives the table the hash with this number.
    fn rct_table_set_hash(number: c_uint) -> c_int {
        from_result(|| {
            let kind = HashKind::from_number(number).ok_or(EINVAL)?;
            resize::set_hash(kind).map(|()| 0)
        })
    }
}

c_export! {
    /// Parameter `hash`, read: returns the number of the hash that the table has.
    fn rct_table_hash() -> c_uint {
        // CAST: the discriminant.
        resize::hash() as c_uint
    }
}
