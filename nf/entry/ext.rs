// SPDX-License-Identifier: GPL-2.0

//! Extensions of an entry, in a blob behind `nf_conn.ext`.
//!
//! The blob starts with the offsets of the extensions, by which C code finds them.
//!
//! # Examples
//!
//! ```ignore
//! // An extension of this tracker's own kind: the transparent twin of a C type.
//! #[repr(transparent)]
//! struct Labels(Opaque<bindings::nf_conn_labels>);
//!
//! // SAFETY: `struct nf_conn_labels` is the extension with this number; it is accessed atomically.
//! unsafe impl Extension for Labels {
//!     const ID: u32 = bindings::nf_ct_ext_id_NF_CT_EXT_LABELS;
//! }
//!
//! fresh.add::<Labels>()?;
//! let conn = fresh.publish();
//! if let Some(labels) = conn.extensions().find::<Labels>() {
//!     labels.word(0);
//! }
//! ```
//!
//! C header:
//! [`include/net/netfilter/nf_conntrack_extend.h`](srctree/include/net/netfilter/nf_conntrack_extend.h)

use core::{
    ffi::c_void,
    marker::PhantomData,
    mem::size_of,
    ptr::{
        addr_of_mut,
        NonNull, //
    },
};

use kernel::{
    sync::atomic::Atomic,
    types::Opaque, //
};

use crate::{
    nf::{
        bindings,
        kernel::layout::SameLayout, //
    },
    proto::types::{
        direction::Direction,
        num::u32_as_usize, //
    },
};

use super::conn::Entry;

/// An extension.
///
/// # Safety
///
/// `Self` is the (transparent) C type that C code looks for under `ID`, valid when all
/// its bytes are zero, shareable between CPUs, and aligned to eight bytes at most.
pub(crate) unsafe trait Extension: Sync {
    /// The number of the extension (`NF_CT_EXT_*`), or [`ABSENT`].
    const ID: u32;
}

/// In place of a number: this kernel does not have the extension.
pub(super) const ABSENT: u32 = u32::MAX;

/// The size that a blob has at first, so that the usual set of extensions needs one allocation.
const FIRST_SIZE: usize = 128;

/// The sizes of the extensions, by number. The types of some are known to other modules only.
pub(super) const SIZES: [usize; bindings::nf_ct_ext_id_NF_CT_EXT_NUM as usize] = {
    let mut sizes = [0; bindings::nf_ct_ext_id_NF_CT_EXT_NUM as usize];
    sizes[bindings::nf_ct_ext_id_NF_CT_EXT_HELPER as usize] = bindings::RCT_EXT_SIZE_HELPER;
    sizes[bindings::nf_ct_ext_id_NF_CT_EXT_NAT as usize] = bindings::RCT_EXT_SIZE_NAT;
    sizes[bindings::nf_ct_ext_id_NF_CT_EXT_SEQADJ as usize] = bindings::RCT_EXT_SIZE_SEQADJ;
    sizes[bindings::nf_ct_ext_id_NF_CT_EXT_ACCT as usize] = bindings::RCT_EXT_SIZE_ACCT;
    sizes[bindings::nf_ct_ext_id_NF_CT_EXT_ECACHE as usize] = bindings::RCT_EXT_SIZE_ECACHE;
    sizes[bindings::nf_ct_ext_id_NF_CT_EXT_TSTAMP as usize] = bindings::RCT_EXT_SIZE_TSTAMP;
    sizes[bindings::nf_ct_ext_id_NF_CT_EXT_TIMEOUT as usize] = bindings::RCT_EXT_SIZE_TIMEOUT;
    sizes[bindings::nf_ct_ext_id_NF_CT_EXT_LABELS as usize] = bindings::RCT_EXT_SIZE_LABELS;
    #[cfg(CONFIG_NETFILTER_SYNPROXY)]
    {
        sizes[bindings::nf_ct_ext_id_NF_CT_EXT_SYNPROXY as usize] = bindings::RCT_EXT_SIZE_SYNPROXY;
    }
    #[cfg(CONFIG_NET_ACT_CT)]
    {
        sizes[bindings::nf_ct_ext_id_NF_CT_EXT_ACT_CT as usize] = bindings::RCT_EXT_SIZE_ACT_CT;
    }
    sizes
};

// The blob keeps offsets and its length in bytes.
const _: () = {
    let mut total = size_of::<bindings::nf_ct_ext>();
    let mut id = 0;
    while id < SIZES.len() {
        assert!(SIZES[id] != 0);
        total = total.next_multiple_of(8) + SIZES[id];
        id += 1;
    }
    assert!(total <= u8::MAX as usize);
};

/// Adds an extension, zeroed. [`None`]: no memory, no such extension, or it is there already.
///
/// # Safety
///
/// `conn` points to an entry or a template that is not confirmed, and nothing else reads its
/// extensions meanwhile.
pub(crate) unsafe fn add_by_number(
    conn: *mut bindings::nf_conn,
    id: u32,
    gfp: u32,
) -> Option<NonNull<c_void>> {
    let size = *SIZES.get(u32_as_usize(id))?;
    // SAFETY: The caller's promise.
    let slot = unsafe { &mut *addr_of_mut!((*conn).ext) };
    let old = *slot;
    let used = if old.is_null() {
        size_of::<bindings::nf_ct_ext>()
    } else {
        // SAFETY: A blob in place is valid; `id` is one of its slots, as checked above.
        unsafe {
            if *addr_of_mut!((*old).offset)
                .cast::<u8>()
                .add(u32_as_usize(id))
                != 0
            {
                return None;
            }
            usize::from((*old).len)
        }
    };
    let offset = used.wrapping_add(7) & !7;
    let end = offset.wrapping_add(size);
    let size_added = end.wrapping_sub(used);
    let (offset8, end8) = (u8::try_from(offset).ok()?, u8::try_from(end).ok()?);

    let blob: *mut bindings::nf_ct_ext = if old.is_null() {
        // SAFETY: Allocates.
        unsafe { bindings::rct_kzalloc(FIRST_SIZE.max(end), gfp) }.cast()
    } else if end <= FIRST_SIZE {
        old
    } else {
        // SAFETY: `old` came from `kmalloc` and has at least `used` bytes; the new blob has `end`.
        unsafe {
            let larger = bindings::rct_krealloc(old.cast(), end, gfp);
            if !larger.is_null() {
                larger.cast::<u8>().add(used).write_bytes(0, size_added);
            }
            larger.cast()
        }
    };
    let blob = NonNull::new(blob)?;
    *slot = blob.as_ptr();
    // SAFETY: The blob has room up to `end`, zeroed; `id` is one of its slots.
    unsafe {
        addr_of_mut!((*blob.as_ptr()).offset)
            .cast::<u8>()
            .add(u32_as_usize(id))
            .write(offset8);
        (*blob.as_ptr()).len = end8;
        Some(blob.byte_add(offset).cast())
    }
}

impl Entry {
    /// Returns the extensions, which the entry got when it was created.
    #[inline]
    pub(crate) fn extensions(&self) -> ExtSet<'_> {
        // SAFETY: The blob is set before the entry is shared, and lives as long.
        unsafe { ExtSet::from_raw((*self.raw()).ext) }
    }
}

/// The extensions of an entry.
///
/// # Invariants
///
/// `0` is null or points to a blob that lives, and keeps its extensions in place, for `'a`.
#[derive(Clone, Copy)]
pub(crate) struct ExtSet<'a>(*mut bindings::nf_ct_ext, PhantomData<&'a ()>);

impl<'a> ExtSet<'a> {
    /// # Safety
    ///
    /// As the invariants say.
    #[inline]
    pub(in crate::nf) unsafe fn from_raw(blob: *mut bindings::nf_ct_ext) -> Self {
        // INVARIANT: the caller's promise.
        Self(blob, PhantomData)
    }

    /// Returns whether there are no extensions.
    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self.0.is_null()
    }

    /// Finds an extension.
    #[inline]
    pub(crate) fn find<E: Extension>(self) -> Option<&'a E> {
        if E::ID == ABSENT || self.0.is_null() {
            return None;
        }
        // SAFETY: By the type invariants; `ID` is one of the blob's slots.
        let offset = unsafe {
            *addr_of_mut!((*self.0).offset)
                .cast::<u8>()
                .add(u32_as_usize(E::ID))
        };
        if offset == 0 {
            return None;
        }
        // SAFETY: The offset is that of an `E`, by the contract of its trait.
        Some(unsafe { &*self.0.byte_add(usize::from(offset)).cast() })
    }
}

/// Packets and bytes of each direction (`struct nf_conn_acct`).
#[repr(transparent)]
pub(crate) struct Counters(Opaque<bindings::nf_conn_acct>);

// SAFETY: Accessed atomically only.
unsafe impl Sync for Counters {}
// SAFETY: `struct nf_conn_acct` is the extension with this number.
unsafe impl Extension for Counters {
    const ID: u32 = bindings::nf_ct_ext_id_NF_CT_EXT_ACCT;
}

impl Counters {
    #[inline]
    fn of(&self, dir: Direction) -> *mut bindings::nf_conn_counter {
        // SAFETY: In bounds: two directions, two counters.
        unsafe {
            addr_of_mut!((*self.0.get()).counter)
                .cast::<bindings::nf_conn_counter>()
                .add(dir as usize)
        }
    }

    /// Counts one packet of `bytes` bytes.
    #[inline]
    pub(crate) fn count(&self, dir: Direction, bytes: u32) {
        self.add(dir, 1, bytes);
    }

    /// Counts packets that have `bytes` bytes together.
    #[inline]
    pub(crate) fn add(&self, dir: Direction, packets: u32, bytes: u32) {
        let counter = self.of(dir);
        // SAFETY: The fields are valid `atomic64_t`.
        unsafe {
            bindings::rct_atomic64_add(i64::from(packets), addr_of_mut!((*counter).packets));
            bindings::rct_atomic64_add(i64::from(bytes), addr_of_mut!((*counter).bytes));
        }
    }

    /// Subtracts packets and bytes.
    pub(crate) fn take_off(&self, dir: Direction, packets: u64, bytes: u64) {
        let counter = self.of(dir);
        // SAFETY: The fields are valid `atomic64_t`. CAST: the counters wrap around.
        unsafe {
            bindings::rct_atomic64_add(
                (packets as i64).wrapping_neg(),
                addr_of_mut!((*counter).packets),
            );
            bindings::rct_atomic64_add(
                (bytes as i64).wrapping_neg(),
                addr_of_mut!((*counter).bytes),
            );
        }
    }

    /// Returns packets and bytes.
    pub(crate) fn read(&self, dir: Direction) -> (u64, u64) {
        let counter = self.of(dir);
        // SAFETY: The fields are valid `atomic64_t`. CAST: they count from zero, and wrap around.
        unsafe {
            (
                bindings::rct_atomic64_read(addr_of_mut!((*counter).packets)) as u64,
                bindings::rct_atomic64_read(addr_of_mut!((*counter).bytes)) as u64,
            )
        }
    }
}

/// The times of a connection's begin and end (`struct nf_conn_tstamp`).
#[repr(transparent)]
pub(crate) struct Timestamps(Opaque<bindings::nf_conn_tstamp>);

// SAFETY: Accessed atomically only.
unsafe impl Sync for Timestamps {}
// SAFETY: `struct nf_conn_tstamp` is the extension with this number.
unsafe impl Extension for Timestamps {
    const ID: u32 = bindings::nf_ct_ext_id_NF_CT_EXT_TSTAMP;
}

impl Timestamps {
    /// Returns the time of confirmation, in nanoseconds since the epoch; 0: not confirmed yet.
    pub(crate) fn start(&self) -> &Atomic<u64> {
        // SAFETY: A valid, aligned field.
        unsafe { Atomic::from_ptr(addr_of_mut!((*self.0.get()).start)) }
    }

    /// Returns the time of the end, in nanoseconds since the epoch; 0: not ended yet.
    pub(crate) fn stop(&self) -> &Atomic<u64> {
        // SAFETY: A valid, aligned field.
        unsafe { Atomic::from_ptr(addr_of_mut!((*self.0.get()).stop)) }
    }
}

/// The adjustment of sequence numbers in each direction (`struct nf_conn_seqadj`).
#[repr(transparent)]
pub(crate) struct SeqAdjust(Opaque<bindings::nf_conn_seqadj>);

// SAFETY: Changed under the entry's lock only.
unsafe impl Sync for SeqAdjust {}
// SAFETY: `struct nf_conn_seqadj` is the extension with this number.
unsafe impl Extension for SeqAdjust {
    const ID: u32 = bindings::nf_ct_ext_id_NF_CT_EXT_SEQADJ;
}

/// The adjustment of sequence numbers of an entry, whose lock guards it.
///
/// # Invariants
///
/// `adjust` is an extension of `entry`.
#[derive(Clone, Copy)]
pub(crate) struct EntrySeqAdjust<'a> {
    entry: &'a Entry,
    adjust: &'a SeqAdjust,
}

impl Entry {
    /// Returns the adjustment of sequence numbers. [`None`]: the entry does not have the extension.
    #[inline]
    pub(crate) fn seq_adjust(&self) -> Option<EntrySeqAdjust<'_>> {
        let adjust = self.extensions().find()?;
        // INVARIANT: As just found.
        Some(EntrySeqAdjust {
            entry: self,
            adjust,
        })
    }
}

impl EntrySeqAdjust<'_> {
    /// Returns where the adjustment in a direction is. Only the holder of the entry's lock may
    /// follow the pointer; lockdep reports others.
    fn locked(self, dir: Direction) -> *mut bindings::nf_ct_seqadj {
        self.entry.assert_locked();
        // SAFETY: In bounds: two directions, two records.
        unsafe {
            addr_of_mut!((*self.adjust.0.get()).seq)
                .cast::<bindings::nf_ct_seqadj>()
                .add(dir as usize)
        }
    }

    /// Returns the adjustments of the original and of the reply direction, as they are at one
    /// moment.
    pub(crate) fn read<T: SameLayout<C = bindings::nf_ct_seqadj>>(self) -> [T; 2] {
        let _guard = self.entry.lock();
        // SAFETY: Valid, and by the type invariants changed under this lock only; by the trait's
        // contract any bytes are a `T`.
        [Direction::Original, Direction::Reply]
            .map(|dir| unsafe { self.locked(dir).cast::<T>().read() })
    }

    /// Changes the adjustment in a direction.
    pub(crate) fn change<T: SameLayout<C = bindings::nf_ct_seqadj>>(
        self,
        dir: Direction,
        change: impl FnOnce(&mut T),
    ) {
        let _guard = self.entry.lock();
        // SAFETY: Valid, and exclusive by the lock. `change` cannot take the lock again: the CPU
        // would wait for itself.
        change(unsafe { &mut *self.locked(dir).cast::<T>() });
    }
}

/// The state of SYNPROXY (`struct nf_conn_synproxy`).
#[repr(transparent)]
pub(crate) struct SynProxy(Opaque<bindings::nf_conn_synproxy>);

// SAFETY: Single words, accessed atomically.
unsafe impl Sync for SynProxy {}
// SAFETY: `struct nf_conn_synproxy` is the extension with this number.
unsafe impl Extension for SynProxy {
    #[cfg(CONFIG_NETFILTER_SYNPROXY)]
    const ID: u32 = bindings::nf_ct_ext_id_NF_CT_EXT_SYNPROXY;
    #[cfg(not(CONFIG_NETFILTER_SYNPROXY))]
    const ID: u32 = ABSENT;
}

impl SynProxy {
    /// Returns the initial sequence number and the initial time stamp that SYNPROXY sent, and the
    /// offset of time stamps.
    pub(crate) fn words(&self) -> [&Atomic<u32>; 3] {
        let raw = self.0.get();
        // SAFETY: Valid, aligned fields.
        unsafe {
            [
                Atomic::from_ptr(addr_of_mut!((*raw).isn)),
                Atomic::from_ptr(addr_of_mut!((*raw).its)),
                Atomic::from_ptr(addr_of_mut!((*raw).tsoff)),
            ]
        }
    }
}

/// Connection labels: bits that rules set and match (`struct nf_conn_labels`).
#[repr(transparent)]
pub(crate) struct Labels(Opaque<bindings::nf_conn_labels>);

// SAFETY: Accessed atomically only.
unsafe impl Sync for Labels {}
// SAFETY: `struct nf_conn_labels` is the extension with this number.
unsafe impl Extension for Labels {
    const ID: u32 = bindings::nf_ct_ext_id_NF_CT_EXT_LABELS;
}

impl Labels {
    /// The number of words of 32 bits.
    pub(crate) const WORDS: usize = size_of::<bindings::nf_conn_labels>() / 4;

    /// Returns word `index`; [`None`] beyond the last one.
    pub(crate) fn word(&self, index: usize) -> Option<&Atomic<u32>> {
        if index >= Self::WORDS {
            return None;
        }
        // SAFETY: In bounds, aligned, and accessed atomically only.
        Some(unsafe { Atomic::from_ptr(self.0.get().cast::<u32>().add(index)) })
    }
}
