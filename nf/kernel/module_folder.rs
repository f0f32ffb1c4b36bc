// SPDX-License-Identifier: GPL-2.0

//! Folders of `/sys/module` that have the name of another module.
//!
//! Programs look for a module by its name there, read and write its parameters, and wait for its
//! `add` event. A [`ModuleFolder`] is for them what the folder of a loaded module is: a kobject of
//! the kernel's own type, with `initstate` and, if need be, `parameters`.
//!
//! C header: [`include/linux/module.h`](srctree/include/linux/module.h)

use core::{
    ffi::CStr,
    ptr::{
        addr_of_mut,
        null,
        null_mut, //
    },
};

use kernel::{
    alloc::flags::GFP_KERNEL,
    bindings as kernel_bindings,
    error::to_result,
    ffi,
    prelude::*,
    types::Opaque,
    ModuleMetadata, //
};

use crate::nf::bindings;

type Show = unsafe extern "C" fn(
    *const kernel_bindings::module_attribute,
    *mut kernel_bindings::module_kobject,
    *mut ffi::c_char,
) -> isize;

type Store = unsafe extern "C" fn(
    *const kernel_bindings::module_attribute,
    *mut kernel_bindings::module_kobject,
    *const ffi::c_char,
    usize,
) -> isize;

/// A file of a folder.
///
/// # Invariants
///
/// The name is static text.
struct File(Opaque<kernel_bindings::module_attribute>);

// SAFETY: Only sysfs changes it, under locks of its own.
unsafe impl Sync for File {}

impl File {
    const fn new(
        name: &'static CStr,
        mode: kernel_bindings::umode_t,
        show: Show,
        store: Option<Store>,
    ) -> Self {
        // SAFETY: Of numbers, and of pointers that may be null.
        let mut raw: kernel_bindings::module_attribute = unsafe { core::mem::zeroed() };
        raw.attr.name = name.to_bytes_with_nul().as_ptr();
        raw.attr.mode = mode;
        raw.show = Some(show);
        raw.store = store;
        // INVARIANT: By the parameter's type.
        Self(Opaque::new(raw))
    }

    /// Returns a parameter of this module, under its own name.
    const fn parameter(name: &'static CStr, mode: kernel_bindings::umode_t) -> Self {
        let store: Option<Store> = if mode & 0o200 != 0 { Some(set) } else { None };
        Self::new(name, mode, get, store)
    }

    const fn attribute(&self) -> *mut kernel_bindings::attribute {
        // CAST: The attribute is the first field.
        self.0.get().cast()
    }
}

/// The parameters of `nf_conntrack` that the C module shows, with its permissions.
static PARAMETERS: [File; 4] = [
    File::parameter(c"hashsize", 0o600),
    File::parameter(c"expect_hashsize", 0o400),
    File::parameter(c"acct", 0o644),
    File::parameter(c"tstamp", 0o644),
];

/// Tells `modprobe` that a module of this name is loaded.
static INITSTATE: File = File::new(c"initstate", 0o444, initstate, None);

/// The files of a folder `parameters`, as sysfs takes them.
struct AttributeGroup {
    files: [*mut kernel_bindings::attribute; PARAMETERS.len() + 1],
    raw: Opaque<kernel_bindings::attribute_group>,
}

// SAFETY: What the pointers lead to is static; nothing of it is changed.
unsafe impl Sync for AttributeGroup {}

static GROUP: AttributeGroup = AttributeGroup {
    files: [
        PARAMETERS[0].attribute(),
        PARAMETERS[1].attribute(),
        PARAMETERS[2].attribute(),
        PARAMETERS[3].attribute(),
        null_mut(),
    ],
    raw: {
        // SAFETY: Of pointers that may be null, and functions that may be absent.
        let mut raw: kernel_bindings::attribute_group = unsafe { core::mem::zeroed() };
        raw.name = c"parameters".to_bytes_with_nul().as_ptr();
        raw.__bindgen_anon_2.attrs = (&raw const GROUP.files)
            .cast::<*mut kernel_bindings::attribute>()
            .cast_mut();
        Opaque::new(raw)
    },
};

fn this_module() -> *mut kernel_bindings::module {
    <crate::RustCt as ModuleMetadata>::THIS_MODULE.as_ptr()
}

/// Returns whether this module's start is over, so that each namespace has its state.
pub(crate) fn has_started() -> bool {
    // SAFETY: The module is there. A racing change is seen before or after.
    let state = unsafe { core::ptr::read_volatile(&raw const (*this_module()).state) };
    state == kernel_bindings::module_state_MODULE_STATE_LIVE
}

/// Finds a parameter of this module.
///
/// # Safety
///
/// `name` is text.
unsafe fn find(name: *const ffi::c_char) -> Option<&'static kernel_bindings::kernel_param> {
    let module = this_module();
    // SAFETY: The loader has filled the array in before the module's start; it lives as long as
    // the module's code.
    let all = unsafe {
        core::slice::from_raw_parts(
            (*module).kp.cast_const(),
            usize::try_from((*module).num_kp).ok()?,
        )
    };
    // SAFETY: Parameters have names; `name` is text by the function's contract.
    all.iter()
        .find(|parameter| unsafe { bindings::strcmp(parameter.name, name) } == 0)
}

/// Reads a parameter as the file below the module's own name does.
///
/// # Safety
///
/// sysfs calls it for a [`File`], with a page.
unsafe extern "C" fn get(
    file: *const kernel_bindings::module_attribute,
    _folder: *mut kernel_bindings::module_kobject,
    page: *mut ffi::c_char,
) -> isize {
    // SAFETY: sysfs passes a file of this one's, whose name is text by its invariant.
    let Some(parameter) = (unsafe { find((*file).attr.name) }) else {
        return widen(ENODEV.to_errno());
    };
    // SAFETY: The operations of a parameter are static.
    let Some(get) = (unsafe { (*parameter.ops).get }) else {
        return widen(EPERM.to_errno());
    };
    // SAFETY: sysfs passes a page; the parameter is locked while it is read.
    unsafe {
        kernel_bindings::kernel_param_lock(parameter.mod_);
        let length = get(page, parameter);
        kernel_bindings::kernel_param_unlock(parameter.mod_);
        widen(length)
    }
}

/// Converts a length, or an errno, for sysfs.
fn widen(number: ffi::c_int) -> isize {
    // CAST: 32 bits fit.
    number as isize
}

/// Sets a parameter as the file below the module's own name does.
///
/// # Safety
///
/// sysfs calls it for a [`File`], with text of that length.
unsafe extern "C" fn set(
    file: *const kernel_bindings::module_attribute,
    _folder: *mut kernel_bindings::module_kobject,
    text: *const ffi::c_char,
    length: usize,
) -> isize {
    // SAFETY: sysfs passes a file of this one's, whose name is text by its invariant.
    let Some(parameter) = (unsafe { find((*file).attr.name) }) else {
        return widen(ENODEV.to_errno());
    };
    // SAFETY: The operations of a parameter are static.
    let Some(set) = (unsafe { (*parameter.ops).set }) else {
        return widen(EPERM.to_errno());
    };
    // SAFETY: sysfs passes text; the parameter is locked while it is set.
    let error = unsafe {
        kernel_bindings::kernel_param_lock(parameter.mod_);
        let error = set(text, parameter);
        kernel_bindings::kernel_param_unlock(parameter.mod_);
        error
    };
    match error {
        // CAST: sysfs passes no more than a page.
        0 => length as isize,
        error => widen(error),
    }
}

/// Says that the module runs.
///
/// # Safety
///
/// sysfs calls it with a page.
unsafe extern "C" fn initstate(
    _file: *const kernel_bindings::module_attribute,
    _folder: *mut kernel_bindings::module_kobject,
    page: *mut ffi::c_char,
) -> isize {
    // SAFETY: sysfs passes a page.
    widen(unsafe { kernel_bindings::sysfs_emit(page, c"live\n".as_char_ptr()) })
}

/// Whether a folder has the parameters of `nf_conntrack`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parameters {
    /// It has them.
    Shown,
    /// It has none.
    None,
}

/// A folder of `/sys/module`, which is removed when this is dropped.
///
/// # Invariants
///
/// The kobject is initialized, and is not released before the drop.
pub(crate) struct ModuleFolder {
    raw: KBox<Opaque<kernel_bindings::module_kobject>>,
    parameters: Parameters,
}

// SAFETY: The kobject's functions may be called from any task.
unsafe impl Send for ModuleFolder {}

// SAFETY: A shared reference gives no access.
unsafe impl Sync for ModuleFolder {}

impl ModuleFolder {
    /// Creates the folder, and announces it as the kernel announces a module. May sleep.
    ///
    /// `EEXIST`: there is a module of that name. `ENOMEM`: no memory.
    pub(crate) fn create(name: &'static CStr, parameters: Parameters) -> Result<Self> {
        let module = this_module();
        // SAFETY: The module is loaded, so that its kobject is complete, and the set exists.
        unsafe {
            let other =
                kernel_bindings::kset_find_obj((*module).mkobj.kobj.kset, name.as_char_ptr());
            if !other.is_null() {
                kernel_bindings::kobject_put(other);
                return Err(EEXIST);
            }
        }
        let raw = KBox::new(Opaque::zeroed(), GFP_KERNEL)?;
        let folder: *mut kernel_bindings::module_kobject = raw.get();
        // SAFETY: The memory stays where it is until the kobject is released, which `drop` waits
        // for; the type and the set are those of this module's own folder.
        let error = unsafe {
            (*folder).mod_ = module;
            (*folder).kobj.kset = (*module).mkobj.kobj.kset;
            kernel_bindings::kobject_init_and_add(
                addr_of_mut!((*folder).kobj),
                (*module).mkobj.kobj.ktype,
                null_mut(),
                c"%s".as_char_ptr(),
                name.as_char_ptr(),
            )
        };
        // INVARIANT: Just initialized, even if it was not added. What follows drops it if it fails.
        let mut this = Self {
            raw,
            parameters: Parameters::None,
        };
        to_result(error)?;
        let kobject = this.kobject();
        // SAFETY: The kobject was added; file and group are static.
        unsafe {
            to_result(kernel_bindings::sysfs_create_file_ns(
                kobject,
                INITSTATE.attribute(),
                null(),
            ))?;
            if parameters == Parameters::Shown {
                to_result(kernel_bindings::sysfs_create_group(
                    kobject,
                    GROUP.raw.get(),
                ))?;
                this.parameters = parameters;
            }
            // As for a module, it is no fault if there is no memory for the message.
            let _ =
                kernel_bindings::kobject_uevent(kobject, kernel_bindings::kobject_action_KOBJ_ADD);
        }
        Ok(this)
    }

    fn kobject(&self) -> *mut kernel_bindings::kobject {
        // SAFETY: The address of a field of an allocation.
        unsafe { addr_of_mut!((*self.raw.get()).kobj) }
    }
}

impl Drop for ModuleFolder {
    /// Waits for readers and writers of the files: none is left afterwards, also of those that
    /// have a file open.
    fn drop(&mut self) {
        let kobject = self.kobject();
        let mut released = core::mem::MaybeUninit::<bindings::completion>::uninit();
        // SAFETY: The kobject is initialized by the invariant, and its last reference leads to
        // `released`, which is waited for here.
        unsafe {
            if self.parameters == Parameters::Shown {
                kernel_bindings::sysfs_remove_group(kobject, GROUP.raw.get());
            }
            bindings::rct_init_completion(released.as_mut_ptr());
            (*self.raw.get()).kobj_completion = released.as_mut_ptr().cast();
            kernel_bindings::kobject_put(kobject);
            bindings::rct_wait_for_completion(released.as_mut_ptr());
        }
    }
}
