// SPDX-License-Identifier: GPL-2.0

//! Lists with cursors, against a `Vec` for each list.

use proptest::{collection::vec, prelude::*};

use crate::{
    layout::MemoryLayout,
    list::{self, Found},
    memory::{Arena, Heads, Link},
};

const ENTRIES: usize = 7;
const CURSORS: usize = 2;
const LISTS: usize = 2;

#[derive(Clone, Copy, Debug)]
enum Op {
    /// Puts an entry on a list, unless it is on one.
    Join { entry: usize, list: usize },
    /// Takes an entry off.
    Leave { entry: usize },
    /// Puts a cursor at the beginning of a list.
    Enter { cursor: usize, list: usize },
    /// Takes a cursor off.
    Quit { cursor: usize },
    /// Moves a cursor on to an entry with a number that is not divisible by `skip`, past the last
    /// one that it found, looking at `limit` objects.
    Find {
        cursor: usize,
        skip: usize,
        limit: u32,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let (entry, cursor, list) = (0..ENTRIES, 0..CURSORS, 0..LISTS);
    prop_oneof![
        4 => (entry.clone(), list.clone()).prop_map(|(entry, list)| Op::Join { entry, list }),
        2 => entry.prop_map(|entry| Op::Leave { entry }),
        1 => (cursor.clone(), list).prop_map(|(cursor, list)| Op::Enter { cursor, list }),
        1 => cursor.clone().prop_map(|cursor| Op::Quit { cursor }),
        5 => (cursor, 2..4_usize, 1..6_u32)
            .prop_map(|(cursor, skip, limit)| Op::Find { cursor, skip, limit }),
    ]
}

/// A walk that a cursor is on.
#[derive(Default)]
struct Progress {
    /// What was there when it began, and still is.
    must: Vec<usize>,
    met: Vec<usize>,
    skip: Option<usize>,
    past: Option<usize>,
}

struct World<'a, L: MemoryLayout<Link = Link>> {
    arena: &'a Arena,
    layout: L,
    link: Link,
    heads: Heads,
    /// Entries, and behind them cursors, in the order of the list.
    model: Vec<Vec<usize>>,
    walks: [Progress; CURSORS],
}

impl<L: MemoryLayout<Link = Link>> World<'_, L> {
    fn handle(&self, object: usize) -> usize {
        self.layout.handle(self.arena.address(object))
    }

    fn list_of(&self, object: usize) -> Option<usize> {
        self.model.iter().position(|list| list.contains(&object))
    }

    fn head(&self, list: usize) -> *mut u8 {
        self.heads.at(self.layout, list)
    }

    fn link(&mut self, object: usize, list: usize) {
        let (head, own) = (self.head(list), self.handle(object));
        // SAFETY: The object is on no list.
        unsafe { list::link_behind(self.layout, head, 0, self.link, own, object >= ENTRIES) };
        self.model[list].insert(0, object);
    }

    fn unlink(&mut self, object: usize) {
        let Some(list) = self.list_of(object) else {
            return;
        };
        let (head, own) = (self.head(list), self.handle(object));
        // SAFETY: The object is on this list.
        unsafe { list::unlink(self.layout, head, self.link, own) };
        self.model[list].retain(|&other| other != object);
        for walk in &mut self.walks {
            walk.must.retain(|&other| other != object);
            walk.past = walk.past.filter(|&other| other != object);
        }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Join { entry, list } => {
                if self.list_of(entry).is_none() {
                    self.link(entry, list);
                }
            }
            Op::Leave { entry } => self.unlink(entry),
            Op::Enter { cursor, list } => {
                self.unlink(ENTRIES + cursor);
                self.link(ENTRIES + cursor, list);
                let entries = self.model[list].iter().copied();
                self.walks[cursor] = Progress {
                    must: entries.filter(|&object| object < ENTRIES).collect(),
                    ..Progress::default()
                };
            }
            Op::Quit { cursor } => {
                self.unlink(ENTRIES + cursor);
                self.walks[cursor] = Progress::default();
            }
            Op::Find {
                cursor,
                skip,
                limit,
            } => self.find(cursor, skip, limit),
        }
    }

    fn find(&mut self, cursor: usize, skip: usize, limit: u32) {
        let object = ENTRIES + cursor;
        let Some(list) = self.list_of(object) else {
            return;
        };
        // One walk looks for the same all the time.
        let skip = *self.walks[cursor].skip.get_or_insert(skip);
        let past = self.walks[cursor].past;
        let wanted = |entry: usize| (Some(entry) != past && entry % skip != 0).then_some(entry);
        let (head, own) = (self.head(list), self.handle(object));
        // SAFETY: The cursor is on this list.
        let found = unsafe {
            list::advance(self.layout, head, self.link, own, limit, |handle| {
                let entry = self.arena.at(self.layout.address(handle));
                assert!(entry < ENTRIES, "a cursor is no entry");
                wanted(entry)
            })
        };

        // What a walk over the model finds.
        let model = &mut self.model[list];
        let start = model.iter().position(|&other| other == object).unwrap();
        let behind = &model[start + 1..];
        let hit = behind
            .iter()
            .take(limit as usize)
            .position(|&other| other < ENTRIES && wanted(other).is_some());
        let passed = hit.unwrap_or(behind.len().min(limit as usize));
        let expected = match hit {
            Some(at) => Found::Object(behind[at]),
            None if behind.len() < limit as usize => Found::End,
            None => Found::More,
        };
        assert_eq!(found, expected);
        model.remove(start);
        model.insert(start + passed, object);

        let walk = &mut self.walks[cursor];
        match found {
            Found::Object(entry) => {
                assert!(!walk.met.contains(&entry), "none is met twice");
                walk.met.push(entry);
                walk.past = Some(entry);
            }
            Found::More => {}
            Found::End => {
                for entry in walk.must.iter().filter(|&&entry| entry % skip != 0) {
                    assert!(walk.met.contains(entry), "{entry} was there all the time");
                }
            }
        }
    }

    /// The first objects of a list are those of the model.
    fn look_at_first(&self, list: usize) {
        let (head, model) = (self.head(list), &self.model[list]);
        for limit in 0..=4 {
            let mut seen = Vec::new();
            // SAFETY: This is the head of the list.
            let passed = unsafe {
                list::look_at_first(self.layout, head, self.link, limit, |handle| {
                    seen.push(self.arena.at(self.layout.address(handle)));
                })
            };
            let first = &model[..model.len().min(limit as usize)];
            assert_eq!(passed as usize, first.len());
            let entries = first.iter().copied().filter(|&object| object < ENTRIES);
            assert_eq!(seen, entries.collect::<Vec<_>>());
        }
    }

    /// The lists are as the model's are, forwards and backwards, with marks on cursors alone.
    fn check(&self) {
        let layout = self.layout;
        for (index, model) in self.model.iter().enumerate() {
            let (mut half, mut previous) = (self.head(index), 0);
            for &object in model {
                // SAFETY: The objects are valid.
                unsafe {
                    let word = layout.read(half);
                    assert_eq!(word & !L::MARK, self.handle(object));
                    assert_eq!(word & L::MARK != 0, object >= ENTRIES);
                    let own = self.handle(object);
                    let back = layout.read(layout.previous(own, self.link));
                    assert_eq!(back, previous | L::MARK);
                    (half, previous) = (layout.next(own, self.link), own);
                }
            }
            // SAFETY: As above.
            assert_eq!(unsafe { layout.read(half) }, 0);
            self.look_at_first(index);
        }
    }
}

fn run<L: MemoryLayout<Link = Link>>(layout: L, link: Link, arena: &Arena, ops: &[Op]) {
    let mut world = World {
        arena,
        layout,
        link,
        heads: Heads::new(layout, LISTS),
        model: vec![Vec::new(); LISTS],
        walks: Default::default(),
    };
    for &op in ops {
        world.apply(op);
        world.check();
    }
}

proptest! {
    #[test]
    fn lists_are_as_their_model(ops in vec(op(), 1..120)) {
        let arena = Arena::new(ENTRIES + CURSORS);
        for link in [Link::First, Link::Second] {
            run(arena.compact(), link, &arena, &ops);
            run(arena.wide(), link, &arena, &ops);
        }
    }

    /// A handle stands for its object, is not 0, and the mark is in none.
    #[test]
    fn handles_stand_for_objects(object in 0..ENTRIES) {
        fn check<L: MemoryLayout>(layout: L, address: usize) {
            let handle = layout.handle(address);
            assert!(handle != 0 && handle & L::MARK == 0);
            assert_eq!(layout.address(handle), address);
        }
        let arena = Arena::new(ENTRIES);
        check(arena.compact(), arena.address(object));
        check(arena.wide(), arena.address(object));
    }
}
