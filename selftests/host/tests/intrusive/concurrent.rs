// SPDX-License-Identifier: GPL-2.0

//! A reader without a lock meets a writer, in every order that loom finds.
//!
//! Readers load with acquire semantics here: what they load leads to what they load next, and the
//! kernel's processors keep to the order of such loads. C11 has nothing else for it.

use loom::{
    sync::{
        atomic::{AtomicUsize, Ordering},
        Arc,
    },
    thread,
};

use crate::{
    chain::{self, ChainLayout, Head, Walk},
    layout::LinkLayout,
    source,
};

const OBJECTS: usize = 2;
const CHAINS: usize = 2;

/// Objects with one node, one link and a key each, and the heads of chains.
struct Memory {
    nodes: [AtomicUsize; OBJECTS],
    links: [[AtomicUsize; 2]; OBJECTS],
    keys: [AtomicUsize; OBJECTS],
    heads: [AtomicUsize; CHAINS],
}

fn words<const N: usize>() -> [AtomicUsize; N] {
    std::array::from_fn(|_| AtomicUsize::new(0))
}

impl Memory {
    fn new() -> Self {
        Self {
            nodes: words(),
            links: std::array::from_fn(|_| words()),
            keys: words(),
            heads: words(),
        }
    }

    fn set_key(&self, handle: usize, key: usize) {
        self.keys[index(handle)].store(key, Ordering::Relaxed);
    }

    fn key(&self, handle: usize) -> usize {
        self.keys[index(handle)].load(Ordering::Relaxed)
    }
}

/// Handles of nodes and of objects are 2, 4, …
const fn handle(index: usize) -> usize {
    2 * (index + 1)
}

const fn index(handle: usize) -> usize {
    handle / 2 - 1
}

#[derive(Clone, Copy)]
struct Simulated<'a>(&'a Memory);

// SAFETY: Each node has a word of its own.
unsafe impl ChainLayout for Simulated<'_> {
    /// A handle.
    type Node = usize;

    fn handle(self, handle: usize) -> usize {
        handle
    }

    unsafe fn node(self, handle: usize) -> usize {
        handle
    }

    unsafe fn next(self, handle: usize) -> usize {
        self.0.nodes[index(handle)].load(Ordering::Acquire)
    }

    unsafe fn set_next(self, handle: usize, word: usize) {
        self.0.nodes[index(handle)].store(word, Ordering::Relaxed);
    }
}

impl Head for &AtomicUsize {
    fn load(self) -> usize {
        AtomicUsize::load(self, Ordering::Acquire)
    }

    fn publish(self, word: usize) {
        self.store(word, Ordering::Release);
    }
}

// SAFETY: Each half is a word of its own; handles are even.
unsafe impl<'a> LinkLayout for Simulated<'a> {
    type Link = ();
    type Half = &'a AtomicUsize;

    const MARK: usize = 1;

    unsafe fn next(self, object: usize, (): ()) -> &'a AtomicUsize {
        &self.0.links[index(object)][0]
    }

    unsafe fn previous(self, object: usize, (): ()) -> &'a AtomicUsize {
        &self.0.links[index(object)][1]
    }

    unsafe fn read(self, half: &AtomicUsize) -> usize {
        half.load(Ordering::Acquire)
    }

    unsafe fn write(self, half: &AtomicUsize, value: usize) {
        half.store(value, Ordering::Relaxed);
    }

    unsafe fn publish(self, half: &AtomicUsize, value: usize) {
        half.store(value, Ordering::Release);
    }

    unsafe fn write_both(self, object: usize, link: (), next: usize, previous: usize) {
        // SAFETY: The caller's promise.
        unsafe {
            self.write(LinkLayout::next(self, object, link), next);
            self.write(self.previous(object, link), previous);
        }
    }
}

/// The node that stays on the first chain, and the one that leaves it.
const STAYS: usize = handle(0);
const LEAVES: usize = handle(1);

fn push(memory: &Memory, chain: usize, node: usize) {
    memory.set_key(node, chain + 1);
    // SAFETY: The caller has one thread write, and the node is on no chain.
    unsafe { chain::push(Simulated(memory), &memory.heads[chain], chain, node) };
}

fn unlink(memory: &Memory, chain: usize, node: usize) -> bool {
    // SAFETY: One thread writes.
    unsafe { chain::unlink(Simulated(memory), &memory.heads[chain], node) }
}

/// Walks over a chain as a reader does. Returns what it met, and whether it ended at home.
fn walk(memory: &Memory, chain: usize) -> (Vec<usize>, bool) {
    let mut walk = Walk::new(&memory.heads[chain], chain);
    let mut met = Vec::new();
    // SAFETY: Objects stay valid.
    while let Some(node) = unsafe { walk.step(Simulated(memory)) } {
        // What is on a chain was initialised before.
        assert_ne!(memory.key(node), 0);
        met.push(node);
        assert!(met.len() <= 2 * OBJECTS, "a circle");
    }
    (met, walk.ended_at(chain))
}

/// Runs `write` beside a reader of the first chain, which has both nodes when they begin, the one
/// that leaves it first or last.
fn beside_a_reader(leaves_first: bool, write: fn(&Memory)) {
    loom::model(move || {
        let memory = Arc::new(Memory::new());
        let order = if leaves_first {
            [STAYS, LEAVES]
        } else {
            [LEAVES, STAYS]
        };
        for node in order {
            push(&memory, 0, node);
        }
        let writer = thread::spawn({
            let memory = memory.clone();
            move || write(&memory)
        });
        let (met, ended_at_home) = walk(&memory, 0);
        if ended_at_home {
            assert!(met.contains(&STAYS), "it was there all the time");
        }
        writer.join().unwrap();
    });
}

#[test]
fn a_reader_beside_a_removal() {
    for leaves_first in [false, true] {
        beside_a_reader(leaves_first, |memory| {
            assert!(unlink(memory, 0, LEAVES));
        });
    }
}

/// A resize, or memory that becomes another entry at once.
#[test]
fn a_reader_beside_a_move_to_another_chain() {
    for leaves_first in [false, true] {
        beside_a_reader(leaves_first, |memory| {
            assert!(unlink(memory, 0, LEAVES));
            push(memory, 1, LEAVES);
        });
    }
}

/// Memory that becomes an entry of the same chain at once.
#[test]
fn a_reader_beside_a_reinsertion() {
    for leaves_first in [false, true] {
        beside_a_reader(leaves_first, |memory| {
            assert!(unlink(memory, 0, LEAVES));
            push(memory, 0, LEAVES);
        });
    }
}

/// A reader that finds an object by the head sees what was written before it was put there.
#[test]
fn a_reader_beside_a_publication() {
    loom::model(|| {
        let memory = Arc::new(Memory::new());
        let writer = thread::spawn({
            let memory = memory.clone();
            move || {
                push(&memory, 0, STAYS);
                push(&memory, 0, LEAVES);
            }
        });
        let (_, ended_at_home) = walk(&memory, 0);
        assert!(ended_at_home, "nothing moved");
        writer.join().unwrap();
        assert_eq!(walk(&memory, 0).0, [LEAVES, STAYS]);
    });
}

fn insert(memory: &Memory, chain: usize, object: usize) {
    memory.set_key(object, chain + 1);
    let head = &memory.heads[chain];
    // SAFETY: One thread writes, and the object is on no chain.
    unsafe { source::insert(Simulated(memory), head, (), object) };
}

/// The same by source.
#[test]
fn a_reader_beside_a_publication_by_source() {
    loom::model(|| {
        let memory = Arc::new(Memory::new());
        let writer = thread::spawn({
            let memory = memory.clone();
            move || insert(&memory, 0, STAYS)
        });
        // SAFETY: Objects stay valid.
        let found = unsafe { source::follow(Simulated(&memory), &memory.heads[0]) };
        assert!(found == 0 || memory.key(found) != 0);
        writer.join().unwrap();
    });
}

/// By source: an entry is freed, and used again on another chain, while a reader stands on it.
#[test]
fn a_reader_beside_a_reuse_by_source() {
    for target in 0..CHAINS {
        loom::model(move || {
            let memory = Arc::new(Memory::new());
            for object in [STAYS, LEAVES] {
                insert(&memory, 0, object);
            }
            let writer = thread::spawn({
                let memory = memory.clone();
                move || {
                    // SAFETY: One thread writes, and the object is on this chain.
                    unsafe { source::remove(Simulated(&memory), &memory.heads[0], (), LEAVES) };
                    insert(&memory, target, LEAVES);
                }
            });
            let layout = Simulated(&memory);
            let mut steps = 0;
            // SAFETY: Objects stay valid.
            unsafe {
                let mut at = source::follow(layout, &memory.heads[0]);
                while at != 0 {
                    assert_ne!(memory.key(at), 0);
                    steps += 1;
                    assert!(steps <= 2 * OBJECTS, "a circle");
                    at = source::follow(layout, LinkLayout::next(layout, at, ()));
                }
            }
            writer.join().unwrap();
        });
    }
}
