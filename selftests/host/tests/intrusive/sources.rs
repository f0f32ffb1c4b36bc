// SPDX-License-Identifier: GPL-2.0

//! By-source chains, against a `Vec` for each.

use proptest::{collection::vec, prelude::*};

use crate::{
    layout::MemoryLayout,
    memory::{Arena, Heads, Link},
    source,
};

const ENTRIES: usize = 7;
const CHAINS: usize = 3;
const LINK: Link = Link::First;

#[derive(Clone, Copy, Debug)]
enum Op {
    /// Inserts an entry into the chain of its key, unless it was inserted in this life.
    Insert { entry: usize },
    /// Takes an entry off that was inserted, maybe for the second time.
    Remove { entry: usize },
    /// Frees an entry and uses its memory for another one, with another key.
    Reuse { entry: usize, key: usize },
    /// Has a reader begin on a chain.
    Begin { chain: usize },
    /// Has the reader go on.
    Step,
}

fn op() -> impl Strategy<Value = Op> {
    let entry = 0..ENTRIES;
    prop_oneof![
        4 => entry.clone().prop_map(|entry| Op::Insert { entry }),
        2 => entry.clone().prop_map(|entry| Op::Remove { entry }),
        1 => (entry, 0..CHAINS).prop_map(|(entry, key)| Op::Reuse { entry, key }),
        1 => (0..CHAINS).prop_map(|chain| Op::Begin { chain }),
        3 => Just(Op::Step),
    ]
}

fn run<L: MemoryLayout<Link = Link>>(layout: L, arena: &Arena, ops: &[Op]) {
    let heads = Heads::new(layout, CHAINS);
    let mut model = vec![Vec::new(); CHAINS];
    let mut keys: Vec<usize> = (0..ENTRIES).map(|entry| entry % CHAINS).collect();
    let mut inserted = [false; ENTRIES];
    let handle = |entry: usize| layout.handle(arena.address(entry));
    // Where the reader is, as an address or 0.
    let mut reader = 0;
    // SAFETY: The objects are valid; an entry's chain is that of its key, while it is on it.
    unsafe {
        for &op in ops {
            match op {
                Op::Insert { entry } => {
                    if !std::mem::replace(&mut inserted[entry], true) {
                        let (chain, own) = (keys[entry], handle(entry));
                        source::insert(layout, heads.at(layout, chain), LINK, own);
                        model[chain].insert(0, entry);
                    }
                }
                Op::Remove { entry } => {
                    if inserted[entry] {
                        let (chain, own) = (keys[entry], handle(entry));
                        source::remove(layout, heads.at(layout, chain), LINK, own);
                        model[chain].retain(|&other| other != entry);
                    }
                }
                Op::Reuse { entry, key } => {
                    let (chain, own) = (keys[entry], handle(entry));
                    if std::mem::replace(&mut inserted[entry], false) {
                        source::remove(layout, heads.at(layout, chain), LINK, own);
                        model[chain].retain(|&other| other != entry);
                    }
                    keys[entry] = key;
                }
                Op::Begin { chain } => {
                    reader = source::follow(layout, heads.at(layout, chain));
                }
                Op::Step if reader != 0 => {
                    // What the reader stands on is an object.
                    arena.at(layout.address(reader));
                    reader = source::follow(layout, layout.next(reader, LINK));
                }
                Op::Step => {}
            }
            for (chain, model) in model.iter().enumerate() {
                let mut at = source::follow(layout, heads.at(layout, chain));
                for &entry in model {
                    assert_eq!(at, handle(entry));
                    assert!(source::is_linked(layout, LINK, at));
                    at = source::follow(layout, layout.next(at, LINK));
                }
                assert_eq!(at, 0);
            }
            for (entry, &key) in keys
                .iter()
                .enumerate()
                .filter(|(entry, _)| inserted[*entry])
            {
                let is_linked = source::is_linked(layout, LINK, handle(entry));
                assert_eq!(is_linked, model[key].contains(&entry));
            }
        }
        // The reader ends, wherever it stands.
        for _ in 0..=ENTRIES {
            if reader == 0 {
                return;
            }
            reader = source::follow(layout, layout.next(reader, LINK));
        }
        panic!("a circle");
    }
}

proptest! {
    #[test]
    fn chains_are_as_their_model(ops in vec(op(), 1..120)) {
        let arena = Arena::new(ENTRIES);
        run(arena.compact(), &arena, &ops);
        run(arena.wide(), &arena, &ops);
    }
}

/// A reader that stands on an entry while that is taken off goes on to what followed.
#[test]
fn a_reader_goes_on_from_a_removed_entry() {
    fn check<L: MemoryLayout<Link = Link>>(layout: L, arena: &Arena) {
        let heads = Heads::new(layout, 1);
        let head = heads.at(layout, 0);
        let handles = [0, 1, 2].map(|entry| layout.handle(arena.address(entry)));
        // SAFETY: The objects are valid, and each is put on one chain.
        unsafe {
            for own in handles {
                source::insert(layout, head, LINK, own);
            }
            source::remove(layout, head, LINK, handles[1]);
            assert_eq!(
                source::follow(layout, layout.next(handles[1], LINK)),
                handles[0]
            );
        }
    }
    let arena = Arena::new(3);
    check(arena.compact(), &arena);
    check(arena.wide(), &arena);
}
