// SPDX-License-Identifier: GPL-2.0

//! Error codes that the `kernel` crate does not name in each kernel.
//!
//! C header: [`include/uapi/asm-generic/errno.h`](srctree/include/uapi/asm-generic/errno.h)

use kernel::{
    bindings,
    prelude::*, //
};

/// # Safety
///
/// `number` is an error number.
const unsafe fn code(number: u32) -> Error {
    // An `Error` is that number with a minus, and nothing else.
    // SAFETY: Of the same size; nonzero, and in range by the function's contract.
    unsafe { core::mem::transmute::<i32, Error>(-(number as i32)) }
}

const _: () = {
    // SAFETY: Any four bytes are an `i32`.
    let number = unsafe { core::mem::transmute::<Error, i32>(EINVAL) };
    assert!(number == -(bindings::EINVAL as i32));
};

macro_rules! codes {
    ($($name:ident)*) => {
        $(
            #[doc = concat!("`", stringify!($name), "`.")]
            // SAFETY: An error number.
            pub(crate) const $name: Error = unsafe { code(bindings::$name) };
        )*
    };
}

codes! {
    EALREADY
    EHOSTUNREACH
    EINPROGRESS
    ELOOP
    ENOBUFS
    ENOPROTOOPT
    EOPNOTSUPP
    EPFNOSUPPORT
    EPROTO
    EPROTONOSUPPORT
    ESHUTDOWN
    ETIME
}
