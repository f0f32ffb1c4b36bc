// SPDX-License-Identifier: GPL-2.0

//! `struct nf_conntrack_helper`: an application-layer helper, which inspects a connection's payload
//! and registers expectations.
//!
//! Helpers are modules of the kernel, or programs in user space (nfnetlink_cthelper). Their memory
//! is from `kmalloc()`, here or in C code; it is reference-counted and freed here. The extension
//! that names an entry's helper is [`Help`].
//!
//! # Examples
//!
//! ```ignore
//! // A packet is passed to the helper of its connection.
//! let verdict = match conn.helping(rcu) {
//!     Some(helper) => helper.help(skb, transport, info),
//!     None => Verdict::Accept,
//! };
//!
//! // A rule keeps a helper, and its module, for as long as the rule exists.
//! let loaded: Option<LoadedHelper> = helper_table::walk(bucket, rcu)
//!     .find(|helper| helper.name() == name)
//!     .and_then(Helper::load);
//! ```
//!
//! C header:
//! [`include/net/netfilter/nf_conntrack_helper.h`](srctree/include/net/netfilter/nf_conntrack_helper.h)

use core::{
    ffi::{
        c_int,
        c_void, //
    },
    marker::PhantomData,
    mem::{
        size_of,
        ManuallyDrop, //
    },
    ops::Deref,
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

use crate::{
    nf::{
        bindings,
        entry::{
            conn::{
                Conn,
                Entry, //
            },
            help::{
                Help,
                Helper, //
            },
        },
        kernel::{
            attr::{
                Attribute,
                Message, //
            },
            rcu::{
                Rcu,
                RcuGuard, //
            },
            refcount::{
                self,
                Counted,
                RcuCounted, //
            },
        },
        packet::{
            hook::Verdict,
            skb::{
                CtInfo,
                Skb, //
            },
        },
    },
    proto::types::{
        direction::Direction,
        num::u32_as_usize, //
    },
};

use super::{
    helper_name::HelperName,
    module::ModuleRef, //
};

/// Number of classes of expectations that a helper may have.
pub(crate) const MAX_CLASSES: usize = u32_as_usize(bindings::NF_CT_MAX_EXPECT_CLASSES);

/// Largest number of expectations of a class for one master; the number without a helper.
pub(crate) const MAX_EXPECTED: u32 = bindings::NF_CT_EXPECT_MAX_CNT;

/// A helper's policy for a class of expectations.
#[derive(Clone, Copy)]
pub(crate) struct ExpectPolicy {
    /// Largest number of expectations for one master.
    pub(crate) max_expected: u32,
    /// Lifetime of an expectation in seconds.
    pub(crate) timeout: u32,
}

/// The bits of `nf_conntrack_helper.flags`.
const USERSPACE: u32 = bindings::nf_ct_helper_flags_NF_CT_HELPER_F_USERSPACE;

impl Helper {
    /// Returns the name.
    pub(crate) fn name(&self) -> HelperName {
        // SAFETY: Valid, and not changed.
        unsafe { HelperName::from_field(addr_of!((*self.raw()).name)) }
    }

    /// Returns the name of the module that translates addresses in what the helper reads.
    pub(crate) fn nat_module_name(&self) -> HelperName {
        // SAFETY: Valid, and not changed.
        unsafe { HelperName::from_field(addr_of!((*self.raw()).nat_mod_name)) }
    }

    /// Returns the address family of its connections (`NFPROTO_*`; `NFPROTO_UNSPEC`: any).
    pub(crate) fn family(&self) -> u8 {
        // SAFETY: Valid, and not changed.
        unsafe { bindings::rct_helper_family(self.raw()) }
    }

    /// Returns whether the helper is for connections of `family`.
    pub(crate) fn is_for(&self, family: u16) -> bool {
        let own = self.family();
        u32::from(own) == bindings::NFPROTO_UNSPEC || u16::from(own) == family
    }

    /// Returns the IP protocol number of its connections.
    pub(crate) fn protocol(&self) -> u8 {
        // SAFETY: Valid, and not changed.
        unsafe { bindings::rct_helper_protocol(self.raw()) }
    }

    /// Returns whether the helper is for connections of an IP protocol. One that an object of nft
    /// made (`ct expectation`) names none, and is for all.
    pub(crate) fn is_for_protocol(&self, protocol: u8) -> bool {
        let own = self.protocol();
        own == 0 || own == protocol
    }

    /// Returns whether the helper is a program in user space.
    pub(crate) fn is_userspace(&self) -> bool {
        // SAFETY: A valid, aligned word, accessed atomically.
        let flags = unsafe { Atomic::from_ptr(addr_of_mut!((*self.raw()).flags)) };
        flags.load(Relaxed) & USERSPACE != 0
    }

    /// Returns the number of the last class (`expect_class_max`).
    pub(crate) fn last_class(&self) -> u32 {
        // SAFETY: Valid, and not changed.
        unsafe { (*self.raw()).expect_class_max }
    }

    fn policy_at(&self, class: u32) -> Option<*mut bindings::nf_conntrack_expect_policy> {
        let class = u32_as_usize(class);
        // SAFETY: In bounds, as just compared.
        (class < MAX_CLASSES).then(|| unsafe {
            addr_of_mut!((*self.raw()).expect_policy)
                .cast::<bindings::nf_conntrack_expect_policy>()
                .add(class)
        })
    }

    /// Returns the policy of a class; [`None`] if there can be no such class.
    pub(crate) fn policy(&self, class: u32) -> Option<ExpectPolicy> {
        let policy = self.policy_at(class)?;
        // SAFETY: Two valid, aligned words, accessed atomically.
        unsafe {
            Some(ExpectPolicy {
                max_expected: Atomic::from_ptr(addr_of_mut!((*policy).max_expected)).load(Relaxed),
                timeout: Atomic::from_ptr(addr_of_mut!((*policy).timeout)).load(Relaxed),
            })
        }
    }

    /// Returns the name of a class, which may be empty; [`None`] if there can be no such class.
    pub(crate) fn policy_name(&self, class: u32) -> Option<HelperName> {
        // SAFETY: Valid, and not changed.
        self.policy_at(class)
            .map(|policy| unsafe { HelperName::from_field(addr_of!((*policy).name)) })
    }

    /// Returns the function that inspects packets; null: the helper is disabled.
    fn function(&self) -> &Atomic<*mut c_void> {
        // SAFETY: A valid, aligned pointer, accessed atomically. A function pointer has the size
        // and alignment of a data pointer.
        unsafe { Atomic::from_ptr(addr_of_mut!((*self.raw()).help).cast()) }
    }

    /// Disables the helper before its module is unloaded: [`Helping::help`],
    /// [`Helping::to_nlattr`] and [`Helping::from_nlattr`] no longer call its functions. Calls that
    /// are under way end within a grace period.
    pub(crate) fn disable(&self) {
        self.function().store(null_mut(), Release);
    }

    /// Returns whether the helper is the one of the kernel's PPTP module: its `destroy` is the
    /// function that is exported for that module.
    pub(super) fn is_pptp(&self) -> bool {
        // SAFETY: Valid, and not changed.
        let destroy = unsafe { (*self.raw()).destroy }.map(|function| function as usize);
        let pptp: Option<unsafe extern "C" fn(*mut bindings::nf_conn)> = None;
        #[cfg(CONFIG_NF_CONNTRACK_PPTP)]
        let pptp = pptp.or(Some(bindings::gre_pptp_destroy_siblings));
        destroy.is_some() && destroy == pptp.map(|function| function as usize)
    }

    /// Takes references to the helper and to its module. [`None`]: the module is being unloaded, or
    /// the last reference to the helper was dropped.
    pub(crate) fn load(&self) -> Option<LoadedHelper> {
        // SAFETY: Valid; a helper's module is not freed before the helper.
        let module = unsafe { ModuleRef::get((*self.raw()).me) }?;
        let helper = self.get()?;
        Some(LoadedHelper { module, helper })
    }
}

/// The helper of an entry, together with the entry: that has the extension with the helper's data,
/// which the helper's functions use.
///
/// # Invariants
///
/// `helper` was the entry's helper at some time during the section of `'a`.
#[derive(Clone, Copy)]
pub(crate) struct Helping<'a> {
    entry: &'a Entry,
    helper: &'a Helper,
    _rcu: Rcu<'a>,
}

impl Entry {
    /// Returns the entry's helper.
    pub(crate) fn helping<'a>(&'a self, rcu: Rcu<'a>) -> Option<Helping<'a>> {
        let helper = self.extensions().find::<Help>()?.helper(rcu)?;
        // INVARIANT: As just found.
        Some(Helping {
            entry: self,
            helper,
            _rcu: rcu,
        })
    }
}

impl Deref for Helping<'_> {
    type Target = Helper;

    fn deref(&self) -> &Helper {
        self.helper
    }
}

impl Helping<'_> {
    /// Passes a packet of the connection to the helper, which may change the packet and returns a
    /// verdict on it. `transport` is the offset of the transport header.
    pub(crate) fn help(self, skb: &mut Skb, transport: u32, info: CtInfo) -> Verdict {
        type Function = unsafe extern "C" fn(
            *mut bindings::sk_buff,
            u32,
            *mut bindings::nf_conn,
            bindings::ip_conntrack_info,
        ) -> c_int;

        let function = self.function().load(Acquire);
        if function.is_null() {
            return Verdict::Accept;
        }
        // SAFETY: The pointer is null or such a function; the section keeps its module.
        let function = unsafe { core::mem::transmute::<*mut c_void, Function>(function) };
        // CAST: the discriminant.
        let info = info as bindings::ip_conntrack_info;
        // SAFETY: The packet is borrowed exclusively; by the type invariants the entry is one of
        // the helper's.
        let verdict = unsafe { function(skb.raw(), transport, self.entry.raw(), info) };
        // CAST: the same bits, as in C; the upper half of a verdict is a queue number.
        Verdict::from_raw(verdict as u32)
    }

    /// Adds the helper's attributes about the connection to a message. (An attribute for which
    /// there is no room is left out.)
    pub(crate) fn to_nlattr(self, message: &mut Message<'_>) {
        if self.function().load(Acquire).is_null() {
            return;
        }
        // SAFETY: Valid, and not changed.
        if let Some(function) = unsafe { (*self.helper.raw()).to_nlattr } {
            // SAFETY: By the type invariants; the message is borrowed exclusively, and the section
            // keeps the module.
            unsafe { function(message.raw(), self.entry.raw()) };
        }
    }

    /// Passes the attribute that user space sent about the connection to the helper. [`None`]: user
    /// space sent none.
    #[allow(clippy::wrong_self_convention)] // The name of C's method.
    pub(crate) fn from_nlattr(self, info: Option<Attribute<'_>>) {
        if self.function().load(Acquire).is_null() {
            return;
        }
        // SAFETY: Valid, and not changed.
        if let Some(function) = unsafe { (*self.helper.raw()).from_nlattr } {
            let info = info.map_or(null_mut(), Attribute::raw);
            // SAFETY: By the type invariants; the attribute is valid, or null, and the section
            // keeps the module.
            unsafe { function(info, self.entry.raw()) };
        }
    }

    /// Calls the helper's `destroy`, if it has one: the connection ends.
    pub(crate) fn destroy(self) {
        // SAFETY: Valid, and not changed.
        if let Some(function) = unsafe { (*self.helper.raw()).destroy } {
            // SAFETY: By the type invariants; the section keeps the function's module.
            unsafe { function(self.entry.raw()) };
        }
    }
}

/// A reference to a helper and one to its module, which keeps the helper's functions in memory.
///
/// The module's reference is dropped first: the helper outlives its module.
pub(crate) struct LoadedHelper {
    module: ModuleRef,
    helper: ARef<Counted<Helper>>,
}

impl LoadedHelper {
    /// Returns the helper for C code, which gives back both references together.
    pub(crate) fn into_raw(self) -> *mut bindings::nf_conntrack_helper {
        ARef::into_raw(self.leave_module_to_c()).as_ptr().cast()
    }

    /// Adopts both references from C code.
    ///
    /// # Safety
    ///
    /// C code gives up `helper` as it came from [`LoadedHelper::into_raw`], or from the references
    /// of [`LoadedHelper::leave_module_to_c`].
    pub(crate) unsafe fn from_raw(helper: NonNull<bindings::nf_conntrack_helper>) -> Self {
        // SAFETY: By the function's contract.
        unsafe {
            Self {
                module: ModuleRef::from_raw((*helper.as_ptr()).me),
                helper: ARef::from_raw(helper.cast()),
            }
        }
    }

    /// Returns the helper's reference, and leaves the module's reference to C code.
    pub(crate) fn leave_module_to_c(self) -> ARef<Counted<Helper>> {
        self.module.leave_to_c();
        self.helper
    }
}

/// A helper that is not registered.
///
/// A copy made by [`Unregistered::copy_of`] is freed when it is dropped; memory that came by
/// [`Unregistered::from_raw`] stays with C code.
///
/// # Invariants
///
/// Initialised, in memory from `kmalloc()`, and used by this value only, unless C code made it and
/// does not change it. A copy was made here, and is freed here.
pub(crate) struct Unregistered<'a> {
    raw: NonNull<bindings::nf_conntrack_helper>,
    is_copy: bool,
    memory: PhantomData<&'a ()>,
}

impl Unregistered<'_> {
    /// Wraps a helper that C code allocated.
    ///
    /// # Safety
    ///
    /// `helper` is initialised, in memory from `kmalloc()`, and nothing else uses it during `'a`.
    /// If it is registered, the memory is given away with it.
    pub(crate) unsafe fn from_raw(helper: NonNull<bindings::nf_conntrack_helper>) -> Self {
        // INVARIANT: By the function's contract.
        Self {
            raw: helper,
            is_copy: false,
            memory: PhantomData,
        }
    }

    /// Copies a helper. May sleep. `ENOMEM`: no memory.
    ///
    /// # Safety
    ///
    /// `original` points to an initialised helper that is not changed during the call.
    pub(crate) unsafe fn copy_of(original: *const bindings::nf_conntrack_helper) -> Result<Self> {
        let size = size_of::<bindings::nf_conntrack_helper>();
        // SAFETY: Process context.
        let copy = unsafe { bindings::rct_kzalloc(size, bindings::gfp::KERNEL_ACCOUNT) };
        let copy = NonNull::new(copy).ok_or(ENOMEM)?.cast();
        // SAFETY: Both are valid, and do not overlap.
        unsafe { core::ptr::copy_nonoverlapping(original, copy.as_ptr(), 1) };
        // INVARIANT: Just made.
        Ok(Self {
            raw: copy,
            is_copy: true,
            memory: PhantomData,
        })
    }

    /// Borrows it as a helper, to read from it.
    pub(crate) fn helper(&self) -> &Helper {
        // SAFETY: By the type invariants.
        unsafe { Helper::from_raw(self.raw.as_ptr()) }
    }

    /// Returns the C pointer.
    pub(crate) fn raw(&self) -> *mut bindings::nf_conntrack_helper {
        self.raw.as_ptr()
    }

    /// Sets the largest number of expectations of a class.
    pub(crate) fn set_max_expected(&mut self, class: u32, max: u32) {
        if let Some(policy) = self.helper().policy_at(class) {
            // SAFETY: By the type invariants.
            unsafe { (*policy).max_expected = max };
        }
    }

    /// Returns whether the name ends within its field.
    pub(crate) fn has_name(&self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { (*self.raw()).name }.contains(&0)
    }

    /// Initialises the reference count, and returns the first reference.
    pub(super) fn into_first_reference(self) -> ARef<Counted<Helper>> {
        let this = ManuallyDrop::new(self);
        // SAFETY: By the type invariants nothing else uses the count; it counts this reference.
        unsafe {
            refcount::from_raw(addr_of_mut!((*this.raw()).ct_refcnt)).set(1);
            ARef::from_raw(this.raw.cast())
        }
    }
}

impl Drop for Unregistered<'_> {
    fn drop(&mut self) {
        if self.is_copy {
            // SAFETY: By the type invariants nothing else uses the copy.
            unsafe { bindings::kfree(self.raw().cast()) };
        }
    }
}

/// Initialises a helper for a family (`NFPROTO_*`), an IP protocol and, until Linux 7.2, a port in
/// host byte order. The name is truncated to the length of its field.
/// Everything else is zero.
///
/// # Safety
///
/// `helper` is valid for writes, and not used otherwise; `name` is a C string.
pub(crate) unsafe fn initialise(
    helper: *mut bindings::nf_conntrack_helper,
    family: u8,
    protocol: u8,
    port: u16,
    name: *const c_char,
) {
    // SAFETY: By the function's contract; all zeroes are a valid helper.
    unsafe {
        helper.write_bytes(0, 1);
        bindings::rct_helper_set_kind(helper, family, protocol, port);
        addr_of_mut!((*helper).name)
            .cast::<HelperName>()
            .write(HelperName::truncated(b"", name));
        addr_of_mut!((*helper).nat_mod_name)
            .cast::<HelperName>()
            .write(HelperName::truncated(b"ip_nat_", name));
    }
}

/// Appends a number to the name of a helper: that of its port, if it is not the usual one.
///
/// # Safety
///
/// `helper` is initialised, and not used otherwise.
#[cfg(rct_has_helper_tuple)]
pub(crate) unsafe fn number(helper: *mut bindings::nf_conntrack_helper, number: u32) {
    // SAFETY: By the function's contract.
    unsafe {
        let field = addr_of_mut!((*helper).name);
        let name = HelperName::from_field(field).numbered(number);
        field.cast::<HelperName>().write(name);
    }
}

/// Logs a packet that the helper of its connection drops, with the reason.
///
/// # Safety
///
/// `message` points to a `struct va_format`; `skb` is valid.
pub(crate) unsafe fn log(skb: *mut bindings::sk_buff, conn: &Conn, message: *const c_void) {
    let section = RcuGuard::new();
    let helper = conn
        .extensions()
        .find::<Help>()
        .and_then(|help| help.helper(section.token()));
    let name = match helper {
        Some(helper) => helper.name(),
        None => HelperName::NULL,
    };
    // The number of a family fits into a byte.
    let [family, _] = conn.tuple(Direction::Original).l3num.to_le_bytes();
    // SAFETY: By the function's contract; the format fits the arguments.
    unsafe {
        bindings::nf_log_packet(
            conn.net().raw(),
            family,
            0,
            skb,
            core::ptr::null(),
            core::ptr::null(),
            core::ptr::null(),
            c"helper %s dropping packet: %pV ".as_char_ptr(),
            name.as_char_ptr(),
            message,
        );
    }
}
