// SPDX-License-Identifier: GPL-2.0

//! What user space sees of expectations, and what it says when it makes one.

use core::ptr::addr_of_mut;

use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};

use crate::{
    nf::{
        bindings,
        entry::{
            ecache::EventCache,
            help::Helper, //
        },
        kernel::{
            layout::SameLayout,
            time::jiffies32, //
        },
    },
    proto::types::{
        direction::Direction,
        tuple::Tuple, //
    },
};

use super::{
    draft::Draft,
    expectation::Expectation,
    helper_table::Function,
    lock::Locked, //
};

/// How the connection that is expected is translated.
#[derive(Clone, Copy)]
pub(crate) struct Saved {
    /// The direction of the master in which it was announced.
    pub(crate) dir: Direction,
    /// The address that stood in the announcement before it was translated.
    pub(crate) address: [u8; 16],
    /// The port that did.
    pub(crate) key: [u8; 2],
}

/// What is to be expected.
pub(crate) struct ExpectSpec<'r, M> {
    /// Which packets.
    pub(crate) tuple: Tuple,
    /// Which part of their source counts.
    pub(crate) mask: M,
    /// See [`Flags`].
    pub(crate) flags: u32,
    /// The number of a policy of `helper`.
    pub(crate) class: u32,
    /// The master's helper.
    pub(crate) helper: &'r Helper,
    /// The helper that the expected connection gets.
    pub(crate) assigned: Option<&'r Helper>,
    /// Who is called with the expected connection.
    pub(crate) function: Option<Function>,
    /// How it is translated.
    pub(crate) saved: Option<Saved>,
}

impl Draft<'_> {
    /// Fills in what it expects, and what it takes over from its master.
    pub(crate) fn describe_as<M>(&self, spec: &ExpectSpec<'_, M>)
    where
        M: SameLayout<C = bindings::nf_conntrack_tuple_mask>,
    {
        let raw = self.raw();
        let master = self.master();
        let events = master
            .extensions()
            .find::<EventCache>()
            .map_or(0, EventCache::wanted_of_expectations);
        // SAFETY: Of a draft we are the only ones to change anything; the types have the bytes
        // of those in C. Helpers and functions outlive what points to them.
        unsafe {
            (*raw).flags = spec.flags;
            (*raw).class = spec.class;
            (*raw).expectfn = spec
                .function
                .as_ref()
                .and_then(|function| (*function.raw()).expectfn);
            (*raw).event_mask = events;
            (*raw).helper = spec.helper.raw();
            (*raw).assign_helper = spec.assigned.map_or(core::ptr::null_mut(), Helper::raw);
            bindings::rct_expect_set_net(raw, master.net().raw());
            (*raw).zone = (*master.raw()).zone;
            addr_of_mut!((*raw).master_tuple)
                .cast::<[u64; 5]>()
                .write_unaligned(master.tuple_words(Direction::Original));
            addr_of_mut!((*raw).tuple)
                .cast::<Tuple>()
                .write_unaligned(spec.tuple);
            addr_of_mut!((*raw).mask)
                .cast::<M>()
                .write_unaligned(spec.mask);
            if let Some(saved) = spec.saved {
                (*raw).dir = saved.dir as u32;
                addr_of_mut!((*raw).saved_addr)
                    .cast::<[u8; 16]>()
                    .write_unaligned(saved.address);
                addr_of_mut!((*raw).saved_proto)
                    .cast::<[u8; 2]>()
                    .write_unaligned(saved.key);
            }
        }
    }
}

impl Expectation {
    /// The master's original tuple.
    pub(crate) fn master_tuple(&self) -> Tuple {
        // SAFETY: Valid, and not changed since it was added. `Tuple` is a layout
        // twin.
        unsafe {
            addr_of_mut!((*self.raw()).master_tuple)
                .cast::<Tuple>()
                .read_unaligned()
        }
    }

    /// How what it brings is translated, if it is.
    pub(crate) fn saved(&self) -> Option<Saved> {
        let (dir, key) = self.saved_for_nat();
        // SAFETY: Valid, and not changed since it was added; the union is sixteen bytes.
        let address = unsafe {
            addr_of_mut!((*self.raw()).saved_addr)
                .cast::<[u8; 16]>()
                .read_unaligned()
        };
        (address != [0; 16] || key != [0; 2]).then_some(Saved { dir, address, key })
    }

    /// Lets it live `jiffies` from now.
    pub(crate) fn set_remaining(&self, jiffies: u32, _locked: Locked<'_>) {
        // SAFETY: Valid and aligned; accessed atomically.
        let timeout = unsafe { Atomic::from_ptr(addr_of_mut!((*self.raw()).timeout)) };
        timeout.store(jiffies32().wrapping_add(jiffies), Relaxed);
    }
}
