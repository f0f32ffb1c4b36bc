// SPDX-License-Identifier: GPL-2.0

//! An entry that is being made, which only its cpu knows.

use core::{
    mem::size_of,
    ptr::{
        addr_of_mut,
        NonNull, //
    },
};

use kernel::{
    cpu::CpuId,
    num::casts::u32_as_usize,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        barrier::{
            smp_mb,
            Write, //
        },
    },
};

use crate::{
    nf::{
        bindings,
        kernel::net::Net, //
    },
    proto::types::{
        direction::Direction,
        zone::Zone, //
    },
};

use super::{
    conn::{
        tuple_word,
        Conn,
        StatusBit,
        CPU_SHIFT, //
    },
    end::Dead,
    ext::{
        add_by_number,
        Extension,
        ABSENT,
        SIZES, //
    },
    help::HelperTarget,
    slab,
    timeout::{
        self,
        Policy, //
    },
};

/// An entry that only its cpu knows.
///
/// # Invariants
///
/// `0` points to an initialised entry whose reference count is zero, so that nobody who
/// still finds the memory's former entry can take a reference.
#[must_use = "the entry is freed when this is dropped"]
pub(crate) struct Fresh(NonNull<bindings::nf_conn>);

impl Fresh {
    /// Allocates an entry, in atomic context, for the tuples with these words, original and reply;
    /// `one_zone` says whether both are in the same zone. `saved` is kept until it is confirmed.
    ///
    /// [`None`]: no memory.
    #[inline]
    pub(crate) fn new(
        net: &Net,
        zone: Zone,
        [original, reply]: [&[u64; 5]; 2],
        one_zone: bool,
        saved: u64,
    ) -> Option<Self> {
        let conn = slab::allocate()?;
        let raw = conn.as_ptr();

        // SAFETY: The memory is ours. Readers that still walk over its former entry may look
        // at it, which is why what they look at is written atomically.
        unsafe {
            super::conn::init_lock(raw);
            for (dir, words) in [(Direction::Original, original), (Direction::Reply, reply)] {
                for (index, word) in words.iter().enumerate() {
                    tuple_word(raw, dir, index).store(*word, Relaxed);
                }
            }
            let conn = Conn::from_raw(raw);
            conn.set_reservation_hash(None);
            conn.pprev_word(Direction::Reply).store(saved, Relaxed);
            let cpu = u32_as_usize(CpuId::current().as_u32());
            let status = usize::from(one_zone) << StatusBit::Mirrored as u32 | cpu << CPU_SHIFT;
            Atomic::<usize>::from_ptr(addr_of_mut!((*raw).status).cast()).store(status, Relaxed);
            Atomic::<u32>::from_ptr(addr_of_mut!((*raw).timeout)).store(0, Relaxed);
            Atomic::<u32>::from_ptr(addr_of_mut!((*raw).zone).cast())
                .store(core::mem::transmute(zone), Relaxed);
            bindings::rct_ct_set_net(raw, net.raw());
            let tail = bindings::RCT_CONN_INIT_OFFSET;
            raw.cast::<u8>()
                .add(tail)
                .write_bytes(0, size_of::<bindings::nf_conn>() - tail);
            bindings::rct_ct_set_use(raw, 0);
        }
        // INVARIANT: initialised, count zero.
        Some(Self(conn))
    }

    #[inline]
    pub(in crate::nf) fn raw(&mut self) -> *mut bindings::nf_conn {
        self.0.as_ptr()
    }

    /// The entry, to look at.
    pub(crate) fn conn(&self) -> &Conn {
        // SAFETY: By the type invariants.
        unsafe { Conn::from_raw(self.0.as_ptr()) }
    }

    /// The connection was expected by `master`, whose marks it takes over.
    pub(crate) fn set_master(&mut self, master: ARef<Conn>) {
        // SAFETY: By the type invariants nobody else uses the fields. The master's marks may
        // change at any time, and are single words.
        unsafe {
            let raw = self.0.as_ptr();
            #[cfg(CONFIG_NF_CONNTRACK_MARK)]
            {
                (*raw).mark = master.mark();
            }
            #[cfg(CONFIG_NF_CONNTRACK_SECMARK)]
            {
                (*raw).secmark = master.secmark();
            }
        }
        self.set_master_only(master);
    }

    /// [`Fresh::set_master`], but the marks stay as they are.
    pub(crate) fn set_master_only(&mut self, master: ARef<Conn>) {
        self.conn().set(StatusBit::Expected);
        // SAFETY: By the type invariants nobody else uses the field.
        let place = unsafe { &mut *addr_of_mut!((*self.0.as_ptr()).master) };
        let old = core::mem::replace(place, ARef::into_raw(master).as_ptr().cast());
        // SAFETY: The pointer owned a reference.
        drop(NonNull::new(old).map(|old| unsafe { ARef::<Conn>::from_raw(old.cast()) }));
    }

    /// Adds an extension, zeroed. The entry is not shared yet, so nobody sees the blob move.
    pub(crate) fn add<E: Extension>(&mut self) -> Result {
        const { assert!(align_of::<E>() <= 8) };
        const { assert!(E::ID == ABSENT || size_of::<E>() == SIZES[E::ID as usize]) };

        // SAFETY: The entry is its cpu's alone.
        let part = unsafe { add_by_number(self.raw(), E::ID, bindings::RCT_GFP_ATOMIC as u32) };
        part.map(|_| ()).ok_or(ENOMEM)
    }

    /// Adds a timeout policy. Without memory for it the connection goes on without.
    pub(crate) fn add_policy(&mut self, policy: &Policy) {
        // SAFETY: The entry is its cpu's alone.
        let slot = unsafe { timeout::add_slot(self.raw()) };
        if let (Some(slot), Some(policy)) = (slot, policy.get()) {
            slot.set(policy);
        }
    }

    /// The entry as a candidate for a helper; in atomic context.
    pub(crate) fn helper_target(&mut self) -> HelperTarget<'_> {
        // SAFETY: The entry is its cpu's alone while `self` is borrowed.
        unsafe { HelperTarget::from_raw(self.raw(), bindings::RCT_GFP_ATOMIC as u32) }
    }

    /// Makes the entry shareable, with one reference.
    #[inline]
    pub(crate) fn publish(self) -> ARef<Conn> {
        let conn = self.0;
        core::mem::forget(self);
        // SAFETY: Whoever meets the raised count sees a cleared status (in particular no
        // CONFIRMED of the memory's former entry) and the right namespace.
        unsafe {
            smp_mb(Write);
            bindings::rct_ct_set_use(conn.as_ptr(), 1);
        }
        // SAFETY: This is the one reference.
        unsafe { ARef::from_raw(conn.cast()) }
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the entry is ours and was never shared.
        drop(unsafe { Dead::from_raw(self.0) });
    }
}
