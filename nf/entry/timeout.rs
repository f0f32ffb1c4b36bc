// SPDX-License-Identifier: GPL-2.0

//! Timeout policies (`struct nf_ct_timeout`): timeouts that a rule gives to a connection in place
//! of the namespace's (`iptables -j CT --timeout`, `nft … ct timeout set`).
//!
//! Policies belong to the modules that create them. An entry or template refers to one in an
//! extension, which that module may clear at any time.
//!
//! C header: [`include/net/netfilter/nf_conntrack_timeout.h`](srctree/include/net/netfilter/nf_conntrack_timeout.h)

use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ptr::{
        addr_of_mut,
        NonNull, //
    },
};

use kernel::{
    ffi::c_char,
    fmt,
    prelude::*,
    sync::aref::ARef,
    types::Opaque, //
};

use crate::{
    nf::{
        bindings,
        kernel::{
            net::Net,
            rcu::Rcu,
            refcount::{
                Counted,
                CountedPointer,
                RcuCounted, //
            },
        },
    },
    proto::types::timeout::Timeout, //
};

use super::{
    conn::{
        Conn,
        Entry, //
    },
    ext::{
        self,
        Extension, //
    },
    l4proto::L4Proto, //
};

/// A policy: the timeouts of one protocol.
///
/// # Invariants
///
/// For the protocol that its `l4proto` describes: `data` has as many timeouts as that has. Freed no
/// sooner than a grace period after the last reference is given up.
#[repr(transparent)]
pub(crate) struct TimeoutPolicy(Opaque<bindings::nf_ct_timeout>);

// SAFETY: The reference count is `refcnt`.
unsafe impl RcuCounted for TimeoutPolicy {
    unsafe fn count(this: NonNull<Self>) -> *mut bindings::refcount_t {
        let raw = this.as_ptr().cast::<bindings::nf_ct_timeout>();
        // SAFETY: The caller's promise: a field of a valid object.
        unsafe { addr_of_mut!((*raw).refcnt) }
    }

    unsafe fn free_rcu(this: NonNull<Self>) {
        // SAFETY: The last reference is gone; the memory came from `kmalloc`.
        unsafe { bindings::rct_timeout_kfree_rcu(this.as_ptr().cast()) };
    }
}

// SAFETY: References travel with entries from CPU to CPU.
unsafe impl Send for TimeoutPolicy {}
// SAFETY: What changes in it are a counter and single words.
unsafe impl Sync for TimeoutPolicy {}

impl TimeoutPolicy {
    fn raw(&self) -> *mut bindings::nf_ct_timeout {
        self.0.get()
    }

    /// Borrows a policy that C code handed over.
    ///
    /// # Safety
    ///
    /// `policy` is null, or points to a policy that lives for `'a`.
    pub(crate) unsafe fn from_raw<'a>(policy: *mut bindings::nf_ct_timeout) -> Option<&'a Self> {
        // SAFETY: The caller's promise; the type is transparent.
        unsafe { policy.cast::<Self>().as_ref() }
    }

    /// Returns the number of the address family.
    pub(crate) fn family(&self) -> u16 {
        // SAFETY: Valid, and set before the policy was shared.
        unsafe { (*self.raw()).l3num }
    }

    /// Returns the protocol number.
    pub(crate) fn protocol(&self) -> u8 {
        // SAFETY: Valid, and set before the policy was shared.
        unsafe { (*(*self.raw()).l4proto).l4proto }
    }

    /// Returns the timeouts in jiffies, if the policy is for `protocol`. The module that owns it
    /// may change them at any time; each is one word.
    #[inline]
    pub(crate) fn timeouts<const N: usize>(
        &self,
        protocol: &'static L4Proto<N>,
    ) -> Option<&[Timeout; N]> {
        let raw = self.raw();
        // SAFETY: Valid, and set before the policy was shared.
        if !core::ptr::eq(unsafe { (*raw).l4proto }, protocol.raw()) {
            return None;
        }
        // SAFETY: By the type invariants `data` has what `protocol` says, which by its
        // invariants are `N` words; they are aligned, as they follow a pointer.
        Some(unsafe { &*addr_of_mut!((*raw).data).cast::<[Timeout; N]>() })
    }
}

// The timeouts are words.
const _: () = assert!(core::mem::offset_of!(bindings::nf_ct_timeout, data) % 4 == 0);

/// The extension for a policy (`struct nf_conn_timeout`).
///
/// # Invariants
///
/// Null, or a pointer that owns a reference to the policy.
#[repr(transparent)]
pub(crate) struct PolicySlot(Opaque<bindings::nf_conn_timeout>);

// SAFETY: One pointer, accessed atomically only.
unsafe impl Sync for PolicySlot {}
// SAFETY: `struct nf_conn_timeout` is the extension with this number.
unsafe impl Extension for PolicySlot {
    const ID: u32 = bindings::nf_ct_ext_id_NF_CT_EXT_TIMEOUT;
}

impl PolicySlot {
    #[inline]
    fn pointer(&self) -> &CountedPointer<TimeoutPolicy> {
        // SAFETY: By the type invariants; `TimeoutPolicy` is transparent.
        unsafe { CountedPointer::from_raw(addr_of_mut!((*self.0.get()).timeout).cast()) }
    }

    /// Returns the policy.
    #[inline]
    pub(crate) fn policy<'r>(&self, rcu: Rcu<'r>) -> Option<&'r TimeoutPolicy> {
        self.pointer().load(rcu)
    }

    /// Takes the policy out.
    pub(crate) fn take(&self) -> Option<ARef<Counted<TimeoutPolicy>>> {
        self.pointer().replace(None)
    }

    /// Takes the policy out, if it is `which`; for [`None`], any.
    pub(crate) fn forget(&self, which: Option<&TimeoutPolicy>) {
        drop(match which {
            Some(which) => self.pointer().take_if(which),
            None => self.take(),
        });
    }

    pub(super) fn set(&self, policy: ARef<Counted<TimeoutPolicy>>) {
        drop(self.pointer().replace(Some(policy)));
    }
}

/// # Safety
///
/// As for [`ext::add_by_number`].
pub(super) unsafe fn add_slot<'a>(conn: *mut bindings::nf_conn) -> Option<&'a PolicySlot> {
    // SAFETY: The caller's promise.
    let part = unsafe { ext::add_by_number(conn, PolicySlot::ID, bindings::gfp::ATOMIC) }?;
    // SAFETY: The part is a `PolicySlot`; null is valid.
    Some(unsafe { part.cast::<PolicySlot>().as_ref() })
}

/// Gives up the reference that an entry's [`PolicySlot`] owns.
pub(in crate::nf) fn release(conn: &Entry) {
    if let Some(slot) = conn.extensions().find::<PolicySlot>() {
        drop(slot.take());
    }
}

/// A template of a rule that is being created.
///
/// # Invariants
///
/// `0` is a template that nothing else uses during `'a`.
pub(crate) struct Template<'a>(*mut bindings::nf_conn, PhantomData<&'a ()>);

impl Template<'_> {
    /// # Safety
    ///
    /// As the invariants say.
    pub(crate) unsafe fn from_raw(template: *mut bindings::nf_conn) -> Self {
        // INVARIANT: the caller's promise.
        Self(template, PhantomData)
    }

    /// Adds a policy. The template keeps the provider's module until [`PolicyProvider::release`].
    ///
    /// `ENOMEM`: no memory, or the template has a policy.
    pub(crate) fn give(&mut self, policy: NamedPolicy<'_>) -> Result {
        // SAFETY: By the type invariants.
        let slot = unsafe { add_slot(self.0) }.ok_or(ENOMEM)?;
        slot.set(policy.policy().get().ok_or(ENOMEM)?);
        // Its reference, and that to the provider's module, are the template's now.
        let _ = ManuallyDrop::new(policy);
        Ok(())
    }
}

/// The name of a policy, as C code hands it over.
///
/// # Invariants
///
/// Text that ends with a zero, for `'a`.
#[derive(Clone, Copy)]
pub(crate) struct Name<'a>(*const c_char, PhantomData<&'a ()>);

impl Name<'_> {
    /// # Safety
    ///
    /// As the invariants say.
    pub(crate) unsafe fn from_raw(text: *const c_char) -> Self {
        // INVARIANT: the caller's promise.
        Self(text, PhantomData)
    }
}

impl fmt::Display for Name<'_> {
    /// Writes the name, up to the greatest length of one; bytes that are not ASCII as question
    /// marks.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        for at in 0..bindings::CTNL_TIMEOUT_NAME_MAX as usize {
            // SAFETY: By the type invariants, as no zero was met so far.
            match unsafe { self.0.add(at).read() } {
                0 => break,
                byte => f.write_char(match byte {
                    byte @ b' '..=b'~' => char::from(byte),
                    _ => '?',
                })?,
            }
        }
        Ok(())
    }
}

/// The module that has policies by name (`nfnetlink_cttimeout`).
///
/// # Invariants
///
/// `0` points to its functions; the module stays for `'r`.
#[derive(Clone, Copy)]
pub(crate) struct PolicyProvider<'r>(NonNull<bindings::nf_ct_timeout_hooks>, Rcu<'r>);

impl<'r> PolicyProvider<'r> {
    /// Returns the provider. [`None`]: the module is not loaded.
    pub(crate) fn find(rcu: Rcu<'r>) -> Option<Self> {
        // SAFETY: In a read-side section, which keeps the module.
        let hooks = unsafe { bindings::rct_timeout_hooks() };
        // INVARIANT: the module waits for a grace period when it takes them back.
        NonNull::new(hooks.cast_mut()).map(|hooks| Self(hooks, rcu))
    }

    /// Finds a policy by name, and takes a reference to it and one to the module.
    pub(crate) fn policy(self, net: &Net, name: Name<'_>) -> Option<NamedPolicy<'r>> {
        // SAFETY: By the type invariants.
        let find = unsafe { (*self.0.as_ptr()).timeout_find_get }?;
        // SAFETY: In a read-side section, with a namespace and a name.
        let policy = unsafe { find(net.raw(), name.0) };
        // INVARIANT: just taken.
        NonNull::new(policy).map(|policy| NamedPolicy {
            policy,
            provider: self,
        })
    }

    /// Removes a template's policy, and gives up the references that the template holds for it.
    pub(crate) fn release(self, template: &Conn) {
        let Some(slot) = template.extensions().find::<PolicySlot>() else {
            return;
        };
        if let Some(policy) = slot.take() {
            // INVARIANT: the template held both, see `Template::give`.
            drop(NamedPolicy {
                policy: NonNull::from(&*policy).cast(),
                provider: self,
            });
        }
    }
}

/// A policy that was found by name.
///
/// # Invariants
///
/// Owns a reference to `policy`, and one to the provider's module.
pub(crate) struct NamedPolicy<'r> {
    policy: NonNull<bindings::nf_ct_timeout>,
    provider: PolicyProvider<'r>,
}

impl NamedPolicy<'_> {
    /// Returns the policy.
    pub(crate) fn policy(&self) -> &TimeoutPolicy {
        // SAFETY: By the type invariants; the type is transparent.
        unsafe { self.policy.cast().as_ref() }
    }
}

impl Drop for NamedPolicy<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        if let Some(put) = unsafe { (*self.provider.0.as_ptr()).timeout_put } {
            // SAFETY: By the type invariants this value owns both references.
            unsafe { put(self.policy.as_ptr()) };
        }
    }
}
