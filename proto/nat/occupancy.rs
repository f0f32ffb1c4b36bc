// SPDX-License-Identifier: GPL-2.0

//! The view of occupied tuples that the choice of a tuple asks.

use crate::proto::types::tuple::Tuple;

/// The result of a claim to a tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The tuple was free, and is reserved for the connection.
    Granted,
    /// Another connection has the tuple. It clears the mark in the pool when it ends.
    Taken,
    /// The tuple is not available, and no mark will be cleared when it becomes free: a local socket
    /// uses the port, for example.
    Unavailable,
}

/// Which connections a claim may take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terms {
    /// None: the tuple must be free.
    MustBeFree,
    /// None, and the connection would not be translated: an entry for the same connection, opened
    /// by its other end at the same moment, is no clash.
    Untranslated,
    /// A closed connection.
    TakeOver,
}

/// A view of the tuples that connections have. All tuples are those of packets after translation.
///
/// # Examples
///
/// ```
/// # use rust_ct_host::proto;
/// use proto::{
///     nat::{
///         choose::{choose, Request},
///         occupancy::{Choice, Claim, Occupancy, Pool, Terms},
///         range::Range,
///         Manip,
///     },
///     types::{
///         protocol,
///         tuple::{L4Key, Tuple},
///     },
/// };
///
/// /// A view without pools, other mappings and closed connections.
/// struct Taken(Vec<Tuple>);
/// enum NoPool {}
///
/// impl Pool for NoPool {
///     fn next(&self, _: u16, _: u16, _: impl Fn(u16) -> u64) -> Option<u16> {
///         None
///     }
///     fn forget(&self, _key: u16) {}
/// }
///
/// impl Occupancy for Taken {
///     type Pool = NoPool;
///
///     fn claim(&mut self, tuple: &Tuple, _terms: Terms) -> Claim {
///         if self.0.contains(tuple) {
///             Claim::Taken
///         } else {
///             Claim::Granted
///         }
///     }
///     fn random(&mut self) -> u32 {
///         0x4000_0000
///     }
///     fn find_appropriate_src(
///         &mut self,
///         _tuple: &Tuple,
///         _suits: impl Fn(&Tuple) -> bool,
///     ) -> Option<Tuple> {
///         None
///     }
///     fn same_flow_mapping(&mut self, _tuple: &Tuple) -> Option<Tuple> {
///         None
///     }
///     fn barred(&self, _tuple: &Tuple, _number: u16) -> u64 {
///         0
///     }
///     fn pool(&mut self, _tuple: &Tuple) -> Option<NoPool> {
///         None
///     }
///     fn crowded_pool(&mut self, _tuple: &Tuple) -> Option<NoPool> {
///         None
///     }
///     fn time_left_if_closed(&mut self, _tuple: &Tuple) -> Option<u32> {
///         None
///     }
///     fn oldest_first(&self) -> bool {
///         false
///     }
/// }
///
/// // Masquerading: two clients use the same source port towards one server.
/// let gateway = [192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// let range = Range::address(gateway);
/// let ports = L4Key::ports(40_000, 80);
/// let request = |client| Request {
///     tuple: Tuple::ipv4(client, [198, 51, 100, 1], ports, protocol::TCP),
///     range: &range,
///     manip: Manip::Source,
///     zone_id: 0,
///     expected: false,
///     thorough: true,
/// };
/// let mut view = Taken(Vec::new());
///
/// // The first one keeps its port.
/// let Choice::Found(first) = choose(&request([10, 0, 0, 1]), &mut view) else {
///     panic!("no tuple is taken");
/// };
/// assert_eq!((first.src, first.src_port()), (gateway, 40_000));
/// view.0.push(first);
///
/// // The second one gets another port of the same class.
/// let Choice::Found(second) = choose(&request([10, 0, 0, 2]), &mut view) else {
///     panic!("one of 64,512 ports is taken");
/// };
/// assert_eq!(second.src, gateway);
/// assert!(second.src_port() >= 1024 && second.src_port() != 40_000);
/// ```
pub trait Occupancy {
    /// The marks of a crowded pool.
    type Pool: Pool;

    /// Claims `tuple` for the connection. A former claim of the same connection is released.
    fn claim(&mut self, tuple: &Tuple, terms: Terms) -> Claim;

    /// Returns the mapping of another connection from the source of `tuple` that satisfies `suits`,
    /// with the destination of `tuple`.
    fn find_appropriate_src(
        &mut self,
        tuple: &Tuple,
        suits: impl Fn(&Tuple) -> bool,
    ) -> Option<Tuple>;

    /// Returns the mapping of another packet of the same flow that another CPU is processing, with
    /// the destination of `tuple`.
    fn same_flow_mapping(&mut self, tuple: &Tuple) -> Option<Tuple>;

    /// Returns a random number.
    fn random(&mut self) -> u32;

    /// Returns which of the 64 source keys from `64 * number` on no claim with the protocol of
    /// `tuple` gets, whatever connections there are: a bit for each, the first one lowest. A claim
    /// may find others unavailable as well.
    fn barred(&self, tuple: &Tuple, number: u16) -> u64;

    /// Returns the pool of `tuple` (its key is not looked at), if the pool is known to be crowded.
    fn pool(&mut self, tuple: &Tuple) -> Option<Self::Pool>;

    /// Returns the pool of `tuple`, and records that it is crowded. [`None`]: there is no memory
    /// for it.
    fn crowded_pool(&mut self, tuple: &Tuple) -> Option<Self::Pool>;

    /// Returns the time left, in jiffies, to the connection that has `tuple`, if it is closed and
    /// may be taken over.
    fn time_left_if_closed(&mut self, tuple: &Tuple) -> Option<u32>;

    /// Returns whether the closed connection with the least time left is taken over, or the first
    /// one that is found.
    fn oldest_first(&self) -> bool;
}

/// The marks of a crowded pool: which keys are known to be taken.
pub trait Pool {
    /// Marks and returns the first key from `first` to `last` that is not marked, and whose bit is
    /// not set in what `barred` returns ([`Occupancy::barred`]).
    fn next(&self, first: u16, last: u16, barred: impl Fn(u16) -> u64) -> Option<u16>;

    /// Clears the mark of `key`.
    fn forget(&self, key: u16);
}

/// The result of a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// This tuple is free, or the rule leaves no choice.
    Found(Tuple),
    /// This tuple and all others that were tried are taken.
    Exhausted(Tuple),
}
