// SPDX-License-Identifier: GPL-2.0

//! An object of the slab: an entry, and the words by which it is linked to others.
//!
//! A link leads from object to object, forwards and backwards. As long as all memory lies near
//! the beginning of the kernel's map of it, an object is told by its number there, in 31 bits,
//! and a link is one word ([`Near`]). An entry has such words to spare: its chains of the table
//! and of NAT's sources are followed in one direction only, but the C type has room for two. So
//! the lists that an entry is on cost it nothing, and the slab's own link, which only free
//! memory needs, lies in one of them.
//!
//! On larger machines the same links are two addresses, which follow the entry ([`Far`]).
//!
//! # Readers without a lock
//!
//! An object may be freed, and become another entry, while a reader under RCU stands on it. The
//! reader goes on by the word of a node that leads forwards, or by that half of
//! [`Link::Origin`]: both keep what they had until the object is linked again. The other words it
//! does not look at; lists are followed under their locks.
//!
//! Until an entry is confirmed, the spare words of its nodes say whether its reply tuple is
//! promised to it, and keep a hash ([`Conn::reservation_hash`](crate::nf::entry::conn::Conn::reservation_hash),
//! [`Conn::saved`](crate::nf::entry::conn::Conn::saved)). Another CPU that has a clone of its packet may
//! read them when they are links already. It can tell: the highest bit of a link is set, and of
//! these it never is.

use core::mem::{
    offset_of,
    size_of, //
};

use kernel::sync::atomic::{
    Atomic,
    Relaxed,
    Release, //
};

use crate::{
    nf::bindings,
    proto::types::direction::Direction, //
};

/// DestroyReason entries are linked to each other.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Link {
    /// Namespace and zone are the same.
    Zone = 0,
    /// Where the first packet came from.
    Source = 1,
    /// Where it went to.
    Destination = 2,
    /// What it was translated to.
    Translated = 3,
    /// The socket that the first packet came from, for NAT. Readers follow it under RCU, forwards.
    Origin = 4,
}

/// How many there are of which [`crate::nf::entry::index_lists`] has lists.
pub(in crate::nf) const LISTED: usize = 4;

/// Where the links of an object are, and how they tell another one.
///
/// # Safety
///
/// [`Layout::offset`] is in bounds of an object, aligned for two halves of a link as one word,
/// and different for each link; the words there belong to the links alone while the object is linked by them.
/// [`Layout::address`] undoes [`Layout::number`].
pub(in crate::nf) unsafe trait Layout: Copy {
    /// The size of half a link, and what it is aligned to.
    const HALF: usize;
    /// For the users of a half: it is in the number of no object, nor in 0, which is none.
    const MARK: usize;
    /// The size of an object.
    const SIZE: usize;

    /// Reads what numbers are relative to, once for a while.
    fn new() -> Self;

    /// Where a link is.
    fn offset(link: Link) -> usize;

    /// The number of the object at an address.
    fn number(self, address: usize) -> usize;

    /// The address of the object with a number.
    fn address(self, number: usize) -> usize;

    /// Reads a half.
    ///
    /// # Safety
    ///
    /// `half` points to one, valid, aligned, and accessed atomically by all.
    unsafe fn read(half: *mut u8) -> usize;

    /// Writes a half.
    ///
    /// # Safety
    ///
    /// As for [`Layout::read`].
    unsafe fn write(half: *mut u8, value: usize);

    /// As [`Layout::write`]; who reads the value sees what was written before.
    ///
    /// # Safety
    ///
    /// As for [`Layout::read`].
    unsafe fn publish(half: *mut u8, value: usize);

    /// Writes both halves of an object's link. Who reads the word that they are, if they are one,
    /// sees neither of them or both.
    ///
    /// # Safety
    ///
    /// `address` is that of an object of the slab, which is on no list for that link.
    unsafe fn write_both(self, address: usize, link: Link, next: usize, previous: usize);

    /// The half of an object's link that leads forwards.
    ///
    /// # Safety
    ///
    /// `address` is that of an object of the slab.
    #[inline]
    unsafe fn next(self, address: usize, link: Link) -> *mut u8 {
        // SAFETY: The caller's promise.
        unsafe { half::<Self>(address, link, NEXT) }
    }

    /// The half of an object's link that leads backwards.
    ///
    /// # Safety
    ///
    /// As for [`Layout::next`].
    #[inline]
    unsafe fn previous(self, address: usize, link: Link) -> *mut u8 {
        // SAFETY: The caller's promise.
        unsafe { half::<Self>(address, link, 1 - NEXT) }
    }
}

/// Where the entry ends.
const END: usize = size_of::<bindings::nf_conn>().next_multiple_of(8);

/// Where an object has the node by which a tuple is on a chain.
pub(in crate::nf) const fn node(dir: Direction) -> usize {
    offset_of!(bindings::nf_conn, tuplehash)
        + dir as usize * size_of::<bindings::nf_conntrack_tuple_hash>()
        + offset_of!(bindings::nf_conntrack_tuple_hash, hnnode)
}

/// The word of that node which leads backwards where C code links entries.
const fn backwards(dir: Direction) -> usize {
    node(dir) + offset_of!(bindings::hlist_nulls_node, pprev)
}

const SOURCE_NODE: usize = offset_of!(bindings::nf_conn, nat_bysource);

/// Halves of 32 bits, in words that the entry does not use.
#[derive(Clone, Copy)]
pub(in crate::nf) struct Near(usize);

/// Objects begin at a multiple of it.
const UNIT_BITS: u32 = 8;

// SAFETY: The words are those of `nf_conn` that our chains leave alone, or behind it; each is
// aligned for two halves.
unsafe impl Layout for Near {
    const HALF: usize = size_of::<u32>();
    const MARK: usize = 1 << 31;
    const SIZE: usize = (END + size_of::<u64>()).next_multiple_of(1 << UNIT_BITS);

    #[inline]
    fn new() -> Self {
        // SAFETY: Reads what does not change.
        Self(unsafe { bindings::rct_page_offset() })
    }

    #[inline]
    fn offset(link: Link) -> usize {
        match link {
            Link::Zone => END,
            Link::Source => const { backwards(Direction::Original) },
            Link::Destination => const { backwards(Direction::Reply) },
            Link::Translated => const { SOURCE_NODE + offset_of!(bindings::hlist_node, pprev) },
            Link::Origin => const { SOURCE_NODE + offset_of!(bindings::hlist_node, next) },
        }
    }

    #[inline]
    fn number(self, address: usize) -> usize {
        address.wrapping_sub(self.0) >> UNIT_BITS
    }

    #[inline]
    fn address(self, number: usize) -> usize {
        (number << UNIT_BITS).wrapping_add(self.0)
    }

    #[inline]
    unsafe fn read(half: *mut u8) -> usize {
        // SAFETY: The caller's promise.
        unsafe { Atomic::<u32>::from_ptr(half.cast()) }.load(Relaxed) as usize
    }

    #[inline]
    unsafe fn write(half: *mut u8, value: usize) {
        // CAST: the number and the mark have 32 bits.
        // SAFETY: The caller's promise.
        unsafe { Atomic::<u32>::from_ptr(half.cast()) }.store(value as u32, Relaxed);
    }

    #[inline]
    unsafe fn publish(half: *mut u8, value: usize) {
        // CAST: the number and the mark have 32 bits.
        // SAFETY: The caller's promise.
        unsafe { Atomic::<u32>::from_ptr(half.cast()) }.store(value as u32, Release);
    }

    #[inline]
    unsafe fn write_both(self, address: usize, link: Link, next: usize, previous: usize) {
        let word = (previous as u64) << u32::BITS | next as u64;
        // SAFETY: The caller's promise: both halves, of which `previous` is the higher one.
        unsafe {
            let at = half::<Self>(address, link, 0);
            Atomic::<u64>::from_ptr(at.cast()).store(word, Relaxed);
        }
    }
}

/// Halves that are addresses, behind the entry.
#[derive(Clone, Copy)]
pub(in crate::nf) struct Far;

// SAFETY: The words follow the entry, two for each link, but for the node that the C type has.
unsafe impl Layout for Far {
    const HALF: usize = size_of::<usize>();
    const MARK: usize = 1;
    const SIZE: usize = END + LISTED * 2 * size_of::<usize>();

    #[inline]
    fn new() -> Self {
        Self
    }

    #[inline]
    fn offset(link: Link) -> usize {
        match link {
            Link::Origin => SOURCE_NODE,
            _ => END.wrapping_add((link as usize).wrapping_mul(2 * size_of::<usize>())),
        }
    }

    #[inline]
    fn number(self, address: usize) -> usize {
        address
    }

    #[inline]
    fn address(self, number: usize) -> usize {
        number
    }

    #[inline]
    unsafe fn read(half: *mut u8) -> usize {
        // SAFETY: The caller's promise.
        unsafe { Atomic::<usize>::from_ptr(half.cast()) }.load(Relaxed)
    }

    #[inline]
    unsafe fn write(half: *mut u8, value: usize) {
        // SAFETY: The caller's promise.
        unsafe { Atomic::<usize>::from_ptr(half.cast()) }.store(value, Relaxed);
    }

    #[inline]
    unsafe fn publish(half: *mut u8, value: usize) {
        // SAFETY: The caller's promise.
        unsafe { Atomic::<usize>::from_ptr(half.cast()) }.store(value, Release);
    }

    #[inline]
    unsafe fn write_both(self, address: usize, link: Link, next: usize, previous: usize) {
        // SAFETY: The caller's promise.
        unsafe {
            Self::write(self.next(address, link), next);
            Self::write(self.previous(address, link), previous);
        }
    }
}

/// What numbers of objects are relative to, or 0: objects are linked by addresses. Set before there is
/// an object.
static BASE: Atomic<usize> = Atomic::new(0);

/// Chooses how objects are linked, for as much memory as there is now. Returns the size of an
/// object, what it is aligned to, and where the slab may keep a link of its own in free ones.
pub(in crate::nf) fn choose() -> (usize, usize, usize) {
    // SAFETY: Reads a variable.
    let far = !is_near(unsafe { bindings::rct_memory_end() });
    BASE.store(if far { 0 } else { Near::new().0 }, Relaxed);
    // Nobody reads that word of an object that is free, not even under RCU.
    if far {
        (Far::SIZE, size_of::<usize>(), Far::offset(Link::Zone))
    } else {
        (Near::SIZE, 1 << UNIT_BITS, Near::offset(Link::Zone))
    }
}

/// Whether objects are linked by addresses.
#[inline]
pub(in crate::nf) fn is_far() -> bool {
    !Words::new().are_short()
}

#[inline]
fn is_near(address: usize) -> bool {
    Near::new().number(address) < Near::MARK
}

/// Whether an object at this address can be linked: memory may have been added.
#[inline]
pub(in crate::nf) fn is_in_reach(address: usize) -> bool {
    is_near(address) || is_far()
}

/// How chains tell the tuples of objects, read once for a while: by a word that is even and not 0.
///
/// Where objects [have numbers](Near) it is a short one, of 33 bits: four times the number, plus two
/// for the reply tuple. Else it is the address of the tuple's node.
#[derive(Clone, Copy)]
pub(in crate::nf) struct Words {
    /// [`BASE`]
    base: usize,
}

impl Words {
    #[inline(always)]
    pub(in crate::nf) fn new() -> Self {
        Self {
            base: BASE.load(Relaxed),
        }
    }

    #[inline(always)]
    pub(in crate::nf) fn are_short(self) -> bool {
        self.base != 0
    }

    /// Bytes of half a short word, or of a word.
    pub(in crate::nf) fn head_size(self) -> usize {
        if self.are_short() {
            size_of::<u32>()
        } else {
            size_of::<usize>()
        }
    }

    /// The word for the tuple of an object.
    #[inline(always)]
    pub(in crate::nf) fn word(self, object: usize, dir: Direction) -> usize {
        if self.are_short() {
            Near(self.base).number(object) << 2 | (dir as usize) << 1
        } else {
            object.wrapping_add(node(dir))
        }
    }

    /// The object and the tuple of a word.
    ///
    /// # Safety
    ///
    /// The word is one of an object's, whose memory is there.
    #[inline(always)]
    pub(in crate::nf) unsafe fn tuple(self, word: usize) -> (usize, Direction) {
        if !self.are_short() {
            // SAFETY: The caller's promise.
            return unsafe { tuple_around(word) };
        }
        let dir = if word & 2 == 0 {
            Direction::Original
        } else {
            Direction::Reply
        };
        (Near(self.base).address(word >> 2), dir)
    }
}

/// The object and the tuple that the node at an address belongs to.
///
/// # Safety
///
/// It is one of an object's, whose memory is there.
#[cold]
#[inline(never)]
unsafe fn tuple_around(address: usize) -> (usize, Direction) {
    const DIR: usize = offset_of!(bindings::nf_conntrack_tuple_hash, tuple)
        + offset_of!(bindings::nf_conntrack_tuple, dst)
        + offset_of!(bindings::nf_conntrack_tuple__bindgen_ty_1, dir);

    let byte = core::ptr::with_exposed_provenance(address.wrapping_add(DIR));
    // SAFETY: A tuple follows the node. The byte is the same in all lives of the memory.
    let dir = match unsafe { bindings::rct_read_once_u8(byte) } {
        0 => Direction::Original,
        _ => Direction::Reply,
    };
    (address.wrapping_sub(node(dir)), dir)
}

/// # Safety
///
/// As for [`Layout::next`]; `which` is 0 or 1.
#[inline]
unsafe fn half<L: Layout>(address: usize, link: Link, which: usize) -> *mut u8 {
    let at = L::offset(link).wrapping_add(which * L::HALF);
    // SAFETY: In bounds, by the contract of the trait.
    unsafe { core::ptr::with_exposed_provenance_mut::<u8>(address).add(at) }
}

/// Which of the two halves leads forwards: the other one has the highest bit of both, taken as
/// one number.
const NEXT: usize = if cfg!(target_endian = "little") { 0 } else { 1 };
