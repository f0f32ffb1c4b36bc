// SPDX-License-Identifier: GPL-2.0

//! [`Help`]: the extension that names an entry's helper, and keeps its expectations.

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
            always_ref_counted,
            CountedPointer,
            RcuCounted, //
        },
    },
};

use super::{
    conn::{
        Conn,
        StatusBit, //
    },
    ext::{
        self,
        Extension, //
    },
};

/// A helper.
///
/// # Invariants
///
/// Initialised, in memory from `kmalloc`; freed a grace period after the last reference was
/// given back. Name, families and functions other than `help` do not change while it is
/// registered; the policies are single words, which their owner may change at any time.
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

always_ref_counted!(Helper);

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

    /// The address, an identity while it lives.
    pub(crate) fn address(&self) -> usize {
        self.raw() as usize
    }
}

/// The part of an entry that says who helps it, and keeps its expectations.
///
/// # Invariants
///
/// The helper's pointer is null or has a reference on it, which is given back with the entry.
#[repr(transparent)]
pub(crate) struct Help(Opaque<bindings::nf_conn_help>);

// SAFETY: The pointer is atomic, the rest needs the lock of expectations.
unsafe impl Sync for Help {}
// SAFETY: `struct nf_conn_help` is the part under this number.
unsafe impl Extension for Help {
    const ID: u32 = bindings::nf_ct_ext_id_NF_CT_EXT_HELPER;
}

impl Help {
    #[inline]
    fn pointer(&self) -> &CountedPointer<Helper> {
        // SAFETY: By the type invariants; `Helper` is transparent.
        unsafe { CountedPointer::from_raw(addr_of_mut!((*self.0.get()).helper).cast()) }
    }

    /// Who helps.
    #[inline]
    pub(crate) fn helper<'r>(&self, rcu: Rcu<'r>) -> Option<&'r Helper> {
        self.pointer().load(rcu)
    }

    /// Says who helps from now on.
    pub(crate) fn set_helper(&self, helper: Option<ARef<Helper>>) {
        drop(self.pointer().replace(helper));
    }

    pub(in crate::nf) fn chain(&self) -> *mut bindings::hlist_head {
        // SAFETY: A field of a valid object.
        unsafe { addr_of_mut!((*self.0.get()).expectations) }
    }

    /// Whether there are expectations, as seen in passing.
    pub(crate) fn is_expecting(&self) -> bool {
        // SAFETY: A valid, aligned pointer, accessed atomically.
        let first = unsafe { Atomic::from_ptr(addr_of_mut!((*self.chain()).first)) };
        !first.load(Relaxed).is_null()
    }

    /// The part as C code takes it.
    pub(crate) fn raw(&self) -> *mut bindings::nf_conn_help {
        self.0.get()
    }
}

/// An entry, or a template, that may still get a [`Help`].
///
/// # Invariants
///
/// The entry is not confirmed, and nobody else looks at its extensions during `'a`.
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

    /// The entry, to look at.
    pub(crate) fn conn(&self) -> &Conn {
        // SAFETY: By the type invariants.
        unsafe { Conn::from_raw(self.conn) }
    }

    /// Gives it the part, without a helper. [`None`]: no memory, or it has one.
    pub(crate) fn add_help(&mut self) -> Option<&'a Help> {
        // SAFETY: By the type invariants.
        let part = unsafe { ext::add_by_number(self.conn, Help::ID, self.gfp) }?;
        self.conn().set(StatusBit::Helper);
        // SAFETY: The part is a `Help`; all zeroes are one without helper or expectations.
        Some(unsafe { part.cast::<Help>().as_ref() })
    }
}

/// Gives back what an entry's [`Help`] holds.
pub(super) fn release(conn: &Conn) {
    if let Some(help) = conn.extensions().find::<Help>() {
        help.set_helper(None);
    }
}
