// SPDX-License-Identifier: GPL-2.0

//! Files in `/proc/net`, which every namespace has.
//!
//! C header: [`include/linux/proc_fs.h`](srctree/include/linux/proc_fs.h)

use core::{
    ffi::CStr,
    marker::PhantomData,
    ptr::null_mut, //
};

use kernel::prelude::*;

use crate::nf::bindings;

use super::{
    net::Net,
    pernet::NewNet,
    seq_file::{
        self,
        SeqFile, //
    },
};

/// The folder of a file.
#[derive(Clone, Copy)]
pub(crate) enum Folder {
    /// `/proc/net`.
    Net,
    /// `/proc/net/stat`.
    Stat,
}

impl Folder {
    fn of(self, net: &Net) -> *mut bindings::proc_dir_entry {
        // SAFETY: A namespace has both folders while it lives.
        unsafe {
            match self {
                Self::Net => bindings::rct_proc_net(net.raw()),
                Self::Stat => bindings::rct_proc_net_stat(net.raw()),
            }
        }
    }
}

/// The permissions of a file.
#[derive(Clone, Copy)]
pub(crate) enum Readers {
    /// Root of the namespace, and the group of root, may read it.
    Root,
    /// All processes may read it.
    All,
}

impl Readers {
    const fn mode(self) -> bindings::umode_t {
        match self {
            Self::Root => 0o440,
            Self::All => 0o444,
        }
    }
}

/// A file that every namespace has, with the contents of an `F`.
///
/// The namespace removes it when it ends, or when the module is unloaded.
///
/// # Examples
///
/// ```ignore
/// const ENTRIES: ProcFile<EntriesFile> =
///     ProcFile::new(c"nf_conntrack", Folder::Net, Readers::Root);
///
/// ENTRIES.create(net)?;
/// ```
pub(crate) struct ProcFile<F> {
    name: &'static CStr,
    folder: Folder,
    readers: Readers,
    contents: PhantomData<fn() -> F>,
}

impl<F: SeqFile> ProcFile<F> {
    /// Describes a file.
    pub(crate) const fn new(name: &'static CStr, folder: Folder, readers: Readers) -> Self {
        Self {
            name,
            folder,
            readers,
            contents: PhantomData,
        }
    }

    /// Creates the file in a namespace. May sleep.
    ///
    /// Later the namespace removes it, and waits until no process reads it. Processes that have it
    /// open get errors from then on.
    pub(crate) fn create(&self, net: &NewNet<'_>) -> Result {
        let folder = self.folder.of(net);
        // SAFETY: The folder exists and has the namespace as its data, the name is text, and the
        // operations are static.
        let file = unsafe {
            bindings::proc_create_data(
                self.name.as_char_ptr(),
                self.readers.mode(),
                folder,
                seq_file::proc_operations::<F>(),
                null_mut(),
            )
        };
        if file.is_null() {
            return Err(ENOMEM);
        }
        if let Readers::Root = self.readers {
            // SAFETY: Just created, and not removed yet.
            unsafe {
                let uid = bindings::rct_net_root_uid(net.raw());
                let gid = bindings::rct_net_root_gid(net.raw());
                // The user namespace may have no user or group 0.
                if bindings::rct_uid_valid(uid) && bindings::rct_gid_valid(gid) {
                    bindings::proc_set_user(file, uid, gid);
                }
            }
        }
        let name = self.name;
        // INVARIANT: Just created.
        net.keep(Created { name, folder })
    }
}

/// A file of a namespace, which is removed when this is dropped.
///
/// # Invariants
///
/// The file is in the folder. The namespace, which has the folder, keeps this.
struct Created {
    name: &'static CStr,
    folder: *mut bindings::proc_dir_entry,
}

// SAFETY: Any thread may remove the file.
unsafe impl Send for Created {}

impl Drop for Created {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::remove_proc_entry(self.name.as_char_ptr(), self.folder) };
    }
}
