// SPDX-License-Identifier: GPL-2.0

//! Objects of the slab: where an entry has its links, and which layout they are in.
//!
//! As long as all memory lies near the beginning of the kernel's direct map, an object has a handle
//! of 31 bits and a link is one word ([`Compact`]). An entry has such words to spare: its chains in
//! the table and in the by-source table are followed forwards only, but `struct nf_conn` has room
//! for both directions. So the lists that an entry is on cost it no memory, and the slab's own
//! link, which only a free object needs, lies in one of them.
//!
//! On larger machines a link is two addresses, which follow the entry ([`Wide`]).
//!
//! # Readers without a lock
//!
//! An object may be freed, and become another entry, while a reader under RCU stands on it. The
//! reader goes on by the word of a node that leads forwards, or by that half of
//! [`IndexKind::BySource`]: both keep their value until the object is linked again. Readers do not
//! look at the other words; lists are followed under their locks.
//!
//! Until an entry is confirmed, the unused words of its nodes hold its reservation
//! ([`Entry::reservation_hash`](super::conn::Entry::reservation_hash)) and a hash
//! ([`Entry::cached_hash`](super::conn::Entry::cached_hash)). Another CPU that has a clone of the
//! packet may read them when they are links already. It can tell them apart: the highest bit of
//! such a link is set, and that of a reservation or a hash never is.

use core::mem::{
    offset_of,
    size_of, //
};

use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};

use crate::{
    nf::bindings,
    proto::types::direction::Direction, //
};

use super::intrusive::{
    self,
    layout::{
        Geometry,
        LinkLayout,
        MemoryLayout,
        UNIT, //
    }, //
};

/// The [compact](intrusive::layout::Compact) layout of entries.
pub(super) type Compact = intrusive::layout::Compact<ConnGeometry>;

/// The [wide](intrusive::layout::Wide) layout of entries.
pub(super) type Wide = intrusive::layout::Wide<ConnGeometry>;

/// The handles of an entry's nodes: node 0 is that of the original tuple.
pub(super) type TupleHandles = intrusive::layout::NodeHandles<ConnGeometry>;

/// What the entries of a list or chain have in common.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum IndexKind {
    /// Namespace and zone.
    Zone = 0,
    /// The source of the original tuple.
    Source = 1,
    /// The destination of the original tuple.
    Destination = 2,
    /// The address that NAT put in place of another one.
    Translated = 3,
    /// The source address and port, for NAT: a chain of [`super::bysource`], which readers follow
    /// forwards under RCU.
    BySource = 4,
}

/// The number of kinds that have lists in [`super::index_lists`]: all but the last.
pub(super) const LISTED: usize = 4;

/// Where the entry ends.
const END: usize = size_of::<bindings::nf_conn>().next_multiple_of(8);

/// Returns the offset of the node by which a tuple is on a chain.
const fn node(dir: Direction) -> usize {
    offset_of!(bindings::nf_conn, tuplehash)
        + dir as usize * size_of::<bindings::nf_conntrack_tuple_hash>()
        + offset_of!(bindings::nf_conntrack_tuple_hash, hnnode)
}

/// Returns the offset of the word of that node which C code uses to lead backwards.
const fn pprev(dir: Direction) -> usize {
    node(dir) + offset_of!(bindings::hlist_nulls_node, pprev)
}

const SOURCE_NODE: usize = offset_of!(bindings::nf_conn, nat_bysource);

/// The offsets of the links of an entry.
#[derive(Clone, Copy)]
pub(super) struct ConnGeometry;

// SAFETY: All words are those of `nf_conn` that only our chains use, or behind it; each is aligned
// for its halves. The byte of the direction is written when an entry is made, always as the same.
unsafe impl Geometry for ConnGeometry {
    type Link = IndexKind;

    const NODES: [usize; 2] = [node(Direction::Original), node(Direction::Reply)];

    const NODE_INDEX: usize = offset_of!(bindings::nf_conntrack_tuple_hash, tuple)
        - offset_of!(bindings::nf_conntrack_tuple_hash, hnnode)
        + offset_of!(bindings::nf_conntrack_tuple, dst)
        + offset_of!(bindings::nf_conntrack_tuple__bindgen_ty_1, dir);

    #[inline(always)]
    fn compact(link: IndexKind) -> usize {
        match link {
            IndexKind::Zone => END,
            IndexKind::Source => const { pprev(Direction::Original) },
            IndexKind::Destination => const { pprev(Direction::Reply) },
            IndexKind::Translated => {
                const { SOURCE_NODE + offset_of!(bindings::hlist_node, pprev) }
            }
            IndexKind::BySource => const { SOURCE_NODE + offset_of!(bindings::hlist_node, next) },
        }
    }

    #[inline(always)]
    fn wide(link: IndexKind) -> usize {
        match link {
            IndexKind::BySource => SOURCE_NODE,
            // The others follow the entry, two words for each.
            _ => END.wrapping_add((link as usize).wrapping_mul(2 * size_of::<usize>())),
        }
    }
}

/// The size of an object in the compact layout.
const COMPACT_SIZE: usize = (END + size_of::<u64>()).next_multiple_of(UNIT);

/// The size of an object in the wide layout.
const WIDE_SIZE: usize = END + LISTED * 2 * size_of::<usize>();

// What `Fresh` leaves alone.
const _: () =
    assert!(SOURCE_NODE + size_of::<bindings::hlist_node>() <= bindings::RCT_CONN_INIT_OFFSET);

// What `ConnGeometry` promises: words that are aligned for both halves, of which no two overlap,
// and a byte for the direction.
const _: () = {
    let words = [
        node(Direction::Original),
        pprev(Direction::Original),
        node(Direction::Reply),
        pprev(Direction::Reply),
        SOURCE_NODE + offset_of!(bindings::hlist_node, next),
        SOURCE_NODE + offset_of!(bindings::hlist_node, pprev),
        END,
    ];
    let mut i = 0;
    while i < words.len() {
        assert!(words[i] % size_of::<u64>() == 0);
        let mut j = 0;
        while j < i {
            assert!(words[i].abs_diff(words[j]) >= size_of::<u64>());
            j += 1;
        }
        i += 1;
    }
    let _: fn(&bindings::nf_conntrack_tuple__bindgen_ty_1) -> &u8 = |destination| &destination.dir;
    assert!(Direction::Original as u8 == 0 && Direction::Reply as u8 != 0);
};

/// The base of [`Compact`], or 0: links are [`Wide`]. Set before there is an object.
static BASE: Atomic<usize> = Atomic::new(0);

/// Evaluates an expression with the [`LinkLayout`] of this machine's entries.
macro_rules! with_layout {
    ($is_wide:expr, $layout:ident => $expression:expr) => {
        if $is_wide {
            let $layout = $crate::nf::entry::object::Wide::new();
            $expression
        } else {
            let $layout = $crate::nf::entry::object::compact();
            $expression
        }
    };
}

pub(super) use with_layout;

/// Returns the compact layout, whether or not it is in use.
#[inline(always)]
pub(super) fn compact() -> Compact {
    // SAFETY: Reads a value that does not change.
    Compact::new(unsafe { bindings::rct_page_offset() })
}

/// What the slab has to know of an object.
pub(super) struct ObjectLayout {
    /// In bytes.
    pub(super) size: usize,
    /// In bytes.
    pub(super) align: usize,
    /// The offset at which the slab may keep a link of its own in a free object.
    pub(super) free_link: usize,
}

/// Chooses how objects are linked, for as much memory as there is now.
pub(super) fn choose_layout() -> ObjectLayout {
    // SAFETY: Reads a variable.
    let is_wide = !is_near(unsafe { bindings::rct_memory_end() });
    let base = if is_wide {
        0
    } else {
        // SAFETY: As for `compact`.
        unsafe { bindings::rct_page_offset() }
    };
    BASE.store(base, Relaxed);
    // No reader looks at the link of that kind in a free object, not even under RCU.
    if is_wide {
        ObjectLayout {
            size: WIDE_SIZE,
            align: size_of::<usize>(),
            free_link: ConnGeometry::wide(IndexKind::Zone),
        }
    } else {
        ObjectLayout {
            size: COMPACT_SIZE,
            align: UNIT,
            free_link: ConnGeometry::compact(IndexKind::Zone),
        }
    }
}

/// Returns the format of the handles that chains store.
#[inline(always)]
pub(super) fn tuple_handles() -> TupleHandles {
    TupleHandles::new(BASE.load(Relaxed))
}

/// Returns whether objects are linked by addresses.
#[inline]
pub(super) fn is_wide() -> bool {
    BASE.load(Relaxed) == 0
}

/// Returns whether a handle can stand for this address. The lowest handle stands for no object, so
/// the first bytes of the direct map can have none. (On x86-64 they are reserved; on arm64 they are
/// memory like any other.)
#[inline]
fn is_near(address: usize) -> bool {
    let handle = compact().handle(address);
    handle != 0 && handle < Compact::MARK
}

/// Returns whether the object at an address can be linked. It cannot if memory was added to the
/// machine beyond the reach of the compact layout after that was chosen, or at the very beginning.
#[inline]
pub(super) fn is_in_reach(address: usize) -> bool {
    is_near(address) || is_wide()
}
