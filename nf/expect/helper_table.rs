// SPDX-License-Identifier: GPL-2.0

//! Who is registered: helpers, their counterparts that translate addresses, and the functions
//! that expectations call.
//!
//! The table of helpers is known to C code (nfnetlink_cthelper) by the variables
//! `nf_ct_helper_hash` and `nf_ct_helper_hsize`.

use core::{
    ffi::c_int,
    mem::{
        offset_of,
        size_of, //
    },
    ptr::{
        addr_of,
        addr_of_mut,
        null_mut,
        NonNull, //
    },
};

use kernel::{
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
    },
};

use crate::nf::{
    bindings,
    entry::help::Helper,
    kernel::{
        hlist::{
            self,
            ListHead,
            Nodes, //
        },
        rcu::Rcu,
        static_lock::StaticMutex, //
    },
};

use super::{
    helper::{
        Name,
        Unregistered, //
    },
    lock::Locked, //
};

/// Those who translate addresses in what helpers read: `struct nf_conntrack_nat_helper`.
static NAT_HELPERS: ListHead = ListHead::new();

/// The functions that expectations call: `struct nf_ct_helper_expectfn`.
static FUNCTIONS: ListHead = ListHead::new();

fn heads() -> &'static Atomic<*mut bindings::hlist_head> {
    // SAFETY: A valid, aligned pointer, only accessed atomically by us; C code reads it.
    unsafe { Atomic::from_ptr(addr_of_mut!(bindings::nf_ct_helper_hash)) }
}

fn size() -> &'static Atomic<u32> {
    // SAFETY: A valid, aligned word, only accessed atomically by us; C code reads it.
    unsafe { Atomic::from_ptr(addr_of_mut!(bindings::nf_ct_helper_hsize)) }
}

/// The number of chains.
pub(crate) fn buckets() -> u32 {
    size().load(Relaxed)
}

/// A chain of the table; [`None`] if there is none.
fn head(bucket: u32) -> Option<NonNull<bindings::hlist_head>> {
    let heads = NonNull::new(heads().load(Acquire))?;
    // SAFETY: In bounds: the array has as many heads as its size says.
    (bucket < buckets()).then(|| unsafe { heads.add(bucket as usize) })
}

/// The life of the table.
///
/// # Invariants
///
/// The table exists, and there is one value of this type.
pub(crate) struct HelperTable(());

impl HelperTable {
    /// Makes the table: a page of chains. May sleep.
    pub(crate) fn create() -> Result<Self> {
        const BUCKETS: u32 = (bindings::RCT_PAGE_SIZE / size_of::<bindings::hlist_head>()) as u32;
        if !heads().load(Relaxed).is_null() {
            return Err(EBUSY);
        }
        let chains = hlist::allocate(BUCKETS)?;
        // SAFETY: The module is being loaded; nobody registers anything yet.
        unsafe {
            NAT_HELPERS.init();
            FUNCTIONS.init();
        }
        size().store(BUCKETS, Relaxed);
        heads().store(chains.as_ptr(), Release);
        // INVARIANT: just made.
        Ok(Self(()))
    }
}

impl Drop for HelperTable {
    /// No module that registered a helper is loaded any more, so the table is empty.
    fn drop(&mut self) {
        let chains = heads().load(Relaxed);
        heads().store(null_mut(), Relaxed);
        // SAFETY: By the type invariants; nobody looks into it any more.
        unsafe { hlist::free(chains) };
    }
}

/// The helpers of a bucket.
pub(crate) fn walk<'r>(bucket: u32, rcu: Rcu<'r>) -> impl Iterator<Item = &'r Helper> {
    const NODE: usize = offset_of!(bindings::nf_conntrack_helper, hnode);
    head(bucket).into_iter().flat_map(move |head| {
        // SAFETY: A chain of the table; helpers are freed a grace period after they left it.
        unsafe { Nodes::of(head.as_ptr(), rcu) }.map(|node| {
            // SAFETY: The node is inside a helper, which was on the chain during `'r`.
            unsafe { Helper::from_raw(node.as_ptr().byte_sub(NODE).cast()) }
        })
    })
}

/// Serialises changes of the registered helpers and of their counterparts that translate addresses.
pub(crate) static REGISTRY: StaticMutex<Registry> = StaticMutex::new(c"REGISTRY", || Registry(()));

/// The right to change which helpers, and which of their counterparts, are registered: there is one
/// value, inside of [`REGISTRY`].
pub(crate) struct Registry(());

impl Registry {
    /// Puts a helper into a bucket, together with the first reference to it.
    ///
    /// Fails without a table.
    pub(crate) fn insert(&mut self, helper: &Unregistered<'_>, bucket: u32) -> Result {
        let head = head(bucket).ok_or(ENOENT)?;
        let reference = helper.first_reference();
        // SAFETY: The mutex is held; by the type invariants the helper is on no chain.
        unsafe {
            bindings::rct_hlist_add_head_rcu(addr_of_mut!((*reference.raw()).hnode), head.as_ptr());
        }
        // The reference is that of who registers, until `remove` returns it.
        let _ = ARef::into_raw(reference);
        Ok(())
    }

    /// Takes a helper out: later lookups do not find it.
    ///
    /// # Safety
    ///
    /// It was put in by [`Registry::insert`], and not taken out since.
    pub(crate) unsafe fn remove(&mut self, helper: &Helper) {
        // SAFETY: The mutex is held; the caller's promise.
        unsafe { bindings::rct_hlist_del_init_rcu(addr_of_mut!((*helper.raw()).hnode)) };
    }

    /// Registers a helper's counterpart that translates addresses.
    ///
    /// # Safety
    ///
    /// `element` stays valid until a grace period after [`Registry::remove_nat`].
    pub(crate) unsafe fn insert_nat(&mut self, element: *mut bindings::nf_conntrack_nat_helper) {
        // SAFETY: The mutex is held; the caller's promise.
        unsafe { NAT_HELPERS.push(addr_of_mut!((*element).list)) };
    }

    /// Undoes [`Registry::insert_nat`].
    ///
    /// # Safety
    ///
    /// `element` was given to that, and not taken out since.
    pub(crate) unsafe fn remove_nat(&mut self, element: *mut bindings::nf_conntrack_nat_helper) {
        // SAFETY: The mutex is held; the caller's promise.
        unsafe { ListHead::remove(addr_of_mut!((*element).list)) };
    }
}

/// Asks user space for the module of a helper, by its alias. May sleep.
pub(crate) fn request_module(name: &Name) -> Result {
    // SAFETY: Process context; the format fits the argument.
    let result = unsafe {
        bindings::__request_module(true, c"nfct-helper-%s".as_char_ptr(), name.as_char_ptr())
    };
    done(result)
}

/// Asks user space for the module that translates addresses for a helper. May sleep.
pub(crate) fn request_nat_module(name: &Name) -> Result {
    // SAFETY: Process context; the format fits the argument.
    let result =
        unsafe { bindings::__request_module(true, c"%s".as_char_ptr(), name.as_char_ptr()) };
    done(result)
}

/// What a program returned, or why there was none.
fn done(result: c_int) -> Result {
    if result == 0 {
        Ok(())
    } else {
        Err(ENOENT)
    }
}

/// Somebody who translates addresses, found during an RCU read-side section.
///
/// # Invariants
///
/// Registered at some time during `'r`.
pub(crate) struct NatHelper<'r>(NonNull<bindings::nf_conntrack_nat_helper>, Rcu<'r>);

impl NatHelper<'_> {
    /// Keeps its module from being unloaded. Says whether that worked.
    pub(crate) fn take_module(&self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_try_module_get((*self.0.as_ptr()).module) }
    }

    /// Undoes [`NatHelper::take_module`].
    pub(crate) fn put_module(&self) {
        // SAFETY: By the type invariants; the caller has kept the module.
        unsafe { bindings::rct_module_put((*self.0.as_ptr()).module) };
    }
}

/// Who translates addresses under a name.
pub(crate) fn find_nat<'r>(name: &Name, rcu: Rcu<'r>) -> Option<NatHelper<'r>> {
    const LIST: usize = offset_of!(bindings::nf_conntrack_nat_helper, list);
    NAT_HELPERS.walk(rcu).find_map(|element| {
        // SAFETY: The list's element is inside a `struct nf_conntrack_nat_helper`.
        let candidate: NonNull<bindings::nf_conntrack_nat_helper> =
            unsafe { element.byte_sub(LIST).cast() };
        // SAFETY: Registered, so it is valid, and its name does not change.
        let own = unsafe { Name::read(addr_of!((*candidate.as_ptr()).mod_name)) };
        // INVARIANT: found on the list.
        (own == *name).then_some(NatHelper(candidate, rcu))
    })
}

/// Registers a function that expectations call.
///
/// # Safety
///
/// `element` stays valid until a grace period after [`remove_function`].
pub(crate) unsafe fn insert_function(
    element: *mut bindings::nf_ct_helper_expectfn,
    _locked: Locked<'_>,
) {
    // SAFETY: The lock is held; the caller's promise.
    unsafe { FUNCTIONS.push(addr_of_mut!((*element).head)) };
}

/// Undoes [`insert_function`].
///
/// # Safety
///
/// `element` was given to that, and not taken out since.
pub(crate) unsafe fn remove_function(
    element: *mut bindings::nf_ct_helper_expectfn,
    _locked: Locked<'_>,
) {
    // SAFETY: The lock is held; the caller's promise.
    unsafe { ListHead::remove(addr_of_mut!((*element).head)) };
}

/// A registered function, found during an RCU read-side section.
///
/// # Invariants
///
/// Registered at some time during the section.
pub(crate) struct Function(NonNull<bindings::nf_ct_helper_expectfn>);

impl Function {
    /// Whether it has that name.
    ///
    /// # Safety
    ///
    /// `name` is text that ends with a zero.
    pub(crate) unsafe fn is_named(&self, name: *const c_char) -> bool {
        // SAFETY: By the type invariants; its own name is text, and as long-lived.
        unsafe { bindings::strcmp((*self.0.as_ptr()).name, name) == 0 }
    }

    /// Shows `f` its name.
    pub(crate) fn with_name<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        // SAFETY: By the type invariants; the name is text, and as long-lived.
        f(unsafe {
            let name = (*self.0.as_ptr()).name;
            core::slice::from_raw_parts(name.cast(), bindings::strlen(name))
        })
    }

    /// The function's address.
    pub(crate) fn address(&self) -> Option<usize> {
        // SAFETY: By the type invariants.
        unsafe { (*self.0.as_ptr()).expectfn }.map(|function| function as usize)
    }

    /// The pointer, for C code.
    pub(crate) fn raw(&self) -> *mut bindings::nf_ct_helper_expectfn {
        self.0.as_ptr()
    }
}

/// The registered functions.
pub(crate) fn functions(rcu: Rcu<'_>) -> impl Iterator<Item = Function> + '_ {
    const HEAD: usize = offset_of!(bindings::nf_ct_helper_expectfn, head);
    // SAFETY: The list's element is inside a `struct nf_ct_helper_expectfn`.
    // INVARIANT: found on the list.
    FUNCTIONS
        .walk(rcu)
        .map(|element| Function(unsafe { element.byte_sub(HEAD).cast() }))
}
