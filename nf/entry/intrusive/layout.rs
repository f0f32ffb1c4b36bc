// SPDX-License-Identifier: GPL-2.0

//! Layouts: where the links of an object are, and what refers to an object.
//!
//! A link leads from one object to the next and to the previous one: two halves. Each half holds a
//! *handle*, which stands for an object; 0 stands for none.
//!
//! - [`Compact`]: a handle is the object's distance from a base address in units of 256 bytes and
//!   has 31 bits. Both halves of a link fit into one word of 64 bits.
//! - [`Wide`]: a handle is the object's address. A link takes two words.
//!
//! What chains store are handles of *nodes*: an object has two ([`NodeHandles`]).

use core::{
    marker::PhantomData,
    mem::size_of,
    ptr::with_exposed_provenance_mut, //
};

use super::{
    atomic::{
        Atomic,
        Relaxed,
        Release, //
    },
    chain::ChainLayout, //
};

/// The offsets of an object's words.
///
/// # Safety
///
/// All offsets are in bounds of an object. Those of links are aligned for, and followed by, two
/// halves of the layout that is meant, and different for each link. Those of nodes are aligned for
/// a word. While an object is linked by a link or a node, the words there belong to it alone and
/// are accessed atomically.
pub(crate) unsafe trait Geometry: Copy {
    /// Identifies one of an object's links.
    type Link: Copy;

    /// The offsets of the two nodes.
    const NODES: [usize; 2];

    /// Where a byte is that is 0 behind the first node and not 0 behind the second one, in all
    /// lives of the memory: its distance from the node.
    const NODE_INDEX: usize;

    /// Returns the offset of a link in the [`Compact`] layout.
    fn compact(link: Self::Link) -> usize;

    /// Returns the offset of a link in the [`Wide`] layout.
    fn wide(link: Self::Link) -> usize;
}

/// Access to the links of objects.
///
/// # Safety
///
/// [`next`](Self::next) and [`previous`](Self::previous) give different halves for each object and
/// link. A half keeps the value that was written last. [`MARK`](Self::MARK) is one bit that is set
/// in no handle.
pub(crate) unsafe trait LinkLayout: Copy {
    /// Identifies one of an object's links.
    type Link: Copy;

    /// The location of half a link, or of what is accessed as one: the head of a list.
    type Half: Copy;

    /// A bit for the users of a half.
    const MARK: usize;

    /// Returns the half of a link that leads to the next object.
    ///
    /// # Safety
    ///
    /// `object` is the handle of an object.
    unsafe fn next(self, object: usize, link: Self::Link) -> Self::Half;

    /// Returns the half of a link that leads to the previous object.
    ///
    /// # Safety
    ///
    /// `object` is the handle of an object.
    unsafe fn previous(self, object: usize, link: Self::Link) -> Self::Half;

    /// Reads a half, relaxed.
    ///
    /// # Safety
    ///
    /// `half` is valid, and accessed atomically only.
    unsafe fn read(self, half: Self::Half) -> usize;

    /// Writes a half, relaxed.
    ///
    /// # Safety
    ///
    /// As for [`read`](Self::read).
    unsafe fn write(self, half: Self::Half, value: usize);

    /// Writes a half, with release semantics: a reader that depends on the value sees all earlier
    /// writes.
    ///
    /// # Safety
    ///
    /// As for [`read`](Self::read).
    unsafe fn publish(self, half: Self::Half, value: usize);

    /// Writes both halves of a link, relaxed. Where they are one word, a reader of that word sees
    /// neither of the values or both.
    ///
    /// # Safety
    ///
    /// `object` is the handle of an object that is not linked by `link`.
    unsafe fn write_both(self, object: usize, link: Self::Link, next: usize, previous: usize);
}

/// A layout of objects in memory.
pub(crate) trait MemoryLayout: LinkLayout<Half = *mut u8> {
    /// The size of half a link, and its alignment.
    const HALF: usize;

    /// Returns the handle of the object at an address.
    fn handle(self, address: usize) -> usize;

    /// Returns the address of the object with a handle.
    fn address(self, handle: usize) -> usize;

    /// Returns the head with an index in an array of heads.
    #[inline(always)]
    fn head_at(self, heads: *mut u8, index: usize) -> *mut u8 {
        heads.wrapping_add(index.wrapping_mul(Self::HALF))
    }
}

/// Objects begin at a multiple of it, in the [`Compact`] layout.
const UNIT_BITS: u32 = 8;

/// The alignment of objects in the [`Compact`] layout.
pub(crate) const UNIT: usize = 1 << UNIT_BITS;

/// Which half of a word of 64 bits has its low bits: the half that leads to the next object. The
/// other one has the word's highest bit.
const LOW: usize = if cfg!(target_endian = "little") { 0 } else { 1 };

/// Halves of 32 bits.
///
/// # Invariants
///
/// The base address is a multiple of [`UNIT`], and objects are less than 2^31 units above it.
#[derive(Clone, Copy)]
pub(crate) struct Compact<G>(usize, PhantomData<G>);

impl<G: Geometry> Compact<G> {
    /// Makes the layout for objects above `base`.
    #[inline(always)]
    pub(crate) const fn new(base: usize) -> Self {
        Self(base, PhantomData)
    }

    #[inline(always)]
    fn half(self, object: usize, link: G::Link, which: usize) -> *mut u8 {
        let offset = G::compact(link).wrapping_add(which * Self::HALF);
        with_exposed_provenance_mut(self.address(object).wrapping_add(offset))
    }
}

impl<G: Geometry> MemoryLayout for Compact<G> {
    const HALF: usize = size_of::<u32>();

    #[inline(always)]
    fn handle(self, address: usize) -> usize {
        address.wrapping_sub(self.0) >> UNIT_BITS
    }

    #[inline(always)]
    fn address(self, handle: usize) -> usize {
        (handle << UNIT_BITS).wrapping_add(self.0)
    }
}

// SAFETY: By the contract of `Geometry` the halves are different ones; handles have 31 bits.
unsafe impl<G: Geometry> LinkLayout for Compact<G> {
    type Link = G::Link;
    type Half = *mut u8;

    const MARK: usize = 1 << 31;

    #[inline(always)]
    unsafe fn next(self, object: usize, link: G::Link) -> *mut u8 {
        self.half(object, link, LOW)
    }

    #[inline(always)]
    unsafe fn previous(self, object: usize, link: G::Link) -> *mut u8 {
        self.half(object, link, 1 - LOW)
    }

    #[inline(always)]
    unsafe fn read(self, half: *mut u8) -> usize {
        // CAST: 32 bits fit.
        // SAFETY: The caller's promise.
        unsafe { Atomic::<u32>::from_ptr(half.cast()) }.load(Relaxed) as usize
    }

    #[inline(always)]
    unsafe fn write(self, half: *mut u8, value: usize) {
        // CAST: a handle and the mark have 32 bits.
        // SAFETY: The caller's promise.
        unsafe { Atomic::<u32>::from_ptr(half.cast()) }.store(value as u32, Relaxed);
    }

    #[inline(always)]
    unsafe fn publish(self, half: *mut u8, value: usize) {
        // CAST: a handle and the mark have 32 bits.
        // SAFETY: The caller's promise.
        unsafe { Atomic::<u32>::from_ptr(half.cast()) }.store(value as u32, Release);
    }

    #[inline(always)]
    unsafe fn write_both(self, object: usize, link: G::Link, next: usize, previous: usize) {
        // CAST: handles, and the mark, have 32 bits.
        let word = (previous as u64) << u32::BITS | next as u64;
        // SAFETY: The caller's promise; both halves are one aligned word.
        unsafe { Atomic::<u64>::from_ptr(self.half(object, link, 0).cast()) }.store(word, Relaxed);
    }
}

/// Halves that are addresses.
#[derive(Clone, Copy)]
pub(crate) struct Wide<G>(PhantomData<G>);

impl<G: Geometry> Wide<G> {
    /// Makes the layout.
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }

    #[inline(always)]
    fn half(object: usize, link: G::Link, which: usize) -> *mut u8 {
        let offset = G::wide(link).wrapping_add(which * Self::HALF);
        with_exposed_provenance_mut(object.wrapping_add(offset))
    }
}

impl<G: Geometry> MemoryLayout for Wide<G> {
    const HALF: usize = size_of::<usize>();

    #[inline(always)]
    fn handle(self, address: usize) -> usize {
        address
    }

    #[inline(always)]
    fn address(self, handle: usize) -> usize {
        handle
    }
}

// SAFETY: By the contract of `Geometry` the halves are different ones; objects are aligned.
unsafe impl<G: Geometry> LinkLayout for Wide<G> {
    type Link = G::Link;
    type Half = *mut u8;

    const MARK: usize = 1;

    #[inline(always)]
    unsafe fn next(self, object: usize, link: G::Link) -> *mut u8 {
        Self::half(object, link, 0)
    }

    #[inline(always)]
    unsafe fn previous(self, object: usize, link: G::Link) -> *mut u8 {
        Self::half(object, link, 1)
    }

    #[inline(always)]
    unsafe fn read(self, half: *mut u8) -> usize {
        // SAFETY: The caller's promise.
        unsafe { Atomic::<usize>::from_ptr(half.cast()) }.load(Relaxed)
    }

    #[inline(always)]
    unsafe fn write(self, half: *mut u8, value: usize) {
        // SAFETY: The caller's promise.
        unsafe { Atomic::<usize>::from_ptr(half.cast()) }.store(value, Relaxed);
    }

    #[inline(always)]
    unsafe fn publish(self, half: *mut u8, value: usize) {
        // SAFETY: The caller's promise.
        unsafe { Atomic::<usize>::from_ptr(half.cast()) }.store(value, Release);
    }

    #[inline(always)]
    unsafe fn write_both(self, object: usize, link: G::Link, next: usize, previous: usize) {
        // SAFETY: The caller's promise.
        unsafe {
            self.write(self.next(object, link), next);
            self.write(self.previous(object, link), previous);
        }
    }
}

/// The handles by which chains refer to nodes: even words that are not 0.
///
/// - Compact: 33 bits, four times the object's handle, plus two for the second node.
/// - Wide: the node's address.
#[derive(Clone, Copy)]
pub(crate) struct NodeHandles<G> {
    /// The base of [`Compact`]; 0: wide.
    base: usize,
    geometry: PhantomData<G>,
}

impl<G: Geometry> NodeHandles<G> {
    /// Makes the format for objects above `base`, or the wide one, if that is 0.
    #[inline(always)]
    pub(crate) const fn new(base: usize) -> Self {
        Self {
            base,
            geometry: PhantomData,
        }
    }

    /// Returns whether handles have 33 bits, so that half of one has 32.
    #[inline(always)]
    pub(crate) const fn are_compact(self) -> bool {
        self.base != 0
    }
}

/// A node of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Node {
    /// The address of the object.
    pub(crate) object: usize,
    /// Which of its nodes: 0 or 1.
    pub(crate) index: usize,
}

impl Node {
    #[inline(always)]
    fn word<G: Geometry>(self) -> *mut usize {
        with_exposed_provenance_mut(self.object.wrapping_add(offset::<G>(self.index)))
    }
}

// SAFETY: Each node has a word of its own, by the contract of `Geometry`.
unsafe impl<G: Geometry> ChainLayout for NodeHandles<G> {
    type Node = Node;

    #[inline(always)]
    fn handle(self, Node { object, index }: Node) -> usize {
        if self.are_compact() {
            Compact::<G>::new(self.base).handle(object) << 2 | index << 1
        } else {
            object.wrapping_add(offset::<G>(index))
        }
    }

    #[inline(always)]
    unsafe fn node(self, handle: usize) -> Node {
        if self.are_compact() {
            Node {
                object: Compact::<G>::new(self.base).address(handle >> 2),
                index: handle >> 1 & 1,
            }
        } else {
            // SAFETY: The caller's promise.
            unsafe { node_at::<G>(handle) }
        }
    }

    #[inline(always)]
    unsafe fn next(self, node: Node) -> usize {
        // SAFETY: The caller's promise.
        unsafe { Atomic::from_ptr(node.word::<G>()) }.load(Relaxed)
    }

    #[inline(always)]
    unsafe fn set_next(self, node: Node, word: usize) {
        // SAFETY: The caller's promise.
        unsafe { Atomic::from_ptr(node.word::<G>()) }.store(word, Relaxed);
    }
}

#[inline(always)]
const fn offset<G: Geometry>(node: usize) -> usize {
    let [first, second] = G::NODES;
    first.wrapping_add(node.wrapping_mul(second.wrapping_sub(first)))
}

/// Returns the node at an address.
///
/// # Safety
///
/// There is one, of an object with valid memory.
#[cold]
#[inline(never)]
unsafe fn node_at<G: Geometry>(address: usize) -> Node {
    let byte = with_exposed_provenance_mut::<u8>(address.wrapping_add(G::NODE_INDEX));
    // SAFETY: In bounds, by the contract of `Geometry`. The byte is the same in all lives of the
    // memory; volatile, as another CPU may be writing it again.
    let index = usize::from(unsafe { byte.read_volatile() } != 0);
    Node {
        object: address.wrapping_sub(offset::<G>(index)),
        index,
    }
}
