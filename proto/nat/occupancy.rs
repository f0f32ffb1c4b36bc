// SPDX-License-Identifier: GPL-2.0

//! Which tuples are taken: the questions that a choice asks.

use crate::proto::types::tuple::Tuple;

/// What a connection that asks for a tuple may find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Nobody had it; nobody else gets it from now on.
    Granted,
    /// Another connection has it, which will tell the pool when it ends.
    Taken,
    /// It is not to be had, and nobody will tell when it is.
    Barred,
}

/// How much a connection is content with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terms {
    /// Nobody else may have the tuple.
    Alone,
    /// The connection would not be translated: one that is the same, begun from its other end
    /// at the same moment, is no other.
    Untranslated,
    /// A connection that is over gives way.
    Succeed,
}

/// Who has which tuple. All questions are about what a packet looks like after translation.
pub trait Occupancy {
    /// What is known about the keys of a crowded pool.
    type Pool: Pool;

    /// Asks for `tuple`. A former claim of the same connection is given up.
    fn claim(&mut self, tuple: &Tuple, terms: Terms) -> Claim;

    /// How another connection from the source of `tuple` is mapped, of those that `suits`
    /// says: with the destination of `tuple`.
    fn find_appropriate_src(
        &mut self,
        tuple: &Tuple,
        suits: impl Fn(&Tuple) -> bool,
    ) -> Option<Tuple>;

    /// How another packet of this very connection is mapped, if one came just now on another
    /// CPU: with the destination of `tuple`.
    fn same_flow_mapping(&mut self, tuple: &Tuple) -> Option<Tuple>;

    /// A random number.
    fn random(&mut self) -> u32;

    /// The pool of `tuple`, whatever its key, if it is known to be crowded.
    fn pool(&mut self, tuple: &Tuple) -> Option<Self::Pool>;

    /// The same, which is known to be crowded from now on. [`None`]: no memory for it.
    fn crowded_pool(&mut self, tuple: &Tuple) -> Option<Self::Pool>;

    /// If the connection that has `tuple` is over and may give way: the time left to it, in
    /// jiffies.
    fn is_over(&mut self, tuple: &Tuple) -> Option<u32>;

    /// Whether the one that is closest to its end has to give way, or any.
    fn oldest_first(&self) -> bool;
}

/// What is known about the keys of a crowded pool.
pub trait Pool {
    /// The first key from `first` to `last` that nobody is known to have, which is marked as
    /// taken now.
    fn next(&self, first: u16, last: u16) -> Option<u16>;

    /// Clears the mark.
    fn forget(&self, key: u16);
}

/// What was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Nobody has it, or the rule leaves no choice.
    Found(Tuple),
    /// Somebody has it, as everything else that was tried.
    Exhausted(Tuple),
}
