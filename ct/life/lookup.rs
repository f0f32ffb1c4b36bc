// SPDX-License-Identifier: GPL-2.0

//! Lookups: from a packet's tuple to its entry, without locks.
//!
//! An entry's memory may be freed and reused for another entry within an RCU section
//! (`SLAB_TYPESAFE_BY_RCU`). So a chain yields [`Stale`], from which only single words can be read,
//! and the one way to a `&Conn` takes a reference first and then compares again
//! ([`Stale::get_if`]).
//!
//! # Races
//!
//! A search of a bucket ([`LookupKey::search_bucket`]) settles these:
//!
//! 1. The entry was freed, or reused for another connection, after it was matched: `get_if`
//!    compares the whole key with a reference held. An entry that fails has left the chain.
//! 2. The entry was reused in another bucket, and the walk went on there: the chain does not end in
//!    the marker of the bucket. The search is repeated.
//! 3. A resize moved the bucket, or began to, before the search was over: the phase afterwards says
//!    so. The search is repeated, or goes on in the next table.
//!
//! At worst a search is repeated; `search_restart` counts that.
//!
//! # Examples
//!
//! A lookup for a tuple in the original direction:
//!
//! ```ignore
//! let key = LookupKey { key: tuple.key(), zone, net };
//! match key.find(rcu) {
//!     (Some((conn, dir)), _) => { /* `dir` is the direction of the packet in that connection */ }
//!     (None, hash) => { /* `hash` spares `create` from computing it again */ }
//! }
//! ```
//!
//! A match that is not the entry itself yet, and the re-check:
//!
//! ```ignore
//! for stale in &mut walk {
//!     // Words may be torn between two entries: a hint, no more.
//!     let Some(dir) = key.matching_dir(&stale) else { continue };
//!     // With a reference held the entry keeps its tuple: a true comparison.
//!     if let Get::Hit(conn) = stale.get_if(|stale| key.matches(stale, dir)) {
//!         return Some((conn, dir));
//!     }
//! }
//! ```

use kernel::sync::aref::ARef;

use crate::{
    ct::table::{
        Phase,
        Table,
        TupleHash,
        CURRENT, //
    },
    nf::{
        entry::{
            conn::Entry,
            stale::{
                Get,
                Stale, //
            },
        },
        kernel::net::Stat,
        prelude::*, //
    },
    proto::types::tuple::Key, //
};

use super::delete;

/// The key of a lookup.
#[derive(Clone, Copy)]
pub(crate) struct LookupKey<'a> {
    /// The tuple of the packet.
    pub(crate) key: Key,
    /// The zone of the packet.
    pub(crate) zone: Zone,
    /// The namespace.
    pub(crate) net: &'a Net,
}

/// The result of a search of one bucket.
enum BucketSearch {
    /// The entry, and the direction of the packet.
    Hit(ARef<Conn>, Direction),
    /// There is no such entry.
    Miss,
    /// The bucket is in the next table.
    Moved,
    /// Unknown: the bucket was being moved, or the search was led to another bucket.
    Retry,
}

/// The result of [`lookup_fast`].
pub(in crate::ct) enum FastLookup {
    /// The entry, and the direction of the packet.
    Hit(ARef<Conn>, Direction),
    /// There is no such entry. The hash is for its creation.
    Miss(TupleHash),
    /// Unknown: [`LookupKey::find`] is to be called.
    Retry,
}

impl LookupKey<'_> {
    /// Returns the hash of the key for a table.
    fn hash(&self, zone_id: u16, table: &Table) -> TupleHash {
        TupleHash {
            hash: table.hash.of(&self.key, zone_id, self.net),
            epoch: table.hash.epoch(),
        }
    }

    /// Returns the direction in which `stale` matches the key, judging by a few words only. False
    /// positives are rare, and are rejected after taking a reference.
    #[inline(always)]
    fn matching_dir(&self, stale: &Stale<'_>) -> Option<Direction> {
        // Some words are enough to tell a tuple from its mirror image, unless its two ports are
        // equal.
        let is_whole = |dir| Key::from_words(stale.tuple_words(dir)) == self.key;
        let may_be_by = |dir| {
            self.key.may_have(|index| stale.tuple_word(dir, index))
                && (!self.key.has_equal_ports() || is_whole(dir))
        };
        match stale.dir() {
            dir if may_be_by(dir) => Some(dir),
            Direction::Reply if may_be_by(Direction::Original) => Some(Direction::Original),
            _ => None,
        }
    }

    /// Returns whether `stale` matches the key at this moment, by its tuple of direction `dir`.
    #[inline(always)]
    fn matches(&self, stale: &Stale<'_>, dir: Direction) -> bool {
        let zone: Zone = stale.zone();
        let id = |zone: Zone| zone.id_for(dir);
        let status = stale.status();
        Key::from_words(stale.tuple_words(dir)) == self.key
            && (zone == self.zone || id(zone) == id(self.zone))
            && status.has(StatusBit::Confirmed)
            && (dir == Direction::Reply || !status.has(StatusBit::NatClash))
            && stale.is_in(self.net)
    }

    /// Searches the bucket of a hash.
    ///
    /// An expired entry that matches is removed instead of being returned. Other expired entries
    /// are left to the collector: their deadlines are on other cache lines than their tuples.
    #[inline(always)]
    fn search_bucket(&self, table: &Table, hash: u32, rcu: Rcu<'_>) -> BucketSearch {
        let bucket = table.bucket(hash);
        if table.phase(bucket) == Phase::Moved {
            return BucketSearch::Moved;
        }
        let mut walk = table.chains.walk(bucket, rcu);
        for stale in &mut walk {
            let Some(dir) = self.matching_dir(&stale) else {
                continue;
            };
            if stale.is_expired() {
                delete::reap(stale);
                continue;
            }
            // Races 1 and 2: an entry that fails has left the chain, and the walk may have followed
            // it.
            if let Get::Hit(conn) = stale.get_if(|stale| self.matches(stale, dir)) {
                return BucketSearch::Hit(conn, dir);
            }
        }
        // Races 2 and 3.
        if walk.ended_at_home() && table.phase_after(bucket) == Phase::Before {
            BucketSearch::Miss
        } else {
            BucketSearch::Retry
        }
    }

    /// Looks up the entry with the zone id `zone_id` in the hash. Returns the hash as well, for the
    /// creation of an entry that was not found.
    fn find_in_zone(
        &self,
        zone_id: u16,
        rcu: Rcu<'_>,
    ) -> (Option<(ARef<Conn>, Direction)>, TupleHash) {
        let Some(table) = CURRENT.load(rcu) else {
            return (None, TupleHash::default());
        };
        let Some(hash) = table.hash.of_in_peace(&self.key, zone_id, self.net) else {
            return self.find_in_any_table(zone_id, rcu);
        };
        let at = |table: &Table| TupleHash {
            hash,
            epoch: table.hash.epoch(),
        };
        match self.search_bucket(table, hash, rcu) {
            BucketSearch::Hit(conn, dir) => (Some((conn, dir)), at(table)),
            BucketSearch::Miss => (None, at(table)),
            BucketSearch::Retry => {
                self.net.count_one(Stat::SearchRestart);
                self.find_in_any_table(zone_id, rcu)
            }
            BucketSearch::Moved => self.find_in_any_table(zone_id, rcu),
        }
    }

    /// Does the work of [`LookupKey::find_in_zone`] during a resize, or where the hash is not
    /// jhash.
    #[cold]
    #[inline(never)]
    fn find_in_any_table(
        &self,
        zone_id: u16,
        rcu: Rcu<'_>,
    ) -> (Option<(ARef<Conn>, Direction)>, TupleHash) {
        let Some(mut table) = CURRENT.load(rcu) else {
            return (None, TupleHash::default());
        };
        let mut at = self.hash(zone_id, table);
        loop {
            if table.hash.epoch() != at.epoch {
                at = self.hash(zone_id, table);
            }
            match self.search_bucket(table, at.hash, rcu) {
                BucketSearch::Hit(conn, dir) => return (Some((conn, dir)), at),
                BucketSearch::Miss => return (None, at),
                BucketSearch::Retry => self.net.count_one(Stat::SearchRestart),
                BucketSearch::Moved => match table.next_or_current(rcu) {
                    Some(next) => table = next,
                    None => return (None, at),
                },
            }
        }
    }

    /// Looks up the entry of a packet with this tuple. Returns the entry and the direction of the
    /// packet, and the hash, for the creation of an entry that was not found.
    ///
    /// The two directions of the zone may have different ids, and the tuple is in the table under
    /// one of them.
    pub(crate) fn find(&self, rcu: Rcu<'_>) -> (Option<(ARef<Conn>, Direction)>, TupleHash) {
        let original = self.zone.id_for(Direction::Original);
        let reply = self.zone.id_for(Direction::Reply);
        let (found, hash) = self.find_in_zone(original, rcu);
        if found.is_some() || original == reply {
            return (found, hash);
        }
        (self.find_reply(rcu), hash)
    }

    /// Looks up the entry with the zone id of the reply direction in the hash.
    #[cold]
    #[inline(never)]
    fn find_reply(&self, rcu: Rcu<'_>) -> Option<(ARef<Conn>, Direction)> {
        let reply = self.zone.id_for(Direction::Reply);
        self.find_in_zone(reply, rcu).0
    }
}

/// Does the work of [`LookupKey::find`] for the packet path, where one search gives the answer.
///
/// Inlined, it keeps both the key and the result in registers.
#[inline(always)]
pub(in crate::ct) fn lookup_fast(key: &Key, zone: Zone, net: &Net, rcu: Rcu<'_>) -> FastLookup {
    let Some(table) = CURRENT.load(rcu) else {
        return FastLookup::Retry;
    };
    let wanted = LookupKey {
        key: *key,
        zone,
        net,
    };
    let original = zone.id_for(Direction::Original);
    let reply = zone.id_for(Direction::Reply);
    let Some(hash) = table.hash.of_in_peace(key, original, net) else {
        return FastLookup::Retry;
    };
    let mut found = wanted.search_bucket(table, hash, rcu);
    if matches!(found, BucketSearch::Moved) {
        // A copy, so that the first key need not be in memory for the call.
        let wanted = LookupKey {
            key: *key,
            zone,
            net,
        };
        found = search_next_table(wanted, table, hash, rcu);
    }
    match found {
        BucketSearch::Hit(conn, dir) => FastLookup::Hit(conn, dir),
        BucketSearch::Miss if original == reply => FastLookup::Miss(TupleHash {
            hash,
            epoch: table.hash.epoch(),
        }),
        BucketSearch::Miss | BucketSearch::Moved => FastLookup::Retry,
        BucketSearch::Retry => {
            net.count_one(Stat::SearchRestart);
            FastLookup::Retry
        }
    }
}

/// Searches the next table, if the hash is valid there: it is not if that table has another hash.
#[cold]
#[inline(never)]
fn search_next_table(
    wanted: LookupKey<'_>,
    table: &Table,
    hash: u32,
    rcu: Rcu<'_>,
) -> BucketSearch {
    match table.next_or_current(rcu) {
        Some(next) if next.hash.epoch() == table.hash.epoch() => {
            wanted.search_bucket(next, hash, rcu)
        }
        _ => BucketSearch::Moved,
    }
}

/// Returns another connection in the table that has the tuple `tuple`, which NAT has chosen as the
/// reply tuple of `conn`.
///
/// A connection with the same original tuple does not count: the two are one connection, and two of
/// its packets were in the hooks at the same time. Confirmation resolves their clash.
pub(crate) fn reply_tuple_owner(tuple: &Tuple, conn: &Entry, rcu: Rcu<'_>) -> Option<ARef<Conn>> {
    let zone = conn.zone();
    let wanted = LookupKey {
        key: tuple.key(),
        zone,
        net: conn.net(),
    };
    let found = wanted.find_reply(rcu);
    let owner = found.map(|(other, _)| other).filter(|other| {
        let dir = Direction::Original;
        other.address() != conn.address()
            && (other.tuple(Direction::Original) != conn.tuple(Direction::Original)
                || other.zone().id_for(dir) != zone.id_for(dir))
    });
    if owner.is_some() {
        conn.net().count_one(Stat::Found);
    }
    owner
}

/// Looks up the entry of a tuple in the default zone.
pub(in crate::ct) fn find_tuple(
    net: &Net,
    tuple: &Tuple,
    rcu: Rcu<'_>,
) -> Option<(ARef<Conn>, Direction)> {
    LookupKey {
        key: tuple.key(),
        zone: Zone::DEFAULT,
        net,
    }
    .find(rcu)
    .0
}
