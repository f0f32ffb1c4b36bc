// SPDX-License-Identifier: GPL-2.0

//! A reader without a lock meets a writer, in every order with up to three preemptions.
//!
//! Readers load with acquire semantics here: what they load leads to what they load next, and the
//! kernel's processors keep to the order of such loads. C11 has nothing else for it.

use loom::{
    sync::{
        atomic::{AtomicUsize, Ordering},
        Arc,
    },
    thread::{self, JoinHandle},
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
    clock: AtomicUsize,
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
            clock: AtomicUsize::new(0),
            nodes: words(),
            links: std::array::from_fn(|_| words()),
            keys: words(),
            heads: words(),
        }
    }

    /// Begins an access to a word. loom explores another order for two accesses of one word only
    /// where no third one is between them; all accesses are such of the clock. It orders nothing.
    fn access<'a>(&self, word: &'a AtomicUsize) -> &'a AtomicUsize {
        self.clock.fetch_add(1, Ordering::Relaxed);
        word
    }

    fn set_key(&self, handle: usize, key: usize) {
        self.access(&self.keys[index(handle)])
            .store(key, Ordering::Relaxed);
    }

    fn key(&self, handle: usize) -> usize {
        self.access(&self.keys[index(handle)])
            .load(Ordering::Relaxed)
    }

    fn head(&self, chain: usize) -> HeadOf<'_> {
        HeadOf(self, &self.heads[chain])
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
        self.0
            .access(&self.0.nodes[index(handle)])
            .load(Ordering::Acquire)
    }

    unsafe fn set_next(self, handle: usize, word: usize) {
        self.0
            .access(&self.0.nodes[index(handle)])
            .store(word, Ordering::Relaxed);
    }
}

#[derive(Clone, Copy)]
struct HeadOf<'a>(&'a Memory, &'a AtomicUsize);

impl Head for HeadOf<'_> {
    fn load(self) -> usize {
        self.0.access(self.1).load(Ordering::Acquire)
    }

    fn publish(self, word: usize) {
        self.0.access(self.1).store(word, Ordering::Release);
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
        self.0.access(half).load(Ordering::Acquire)
    }

    unsafe fn write(self, half: &AtomicUsize, value: usize) {
        self.0.access(half).store(value, Ordering::Relaxed);
    }

    unsafe fn publish(self, half: &AtomicUsize, value: usize) {
        self.0.access(half).store(value, Ordering::Release);
    }

    unsafe fn write_both(self, object: usize, link: (), next: usize, previous: usize) {
        // SAFETY: The caller's promise.
        unsafe {
            self.write(LinkLayout::next(self, object, link), next);
            self.write(self.previous(object, link), previous);
        }
    }
}

/// Runs a model in every order with a few preemptions.
fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// The node that stays on the first chain, and the one that leaves it.
const STAYS: usize = handle(0);
const LEAVES: usize = handle(1);

fn push(memory: &Memory, chain: usize, node: usize) {
    memory.set_key(node, chain + 1);
    // SAFETY: The caller has one thread write, and the node is on no chain.
    unsafe { chain::push(Simulated(memory), memory.head(chain), chain, node) };
}

fn unlink(memory: &Memory, chain: usize, node: usize) -> bool {
    // SAFETY: One thread writes.
    unsafe { chain::unlink(Simulated(memory), memory.head(chain), node) }
}

/// Walks over a chain as a reader does, and waits for the writer at last. Returns what it met, and
/// whether it ended at home.
///
/// Where a processor's stores may become visible in another order, a reader may go round until it
/// sees them all. So it waits for them after some steps, and has to end then.
fn walk(memory: &Memory, chain: usize, writer: JoinHandle<()>) -> (Vec<usize>, bool) {
    let mut walk = Walk::new(memory.head(chain), chain);
    let mut met = Vec::new();
    let mut writer = Some(writer);
    // SAFETY: Objects stay valid.
    while let Some(node) = unsafe { walk.step(Simulated(memory)) } {
        // What is on a chain was initialised before.
        assert_ne!(memory.key(node), 0);
        met.push(node);
        if met.len() > 2 * OBJECTS {
            if let Some(writer) = writer.take() {
                writer.join().unwrap();
            }
        }
        assert!(met.len() <= 4 * OBJECTS, "a circle");
    }
    if let Some(writer) = writer {
        writer.join().unwrap();
    }
    (met, walk.ended_at(chain))
}

/// Runs `write` beside a reader of the first chain, which has both nodes when they begin, the one
/// that leaves it first or last.
fn beside_a_reader(leaves_first: bool, write: fn(&Memory)) {
    explore(move || {
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
        let (met, ended_at_home) = walk(&memory, 0, writer);
        if ended_at_home {
            assert!(met.contains(&STAYS), "it was there all the time");
        }
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
    explore(|| {
        let memory = Arc::new(Memory::new());
        let writer = thread::spawn({
            let memory = memory.clone();
            move || {
                push(&memory, 0, STAYS);
                push(&memory, 0, LEAVES);
            }
        });
        let (_, ended_at_home) = walk(&memory, 0, writer);
        assert!(ended_at_home, "nothing moved");
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
    explore(|| {
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
        explore(move || {
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
