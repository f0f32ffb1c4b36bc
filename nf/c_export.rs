// SPDX-License-Identifier: GPL-2.0

//! Functions that C code calls by name.

/// Defines a function that C code calls by its name. A type other than that of the C declaration
/// does not compile.
///
/// # Examples
///
/// ```ignore
/// c_export! {
///     /// Stops tracking for a rule.
///     fn nf_ct_netns_put(net: *mut bindings::net, nfproto: u8) {
///         // SAFETY: The caller passes a namespace.
///         let net = unsafe { Net::from_raw(net) };
///         ..
///     }
/// }
/// ```
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
            // Both arms have the same type: the compiler compares the two declarations.
            let _ = if true { bindings::$name } else { $name };
        };
    };
}

pub(crate) use c_export;
