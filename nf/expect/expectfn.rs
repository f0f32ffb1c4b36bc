// SPDX-License-Identifier: GPL-2.0

//! The registered functions of expectations (`struct nf_ct_helper_expectfn`): an expectation's
//! function is called with the expected connection, and user space chooses it by its name.

use core::{
    mem::offset_of,
    ptr::{
        addr_of_mut,
        NonNull, //
    }, //
};

use kernel::prelude::*;

use crate::nf::{
    bindings,
    kernel::{
        hlist::ListHead,
        rcu::Rcu, //
    }, //
};

use super::lock::Locked;

/// The list of registered functions. Changes need the lock of expectations.
static EXPECTFNS: ListHead = ListHead::new();

/// Initialises the list.
///
/// # Safety
///
/// Nothing uses the list during the call, and nothing is registered.
pub(super) unsafe fn init() {
    // SAFETY: By the function's contract.
    unsafe { EXPECTFNS.init() };
}

/// Registers a function.
///
/// # Safety
///
/// `element` is in no list, and stays valid until a grace period after [`remove`].
pub(crate) unsafe fn insert(element: *mut bindings::nf_ct_helper_expectfn, _locked: Locked<'_>) {
    // SAFETY: The lock is held; by the function's contract.
    unsafe { EXPECTFNS.push(addr_of_mut!((*element).head)) };
}

/// Unregisters a function.
///
/// # Safety
///
/// [`insert`] registered `element`, which was not removed since.
pub(crate) unsafe fn remove(element: *mut bindings::nf_ct_helper_expectfn, _locked: Locked<'_>) {
    // SAFETY: The lock is held; by the function's contract.
    unsafe { ListHead::remove(addr_of_mut!((*element).head)) };
}

/// A registered function, found during an RCU read-side section.
///
/// # Invariants
///
/// The element was registered at some time during `'r`.
pub(crate) struct ExpectFn<'r>(NonNull<bindings::nf_ct_helper_expectfn>, Rcu<'r>);

impl<'r> ExpectFn<'r> {
    /// Returns whether the function is registered under `name`.
    ///
    /// # Safety
    ///
    /// `name` is a C string.
    pub(crate) unsafe fn is_named(&self, name: *const c_char) -> bool {
        // SAFETY: By the type invariants; the element's name is a C string, and lives as long.
        unsafe { bindings::strcmp((*self.0.as_ptr()).name, name) == 0 }
    }

    /// Returns the name.
    pub(crate) fn name(&self) -> &'r [u8] {
        // SAFETY: By the type invariants; the name is a C string, and lives as long.
        unsafe {
            let name = (*self.0.as_ptr()).name;
            core::slice::from_raw_parts(name.cast(), bindings::strlen(name))
        }
    }

    /// Returns the function's address, as an identity.
    pub(crate) fn address(&self) -> Option<usize> {
        self.function().map(|function| function as usize)
    }

    /// Returns the function.
    pub(super) fn function(
        &self,
    ) -> Option<unsafe extern "C" fn(*mut bindings::nf_conn, *mut bindings::nf_conntrack_expect)>
    {
        // SAFETY: By the type invariants.
        unsafe { (*self.0.as_ptr()).expectfn }
    }

    /// Returns the C pointer.
    pub(crate) fn raw(&self) -> *mut bindings::nf_ct_helper_expectfn {
        self.0.as_ptr()
    }
}

/// Walks the registered functions.
pub(crate) fn walk<'r>(rcu: Rcu<'r>) -> impl Iterator<Item = ExpectFn<'r>> {
    const HEAD: usize = offset_of!(bindings::nf_ct_helper_expectfn, head);
    EXPECTFNS.walk(rcu).map(move |element| {
        // SAFETY: The list's element is inside a `struct nf_ct_helper_expectfn`.
        // INVARIANT: It was found in the list.
        ExpectFn(unsafe { element.byte_sub(HEAD).cast() }, rcu)
    })
}
