// SPDX-License-Identifier: GPL-2.0

//! Modules of the kernel: references that keep them loaded, and requests to load them.

use core::{
    ffi::c_int,
    mem::ManuallyDrop, //
};

use kernel::prelude::*;

use crate::nf::bindings;

use super::helper_name::HelperName;

/// A reference to a module, which keeps it loaded. Dropping it gives the reference back.
///
/// # Invariants
///
/// The pointer is null, for code that is built into the kernel, or this value owns a reference to
/// the module.
#[must_use = "the module may be unloaded when the reference is dropped"]
pub(crate) struct ModuleRef(*mut bindings::module);

impl ModuleRef {
    /// Takes a reference. [`None`]: the module is being unloaded.
    ///
    /// # Safety
    ///
    /// `module` is null, or a module that is not freed during the call.
    pub(super) unsafe fn get(module: *mut bindings::module) -> Option<Self> {
        // SAFETY: By the function's contract.
        // INVARIANT: The reference was just taken.
        unsafe { bindings::rct_try_module_get(module) }.then_some(Self(module))
    }

    /// Adopts a reference that [`ModuleRef::leave_to_c`] left.
    ///
    /// # Safety
    ///
    /// C code gives up a reference to `module`.
    pub(super) unsafe fn from_raw(module: *mut bindings::module) -> Self {
        // INVARIANT: By the function's contract.
        Self(module)
    }

    /// Leaves the reference to C code, which gives it back by an exported function.
    pub(crate) fn leave_to_c(self) {
        let _ = ManuallyDrop::new(self);
    }
}

impl Drop for ModuleRef {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_module_put(self.0) };
    }
}

/// Asks user space for the module of a helper, by its alias. May sleep. `ENOENT`: it was not
/// loaded.
pub(crate) fn request_helper(name: &HelperName) -> Result {
    // SAFETY: Process context; the format fits the argument.
    let result = unsafe {
        bindings::__request_module(true, c"nfct-helper-%s".as_char_ptr(), name.as_char_ptr())
    };
    loaded(result)
}

/// Asks user space for a module by its name. May sleep. `ENOENT`: it was not loaded.
pub(crate) fn request(name: &HelperName) -> Result {
    // SAFETY: Process context; the format fits the argument.
    let result =
        unsafe { bindings::__request_module(true, c"%s".as_char_ptr(), name.as_char_ptr()) };
    loaded(result)
}

/// Converts the exit status of `modprobe`, or a negative errno.
fn loaded(status: c_int) -> Result {
    match status {
        0 => Ok(()),
        _ => Err(ENOENT),
    }
}
