// SPDX-License-Identifier: GPL-2.0

//! [`Draft`]: an expectation before it is added to the table.

use core::{
    marker::PhantomData,
    mem::size_of,
    ptr::{
        addr_of_mut,
        NonNull, //
    },
};

use kernel::sync::aref::ARef;

use crate::{
    nf::{
        bindings,
        entry::{
            conn::Conn,
            ecache::EventCache,
            help::{
                Help,
                Helper, //
            },
        },
        kernel::{
            refcount::{
                self,
                Counted, //
            },
            time::jiffies32, //
        },
    },
    proto::types::{
        direction::Direction,
        mask::TupleMask,
        tuple::Tuple,
        zone::Zone, //
    },
};

use super::{
    cache,
    expectation::{
        ExpectFlags,
        ExpectNat,
        Expectation, //
    },
    expectfn::ExpectFn,
    linked::Linked,
    lock::Locked, //
};

/// The description of an expectation: everything that it does not take over from its master.
pub(crate) struct ExpectSpec<'a> {
    /// The destination, the protocol, and the known part of the source.
    pub(crate) tuple: Tuple,
    /// The bits of the source that are known.
    pub(crate) mask: TupleMask,
    /// The bits of [`ExpectFlag`](super::expectation::ExpectFlag).
    pub(crate) flags: u32,
    /// The class: the index of a policy of `helper`.
    pub(crate) class: u32,
    /// The helper that announces the connection.
    pub(crate) helper: Option<&'a Helper>,
    /// The helper that the expected connection gets.
    pub(crate) assigned: Option<&'a Helper>,
    /// The function that is called with the expected connection.
    pub(crate) expectfn: Option<ExpectFn<'a>>,
    /// The translation of the expected connection.
    pub(crate) nat: ExpectNat,
}

/// An expectation that is not in the table yet.
///
/// A draft made by [`Draft::new`] owns the first reference, and drops it unless [`Draft::into_raw`]
/// hands it to C code. The first reference of a draft made by [`Draft::from_raw`] stays with C
/// code.
///
/// # Invariants
///
/// The expectation is initialised. Unless it is in the table, which [`Draft::link`] finds out, only
/// this value changes it. Its master, and the helpers and the function that it points to, are not
/// freed during `'a`.
pub(crate) struct Draft<'a> {
    raw: NonNull<bindings::nf_conntrack_expect>,
    first: Option<ARef<Counted<Expectation>>>,
    master: PhantomData<&'a Conn>,
}

impl<'a> Draft<'a> {
    /// Allocates a draft with one reference. Atomic context. [`None`]: no memory.
    pub(crate) fn new(master: &'a Conn) -> Option<Self> {
        let expectation = cache::allocate()?;
        let raw = expectation.as_ptr();
        // SAFETY: The memory was just allocated, and is zeroed.
        let first = unsafe {
            (*raw).timeout = jiffies32();
            (*raw).master = master.raw();
            refcount::from_raw(addr_of_mut!((*raw).use_)).set(1);
            ARef::from_raw(expectation.cast())
        };
        // INVARIANT: Just made.
        Some(Self {
            raw: expectation,
            first: Some(first),
            master: PhantomData,
        })
    }

    /// Wraps an expectation that C code made, and to which C code keeps its reference.
    ///
    /// # Safety
    ///
    /// `ptr` came from [`Draft::into_raw`], its last reference is not dropped during `'a`, and only
    /// the returned value changes it during `'a`; unless the expectation is in the table, and the
    /// returned value is not changed before it is linked. Its master, helpers and function are not
    /// freed during `'a`.
    pub(crate) unsafe fn from_raw(ptr: NonNull<bindings::nf_conntrack_expect>) -> Self {
        // INVARIANT: By the function's contract.
        Self {
            raw: ptr,
            first: None,
            master: PhantomData,
        }
    }

    /// Returns the pointer for C code, together with the first reference.
    pub(crate) fn into_raw(self) -> *mut bindings::nf_conntrack_expect {
        if let Some(first) = self.first {
            // The reference goes with the pointer.
            let _ = ARef::into_raw(first);
        }
        self.raw.as_ptr()
    }

    fn raw(&self) -> *mut bindings::nf_conntrack_expect {
        self.raw.as_ptr()
    }

    /// Borrows the draft as an expectation, to read from it.
    fn expectation(&self) -> &Expectation {
        // SAFETY: By the type invariants; a change needs `&mut self`, or takes `self`.
        unsafe { Expectation::from_raw(self.raw()) }
    }

    /// Returns the master.
    pub(crate) fn master(&self) -> &'a Conn {
        // SAFETY: By the type invariants.
        unsafe { Conn::from_raw((*self.raw()).master) }
    }

    /// Returns the master's extension with the chain of its expectations. [`None`]: it has none.
    pub(crate) fn help(&self) -> Option<&'a Help> {
        self.master().extensions().find::<Help>()
    }

    /// Returns the [`Expectation::tuple`].
    pub(crate) fn tuple(&self) -> Tuple {
        self.expectation().tuple()
    }

    /// Returns the [`Expectation::mask`].
    pub(crate) fn mask(&self) -> TupleMask {
        self.expectation().mask()
    }

    /// Returns the [`Expectation::zone`].
    pub(crate) fn zone(&self) -> Zone {
        self.expectation().zone()
    }

    /// Returns the [`Expectation::class`].
    pub(crate) fn class(&self) -> u32 {
        self.expectation().class()
    }

    /// Returns the [`Expectation::flags`].
    pub(crate) fn flags(&self) -> ExpectFlags {
        self.expectation().flags()
    }

    /// Changes the destination port, network byte order.
    pub(crate) fn set_destination_port(&mut self, port: [u8; 2]) {
        // SAFETY: By the type invariants only this value changes it.
        unsafe { write_union(addr_of_mut!((*self.raw()).tuple.dst.u), port) };
    }

    /// Writes the description, and what the expectation takes over from its master: namespace,
    /// zone, original tuple, and the events that listeners want to be notified of.
    pub(crate) fn describe(&mut self, spec: &ExpectSpec<'a>) {
        let raw = self.raw();
        let master = self.master();
        let events = master
            .extensions()
            .find::<EventCache>()
            .map_or(0, EventCache::wanted_of_expectations);
        // SAFETY: By the type invariants only this value changes it; `Tuple` and `TupleMask` are
        // layout twins.
        // INVARIANT: Helpers and function are not freed during `'a`: see `ExpectSpec`.
        unsafe {
            addr_of_mut!((*raw).tuple)
                .cast::<Tuple>()
                .write_unaligned(spec.tuple);
            addr_of_mut!((*raw).mask)
                .cast::<TupleMask>()
                .write_unaligned(spec.mask);
            (*raw).flags = spec.flags;
            (*raw).class = spec.class;
            (*raw).helper = spec.helper.map_or(core::ptr::null_mut(), Helper::raw);
            (*raw).assign_helper = spec.assigned.map_or(core::ptr::null_mut(), Helper::raw);
            (*raw).expectfn = spec.expectfn.as_ref().and_then(ExpectFn::function);
            (*raw).dir = spec.nat.dir.to_u8().into();
            write_union(addr_of_mut!((*raw).saved_addr), spec.nat.address);
            write_union(addr_of_mut!((*raw).saved_proto), spec.nat.key);

            bindings::rct_expect_set_net(raw, master.net().raw());
            (*raw).zone = (*master.raw()).zone;
            addr_of_mut!((*raw).master_tuple)
                .cast::<[u64; 5]>()
                .write_unaligned(master.tuple_words(Direction::Original));
            (*raw).event_mask = events;
        }
    }

    /// Links the expectation into a bucket of the table and into the chain of its master, with a
    /// reference for both, and extends its lifetime by `more` jiffies.
    ///
    /// Returns the draft if the expectation is linked already, or its master has no [`Help`].
    ///
    /// # Safety
    ///
    /// `head` is a bucket of the table.
    pub(super) unsafe fn link<'l>(
        self,
        head: *mut bindings::hlist_head,
        more: u32,
        locked: Locked<'l>,
    ) -> Result<Linked<'l>, Self>
    where
        'a: 'l,
    {
        let raw = self.raw();
        let Some(help) = self.help() else {
            return Err(self);
        };
        // SAFETY: The lock is held; the head is the table's, by the function's contract. See
        // `Linked::unlink` for the predecessor. It is in the table when the block ends.
        unsafe {
            if !(*raw).hnode.pprev.is_null() {
                return Err(self);
            }
            refcount::from_raw(addr_of_mut!((*raw).use_)).inc();
            (*raw).timeout = (*raw).timeout.wrapping_add(more);
            bindings::rct_hlist_add_head_rcu(addr_of_mut!((*raw).lnode), help.chain());
            bindings::rct_hlist_add_head_rcu(addr_of_mut!((*raw).hnode), head);
            Ok(Linked::from_raw(raw, locked))
        }
    }
}

/// Writes a union as the type of one of its members.
///
/// # Safety
///
/// `place` is valid for writes.
unsafe fn write_union<U, T: Copy>(place: *mut U, value: T) {
    const { assert!(size_of::<U>() == size_of::<T>()) };
    // SAFETY: By the function's contract; the sizes are equal.
    unsafe { place.cast::<T>().write_unaligned(value) };
}
