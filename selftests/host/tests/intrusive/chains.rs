// SPDX-License-Identifier: GPL-2.0

//! Chains that end in a marker, against a `VecDeque` for each.

use std::collections::VecDeque;

use proptest::{collection::vec, prelude::*};

use crate::{
    chain::{self, ChainLayout, Head, Walk},
    layout::{Node, NodeHandles},
    memory::{Arena, Heads, Shape},
};

const OBJECTS: usize = 6;
const CHAINS: usize = 3;
/// Chains of the table that a resize moves nodes to.
const NEW_CHAINS: usize = 2;
const ALL: usize = CHAINS + NEW_CHAINS;

#[derive(Clone, Copy, Debug)]
enum Op {
    /// Puts a node of an object on a chain, unless it is on one.
    Push { node: usize, chain: usize },
    /// Takes a node off a chain, if it is there.
    Unlink { node: usize, chain: usize },
    /// Moves the first node of an old chain to a new one.
    MoveFirst { from: usize, to: usize },
    /// Has a reader begin on a chain.
    Begin { reader: usize, chain: usize },
    /// Has a reader go on by a node.
    Step { reader: usize },
}

fn op() -> impl Strategy<Value = Op> {
    let (node, chain, reader) = (0..2 * OBJECTS, 0..ALL, 0..3_usize);
    prop_oneof![
        3 => (node.clone(), chain.clone()).prop_map(|(node, chain)| Op::Push { node, chain }),
        2 => (node, chain.clone()).prop_map(|(node, chain)| Op::Unlink { node, chain }),
        1 => (0..CHAINS, CHAINS..ALL).prop_map(|(from, to)| Op::MoveFirst { from, to }),
        1 => (reader.clone(), chain).prop_map(|(reader, chain)| Op::Begin { reader, chain }),
        3 => reader.prop_map(|reader| Op::Step { reader }),
    ]
}

/// A reader without a lock, and what is known of it.
struct Reader {
    walk: Walk,
    home: usize,
    /// What was on the chain when it began and is there still: all of it has to be met.
    must: Vec<usize>,
    met: Vec<usize>,
    /// Whether a node was put on the chain that the reader may have stood on.
    done: bool,
}

struct World<'a> {
    arena: &'a Arena,
    format: NodeHandles<Shape>,
    heads: Heads,
    model: Vec<VecDeque<usize>>,
    readers: [Option<Reader>; 3],
}

fn marker(chain: usize) -> usize {
    // As in a table: a generation and a bucket.
    (if chain < CHAINS { 7 } else { 8 }) << 32 | chain
}

impl World<'_> {
    fn node(&self, number: usize) -> Node {
        self.arena.node(number / 2, number % 2)
    }

    fn number(&self, node: Node) -> usize {
        self.arena.at(node.object) * 2 + node.index
    }

    fn chain_of(&self, node: usize) -> Option<usize> {
        self.model.iter().position(|chain| chain.contains(&node))
    }

    fn left(&mut self, node: usize) {
        for reader in self.readers.iter_mut().flatten() {
            reader.must.retain(|&other| other != node);
        }
    }

    fn apply(&mut self, op: Op) {
        let (format, heads) = (self.format, &self.heads);
        match op {
            Op::Push { node, chain } => {
                if self.chain_of(node).is_some() {
                    return;
                }
                let head = heads.chain(format, chain);
                // SAFETY: The node is on no chain.
                unsafe { chain::push(format, head, marker(chain), self.node(node)) };
                self.model[chain].push_front(node);
            }
            Op::Unlink { node, chain } => {
                let head = heads.chain(format, chain);
                // SAFETY: All objects are valid.
                let was_there = unsafe { chain::unlink(format, head, self.node(node)) };
                assert_eq!(was_there, self.model[chain].contains(&node));
                self.model[chain].retain(|&other| other != node);
                if was_there {
                    self.left(node);
                }
            }
            Op::MoveFirst { from, to } => {
                let first = heads.chain(format, from).load();
                // SAFETY: All objects are valid, and the node is on no chain in between.
                unsafe {
                    let Some(node) = chain::nodes(format, first).next() else {
                        return;
                    };
                    assert!(chain::unlink(format, heads.chain(format, from), node));
                    chain::push(format, heads.chain(format, to), marker(to), node);
                }
                let node = self.model[from].pop_front().unwrap();
                self.model[to].push_front(node);
                self.left(node);
            }
            Op::Begin { reader, chain } => {
                self.readers[reader] = Some(Reader {
                    walk: Walk::new(heads.chain(format, chain), marker(chain)),
                    home: chain,
                    must: self.model[chain].iter().copied().collect(),
                    met: Vec::new(),
                    done: false,
                });
            }
            Op::Step { reader } => {
                let Some(mut state) = self.readers[reader].take() else {
                    return;
                };
                // SAFETY: All objects are valid.
                match unsafe { state.walk.step(format) } {
                    Some(node) => state.met.push(self.number(node)),
                    None => state.finish(),
                }
                self.readers[reader] = Some(state);
            }
        }
    }

    /// The chains are as the model's are, and each ends in its own marker.
    fn check(&self) {
        for (index, model) in self.model.iter().enumerate() {
            let head = self.heads.chain(self.format, index);
            // SAFETY: Nothing changes the chain meanwhile.
            let nodes: VecDeque<usize> = unsafe { chain::nodes(self.format, head.load()) }
                .map(|node| self.number(node))
                .collect();
            assert_eq!(nodes, *model);
            let mut walk = Walk::new(head, marker(index));
            // SAFETY: All objects are valid.
            while unsafe { walk.step(self.format) }.is_some() {}
            for other in 0..ALL {
                assert_eq!(walk.ended_at(marker(other)), other == index);
            }
        }
    }
}

impl Reader {
    /// A reader that ended at home has met all that was there all the time.
    fn finish(&mut self) {
        if !self.done && self.walk.ended_at(marker(self.home)) {
            for node in &self.must {
                assert!(self.met.contains(node), "{node} was there all the time");
            }
        }
        self.done = true;
    }
}

proptest! {
    #[test]
    fn chains_are_as_their_model(ops in vec(op(), 1..120)) {
        let arena = Arena::new(OBJECTS);
        for format in arena.formats() {
            let mut world = World {
                arena: &arena,
                format,
                heads: Heads::of_chains(format, ALL),
                model: vec![VecDeque::new(); ALL],
                readers: [None, None, None],
            };
            for &op in &ops {
                world.apply(op);
                world.check();
            }
            // Every reader ends, wherever it stands.
            for reader in world.readers.iter_mut().flatten() {
                let mut steps = 0;
                // SAFETY: All objects are valid.
                while let Some(node) = unsafe { reader.walk.step(format) } {
                    reader.met.push(arena.at(node.object) * 2 + node.index);
                    steps += 1;
                    assert!(steps <= 2 * OBJECTS, "a circle");
                }
                reader.finish();
            }
        }
    }

    /// A handle stands for its node, is even and not 0, and half of a compact one has 32 bits.
    #[test]
    fn handles_stand_for_nodes(object in 0..OBJECTS, index in 0..2_usize) {
        let arena = Arena::new(OBJECTS);
        for format in arena.formats() {
            let node = arena.node(object, index);
            let handle = format.handle(node);
            prop_assert!(handle != 0 && handle % 2 == 0);
            prop_assert!(!format.are_compact() || u32::try_from(handle >> 1).is_ok());
            // SAFETY: The object is valid.
            prop_assert_eq!(unsafe { format.node(handle) }, node);
        }
    }
}

/// A reader that stands on a node while that moves to another chain ends at a foreign marker.
#[test]
fn a_reader_knows_that_it_strayed() {
    let arena = Arena::new(2);
    for format in arena.formats() {
        let heads = Heads::of_chains(format, 2);
        let (first, second) = (heads.chain(format, 0), heads.chain(format, 1));
        let nodes = [0, 1].map(|object| arena.node(object, 0));
        // SAFETY: Each node is on one chain at a time; the objects are valid.
        unsafe {
            for node in nodes {
                chain::push(format, first, 10, node);
            }
            let mut walk = Walk::new(first, 10);
            assert_eq!(walk.step(format), Some(nodes[1]));
            // The reader is in front of the node that moves.
            assert!(chain::unlink(format, first, nodes[0]));
            chain::push(format, second, 11, nodes[0]);
            assert_eq!(walk.step(format), Some(nodes[0]));
            assert_eq!(walk.step(format), None);
            assert!(!walk.ended_at(10) && walk.ended_at(11));
        }
    }
}
