// SPDX-License-Identifier: GPL-2.0

//! The names of the C modules in `/sys/module`.

use kernel::prelude::*;

use crate::nf::kernel::{
    log::pr_warn,
    module_folder::{
        ModuleFolder,
        Parameters, //
    },
    params, //
};

/// Folders of `/sys/module` with the names of the modules that this one replaces, for programs that
/// look there: `modprobe`, udev, and those that read or write `nf_conntrack/parameters/hashsize`.
///
/// Not with the parameter `module_names=0`: then there are modules of these names (`stub/`).
pub(crate) struct ModuleNames {
    _folders: [Option<ModuleFolder>; 3],
}

impl ModuleNames {
    /// Creates the folders. May sleep.
    ///
    /// A folder that cannot be created is left out: no packet depends on it.
    pub(crate) fn new() -> Self {
        let create = |name: &'static CStr, parameters| {
            if !params::module_names() {
                return None;
            }
            ModuleFolder::create(name, parameters)
                .inspect_err(|error| {
                    let error = error.to_errno().wrapping_neg();
                    pr_warn!(
                        "/sys/module has no {}: errno {error}\n",
                        name.to_str().unwrap_or("")
                    );
                })
                .ok()
        };
        Self {
            _folders: [
                create(c"nf_conntrack", Parameters::Shown),
                create(c"nf_nat", Parameters::None),
                create(c"nf_conntrack_netlink", Parameters::None),
            ],
        }
    }
}
