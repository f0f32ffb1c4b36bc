// SPDX-License-Identifier: GPL-2.0

//! `struct nf_conntrack_helper`: somebody who reads what a connection says, and announces
//! other connections; and [`Help`], the part of an entry that says who does for it.
//!
//! Helpers are modules of the kernel, or user space. Their memory is `kmalloc`ed by us or by
//! them, counted, and freed by us.
//!
//! C header: [`include/net/netfilter/nf_conntrack_helper.h`](srctree/include/net/netfilter/nf_conntrack_helper.h)

use core::{
    ffi::{
        c_int,
        c_void, //
    },
    marker::PhantomData,
    mem::size_of,
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
    entry::{
        conn::Conn,
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
        refcount, //
    },
    packet::{
        hook::Verdict,
        skb::{
            CtInfo,
            Skb, //
        },
    },
};

/// How many classes of expectations a helper may have.
pub(crate) const CLASSES: usize = bindings::NF_CT_MAX_EXPECT_CLASSES as usize;

/// How many expectations a class may have at most, and has without a helper.
pub(crate) const MAX_EXPECTED: u32 = bindings::NF_CT_EXPECT_MAX_CNT;

/// Bytes of a name, with the zero behind it.
pub(crate) const NAME_LEN: usize = bindings::NF_CT_HELPER_NAME_LEN as usize;

/// The name of a helper: text of up to fifteen bytes, filled up with zeroes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name([u8; NAME_LEN]);

impl Name {
    /// Reads text. [`None`]: it is too long to be a name.
    ///
    /// # Safety
    ///
    /// `text` is text that ends with a zero.
    pub(crate) unsafe fn of_text(text: *const c_char) -> Option<Self> {
        let mut name = [0; NAME_LEN];
        for (index, place) in name.iter_mut().enumerate() {
            // SAFETY: The caller's promise: the text's end was not met yet.
            *place = unsafe { text.add(index).read() };
            if *place == 0 {
                return Some(Self(name));
            }
        }
        None
    }

    /// Text that user space sent. [`None`]: it is too long to be a name.
    pub(crate) fn of_attribute(attribute: Attribute<'_>) -> Option<Self> {
        let text = attribute.payload().split(|byte| *byte == 0).next()?;
        let mut name = [0; NAME_LEN];
        if text.len() >= NAME_LEN {
            return None;
        }
        for (place, byte) in name.iter_mut().zip(text) {
            *place = *byte;
        }
        Some(Self(name))
    }

    /// `prefix` and text, as far as there is room.
    ///
    /// # Safety
    ///
    /// As for [`Name::of_text`].
    unsafe fn cut(prefix: &[u8], text: *const c_char) -> Self {
        let mut name = [0; NAME_LEN];
        let mut prefix = prefix.iter();
        let mut index = 0;
        for place in name.iter_mut().take(NAME_LEN - 1) {
            if let Some(byte) = prefix.next() {
                *place = *byte;
                continue;
            }
            // SAFETY: The caller's promise: the text's end was not met yet.
            *place = unsafe { text.add(index).read() };
            if *place == 0 {
                break;
            }
            index = index.wrapping_add(1);
        }
        Self(name)
    }

    /// Reads a name. Of what follows its end, and of a missing end, nothing is left.
    ///
    /// # Safety
    ///
    /// `place` is valid for reads.
    pub(in crate::nf) unsafe fn read(place: *const [c_char; NAME_LEN]) -> Self {
        // SAFETY: The caller's promise; a `c_char` is a byte.
        let bytes = unsafe { place.cast::<[u8; NAME_LEN]>().read() };
        let mut name = [0; NAME_LEN];
        let text = bytes
            .iter()
            .take(NAME_LEN - 1)
            .take_while(|byte| **byte != 0);
        for (place, byte) in name.iter_mut().zip(text) {
            *place = *byte;
        }
        Self(name)
    }

    /// The text.
    pub(crate) fn text(&self) -> &[u8] {
        self.0.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// The bytes, zeroes included.
    pub(crate) fn bytes(&self) -> &[u8; NAME_LEN] {
        &self.0
    }

    /// For C code.
    pub(in crate::nf) fn as_char_ptr(&self) -> *const c_char {
        // The last byte is zero.
        self.0.as_ptr().cast()
    }
}

/// What a helper lets a class of expectations be.
#[derive(Clone, Copy)]
pub(crate) struct Policy {
    /// How many there may be for a connection.
    pub(crate) max_expected: u32,
    /// Seconds that one lives.
    pub(crate) timeout: u32,
}

/// The bits of `nf_conntrack_helper.flags`.
const USERSPACE: u32 = bindings::nf_ct_helper_flags_NF_CT_HELPER_F_USERSPACE;

impl Helper {
    /// The name.
    pub(crate) fn name(&self) -> Name {
        // SAFETY: Valid, and not changed.
        unsafe { Name::read(addr_of!((*self.raw()).name)) }
    }

    /// The name of the module that translates addresses in what it reads.
    pub(crate) fn nat_name(&self) -> Name {
        // SAFETY: Valid, and not changed.
        unsafe { Name::read(addr_of!((*self.raw()).nat_mod_name)) }
    }

    /// The address family that it is for (`NFPROTO_*`).
    pub(crate) fn family(&self) -> u8 {
        // SAFETY: Valid, and not changed.
        unsafe { (*self.raw()).nfproto }
    }

    /// Whether it is for `family`.
    pub(crate) fn is_for(&self, family: u16) -> bool {
        let own = self.family();
        u32::from(own) == bindings::NFPROTO_UNSPEC || u16::from(own) == family
    }

    /// The IP protocol that it is for.
    pub(crate) fn protocol(&self) -> u8 {
        // SAFETY: Valid, and not changed.
        unsafe { (*self.raw()).l4proto }
    }

    /// Whether it works in user space.
    pub(crate) fn is_userspace(&self) -> bool {
        // SAFETY: A valid, aligned word, accessed atomically.
        let flags = unsafe { Atomic::from_ptr(addr_of_mut!((*self.raw()).flags)) };
        flags.load(Relaxed) & USERSPACE != 0
    }

    /// The last class.
    pub(crate) fn last_class(&self) -> u32 {
        // SAFETY: Valid, and not changed.
        unsafe { (*self.raw()).expect_class_max }
    }

    fn policy_at(&self, class: u32) -> Option<*mut bindings::nf_conntrack_expect_policy> {
        let class = class as usize;
        // SAFETY: In bounds, as just compared.
        (class < CLASSES).then(|| unsafe {
            addr_of_mut!((*self.raw()).expect_policy)
                .cast::<bindings::nf_conntrack_expect_policy>()
                .add(class)
        })
    }

    /// The policy of a class.
    pub(crate) fn policy(&self, class: u32) -> Option<Policy> {
        let policy = self.policy_at(class)?;
        // SAFETY: Two valid, aligned words, accessed atomically.
        unsafe {
            Some(Policy {
                max_expected: Atomic::from_ptr(addr_of_mut!((*policy).max_expected)).load(Relaxed),
                timeout: Atomic::from_ptr(addr_of_mut!((*policy).timeout)).load(Relaxed),
            })
        }
    }

    /// The name of a class; empty if it has none.
    pub(crate) fn policy_name(&self, class: u32) -> Option<Name> {
        // SAFETY: Valid, and not changed.
        self.policy_at(class)
            .map(|policy| unsafe { Name::read(addr_of!((*policy).name)) })
    }

    fn function(&self) -> &Atomic<*mut c_void> {
        // SAFETY: A valid, aligned pointer, accessed atomically. A function's address is one.
        unsafe { Atomic::from_ptr(addr_of_mut!((*self.raw()).help).cast()) }
    }

    /// Takes its function away: its module is about to go. Who is in it has left it a grace
    /// period later.
    pub(crate) fn disable(&self) {
        self.function().store(null_mut(), Release);
    }

    /// Shows it a packet of a connection that it helps; `transport` is where the transport
    /// header begins. It may change the packet, and decides what becomes of it.
    pub(crate) fn help(
        &self,
        skb: &mut Skb,
        transport: u32,
        conn: &Conn,
        info: CtInfo,
        _rcu: Rcu<'_>,
    ) -> Verdict {
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
        // SAFETY: What is there is null or such a function; the section keeps its module.
        let function = unsafe { core::mem::transmute::<*mut c_void, Function>(function) };
        // SAFETY: The packet is ours, the entry is attached to it.
        let verdict = unsafe { function(skb.raw(), transport, conn.raw(), info as u32) };
        // CAST: as C code does; queue numbers stand in the upper half.
        Verdict::from_raw(verdict as u32)
    }

    /// Adds to a message what it wants to tell of a connection that it helps. (What it cannot
    /// tell is left out.)
    pub(crate) fn to_nlattr(&self, conn: &Conn, message: &mut Message<'_>, _rcu: Rcu<'_>) {
        if self.function().load(Acquire).is_null() {
            return;
        }
        // SAFETY: Valid, and not changed.
        if let Some(function) = unsafe { (*self.raw()).to_nlattr } {
            // SAFETY: The entry is valid, the message ours; the section keeps the module.
            unsafe { function(message.raw(), conn.raw()) };
        }
    }

    /// Tells it what user space says of a connection that it helps.
    pub(crate) fn from_nlattr(&self, conn: &Conn, info: Option<Attribute<'_>>, _rcu: Rcu<'_>) {
        if self.function().load(Acquire).is_null() {
            return;
        }
        // SAFETY: Valid, and not changed.
        if let Some(function) = unsafe { (*self.raw()).from_nlattr } {
            let info = info.map_or(null_mut(), Attribute::raw);
            // SAFETY: The entry is valid, the attribute too, or null; the section keeps the
            // module.
            unsafe { function(info, conn.raw()) };
        }
    }

    /// Whether it wants to know when a connection that it helps ends.
    pub(crate) fn has_destroy(&self) -> bool {
        // SAFETY: Valid, and not changed.
        unsafe { (*self.raw()).destroy }.is_some()
    }

    /// Tells it that a connection that it helps ends, if it wants to know.
    pub(crate) fn destroy(&self, conn: &Conn, _rcu: Rcu<'_>) {
        // SAFETY: Valid, and not changed.
        if let Some(function) = unsafe { (*self.raw()).destroy } {
            // SAFETY: The entry is valid; the section keeps the function's module.
            unsafe { function(conn.raw()) };
        }
    }

    /// Keeps its module from being unloaded. Says whether that worked.
    pub(crate) fn take_module(&self) -> bool {
        // SAFETY: Valid; the module is there as long as the helper is registered.
        unsafe { bindings::rct_try_module_get((*self.raw()).me) }
    }

    /// Undoes [`Helper::take_module`].
    pub(crate) fn put_module(&self) {
        // SAFETY: Valid; the caller has kept the module.
        unsafe { bindings::rct_module_put((*self.raw()).me) };
    }
}

/// A helper that is not registered yet, or no longer.
///
/// # Invariants
///
/// Initialised, in memory from `kmalloc`, and nobody else uses it.
pub(crate) struct Unregistered<'a>(NonNull<bindings::nf_conntrack_helper>, PhantomData<&'a ()>);

impl Unregistered<'_> {
    /// # Safety
    ///
    /// As the invariants say, for `'a`.
    pub(crate) unsafe fn from_raw(helper: NonNull<bindings::nf_conntrack_helper>) -> Self {
        // INVARIANT: the caller's promise.
        Self(helper, PhantomData)
    }

    /// A copy of what `original` describes, in memory of its own. May sleep.
    ///
    /// # Safety
    ///
    /// `original` points to an initialised helper that nobody changes.
    pub(crate) unsafe fn copy_of(original: *const bindings::nf_conntrack_helper) -> Result<Self> {
        let size = size_of::<bindings::nf_conntrack_helper>();
        // SAFETY: Process context.
        let copy = unsafe { bindings::rct_kzalloc(size, bindings::RCT_GFP_KERNEL_ACCOUNT as u32) };
        let copy = NonNull::new(copy).ok_or(ENOMEM)?.cast();
        // SAFETY: Both are valid, and apart.
        unsafe { core::ptr::copy_nonoverlapping(original, copy.as_ptr(), 1) };
        // INVARIANT: ours.
        Ok(Self(copy, PhantomData))
    }

    /// Frees a copy.
    ///
    /// # Safety
    ///
    /// It came from [`Unregistered::copy_of`].
    pub(crate) unsafe fn discard(self) {
        // SAFETY: By the type invariants nobody else uses it.
        unsafe { bindings::kfree(self.0.as_ptr().cast()) };
    }

    /// To look at.
    pub(crate) fn helper(&self) -> &Helper {
        // SAFETY: By the type invariants.
        unsafe { Helper::from_raw(self.0.as_ptr()) }
    }

    /// The pointer, for C code.
    pub(crate) fn raw(&self) -> *mut bindings::nf_conntrack_helper {
        self.0.as_ptr()
    }

    /// The last class.
    pub(crate) fn last_class(&self) -> u32 {
        // SAFETY: By the type invariants.
        unsafe { (*self.raw()).expect_class_max }
    }

    /// Sets how many expectations a class may have.
    pub(crate) fn set_max_expected(&self, class: u32, max: u32) {
        if let Some(policy) = self.helper().policy_at(class) {
            // SAFETY: By the type invariants.
            unsafe { (*policy).max_expected = max };
        }
    }

    /// Whether the name ends within its field.
    pub(crate) fn has_name(&self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { (*self.raw()).name }.contains(&0)
    }

    /// Makes the first reference, that of who registers it.
    pub(in crate::nf) fn first_reference(&self) -> ARef<Helper> {
        // SAFETY: By the type invariants the count is ours to set; it counts this reference.
        unsafe {
            refcount::from_raw(addr_of_mut!((*self.raw()).ct_refcnt)).set(1);
            ARef::from_raw(self.0.cast())
        }
    }
}

/// Makes a helper for a family (`NFPROTO_*`) and a protocol: all else is zero. The name is cut
/// to what there is room for.
///
/// # Safety
///
/// `helper` is valid for writes, and nobody uses it; `name` is text that ends with a zero.
pub(crate) unsafe fn initialise(
    helper: *mut bindings::nf_conntrack_helper,
    family: u8,
    protocol: u8,
    name: *const c_char,
) {
    // SAFETY: The caller's promise; all zeroes will do.
    unsafe {
        helper.write_bytes(0, 1);
        (*helper).nfproto = family;
        (*helper).l4proto = protocol;
        addr_of_mut!((*helper).name)
            .cast::<Name>()
            .write(Name::cut(b"", name));
        addr_of_mut!((*helper).nat_mod_name)
            .cast::<Name>()
            .write(Name::cut(b"ip_nat_", name));
    }
}

/// Logs a packet that a helper does not like. `message` says why.
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
        None => Name(*b"(null)\0\0\0\0\0\0\0\0\0\0"),
    };
    // SAFETY: The caller's promise; the format fits the arguments. An entry's family does not
    // change, and is a byte's.
    unsafe {
        bindings::nf_log_packet(
            conn.net().raw(),
            (*conn.raw()).tuplehash[0].tuple.src.l3num as u8,
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
