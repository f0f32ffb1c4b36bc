// SPDX-License-Identifier: GPL-2.0

//! Functions that C code calls by name.

/// Exports a function under a C name, if it has the type that the C header gives it.
macro_rules! c_export {
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) $(-> $result:ty)? $body:block) => {
        $(#[$doc])*
        ///
        /// # Safety
        ///
        /// As the C header says.
        #[no_mangle]
        pub(crate) unsafe extern "C" fn $name($($arg: $type),*) $(-> $result)? $body

        const _: () = {
            // Both arms must have one type: the compiler compares the two declarations.
            let _ = if true { bindings::$name } else { $name };
        };
    };
}

pub(crate) use c_export;
