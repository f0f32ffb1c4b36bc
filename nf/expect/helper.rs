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
    }, //
};

use kernel::{
    prelude::*,
    sync::{
        aref::{
            ARef,
            AlwaysRefCounted, //
        },
        atomic::{
            Acquire,
            Atomic,
            Full,
            Relaxed,
            Release, //
        }, //
    },
    types::Opaque, //
};

use crate::nf::{
    bindings,
    entry::{
        conn::{
            Conn,
            StatusBit, //
        },
        ext::{
            self,
            Extension, //
        },
        fresh::Fresh, //
    },
    kernel::{
        attr::{
            Attribute,
            Message, //
        },
        rcu::{
            Rcu,
            RcuGuard, //
        }, //
    },
    packet::{
        hook::Verdict,
        skb::{
            CtInfo,
            Skb, //
        }, //
    }, //
};

use super::expectation::Locked;

/// How many classes of expectations a helper may have.
pub(crate) const CLASSES: usize = bindings::NF_CT_MAX_EXPECT_CLASSES as usize;

/// How many expectations a class may have at most, and has without a helper.
pub(crate) const MAX_EXPECTED: u32 = bindings::NF_CT_EXPECT_MAX_CNT;

/// Octets of a name, with the zero behind it.
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
unsafe impl AlwaysRefCounted for Helper {
    fn inc_ref(&self) {
        // SAFETY: Valid; the caller has a reference, so the count is not zero.
        unsafe { bindings::rct_refcount_inc(self.count()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        let raw = obj.as_ptr().cast::<bindings::nf_conntrack_helper>();
        // SAFETY: The caller gives up a reference; after the last one nobody finds the helper.
        unsafe {
            if bindings::rct_refcount_dec_and_test(addr_of_mut!((*raw).ct_refcnt)) {
                bindings::rct_helper_kfree_rcu(raw);
            }
        }
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

    fn count(&self) -> *mut bindings::refcount_t {
        // SAFETY: A field of a valid object.
        unsafe { addr_of_mut!((*self.raw()).ct_refcnt) }
    }

    /// The address, an identity while it lives.
    pub(crate) fn address(&self) -> usize {
        self.raw() as usize
    }

    /// Takes a reference; [`None`] if the last one was given back.
    pub(crate) fn get(&self) -> Option<ARef<Self>> {
        // SAFETY: Valid; at zero the count stays there.
        unsafe { bindings::rct_refcount_inc_not_zero(self.count()) }.then(|| {
            // SAFETY: The reference was just taken.
            unsafe { ARef::from_raw(NonNull::from(self)) }
        })
    }

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
    pub(crate) fn show(
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
    pub(crate) fn tell(&self, conn: &Conn, message: &mut Message<'_>, _rcu: Rcu<'_>) {
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
    pub(crate) fn hear(&self, conn: &Conn, info: Option<Attribute<'_>>, _rcu: Rcu<'_>) {
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
    pub(crate) fn cleans_up(&self) -> bool {
        // SAFETY: Valid, and not changed.
        unsafe { (*self.raw()).destroy }.is_some()
    }

    /// Tells it that a connection that it helps ends, if it wants to know.
    pub(crate) fn clean_up(&self, conn: &Conn, _rcu: Rcu<'_>) {
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
            bindings::rct_refcount_set(addr_of_mut!((*self.raw()).ct_refcnt), 1);
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
    fn pointer(&self) -> &Atomic<*mut bindings::nf_conntrack_helper> {
        // SAFETY: A valid, aligned pointer, accessed atomically.
        unsafe { Atomic::from_ptr(addr_of_mut!((*self.0.get()).helper)) }
    }

    /// Who helps.
    #[inline]
    pub(crate) fn helper<'r>(&self, _rcu: Rcu<'r>) -> Option<&'r Helper> {
        let helper = NonNull::new(self.pointer().load(Acquire))?;
        // SAFETY: By the type invariants; the last reference lasts for the section.
        Some(unsafe { Helper::from_raw(helper.as_ptr()) })
    }

    /// Says who helps from now on.
    pub(crate) fn set_helper(&self, helper: Option<ARef<Helper>>) {
        let new = helper.map_or(null_mut(), |helper| ARef::into_raw(helper).as_ptr().cast());
        // INVARIANT: the new reference moves in, the old one out.
        let old = self.pointer().xchg(new, Full);
        if let Some(old) = NonNull::new(old) {
            // SAFETY: By the type invariants the reference was ours.
            drop(unsafe { ARef::from_raw(old.cast::<Helper>()) });
        }
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

    /// How many expectations there are of a class.
    pub(crate) fn expecting(&self, class: u32, _locked: Locked<'_>) -> u8 {
        let class = class as usize;
        // SAFETY: The lock is held.
        let counts = unsafe { (*self.0.get()).expecting };
        counts.get(class).copied().unwrap_or(0)
    }

    /// Sets [`Help::expecting`].
    pub(crate) fn set_expecting(&self, class: u32, count: u8, _locked: Locked<'_>) {
        // SAFETY: The lock is held.
        let counts = unsafe { &mut (*self.0.get()).expecting };
        if let Some(place) = counts.get_mut(class as usize) {
            *place = count;
        }
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
pub(crate) struct Candidate<'a> {
    conn: *mut bindings::nf_conn,
    gfp: u32,
    entry: PhantomData<&'a mut Fresh>,
}

impl<'a> Candidate<'a> {
    /// An entry that only its maker knows; in atomic context.
    pub(crate) fn of(entry: &'a mut Fresh) -> Self {
        // INVARIANT: as said.
        Self {
            conn: entry.raw(),
            gfp: bindings::RCT_GFP_ATOMIC as u32,
            entry: PhantomData,
        }
    }

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
pub(in crate::nf) fn release(conn: &Conn) {
    if let Some(help) = conn.extensions().find::<Help>() {
        help.set_helper(None);
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
