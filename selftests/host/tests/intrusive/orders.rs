// SPDX-License-Identifier: GPL-2.0

//! The order of two locks.

use std::{cell::RefCell, collections::HashSet, rc::Rc};

use proptest::prelude::*;

use crate::order::{lock_both, Bucket};

/// The locks that are held, and the order in which they were taken.
#[derive(Default)]
struct Locks {
    held: HashSet<(u32, u32)>,
    taken: Vec<(u32, u32)>,
}

#[derive(Clone, Copy)]
struct Place<'a> {
    locks: &'a Rc<RefCell<Locks>>,
    generation: u32,
    bucket: u32,
}

/// Locks of an array of a generation.
const MASK: u32 = 7;

struct Guard {
    locks: Rc<RefCell<Locks>>,
    bucket: (u32, u32),
    rank: Option<(u32, u32)>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(rank) = self.rank {
            assert!(self.locks.borrow_mut().held.remove(&rank));
        }
    }
}

impl Place<'_> {
    fn guard(self, rank: Option<(u32, u32)>) -> Guard {
        Guard {
            locks: self.locks.clone(),
            bucket: (self.generation, self.bucket),
            rank,
        }
    }

    fn take(self) -> Guard {
        let rank = self.rank();
        let mut locks = self.locks.borrow_mut();
        assert!(locks.held.insert(rank), "a lock is taken once");
        locks.taken.push(rank);
        self.guard(Some(rank))
    }
}

impl Bucket for Place<'_> {
    type Locked = Guard;

    fn rank(&self) -> (u32, u32) {
        (self.generation, self.bucket & MASK)
    }

    fn lock(self) -> Guard {
        assert!(self.locks.borrow().held.is_empty());
        self.take()
    }

    fn lock_second(self) -> Guard {
        assert_eq!(self.locks.borrow().held.len(), 1);
        self.take()
    }

    unsafe fn share(self, held: &Guard) -> Guard {
        assert_eq!(held.rank, Some(self.rank()));
        self.guard(None)
    }
}

proptest! {
    #[test]
    fn locks_are_taken_in_the_order_of_ranks(
        first in (0..3_u32, 0..64_u32),
        second in (0..3_u32, 0..64_u32),
    ) {
        let locks = Rc::new(RefCell::new(Locks::default()));
        let place = |(generation, bucket)| Place { locks: &locks, generation, bucket };
        // SAFETY: The guards are dropped in the reverse order, below.
        let guards = unsafe { lock_both(place(first), place(second)) };
        prop_assert_eq!((guards.0.bucket, guards.1.bucket), (first, second));
        // The lock that both share is the first guard's.
        prop_assert!(guards.0.rank.is_some());
        {
            let locks = locks.borrow();
            prop_assert!(locks.taken.is_sorted());
            for place in [place(first), place(second)] {
                prop_assert!(locks.held.contains(&place.rank()));
            }
        }
        drop(guards.1);
        drop(guards.0);
        prop_assert!(locks.borrow().held.is_empty());
    }
}
