// SPDX-License-Identifier: GPL-2.0

//! Objects in plain memory.

use std::alloc::{alloc_zeroed, dealloc, Layout};

use crate::{
    chain::Head,
    layout::{Compact, Geometry, MemoryLayout, Node, NodeHandles, Wide, UNIT},
};

/// The links of an object. The first two have a place in every layout that others reuse in
/// `nf_conn`, so they overlap with nothing here either.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Link {
    First,
    Second,
}

/// An object as the layouts see it:
///
/// ```text
///   0  node 0   24  byte 0          compact: first link at 96, second at 104
///  48  node 1   72  byte 1          wide:    first link at 112, second at 128
/// ```
#[derive(Clone, Copy)]
pub(crate) struct Shape;

pub(crate) const SIZE: usize = 144;
const NODE_INDEX: usize = 24;

// SAFETY: All are in bounds of `SIZE`, aligned to eight bytes, and apart; `Arena` writes the bytes.
unsafe impl Geometry for Shape {
    type Link = Link;

    const NODES: [usize; 2] = [0, 48];

    const NODE_INDEX: usize = NODE_INDEX;

    fn compact(link: Link) -> usize {
        match link {
            Link::First => 96,
            Link::Second => 104,
        }
    }

    fn wide(link: Link) -> usize {
        match link {
            Link::First => 112,
            Link::Second => 128,
        }
    }
}

/// A number of objects, each in an allocation of its own for the address sanitizer.
pub(crate) struct Arena {
    objects: Vec<*mut u8>,
    base: usize,
}

fn object_layout() -> Layout {
    Layout::from_size_align(SIZE, UNIT).unwrap()
}

impl Arena {
    pub(crate) fn new(count: usize) -> Self {
        let mut objects: Vec<*mut u8> = (0..count)
            // SAFETY: The size is not zero.
            .map(|_| unsafe { alloc_zeroed(object_layout()) })
            .collect();
        objects.sort();
        for &object in &objects {
            assert!(!object.is_null());
            for (node, &offset) in Shape::NODES.iter().enumerate() {
                // SAFETY: In bounds.
                unsafe { object.add(offset + NODE_INDEX).write(node as u8) };
            }
            // The layouts make pointers of addresses.
            object.expose_provenance();
        }
        // Handle 0 stands for no object.
        let base = objects.first().map_or(UNIT, |first| first.addr() - UNIT);
        Self { objects, base }
    }

    pub(crate) fn address(&self, object: usize) -> usize {
        self.objects[object].addr()
    }

    pub(crate) fn node(&self, object: usize, index: usize) -> Node {
        let object = self.address(object);
        Node { object, index }
    }

    /// The object at an address.
    pub(crate) fn at(&self, address: usize) -> usize {
        self.objects
            .iter()
            .position(|object| object.addr() == address)
            .expect("an address of an object")
    }

    pub(crate) fn compact(&self) -> Compact<Shape> {
        Compact::new(self.base)
    }

    pub(crate) fn wide(&self) -> Wide<Shape> {
        Wide::new()
    }

    /// The formats of node handles: compact and wide.
    pub(crate) fn formats(&self) -> [NodeHandles<Shape>; 2] {
        [NodeHandles::new(self.base), NodeHandles::new(0)]
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        for &object in &self.objects {
            // SAFETY: Allocated so.
            unsafe { dealloc(object, object_layout()) };
        }
    }
}

/// An array of heads, exactly as large as it has to be.
pub(crate) struct Heads {
    memory: *mut u8,
    layout: Layout,
}

impl Heads {
    pub(crate) fn new<L: MemoryLayout>(_: L, count: usize) -> Self {
        Self::with_size(L::HALF, count)
    }

    /// For the heads of chains: half a handle where handles are compact.
    pub(crate) fn of_chains(format: NodeHandles<Shape>, count: usize) -> Self {
        let size = if format.are_compact() { 4 } else { 8 };
        Self::with_size(size, count)
    }

    fn with_size(size: usize, count: usize) -> Self {
        let layout = Layout::from_size_align(size * count, size).unwrap();
        // SAFETY: The size is not zero.
        let memory = unsafe { alloc_zeroed(layout) };
        assert!(!memory.is_null());
        Self { memory, layout }
    }

    pub(crate) fn at<L: MemoryLayout>(&self, layout: L, index: usize) -> *mut u8 {
        assert!((index + 1) * L::HALF <= self.layout.size());
        layout.head_at(self.memory, index)
    }

    pub(crate) fn chain(&self, format: NodeHandles<Shape>, index: usize) -> ChainHead {
        if format.are_compact() {
            ChainHead::Half(self.memory.cast::<u32>().wrapping_add(index))
        } else {
            ChainHead::Word(self.memory.cast::<usize>().wrapping_add(index))
        }
    }
}

impl Drop for Heads {
    fn drop(&mut self) {
        // SAFETY: Allocated so.
        unsafe { dealloc(self.memory, self.layout) };
    }
}

/// The head of a chain, as `nf/entry/chain.rs` has it.
#[derive(Clone, Copy)]
pub(crate) enum ChainHead {
    Half(*mut u32),
    Word(*mut usize),
}

impl Head for ChainHead {
    fn load(self) -> usize {
        // SAFETY: In bounds of its `Heads`.
        unsafe {
            match self {
                Self::Half(half) => (half.read() as usize) << 1,
                Self::Word(word) => word.read(),
            }
        }
    }

    fn publish(self, word: usize) {
        // SAFETY: In bounds of its `Heads`.
        unsafe {
            match self {
                Self::Half(half) => half.write(u32::try_from(word >> 1).unwrap()),
                Self::Word(whole) => whole.write(word),
            }
        }
    }
}
