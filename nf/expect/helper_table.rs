// SPDX-License-Identifier: GPL-2.0

//! The registered helpers (`struct nf_conntrack_helper`) and NAT helpers
//! (`struct nf_conntrack_nat_helper`, which translate addresses in what a helper reads).
//!
//! C code (nfnetlink_cthelper) walks the table of helpers by the variables `nf_ct_helper_hash` and
//! `nf_ct_helper_hsize`.
//!
//! # Examples
//!
//! ```ignore
//! // A helper from `kmalloc()` is handed over. It is freed when it is unregistered, a grace period
//! // after its last reference was dropped.
//! // SAFETY: The helper is initialised, and nothing else uses it.
//! let helper = unsafe { Unregistered::from_raw(raw) };
//! let mut registry = REGISTRY.lock();
//! registry.insert(helper, bucket)?;
//! drop(registry);
//!
//! // Readers find it in its bucket.
//! let section = RcuGuard::new();
//! let found = walk(bucket, section.token()).find(|helper| helper.name() == name);
//! ```

use core::{
    marker::PhantomData,
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
            Full,
            Relaxed,
            Release, //
        },
    },
};

use crate::{
    nf::{
        bindings,
        entry::help::Helper,
        kernel::{
            hlist::{
                self,
                ListHead,
                Nodes, //
            },
            rcu::{
                synchronize_rcu,
                Rcu, //
            },
            refcount::Counted,
            static_lock::StaticMutex, //
        },
    },
    proto::types::num::u32_as_usize, //
};

use super::{
    expectfn,
    helper::Unregistered,
    helper_name::HelperName,
    module::ModuleRef, //
};

/// The list of NAT helpers. Changes need [`REGISTRY`].
static NAT_HELPERS: ListHead = ListHead::new();

fn heads() -> &'static Atomic<*mut bindings::hlist_head> {
    // SAFETY: A valid, aligned pointer, accessed atomically here; C code reads it.
    unsafe { Atomic::from_ptr(addr_of_mut!(bindings::nf_ct_helper_hash)) }
}

fn size() -> &'static Atomic<u32> {
    // SAFETY: A valid, aligned word, accessed atomically here; C code reads it.
    unsafe { Atomic::from_ptr(addr_of_mut!(bindings::nf_ct_helper_hsize)) }
}

/// Returns the number of buckets; 0 before the table exists.
pub(crate) fn buckets() -> u32 {
    size().load(Relaxed)
}

/// Returns a bucket of the table; [`None`] if there is no such bucket, or no table.
fn head(bucket: u32) -> Option<NonNull<bindings::hlist_head>> {
    let heads = NonNull::new(heads().load(Acquire))?;
    // SAFETY: In bounds: the array has `buckets()` heads.
    (bucket < buckets()).then(|| unsafe { heads.add(u32_as_usize(bucket)) })
}

/// Whether a [`HelperTable`] was created since the module was loaded.
static MADE: Atomic<bool> = Atomic::new(false);

/// Owns the table of helpers.
///
/// # Invariants
///
/// The table exists, and there is one value of this type.
pub(crate) struct HelperTable(());

impl HelperTable {
    /// Allocates the table: one page of buckets. May sleep. `EBUSY`: it was called before.
    /// `ENOMEM`: no memory.
    pub(crate) fn create() -> Result<Self> {
        // CAST: a page has a few hundred.
        const BUCKETS: u32 = (bindings::RCT_PAGE_SIZE / size_of::<bindings::hlist_head>()) as u32;
        if MADE.xchg(true, Full) {
            return Err(EBUSY);
        }
        let array = hlist::allocate(BUCKETS)?;
        // SAFETY: This is done once, before anything is registered: the functions that register are
        // exported, and the loader makes no other module use them before this one is loaded.
        unsafe {
            NAT_HELPERS.init();
            expectfn::init();
        }
        size().store(BUCKETS, Relaxed);
        heads().store(array.as_ptr(), Release);
        // INVARIANT: Just made.
        Ok(Self(()))
    }
}

impl Drop for HelperTable {
    /// Frees the table, a grace period after it was taken away. It is empty, as no module that
    /// registered a helper is loaded any more; otherwise its memory leaks.
    fn drop(&mut self) {
        let array = {
            // A helper is added under this mutex.
            let _registry = REGISTRY.lock();
            heads().xchg(null_mut(), Full)
        };
        synchronize_rcu();
        if let Some(array) = NonNull::new(array) {
            // SAFETY: By the type invariants; nothing looks into the table any more.
            unsafe { hlist::free(array, buckets()) };
        }
    }
}

/// Walks the helpers of a bucket.
pub(crate) fn walk<'r>(bucket: u32, rcu: Rcu<'r>) -> impl Iterator<Item = &'r Helper> {
    const NODE: usize = offset_of!(bindings::nf_conntrack_helper, hnode);
    head(bucket).into_iter().flat_map(move |head| {
        // SAFETY: A bucket of the table; helpers are freed a grace period after they left it.
        unsafe { Nodes::of(head.as_ptr(), rcu) }.map(|node| {
            // SAFETY: The node is inside a helper, which was in the bucket during `'r`.
            unsafe { Helper::from_raw(node.as_ptr().byte_sub(NODE).cast()) }
        })
    })
}

/// Serialises changes of the registered helpers and NAT helpers.
pub(crate) static REGISTRY: StaticMutex<Registry> = StaticMutex::new(c"REGISTRY", || Registry(()));

/// The right to register and unregister helpers and NAT helpers: there is one value, inside of
/// [`REGISTRY`].
pub(crate) struct Registry(());

impl Registry {
    /// Links a helper into a bucket. The table owns the first reference, until
    /// [`Registry::remove`] returns it. `ENOENT`: there is no table.
    pub(crate) fn insert(&mut self, helper: Unregistered<'_>, bucket: u32) -> Result {
        let head = head(bucket).ok_or(ENOENT)?;
        let raw = ARef::into_raw(helper.into_first_reference()).as_ptr();
        // SAFETY: The mutex is held; by the type invariants of `Unregistered` the helper is in no
        // bucket.
        unsafe {
            let raw = raw.cast::<bindings::nf_conntrack_helper>();
            bindings::rct_hlist_add_head_rcu(addr_of_mut!((*raw).hnode), head.as_ptr());
        }
        Ok(())
    }

    /// Unlinks a helper, so that later lookups do not find it, and returns the table's reference.
    ///
    /// # Safety
    ///
    /// [`Registry::insert`] linked `helper`, which was not removed since.
    pub(crate) unsafe fn remove(
        &mut self,
        helper: NonNull<bindings::nf_conntrack_helper>,
    ) -> ARef<Counted<Helper>> {
        // SAFETY: The mutex is held; by the function's contract.
        unsafe {
            bindings::rct_hlist_del_init_rcu(addr_of_mut!((*helper.as_ptr()).hnode));
            ARef::from_raw(helper.cast())
        }
    }

    /// Registers a NAT helper.
    ///
    /// # Safety
    ///
    /// `element` is in no list, and stays valid until a grace period after
    /// [`Registry::remove_nat`].
    pub(crate) unsafe fn insert_nat(&mut self, element: *mut bindings::nf_conntrack_nat_helper) {
        // SAFETY: The mutex is held; by the function's contract.
        unsafe { NAT_HELPERS.push(addr_of_mut!((*element).list)) };
    }

    /// Unregisters a NAT helper.
    ///
    /// # Safety
    ///
    /// [`Registry::insert_nat`] registered `element`, which was not removed since.
    pub(crate) unsafe fn remove_nat(&mut self, element: *mut bindings::nf_conntrack_nat_helper) {
        // SAFETY: The mutex is held; by the function's contract.
        unsafe { ListHead::remove(addr_of_mut!((*element).list)) };
    }
}

/// A registered NAT helper, found during an RCU read-side section.
///
/// # Invariants
///
/// The element was registered at some time during `'r`.
pub(crate) struct NatHelper<'r>(
    NonNull<bindings::nf_conntrack_nat_helper>,
    PhantomData<Rcu<'r>>,
);

impl NatHelper<'_> {
    /// Takes a reference to the NAT helper's module. [`None`]: the module is being unloaded.
    pub(crate) fn module(&self) -> Option<ModuleRef> {
        // SAFETY: By the type invariants the module is not freed during the section.
        unsafe { ModuleRef::get((*self.0.as_ptr()).module) }
    }

    /// Adopts a reference to the NAT helper's module that was left to C code.
    ///
    /// # Safety
    ///
    /// C code gives up a reference that [`NatHelper::module`] took and [`ModuleRef::leave_to_c`]
    /// left.
    pub(crate) unsafe fn module_from_c(&self) -> ModuleRef {
        // SAFETY: By the type invariants and the function's contract.
        unsafe { ModuleRef::from_raw((*self.0.as_ptr()).module) }
    }
}

/// Finds the NAT helper of that name.
pub(crate) fn find_nat<'r>(name: &HelperName, rcu: Rcu<'r>) -> Option<NatHelper<'r>> {
    const LIST: usize = offset_of!(bindings::nf_conntrack_nat_helper, list);
    NAT_HELPERS.walk(rcu).find_map(|element| {
        // SAFETY: The list's element is inside a `struct nf_conntrack_nat_helper`.
        let candidate: NonNull<bindings::nf_conntrack_nat_helper> =
            unsafe { element.byte_sub(LIST).cast() };
        // SAFETY: Registered, so it is valid, and its name does not change.
        let own = unsafe { HelperName::from_field(addr_of!((*candidate.as_ptr()).mod_name)) };
        // INVARIANT: It was found in the list.
        (own == *name).then_some(NatHelper(candidate, PhantomData))
    })
}
