// SPDX-License-Identifier: GPL-2.0

//! Chains that end in a marker: singly linked, read without a lock.
//!
//! A word of a chain is the handle of a node, which is even, or a marker, which is odd. Each chain
//! has a marker of its own. A reader that stood on a node while that was moved to another chain, or
//! freed and used again, arrives at a foreign marker and knows it ([`Walk::ended_at`]). The head of
//! an empty chain is 0.
//!
//! A node that is taken off keeps its word, so a reader that stands on it goes on to what followed.

/// Access to the nodes of objects.
///
/// # Safety
///
/// Each node has a word of its own, which keeps the value that was written last.
pub(crate) unsafe trait ChainLayout: Copy {
    /// A node, as it is accessed.
    type Node: Copy;

    /// Returns the handle of a node: an even number that is not 0.
    fn handle(self, node: Self::Node) -> usize;

    /// Returns the node with a handle.
    ///
    /// # Safety
    ///
    /// `handle` is that of a node of an object with valid memory.
    unsafe fn node(self, handle: usize) -> Self::Node;

    /// Reads the word of a node, relaxed.
    ///
    /// # Safety
    ///
    /// The memory of the node's object is valid.
    unsafe fn next(self, node: Self::Node) -> usize;

    /// Writes the word of a node, relaxed.
    ///
    /// # Safety
    ///
    /// The memory of the node's object is valid.
    unsafe fn set_next(self, node: Self::Node, word: usize);
}

/// The head of a chain: the handle of its first node, or 0.
pub(crate) trait Head: Copy {
    /// Reads the head, relaxed.
    fn load(self) -> usize;

    /// Writes the head, with release semantics: a reader that depends on the value sees all earlier
    /// writes to the node.
    fn publish(self, word: usize);
}

/// The lowest bit: set in markers.
const MARKED: usize = 1;

/// Returns the word that ends the chain with a marker.
#[inline(always)]
pub(crate) const fn end(marker: usize) -> usize {
    marker << 1 | MARKED
}

#[inline(always)]
const fn is_end(word: usize) -> bool {
    word & MARKED != 0
}

/// Puts a node first.
///
/// # Safety
///
/// Nothing else changes the chain, and `marker` is its marker. The node is on no chain, and its
/// object is valid.
#[inline(always)]
pub(crate) unsafe fn push<L: ChainLayout>(
    layout: L,
    head: impl Head,
    marker: usize,
    node: L::Node,
) {
    let first = match head.load() {
        0 => end(marker),
        first => first,
    };
    // A reader that still stands on the node, from a chain that it was on before, goes on along
    // this one and ends at its marker.
    // SAFETY: The caller's promise.
    unsafe { layout.set_next(node, first) };
    head.publish(layout.handle(node));
}

/// Takes a node off, if it is on the chain. Returns whether it was. Readers that stand on it go on
/// to the one behind it.
///
/// # Safety
///
/// Nothing else changes the chain, and the objects on it are valid.
#[inline]
pub(crate) unsafe fn unlink<L: ChainLayout>(layout: L, head: impl Head, node: L::Node) -> bool {
    let first = head.load();
    if first == 0 {
        return false;
    }
    let handle = layout.handle(node);
    if first == handle {
        // SAFETY: The node is on the chain.
        let following = unsafe { layout.next(node) };
        head.publish(if is_end(following) { 0 } else { following });
        return true;
    }
    let mut word = first;
    loop {
        // SAFETY: What the chain leads to is on it.
        let before = unsafe { layout.node(word) };
        // SAFETY: As above.
        word = unsafe { layout.next(before) };
        if is_end(word) {
            return false;
        }
        if word == handle {
            // SAFETY: Both are on the chain.
            unsafe { layout.set_next(before, layout.next(node)) };
            return true;
        }
    }
}

/// Returns the nodes of a chain. `first` is the word of the chain's head.
///
/// # Safety
///
/// Nothing changes the chain while the iterator is used, and the objects on it are valid.
#[inline(always)]
pub(crate) unsafe fn nodes<L: ChainLayout>(
    layout: L,
    first: usize,
) -> impl Iterator<Item = L::Node> {
    let mut word = first;
    core::iter::from_fn(move || {
        if word == 0 {
            return None;
        }
        // SAFETY: What the chain leads to is on it.
        let node = unsafe { layout.node(word) };
        // SAFETY: As above.
        let following = unsafe { layout.next(node) };
        word = if is_end(following) { 0 } else { following };
        Some(node)
    })
}

/// A walk over a chain without a lock.
#[derive(Clone, Copy)]
pub(crate) struct Walk {
    word: usize,
}

impl Walk {
    /// Begins at the head of the chain with a marker.
    #[inline(always)]
    pub(crate) fn new(head: impl Head, marker: usize) -> Self {
        Self {
            word: match head.load() {
                0 => end(marker),
                first => first,
            },
        }
    }

    /// Returns the node that the walk is at, and goes on to the next one. [`None`]: at a marker.
    ///
    /// # Safety
    ///
    /// The memory of every object that was on a chain since the walk began is valid.
    #[inline(always)]
    pub(crate) unsafe fn step<L: ChainLayout>(&mut self, layout: L) -> Option<L::Node> {
        if is_end(self.word) {
            return None;
        }
        // SAFETY: The node was on a chain; the rest is the caller's promise.
        let node = unsafe { layout.node(self.word) };
        // SAFETY: As above.
        self.word = unsafe { layout.next(node) };
        Some(node)
    }

    /// Returns whether the walk is at this marker. If it ended at another one, it may have left
    /// out nodes.
    #[inline(always)]
    pub(crate) const fn ended_at(&self, marker: usize) -> bool {
        self.word == end(marker)
    }
}
