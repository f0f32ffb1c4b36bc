// SPDX-License-Identifier: GPL-2.0

//! [`Help`]: the extension that refers to an entry's helper, and has the list of its expectations.

use core::{
    marker::PhantomData,
    ptr::{
        addr_of_mut,
        NonNull, //
    },
};

use kernel::{
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
    },
    types::Opaque, //
};

use crate::nf::{
    bindings,
    kernel::{
        rcu::Rcu,
        refcount::{
            Counted,
            CountedPointer,
            RcuCounted, //
        },
    },
};

use super::{
    conn::{
        Conn,
        Entry,
        StatusBit, //
    },
    ext::{
        self,
        Extension, //
    },
};

/// A helper (`struct nf_conntrack_helper`).
///
/// # Invariants
///
/// Initialised, in memory from `kmalloc`; freed a grace period after the last reference was given
/// up. Name, families and functions other than `help` do not change while it is registered. The
/// policies are single words, which the module that registered it may change at any time.
#[repr(transparent)]
pub(crate) struct Helper(Opaque<bindings::nf_conntrack_helper>);

// SAFETY: Not tied to a thread.
unsafe impl Send for Helper {}
// SAFETY: What changes is atomic.
unsafe impl Sync for Helper {}

// SAFETY: The reference count is `ct_refcnt`.
unsafe impl RcuCounted for Helper {
    unsafe fn count(this: NonNull<Self>) -> *mut bindings::refcount_t {
        let raw = this.as_ptr().cast::<bindings::nf_conntrack_helper>();
        // SAFETY: The caller's promise: a field of a valid object.
        unsafe { addr_of_mut!((*raw).ct_refcnt) }
    }

    unsafe fn free_rcu(this: NonNull<Self>) {
        // SAFETY: The last reference is gone; the memory came from `kmalloc`.
        unsafe { bindings::rct_helper_kfree_rcu(this.as_ptr().cast()) };
    }
}

impl Helper {
    /// # Safety
    ///
    /// `ptr` points to an initialised helper that is not freed during `'a`.
    pub(crate) unsafe fn from_raw<'a>(ptr: *mut bindings::nf_conntrack_helper) -> &'a Self {
        // SAFETY: The caller's promise; the type is transparent.
        unsafe { &*ptr.cast() }
    }

    #[inline]
    pub(crate) fn raw(&self) -> *mut bindings::nf_conntrack_helper {
        self.0.get()
    }

    /// Returns the address: an identity of the helper while it lives.
    pub(crate) fn address(&self) -> usize {
        self.raw().addr()
    }
}

/// The extension of an entry that may have a helper (`struct nf_conn_help`).
///
/// # Invariants
///
/// The pointer to the helper is null or owns a reference, which is given up with the entry.
#[repr(transparent)]
pub(crate) struct Help(Opaque<bindings::nf_conn_help>);

// SAFETY: The pointer is atomic, the rest needs the lock of expectations.
unsafe impl Sync for Help {}
// SAFETY: `struct nf_conn_help` is the extension with this number.
unsafe impl Extension for Help {
    const ID: u32 = bindings::nf_ct_ext_id_NF_CT_EXT_HELPER;
}

impl Help {
    #[inline]
    fn pointer(&self) -> &CountedPointer<Helper> {
        // SAFETY: By the type invariants; `Helper` is transparent.
        unsafe { CountedPointer::from_raw(addr_of_mut!((*self.0.get()).helper).cast()) }
    }

    /// Returns the helper.
    #[inline]
    pub(crate) fn helper<'r>(&self, rcu: Rcu<'r>) -> Option<&'r Helper> {
        self.pointer().load(rcu)
    }

    /// Replaces the helper.
    pub(crate) fn set_helper(&self, helper: Option<ARef<Counted<Helper>>>) {
        drop(self.pointer().replace(helper));
    }

    pub(in crate::nf) fn chain(&self) -> *mut bindings::hlist_head {
        // SAFETY: A field of a valid object.
        unsafe { addr_of_mut!((*self.0.get()).expectations) }
    }

    /// Returns whether there are expectations. Another CPU may add or remove some meanwhile.
    pub(crate) fn is_expecting(&self) -> bool {
        // SAFETY: A valid, aligned pointer, accessed atomically.
        let first = unsafe { Atomic::from_ptr(addr_of_mut!((*self.chain()).first)) };
        !first.load(Relaxed).is_null()
    }

    /// Returns the C object.
    pub(crate) fn raw(&self) -> *mut bindings::nf_conn_help {
        self.0.get()
    }
}

/// An entry, or a template, that may still get a [`Help`].
///
/// # Invariants
///
/// The entry is not confirmed, and nothing else reads its extensions during `'a`.
pub(crate) struct HelperTarget<'a> {
    conn: *mut bindings::nf_conn,
    gfp: u32,
    entry: PhantomData<&'a mut Conn>,
}

impl<'a> HelperTarget<'a> {
    /// # Safety
    ///
    /// As the invariants say; `gfp` fits the context.
    pub(crate) unsafe fn from_raw(conn: *mut bindings::nf_conn, gfp: u32) -> Self {
        // INVARIANT: the caller's promise.
        Self {
            conn,
            gfp,
            entry: PhantomData,
        }
    }

    /// Returns the entry.
    pub(crate) fn conn(&self) -> &Entry {
        // SAFETY: By the type invariants.
        unsafe { Entry::from_raw(self.conn) }
    }

    /// Adds the extension, without a helper. [`None`]: no memory, or the entry has it.
    pub(crate) fn add_help(&mut self) -> Option<&'a Help> {
        // SAFETY: By the type invariants.
        let help = unsafe { ext::add_by_number(self.conn, Help::ID, self.gfp) }?;
        self.conn().set(StatusBit::Helper);
        // SAFETY: The extension is a `Help`; zeroed, it has no helper and no expectations.
        Some(unsafe { help.cast::<Help>().as_ref() })
    }
}

/// Gives up the reference that an entry's [`Help`] owns.
pub(super) fn release(conn: &Entry) {
    if let Some(help) = conn.extensions().find::<Help>() {
        help.set_helper(None);
    }
}
