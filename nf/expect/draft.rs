// SPDX-License-Identifier: GPL-2.0

//! Expectations in the making.

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
            rcu::Rcu,
            refcount,
            time::jiffies32, //
        },
    },
    proto::types::direction::Direction, //
};

use super::{
    cache,
    expectation::Expectation,
    linked::Linked,
    lock::Locked, //
};

/// The addresses and ports of a [`Draft`], in network byte order.
pub(crate) struct Ends {
    /// `AF_INET` or `AF_INET6`.
    pub(crate) family: u8,
    /// The IP protocol number.
    pub(crate) protocol: u8,
    /// The source's address, if known.
    pub(crate) source: Option<[u8; 16]>,
    /// The source's port, if known.
    pub(crate) source_port: Option<u16>,
    /// The destination's address.
    pub(crate) destination: [u8; 16],
    /// The destination's port.
    pub(crate) destination_port: u16,
}

/// An expectation in the making.
///
/// # Invariants
///
/// Nobody but its maker changes it, unless it is in the table, and its master is not freed
/// during `'a`.
pub(crate) struct Draft<'a>(
    NonNull<bindings::nf_conntrack_expect>,
    PhantomData<&'a Conn>,
);

impl<'a> Draft<'a> {
    /// Allocates one, with one reference. Atomic context. [`None`]: no memory.
    pub(crate) fn new(master: &'a Conn) -> Option<Self> {
        let expectation = cache::allocate()?;
        let raw = expectation.as_ptr();
        // SAFETY: The memory is ours, and zeroed.
        unsafe {
            (*raw).timeout = jiffies32();
            (*raw).master = master.raw();
            refcount::from_raw(addr_of_mut!((*raw).use_)).set(1);
        }
        // INVARIANT: ours.
        Some(Self(expectation, PhantomData))
    }

    /// # Safety
    ///
    /// As the invariants say.
    pub(crate) unsafe fn from_raw(ptr: NonNull<bindings::nf_conntrack_expect>) -> Self {
        // INVARIANT: the caller's promise.
        Self(ptr, PhantomData)
    }

    /// The pointer, for C code; the reference goes with it.
    pub(crate) fn raw(&self) -> *mut bindings::nf_conntrack_expect {
        self.0.as_ptr()
    }

    /// The master.
    pub(crate) fn master(&self) -> &'a Conn {
        // SAFETY: By the type invariants.
        unsafe { Conn::from_raw((*self.raw()).master) }
    }

    /// The reference that it was made with.
    pub(crate) fn first_reference(&self) -> ARef<Expectation> {
        // SAFETY: Its maker's, who takes it over here.
        unsafe { ARef::from_raw(self.0.cast()) }
    }

    /// What it has become so far.
    pub(crate) fn expectation(&self) -> &'a Expectation {
        // SAFETY: By the type invariants; its maker has a reference.
        unsafe { Expectation::from_raw(self.raw()) }
    }

    /// Changes the port that it expects, network byte order.
    pub(crate) fn set_destination_port(&self, port: [u8; 2]) {
        // SAFETY: By the type invariants we are the only ones to change it; the union is two
        // bytes.
        unsafe {
            addr_of_mut!((*self.raw()).tuple.dst.u)
                .cast::<[u8; 2]>()
                .write(port)
        };
    }

    /// Fills in what it expects, and what it takes over from its master.
    pub(crate) fn describe(&self, class: u32, ends: &Ends, rcu: Rcu<'_>) {
        let raw = self.raw();
        let master = self.master();
        let helper = master
            .extensions()
            .find::<Help>()
            .and_then(|help| help.helper(rcu));
        let events = master
            .extensions()
            .find::<EventCache>()
            .map_or(0, EventCache::wanted_of_expectations);
        let used = if ends.family == bindings::NFPROTO_IPV4 as u8 {
            4
        } else {
            16
        };
        // SAFETY: By the type invariants we are the only ones to change it. The two-byte and
        // sixteen-byte unions are written whole, as bytes.
        unsafe {
            (*raw).flags = 0;
            (*raw).class = class;
            (*raw).expectfn = None;
            (*raw).event_mask = events;
            (*raw).helper = helper.map_or(core::ptr::null_mut(), Helper::raw);
            (*raw).assign_helper = core::ptr::null_mut();
            bindings::rct_expect_set_net(raw, master.net().raw());
            (*raw).zone = (*master.raw()).zone;
            addr_of_mut!((*raw).master_tuple)
                .cast::<[u64; 5]>()
                .write_unaligned(master.tuple_words(Direction::Original));

            let tuple = addr_of_mut!((*raw).tuple);
            let mask = addr_of_mut!((*raw).mask);
            (*tuple).src.l3num = ends.family.into();
            (*tuple).dst.protonum = ends.protocol;
            write(
                addr_of_mut!((*tuple).src.u3),
                ends.source.unwrap_or_default(),
            );
            write(
                addr_of_mut!((*tuple).src.u),
                ends.source_port.unwrap_or_default(),
            );
            write(addr_of_mut!((*tuple).dst.u3), ends.destination);
            write(addr_of_mut!((*tuple).dst.u), ends.destination_port);
            let known = core::array::from_fn(|index| {
                if ends.source.is_some() && index < used {
                    u8::MAX
                } else {
                    0
                }
            });
            write::<_, [u8; 16]>(addr_of_mut!((*mask).src.u3), known);
            write(
                addr_of_mut!((*mask).src.u),
                ends.source_port.map_or(0, |_| u16::MAX),
            );

            #[cfg(CONFIG_NF_NAT)]
            {
                write(addr_of_mut!((*raw).saved_addr), [0u8; 16]);
                write(addr_of_mut!((*raw).saved_proto), 0u16);
                (*raw).dir = bindings::ip_conntrack_dir_IP_CT_DIR_ORIGINAL;
            }
        }
    }

    /// Puts it on a chain of the table and on its master's, with a reference for that, and
    /// lets it live `more` jiffies longer than its maker had it. [`None`]: it is there.
    ///
    /// `help` is its master's.
    pub(in crate::nf) fn link<'l>(
        &self,
        head: *mut bindings::hlist_head,
        help: &Help,
        more: u32,
        locked: Locked<'l>,
    ) -> Option<Linked<'l>>
    where
        'a: 'l,
    {
        let raw = self.raw();
        // SAFETY: The lock is held, and the caller in `nf` gave a head of the table. See
        // `Linked::unlink` for the predecessor.
        unsafe {
            if !(*raw).hnode.pprev.is_null() {
                return None;
            }
            refcount::from_raw(addr_of_mut!((*raw).use_)).inc();
            (*raw).timeout = (*raw).timeout.wrapping_add(more);
            bindings::rct_hlist_add_head_rcu(addr_of_mut!((*raw).lnode), help.chain());
            bindings::rct_hlist_add_head_rcu(addr_of_mut!((*raw).hnode), head);
        }
        // SAFETY: Just put there.
        Some(unsafe { Linked::from_raw(raw, locked) })
    }
}

/// Writes a union as what C code reads of it.
///
/// # Safety
///
/// `place` is valid for writes.
unsafe fn write<U, T: Copy>(place: *mut U, value: T) {
    const { assert!(size_of::<U>() == size_of::<T>()) };
    // SAFETY: The caller's promise; the sizes are the same.
    unsafe { place.cast::<T>().write_unaligned(value) };
}
