// SPDX-License-Identifier: GPL-2.0

//! Network namespaces. What the module has in each of them is [`pernet`](super::pernet)'s.
//!
//! C header: [`include/net/net_namespace.h`](srctree/include/net/net_namespace.h)

use core::ptr::NonNull;

use kernel::{
    cpu::nr_cpu_ids,
    prelude::*,
    types::Opaque, //
};

use crate::{
    nf::bindings,
    proto::types::{
        generation::Generation,
        num::u32_as_usize, //
    },
};

use super::hlist;

/// A network namespace.
///
/// # Invariants
///
/// The namespace is initialised and not freed.
#[repr(transparent)]
pub(crate) struct Net(Opaque<bindings::net>);

// SAFETY: What this module accesses is atomic, per CPU, or under a lock.
unsafe impl Sync for Net {}

impl Net {
    /// # Safety
    ///
    /// `ptr` points to a namespace that lives for `'a`.
    #[inline]
    pub(crate) unsafe fn from_raw<'a>(ptr: *mut bindings::net) -> &'a Self {
        // SAFETY: By the safety requirements; the type is transparent.
        unsafe { &*ptr.cast() }
    }

    #[inline]
    pub(crate) fn raw(&self) -> *mut bindings::net {
        self.0.get()
    }

    /// Returns the first namespace, `init_net`.
    pub(crate) fn init_net() -> &'static Self {
        // SAFETY: It is never freed.
        unsafe { Self::from_raw(bindings::rct_init_net()) }
    }

    /// Passes the namespace of the current process, if it has one.
    pub(crate) fn with_current<R>(f: impl FnOnce(&Self) -> R) -> Option<R> {
        // SAFETY: A process may look at its own namespaces.
        let net = unsafe { bindings::rct_current_net() };
        // SAFETY: The process holds the namespace, and does not leave it before `f` returns.
        (!net.is_null()).then(|| f(unsafe { Self::from_raw(net) }))
    }

    /// Returns whether this is the first namespace, `init_net`.
    #[inline]
    pub(crate) fn is_init(&self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_net_is_init(self.raw()) }
    }

    /// Returns the inode number of `/proc/*/ns/net`.
    pub(crate) fn inum(&self) -> u32 {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_net_inum(self.raw()) }
    }

    /// Returns the cookie: a number that no other namespace has, or will have.
    pub(crate) fn cookie(&self) -> u64 {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_net_cookie(self.raw()) }
    }

    /// Returns whether the namespace is in use. Otherwise it is being torn down.
    pub(crate) fn is_alive(&self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_net_is_alive(self.raw()) }
    }

    /// Returns a number to mix into hashes, which differs between namespaces.
    #[inline]
    pub(crate) fn hash_mix(&self) -> u32 {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_net_hash_mix(self.raw()) }
    }

    #[inline]
    pub(in crate::nf) fn ct(&self) -> *mut bindings::netns_ct {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_net_ct(self.raw()) }
    }

    /// Returns whether a rule uses connection labels.
    #[inline]
    pub(crate) fn labels_used(&self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_labels_used(self.raw()) }
    }

    /// Changes the number of rules that use connection labels by `more`.
    pub(crate) fn use_labels(&self, more: i32) {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_labels_used_add(self.raw(), more) };
    }

    /// Returns the generation of the namespace's NAT rules.
    #[inline]
    pub(crate) fn generation(&self) -> Generation {
        // SAFETY: Reads two fields.
        unsafe { bindings::rct_net_generation(self.raw()) }
    }

    /// Begins a generation: after a change of rules that is no commit of nf_tables.
    pub(crate) fn note_rules_change(&self) {
        // SAFETY: Changes a field atomically.
        unsafe { bindings::rct_net_note_rules_change(self.raw()) }
    }

    /// Adds to a statistic of this CPU.
    #[inline]
    pub(crate) fn count(&self, stat: Stat, n: u32) {
        // SAFETY: The offset is that of a field; the statistics exist while there are packets and
        // entries.
        unsafe { bindings::rct_stat_add(self.raw(), stat.offset(), n) };
    }

    /// Adds one to a statistic of this CPU.
    #[inline]
    pub(crate) fn count_one(&self, stat: Stat) {
        self.count(stat, 1);
    }

    /// Adds one to a figure of this CPU.
    #[inline]
    pub(crate) fn count_figure(&self, figure: Figure) {
        // SAFETY: The index is in bounds by the type invariants; the figures exist while there are
        // packets and entries.
        unsafe { bindings::rct_figure_inc(self.raw(), figure.0) };
    }

    /// Returns a figure: its sum over all CPUs, which may count meanwhile.
    pub(crate) fn figure(&self, figure: Figure) -> u64 {
        let (mut sum, mut from) = (0_u64, 0);
        while let Some(cpu) = PossibleCpu::at_least(from) {
            // SAFETY: The index is in bounds by the type invariants; the CPU is a possible one.
            let part = unsafe { bindings::rct_figure_read(self.raw(), cpu.0, figure.0) };
            sum = sum.wrapping_add(part);
            from = cpu.0.saturating_add(1);
        }
        sum
    }

    /// Returns a statistic of one CPU.
    pub(crate) fn stat_of(&self, cpu: PossibleCpu, stat: Stat) -> u32 {
        // SAFETY: The offset is that of a field; the CPU is a possible one.
        unsafe { bindings::rct_stat_read(self.raw(), cpu.0, stat.offset()) }
    }
}

/// A reference to a namespace, which is not torn down before this is dropped.
///
/// # Invariants
///
/// `0` is a namespace with a reference that this value owns.
pub(crate) struct NetRef(NonNull<bindings::net>);

impl NetRef {
    /// Takes a reference. [`None`]: the namespace is being torn down.
    ///
    /// # Safety
    ///
    /// `net` points to a namespace that is not freed.
    pub(in crate::nf) unsafe fn new(net: *mut bindings::net) -> Option<Self> {
        // SAFETY: By the safety requirements.
        if !unsafe { bindings::rct_net_get(net) } {
            return None;
        }
        // INVARIANT: The reference was just taken.
        NonNull::new(net).map(Self)
    }
}

impl core::ops::Deref for NetRef {
    type Target = Net;

    fn deref(&self) -> &Net {
        // SAFETY: By the type invariants.
        unsafe { Net::from_raw(self.0.as_ptr()) }
    }
}

impl Drop for NetRef {
    fn drop(&mut self) {
        // SAFETY: By the type invariants. A work queue tears the namespace down.
        unsafe { bindings::rct_net_put(self.0.as_ptr()) };
    }
}

/// Calls `visit` for each namespace, under the lock of their list. May sleep.
fn for_each_net(mut visit: impl FnMut(*mut bindings::net)) {
    // SAFETY: Process context.
    unsafe { bindings::rct_nets_lock() };
    // SAFETY: The list does not change while it is locked.
    for node in unsafe { hlist::nodes(bindings::rct_net_list()) } {
        // SAFETY: The node is that of a namespace.
        visit(unsafe { bindings::rct_net_of_list(node.as_ptr()) });
    }
    // SAFETY: Locked above.
    unsafe { bindings::rct_nets_unlock() };
}

/// As [`hold_all`], for a condition on the namespace itself.
pub(crate) fn hold_where(wanted: impl Fn(&Net) -> bool) -> Result<Option<KVVec<NetRef>>> {
    // SAFETY: It is on the list, so it is initialised and not freed.
    hold_all(|net| wanted(unsafe { Net::from_raw(net) }))
}

/// Returns references to the namespaces for which `wanted` is true; [`None`]: to none. May sleep.
pub(in crate::nf) fn hold_all(
    wanted: impl Fn(*mut bindings::net) -> bool,
) -> Result<Option<KVVec<NetRef>>> {
    loop {
        let mut count = 0_usize;
        for_each_net(|net| count = count.wrapping_add(wanted(net).into()));
        if count == 0 {
            return Ok(None);
        }
        let mut held = KVVec::with_capacity(count, GFP_KERNEL)?;
        let mut fits = true;
        for_each_net(|net| {
            if wanted(net) {
                // SAFETY: It is on the list, so it is not freed.
                if let Some(net) = unsafe { NetRef::new(net) } {
                    // The number may have grown since it was counted.
                    fits &= held.push_within_capacity(net).is_ok();
                }
            }
        });
        if fits {
            return Ok(Some(held));
        }
    }
}

/// A CPU for which there are per-CPU statistics.
///
/// # Invariants
///
/// `0` is the number of a possible CPU.
#[derive(Clone, Copy)]
pub(crate) struct PossibleCpu(u32);

impl PossibleCpu {
    /// Returns the possible CPU with the lowest number that is not less than `from`.
    pub(crate) fn at_least(from: u32) -> Option<Self> {
        // SAFETY: Reads the mask of possible CPUs.
        let cpu = unsafe { bindings::rct_next_possible_cpu(from) };
        // INVARIANT: A number out of bounds says that there is none.
        (cpu < nr_cpu_ids()).then_some(Self(cpu))
    }

    /// Returns the CPU's number.
    pub(crate) fn number(self) -> u32 {
        self.0
    }
}

/// The statistics of a namespace, `struct ip_conntrack_stat`.
#[derive(Clone, Copy)]
pub(crate) enum Stat {
    /// Tuples that NAT found to be in use.
    Found,
    /// Packets that belong to no connection, and cannot start one.
    Invalid,
    /// Entries that user space created.
    Insert,
    /// Entries that could not be inserted.
    InsertFailed,
    /// Clashes that were resolved without dropping the packet.
    ClashResolve,
    /// Packets that were dropped.
    Drop,
    /// Entries that early drop deleted.
    EarlyDrop,
    /// Invalid ICMP errors.
    Error,
    /// Connections that were expected.
    ExpectNew,
    /// Expectations created.
    ExpectCreate,
    /// Expectations deleted.
    ExpectDelete,
    /// Lookups that were restarted.
    SearchRestart,
    /// Entries that were refused because a chain was too long.
    ChainTooLong,
}

impl Stat {
    #[inline]
    const fn offset(self) -> usize {
        use bindings::ip_conntrack_stat as S;
        use core::mem::offset_of;
        match self {
            Self::Found => offset_of!(S, found),
            Self::Invalid => offset_of!(S, invalid),
            Self::Insert => offset_of!(S, insert),
            Self::InsertFailed => offset_of!(S, insert_failed),
            Self::ClashResolve => offset_of!(S, clash_resolve),
            Self::Drop => offset_of!(S, drop),
            Self::EarlyDrop => offset_of!(S, early_drop),
            Self::Error => offset_of!(S, error),
            Self::ExpectNew => offset_of!(S, expect_new),
            Self::ExpectCreate => offset_of!(S, expect_create),
            Self::ExpectDelete => offset_of!(S, expect_delete),
            Self::SearchRestart => offset_of!(S, search_restart),
            Self::ChainTooLong => offset_of!(S, chaintoolong),
        }
    }
}

/// A counter of the module's own, beside the statistics that C code reads.
///
/// # Invariants
///
/// The index is less than [`Figure::COUNT`].
#[derive(Clone, Copy)]
pub(crate) struct Figure(u32);

impl Figure {
    /// The number of figures.
    pub(crate) const COUNT: usize = u32_as_usize(bindings::RCT_FIGURES);

    /// Returns the figure with an index; the last one for all that are out of bounds.
    #[inline]
    pub(crate) const fn new(index: usize) -> Self {
        // INVARIANT: In bounds. CAST: As just compared.
        Self(if index < Self::COUNT {
            index as u32
        } else {
            bindings::RCT_FIGURES - 1
        })
    }
}
