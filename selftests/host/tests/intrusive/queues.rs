// SPDX-License-Identifier: GPL-2.0

//! Queues, against a `VecDeque`.

use std::collections::VecDeque;

use proptest::{collection::vec, prelude::*};

use crate::{
    layout::MemoryLayout,
    memory::{Arena, Link},
    queue::{self, Ends},
};

const ENTRIES: usize = 6;

/// Puts an entry into the queue, unless it is there; [`None`]: takes the oldest one out.
type Op = Option<usize>;

fn check<L: MemoryLayout<Link = Link>>(
    layout: L,
    link: Link,
    arena: &Arena,
    ends: Ends,
    model: &VecDeque<usize>,
) {
    let handle = |entry: Option<&usize>| entry.map_or(0, |&e| layout.handle(arena.address(e)));
    assert_eq!(ends.newest, handle(model.back()));
    assert_eq!(ends.oldest, handle(model.front()));
    let mut at = ends.newest;
    for (index, &entry) in model.iter().enumerate().rev() {
        assert_eq!(at, handle(Some(&entry)));
        // SAFETY: The entry is in the queue.
        unsafe {
            let newer = layout.read(layout.previous(at, link));
            assert_eq!(newer, handle(model.get(index + 1)));
            at = queue::older(layout, link, at);
        }
    }
    assert_eq!(at, 0);
}

fn run<L: MemoryLayout<Link = Link>>(layout: L, link: Link, arena: &Arena, ops: &[Op]) {
    let mut model = VecDeque::new();
    let mut ends = Ends {
        newest: 0,
        oldest: 0,
    };
    for &op in ops {
        match op {
            Some(entry) if model.contains(&entry) => {}
            Some(entry) => {
                let own = layout.handle(arena.address(entry));
                // SAFETY: The entry is not in the queue.
                unsafe { ends.push(layout, link, own) };
                model.push_back(entry);
            }
            None => {
                // SAFETY: These are the ends of the queue.
                unsafe { ends.pop(layout, link) };
                model.pop_front();
            }
        }
        check(layout, link, arena, ends, &model);
    }
}

proptest! {
    #[test]
    fn queues_are_as_their_model(ops in vec(proptest::option::of(0..ENTRIES), 1..80)) {
        let arena = Arena::new(ENTRIES);
        for link in [Link::First, Link::Second] {
            run(arena.compact(), link, &arena, &ops);
            run(arena.wide(), link, &arena, &ops);
        }
    }
}
