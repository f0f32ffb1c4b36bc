// SPDX-License-Identifier: GPL-2.0

//! An entry that is being created, and is known to its creator alone.
//!
//! # Examples
//!
//! ```ignore
//! let mut fresh = Fresh::new(net, zone, [&original, &reply], zone.is_for_both(), hash)?;
//! // Extensions can be added now, and not later.
//! fresh.add::<Counters>()?;
//! // From here on it is shared: with the packet first, and by the table when it is confirmed.
//! let conn: ARef<Conn> = fresh.publish();
//! ```

use core::{
    mem::size_of,
    ptr::{
        addr_of_mut,
        NonNull, //
    },
};

use kernel::{
    cpu::CpuId,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
    },
};

use crate::{
    nf::{
        bindings,
        kernel::{
            net::Net,
            refcount::RcuCounted, //
        },
    },
    proto::types::{
        direction::Direction,
        generation::Generation,
        num::u32_as_usize,
        zone::Zone, //
    },
};

use super::{
    conn::{
        tuple_word,
        Conn,
        Entry,
        StatusBit,
        CPU_SHIFT,
        GENERATION_SHIFT, //
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
        TimeoutPolicy, //
    },
};

/// An entry that is known to its creator alone.
///
/// # Invariants
///
/// `0` points to an initialised entry with reference count zero: so readers that still find the
/// memory's former entry take no reference.
#[must_use = "the entry is freed when this is dropped"]
pub(crate) struct Fresh(NonNull<bindings::nf_conn>);

impl Fresh {
    /// Allocates an entry for the tuples with these words, original and reply. Does not sleep.
    ///
    /// `one_zone`: both tuples are in the same zone. `hash` is kept until the entry is confirmed;
    /// its highest bit is clear. `generation` is that of the rules that the first packet will meet,
    /// or an older one. `ENOMEM`: no memory.
    #[inline]
    pub(crate) fn new(
        net: &Net,
        zone: Zone,
        [original, reply]: [&[u64; 5]; 2],
        one_zone: bool,
        hash: u64,
        generation: Generation,
    ) -> Result<Self> {
        let conn = slab::allocate().ok_or(ENOMEM)?;
        let raw = conn.as_ptr();

        // SAFETY: The memory belongs to this function. Readers that still walk over its former
        // entry may read it, so what they read is written atomically.
        unsafe {
            super::conn::init_lock(raw);
            for (dir, words) in [(Direction::Original, original), (Direction::Reply, reply)] {
                for (index, word) in words.iter().enumerate() {
                    tuple_word(raw, dir, index).store(*word, Relaxed);
                }
            }
            let conn = Entry::from_raw(raw);
            conn.drop_reservation();
            conn.pprev_word(Direction::Reply).store(hash, Relaxed);
            let cpu = u32_as_usize(CpuId::current().as_u32());
            let status = usize::from(one_zone) << StatusBit::Mirrored as u32
                | usize::from(generation) << GENERATION_SHIFT
                | cpu << CPU_SHIFT;
            Atomic::<usize>::from_ptr(addr_of_mut!((*raw).status).cast()).store(status, Relaxed);
            Atomic::<u32>::from_ptr(addr_of_mut!((*raw).timeout)).store(0, Relaxed);
            Atomic::<u32>::from_ptr(addr_of_mut!((*raw).zone).cast())
                .store(core::mem::transmute::<Zone, u32>(zone), Relaxed);
            bindings::rct_ct_set_net(raw, net.raw());
            let tail = bindings::RCT_CONN_INIT_OFFSET;
            raw.cast::<u8>()
                .add(tail)
                .write_bytes(0, size_of::<bindings::nf_conn>() - tail);
            bindings::rct_ct_set_use(raw, 0);
        }
        // INVARIANT: initialised, count zero.
        Ok(Self(conn))
    }

    #[inline]
    pub(in crate::nf) fn raw(&mut self) -> *mut bindings::nf_conn {
        self.0.as_ptr()
    }

    /// Returns the entry.
    pub(crate) fn conn(&self) -> &Entry {
        // SAFETY: By the type invariants.
        unsafe { Entry::from_raw(self.0.as_ptr()) }
    }

    /// Sets the master, and copies its marks.
    pub(crate) fn set_master(&mut self, master: ARef<Conn>) {
        // SAFETY: By the type invariants nothing else uses the fields. The master's marks may
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

    /// Does as [`Fresh::set_master`], but leaves the marks as they are.
    pub(crate) fn set_master_only(&mut self, master: ARef<Conn>) {
        self.conn().set(StatusBit::Expected);
        // SAFETY: By the type invariants nothing else uses the field.
        let place = unsafe { &mut *addr_of_mut!((*self.0.as_ptr()).master) };
        let old = core::mem::replace(place, ARef::into_raw(master).as_ptr().cast());
        // SAFETY: The pointer owned a reference.
        drop(NonNull::new(old).map(|old| unsafe { ARef::<Conn>::from_raw(old.cast()) }));
    }

    /// Adds an extension, zeroed. The entry is not shared yet, so no reader sees the blob move.
    ///
    /// `ENOMEM`: no memory, or the entry has the extension.
    pub(crate) fn add<E: Extension>(&mut self) -> Result {
        const { assert!(align_of::<E>() <= 8) };
        const { assert!(E::ID == ABSENT || size_of::<E>() == SIZES[E::ID as usize]) };

        // SAFETY: The entry is known to this value alone.
        let extension = unsafe { add_by_number(self.raw(), E::ID, bindings::gfp::ATOMIC) };
        extension.map(|_| ()).ok_or(ENOMEM)
    }

    /// Adds a timeout policy. Without memory for it the entry gets none.
    pub(crate) fn add_policy(&mut self, policy: &TimeoutPolicy) {
        // SAFETY: The entry is known to this value alone.
        let slot = unsafe { timeout::add_slot(self.raw()) };
        if let (Some(slot), Some(policy)) = (slot, policy.get()) {
            slot.set(policy);
        }
    }

    /// Returns the entry as one that may get a helper. What is added does not sleep.
    pub(crate) fn helper_target(&mut self) -> HelperTarget<'_> {
        // SAFETY: The entry is known to this value alone while `self` is borrowed.
        unsafe { HelperTarget::from_raw(self.raw(), bindings::gfp::ATOMIC) }
    }

    /// Makes the entry shareable, and returns its first reference.
    #[inline]
    pub(crate) fn publish(self) -> ARef<Conn> {
        let conn = self.0;
        core::mem::forget(self);
        // SAFETY: A barrier: a reader that sees the raised count sees a cleared status, in
        // particular no CONFIRMED of the memory's former entry, and the right namespace.
        unsafe {
            kernel::bindings::smp_wmb();
            bindings::rct_ct_set_use(conn.as_ptr(), 1);
        }
        // SAFETY: This is the one reference.
        unsafe { ARef::from_raw(conn.cast()) }
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the entry was never shared.
        drop(unsafe { Dead::from_raw(self.0) });
    }
}
