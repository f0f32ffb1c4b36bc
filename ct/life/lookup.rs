// SPDX-License-Identifier: GPL-2.0

//! Lookups: from a packet's tuple to its entry.

use kernel::sync::aref::ARef;

use crate::{
    ct::table::{
        Phase,
        Table,
        TupleHash,
        CURRENT, //
    },
    nf::{
        entry::stale::{
            Get,
            Stale, //
        },
        kernel::net::Stat,
        prelude::*, //
    },
    proto::{
        hash::tuple_hash,
        types::tuple::Key, //
    },
};

use super::delete;

/// What a lookup looks for.
#[derive(Clone, Copy)]
pub(crate) struct LookupKey<'a> {
    /// The tuple that the packet carries.
    pub(crate) key: Key,
    /// The zone that it came in by.
    pub(crate) zone: Zone,
    /// The namespace.
    pub(crate) net: &'a Net,
}

/// What came of a search through one bucket.
enum BucketSearch {
    /// The entry.
    Hit(ARef<Conn>, Direction),
    /// There is none.
    Miss,
    /// The bucket is in the next table.
    Moved,
    /// Perhaps there is none: the bucket was on its way, or the search was led to another one.
    Retry,
}

/// What came of a look at the table.
pub(in crate::ct) enum FastLookup {
    /// The entry, and the way that the packet goes.
    Hit(ARef<Conn>, Direction),
    /// There is none; the hash is for whoever makes it.
    Miss(TupleHash),
    /// [`LookupKey::find`] will tell.
    Retry,
}

impl LookupKey<'_> {
    #[inline(always)]
    fn hash(&self, zone_id: u16, table: &Table) -> TupleHash {
        let seed = table.seed;
        TupleHash {
            hash: tuple_hash(&self.key, zone_id, self.net.hash_mix(), seed),
            seed,
        }
    }

    /// By which of its tuples `stale` may be what is looked for. Which entries are alike so far that
    /// are not, is rare enough to take a reference first.
    #[inline(always)]
    fn matching_dir(&self, stale: &Stale<'_>) -> Option<Direction> {
        // Some words are enough to tell a tuple from its mirror image, if its ports differ.
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

    /// Whether `stale` is, at this moment, what is looked for, by that tuple.
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

    /// Searches the bucket of a hash. An expired entry is removed instead of being found; others on
    /// the way are left to the collector, as their deadlines are on other cache lines than their
    /// tuples.
    #[inline(always)]
    fn search_bucket(&self, table: &Table, at: TupleHash, rcu: Rcu<'_>) -> BucketSearch {
        let bucket = table.bucket(at.hash);
        let phase = table.phase(bucket);
        if phase == Phase::Moved {
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
            // Dead or recycled: it left the chain, and the walk may have with it.
            if let Get::Hit(conn) = stale.get_if(|stale| self.matches(stale, dir)) {
                return BucketSearch::Hit(conn, dir);
            }
        }
        let is_whole = walk.ended_at_home()
            && phase == Phase::Before
            && table.phase_after(bucket) == Phase::Before;
        if is_whole {
            BucketSearch::Miss
        } else {
            BucketSearch::Retry
        }
    }

    /// Looks for the entry, with the zone id `zone_id` in the hash.
    ///
    /// The hash is given back for whoever makes the entry that was not found.
    fn find_in_zone(
        &self,
        zone_id: u16,
        rcu: Rcu<'_>,
    ) -> (Option<(ARef<Conn>, Direction)>, TupleHash) {
        let Some(mut table) = CURRENT.load(rcu) else {
            return (None, TupleHash::default());
        };
        let mut at = self.hash(zone_id, table);
        loop {
            if table.seed != at.seed {
                at = self.hash(zone_id, table);
            }
            match self.search_bucket(table, at, rcu) {
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

    /// Looks for the entry that a packet with this tuple belongs to, and which of its two
    /// ways the packet goes.
    ///
    /// The tuple may stand in the table under either direction's zone id.
    pub(crate) fn find(&self, rcu: Rcu<'_>) -> (Option<(ARef<Conn>, Direction)>, TupleHash) {
        let original = self.zone.id_for(Direction::Original);
        let reply = self.zone.id_for(Direction::Reply);
        let (found, hash) = self.find_in_zone(original, rcu);
        if found.is_some() || original == reply {
            return (found, hash);
        }
        (self.find_reply(rcu), hash)
    }

    /// The entry of which only the reply direction is in the zone, or only the original one.
    #[cold]
    #[inline(never)]
    fn find_reply(&self, rcu: Rcu<'_>) -> Option<(ARef<Conn>, Direction)> {
        let reply = self.zone.id_for(Direction::Reply);
        self.find_in_zone(reply, rcu).0
    }
}

/// [`LookupKey::find`], but only where the answer is to be had at once. For the way of every packet:
/// inlined, it has neither the key nor the answer in memory.
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
    let at = wanted.hash(original, table);
    let mut found = wanted.search_bucket(table, at, rcu);
    if matches!(found, BucketSearch::Moved) {
        // A value of its own, so that the other one need not be in memory.
        let wanted = LookupKey {
            key: *key,
            zone,
            net,
        };
        found = search_next_table(wanted, table, at, rcu);
    }
    match found {
        BucketSearch::Hit(conn, dir) => FastLookup::Hit(conn, dir),
        BucketSearch::Miss if original == reply => FastLookup::Miss(at),
        BucketSearch::Miss | BucketSearch::Moved => FastLookup::Retry,
        BucketSearch::Retry => {
            net.count_one(Stat::SearchRestart);
            FastLookup::Retry
        }
    }
}

/// Goes on in the next table, if the hash is good for that one, too: it is not where the table gets
/// a new secret.
#[cold]
#[inline(never)]
fn search_next_table(
    wanted: LookupKey<'_>,
    table: &Table,
    at: TupleHash,
    rcu: Rcu<'_>,
) -> BucketSearch {
    match table.next_or_current(rcu) {
        Some(next) if next.seed == at.seed => wanted.search_bucket(next, at, rcu),
        _ => BucketSearch::Moved,
    }
}

/// The other connection that has the tuple already which `conn` is to get for its answers.
///
/// One that began with the same original tuple does not count: the two are one connection,
/// of which two packets were on their way at once, and their clash is settled later.
pub(crate) fn reply_tuple_owner(tuple: &Tuple, conn: &Conn, rcu: Rcu<'_>) -> Option<ARef<Conn>> {
    let zone = conn.zone();
    let wanted = LookupKey {
        key: tuple.key(),
        zone,
        net: conn.net(),
    };
    let found = wanted.find_reply(rcu);
    let owner = found.map(|(other, _)| other).filter(|other| {
        let dir = Direction::Original;
        !core::ptr::eq(&**other, conn)
            && (other.tuple(Direction::Original) != conn.tuple(Direction::Original)
                || other.zone().id_for(dir) != zone.id_for(dir))
    });
    if owner.is_some() {
        conn.net().count_one(Stat::Found);
    }
    owner
}

/// The entry that has `tuple`, in the default zone.
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
