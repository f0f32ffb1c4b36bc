// SPDX-License-Identifier: GPL-2.0

//! The table of connections: from a tuple to its entry, in one chain.
//!
//! # Where an entry stands
//!
//! Both tuples of an entry lead to it. Nearly always one is the other's mirror image: what one way
//! is the source, is the destination the other way. Such two have the same hash, and the entry
//! stands in that bucket once, by its reply tuple ([`StatusBit::Mirrored`]). Where an address or a
//! port is translated, where the two ways belong to different zones, and with ICMP, whose answers
//! are of another type, it stands in the bucket of each tuple. So an entry that is met by its reply
//! tuple is what is looked for if either of its tuples is. (But for one that is in the table by
//! that tuple alone: see `settle_clash` in [`crate::ct::life::confirm`].)
//!
//! # Resizing under traffic
//!
//! A resize ([`crate::ct::table::resize`]) makes a second table and moves the buckets of the first one
//! over, in order, one after the other. The first table's sequence counter says how far it
//! is: twice the number of buckets moved, plus one while a bucket is on its way. So for a
//! tuple's bucket there is, at any time, one answer to the question where it is:
//!
//! - [`Phase::Before`]: in this table, entries and insertions alike;
//! - [`Phase::Moving`]: on its way, for some hundred instructions;
//! - [`Phase::Moved`]: in the next table (where the same question is asked again).
//!
//! A reader searches the one chain that the answer names and asks again afterwards. It
//! trusts a hit, because a hit is verified by itself, and trusts a miss only if the answer
//! was *before* both times and the chain ended in its own marker. It never waits for more
//! than one bucket, and never misses an entry that is there.
//!
//! A writer locks the two buckets that the answers name, and asks again with the locks
//! held. The mover holds a bucket's lock while it moves it, so that answer stands.

pub(crate) mod autosize;
pub(crate) mod index;
pub(crate) mod reservation;
pub(crate) mod resize;
pub(crate) mod walk;

use kernel::{
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
    },
};

use crate::{
    ct::{
        entry::direction,
        life::delete, //
    },
    nf::{
        entry::{
            chain::ChainArray,
            conn::{
                Conn,
                Dir,
                StatusBit, //
            },
            pair::{
                LockedPair,
                Place, //
            },
            stale::{
                Get,
                Stale, //
            },
        },
        kernel::{
            lock::BhDisabled,
            net::{
                Net,
                Stat, //
            },
            random,
            rcu::{
                Rcu,
                RcuArc, //
            },
            seqcount::SeqCount, //
        },
    },
    proto::{
        hash::{
            reciprocal_scale,
            tuple_hash, //
        },
        tuple::{
            Key,
            Tuple, //
        },
        zone::Zone, //
    },
};

/// The table that lookups begin with.
pub(super) static CURRENT: RcuArc<Table> = RcuArc::empty();

/// Tells the tables apart that exist at the same time.
static GENERATIONS: Atomic<u32> = Atomic::new(0);

/// Buckets, and what it takes to find one's way to them.
pub(super) struct Table {
    pub(super) chains: ChainArray,
    /// The secret of the hash.
    pub(super) seed: u32,
    generation: u32,
    /// How far the move to `next` is.
    pub(super) migration: SeqCount,
    /// The table that this one's buckets move to.
    pub(super) next: RcuArc<Table>,
}

/// Where a bucket of a table is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Here.
    Before,
    /// On its way.
    Moving,
    /// In the next table.
    Moved,
}

impl Table {
    /// A table with `buckets` buckets and a new secret, or that of another table.
    pub(super) fn new(buckets: u32, seed: Option<u32>) -> Result<Self> {
        let generation = GENERATIONS.fetch_add(1, Relaxed);
        Ok(Self {
            chains: ChainArray::new(buckets, generation)?,
            // The top bit stays clear, see `TupleHash::pack`.
            seed: seed.unwrap_or_else(|| random::below(1 << 31)),
            generation,
            migration: SeqCount::new(),
            next: RcuArc::empty(),
        })
    }

    /// The bucket of a hash.
    #[inline]
    pub(super) fn bucket(&self, hash: u32) -> u32 {
        reciprocal_scale(hash, self.chains.len())
    }

    #[inline]
    fn phase_at(sequence: u32, bucket: u32) -> Phase {
        let moved = sequence >> 1;
        if bucket < moved {
            Phase::Moved
        } else if bucket == moved && sequence & 1 != 0 {
            Phase::Moving
        } else {
            Phase::Before
        }
    }

    /// Whether buckets move, or have moved, to the next table.
    #[inline]
    fn is_moving(&self) -> bool {
        self.migration.begin().0 != 0
    }

    /// Where `bucket` is, asked before it is looked into.
    #[inline]
    pub(super) fn phase(&self, bucket: u32) -> Phase {
        Self::phase_at(self.migration.begin().0, bucket)
    }

    /// Where `bucket` is, asked after it was looked into.
    #[inline]
    pub(super) fn phase_after(&self, bucket: u32) -> Phase {
        Self::phase_at(self.migration.end().0, bucket)
    }

    /// The table to go on with when a bucket has moved.
    #[inline]
    pub(super) fn following<'r>(&self, rcu: Rcu<'r>) -> Option<&'r Table> {
        self.next.load(rcu).or_else(|| CURRENT.load(rcu))
    }
}

/// The number of buckets now.
pub(crate) fn buckets(rcu: Rcu<'_>) -> u32 {
    CURRENT.load(rcu).map_or(0, |table| table.chains.len())
}

/// What a lookup looks for.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// The tuple that the packet carries.
    pub(crate) key: Key,
    /// The zone that it came in by.
    pub(crate) zone: Zone,
    /// The namespace.
    pub(crate) net: &'a Net,
}

/// The hash of a tuple, and the secret that it was made with.
#[derive(Clone, Copy, Default)]
pub(crate) struct TupleHash {
    /// The hash.
    pub(super) hash: u32,
    /// The secret.
    pub(super) seed: u32,
}

impl TupleHash {
    /// In one word, to be kept in an entry until it is confirmed.
    ///
    /// It stands where a list's link will stand. Who confirms the entry at the same time as
    /// another CPU may read that link; its top bit is set, as no seed's is, so it is taken for a
    /// hash of another seed and not used.
    pub(super) fn pack(self) -> u64 {
        u64::from(self.seed) << 32 | u64::from(self.hash)
    }

    /// Undoes [`TupleHash::pack`].
    pub(super) fn unpack(word: u64) -> Self {
        // CAST: the two halves.
        Self {
            hash: word as u32,
            seed: (word >> 32) as u32,
        }
    }
}

/// What came of a search through one bucket.
enum Search {
    /// The entry.
    Found(ARef<Conn>, Dir),
    /// There is none.
    Absent,
    /// The bucket is in the next table.
    Moved,
    /// Perhaps there is none: the bucket was on its way, or the search was led to another one.
    Disturbed,
}

/// What came of a look at the table.
pub(super) enum Glance {
    /// The entry, and the way that the packet goes.
    Found(ARef<Conn>, Dir),
    /// There is none; the hash is for whoever makes it.
    Absent(TupleHash),
    /// [`Wanted::find`] will tell.
    Unsure,
}

impl Wanted<'_> {
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
    fn way(&self, stale: &Stale<'_>) -> Option<Dir> {
        // Some words are enough to tell a tuple from its mirror image, if its ports differ.
        let is_whole = |dir| Key::from_words(stale.tuple_words(dir)) == self.key;
        let may_be_by = |dir| {
            self.key.may_have(|index| stale.tuple_word(dir, index))
                && (!self.key.has_equal_ports() || is_whole(dir))
        };
        match stale.dir() {
            dir if may_be_by(dir) => Some(dir),
            Dir::Reply if may_be_by(Dir::Original) => Some(Dir::Original),
            _ => None,
        }
    }

    /// Whether `stale` is, at this moment, what is looked for, by that tuple.
    #[inline(always)]
    fn is(&self, stale: &Stale<'_>, dir: Dir) -> bool {
        let zone: Zone = stale.zone();
        let id = |zone: Zone| zone.id_for(direction(dir));
        let status = stale.status();
        Key::from_words(stale.tuple_words(dir)) == self.key
            && (zone == self.zone || id(zone) == id(self.zone))
            && status.has(StatusBit::Confirmed)
            && (dir == Dir::Reply || !status.has(StatusBit::NatClash))
            && stale.is_in(self.net)
    }

    /// Searches the bucket of a hash. An expired entry is removed instead of being found; others on
    /// the way are left to the collector, as their deadlines are on other cache lines than their
    /// tuples.
    #[inline(always)]
    fn search(&self, table: &Table, at: TupleHash, rcu: Rcu<'_>) -> Search {
        let bucket = table.bucket(at.hash);
        let phase = table.phase(bucket);
        if phase == Phase::Moved {
            return Search::Moved;
        }
        let mut walk = table.chains.walk(bucket, rcu);
        for stale in &mut walk {
            let Some(dir) = self.way(&stale) else {
                continue;
            };
            if stale.is_expired() {
                delete::reap(stale);
                continue;
            }
            // Dead or recycled: it left the chain, and the walk may have with it.
            if let Get::Hit(conn) = stale.get_if(|stale| self.is(stale, dir)) {
                return Search::Found(conn, dir);
            }
        }
        let is_whole = walk.ended_at_home()
            && phase == Phase::Before
            && table.phase_after(bucket) == Phase::Before;
        if is_whole {
            Search::Absent
        } else {
            Search::Disturbed
        }
    }

    /// Looks for the entry, with the zone id `zone_id` in the hash.
    ///
    /// The hash is given back for whoever makes the entry that was not found.
    fn find_in_zone(&self, zone_id: u16, rcu: Rcu<'_>) -> (Option<(ARef<Conn>, Dir)>, TupleHash) {
        let Some(mut table) = CURRENT.load(rcu) else {
            return (None, TupleHash::default());
        };
        let mut at = self.hash(zone_id, table);
        loop {
            if table.seed != at.seed {
                at = self.hash(zone_id, table);
            }
            match self.search(table, at, rcu) {
                Search::Found(conn, dir) => return (Some((conn, dir)), at),
                Search::Absent => return (None, at),
                Search::Disturbed => self.net.count_one(Stat::SearchRestart),
                Search::Moved => match table.following(rcu) {
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
    pub(crate) fn find(&self, rcu: Rcu<'_>) -> (Option<(ARef<Conn>, Dir)>, TupleHash) {
        let original = self.zone.id_for(direction(Dir::Original));
        let reply = self.zone.id_for(direction(Dir::Reply));
        let (found, hash) = self.find_in_zone(original, rcu);
        if found.is_some() || original == reply {
            return (found, hash);
        }
        (self.find_reply(rcu), hash)
    }

    /// The entry of which only the reply direction is in the zone, or only the original one.
    #[cold]
    #[inline(never)]
    fn find_reply(&self, rcu: Rcu<'_>) -> Option<(ARef<Conn>, Dir)> {
        let reply = self.zone.id_for(direction(Dir::Reply));
        self.find_in_zone(reply, rcu).0
    }
}

/// [`Wanted::find`], but only where the answer is to be had at once. For the way of every packet:
/// inlined, it has neither the key nor the answer in memory.
#[inline(always)]
pub(super) fn glance(key: &Key, zone: Zone, net: &Net, rcu: Rcu<'_>) -> Glance {
    let Some(table) = CURRENT.load(rcu) else {
        return Glance::Unsure;
    };
    let wanted = Wanted {
        key: *key,
        zone,
        net,
    };
    let original = zone.id_for(direction(Dir::Original));
    let reply = zone.id_for(direction(Dir::Reply));
    let at = wanted.hash(original, table);
    let mut found = wanted.search(table, at, rcu);
    if matches!(found, Search::Moved) {
        // A value of its own, so that the other one need not be in memory.
        let wanted = Wanted {
            key: *key,
            zone,
            net,
        };
        found = search_next(wanted, table, at, rcu);
    }
    match found {
        Search::Found(conn, dir) => Glance::Found(conn, dir),
        Search::Absent if original == reply => Glance::Absent(at),
        Search::Absent | Search::Moved => Glance::Unsure,
        Search::Disturbed => {
            net.count_one(Stat::SearchRestart);
            Glance::Unsure
        }
    }
}

/// Goes on in the next table, if the hash is good for that one, too: it is not where the table gets
/// a new secret.
#[cold]
#[inline(never)]
fn search_next(wanted: Wanted<'_>, table: &Table, at: TupleHash, rcu: Rcu<'_>) -> Search {
    match table.following(rcu) {
        Some(next) if next.seed == at.seed => wanted.search(next, at, rcu),
        _ => Search::Moved,
    }
}

/// The other connection that has the tuple already which `conn` is to get for its answers.
///
/// One that began with the same original tuple does not count: the two are one connection,
/// of which two packets were on their way at once, and their clash is settled later.
pub(crate) fn holder(tuple: &Tuple, conn: &Conn, rcu: Rcu<'_>) -> Option<ARef<Conn>> {
    let zone = conn.zone::<Zone>();
    let wanted = Wanted {
        key: tuple.key(),
        zone,
        net: conn.net(),
    };
    let found = wanted.find_reply(rcu);
    let holder = found.map(|(other, _)| other).filter(|other| {
        let way = direction(Dir::Original);
        !core::ptr::eq(&**other, conn)
            && (other.tuple::<Tuple>(Dir::Original) != conn.tuple::<Tuple>(Dir::Original)
                || other.zone::<Zone>().id_for(way) != zone.id_for(way))
    });
    if holder.is_some() {
        conn.net().count_one(Stat::Found);
    }
    holder
}

/// The hash of one of an entry's tuples.
#[inline]
pub(super) fn hash_of(conn: &Conn, dir: Dir, seed: u32) -> u32 {
    let zone_id = conn.zone::<Zone>().id_for(direction(dir));
    tuple_hash(
        &Key::from_words(conn.tuple_words(dir)),
        zone_id,
        conn.net().hash_mix(),
        seed,
    )
}

/// The place of a tuple whose hash under a seed is `hash`.
#[inline]
pub(super) fn place<'r>(hash: impl Fn(u32) -> u32, rcu: Rcu<'r>) -> Option<(&'r Table, u32)> {
    let mut table = CURRENT.load(rcu)?;
    loop {
        let bucket = table.bucket(hash(table.seed));
        match table.phase(bucket) {
            Phase::Before => return Some((table, bucket)),
            Phase::Moving => core::hint::spin_loop(),
            Phase::Moved => table = table.following(rcu)?,
        }
    }
}

/// A table, and one of its buckets.
type At<'a> = (&'a Table, u32);

/// Where an entry belongs: by its original tuple, if it is not [mirrored](StatusBit::Mirrored),
/// and by its reply tuple.
type Places<'a> = (Option<At<'a>>, At<'a>);

/// Where an entry belongs. `original` is the hash of its original tuple, if it is known.
#[inline(always)]
fn places<'r>(conn: &Conn, original: Option<TupleHash>, rcu: Rcu<'r>) -> Option<Places<'r>> {
    let table = CURRENT.load(rcu)?;
    let seed = table.seed;
    if table.is_moving() {
        return places_meanwhile(conn, rcu);
    }
    let original = match original {
        Some(known) if known.seed == seed => known.hash,
        _ => hash_of(conn, Dir::Original, seed),
    };
    let at = |hash| (table, table.bucket(hash));
    if conn.has(StatusBit::Mirrored) {
        return Some((None, at(original)));
    }
    Some((Some(at(original)), at(hash_of(conn, Dir::Reply, seed))))
}

/// [`places`] during a resize.
#[cold]
#[inline(never)]
fn places_meanwhile<'r>(conn: &Conn, rcu: Rcu<'r>) -> Option<Places<'r>> {
    let place_of = |dir| place(|seed| hash_of(conn, dir, seed), rcu);
    let reply = place_of(Dir::Reply)?;
    if conn.has(StatusBit::Mirrored) {
        return Some((None, reply));
    }
    Some((Some(place_of(Dir::Original)?), reply))
}

/// Locks the buckets of an entry, wherever they are.
///
/// `original` is the hash of the original tuple, if it is known.
#[inline(always)]
pub(super) fn lock_pair<'a>(
    conn: &Conn,
    original: Option<TupleHash>,
    bh: &'a BhDisabled,
    rcu: Rcu<'a>,
) -> Option<LockedPair<'a>> {
    loop {
        let (first, second) = places(conn, original, rcu)?;
        let place = |(table, bucket): At<'a>| Place {
            chains: &table.chains,
            generation: table.generation,
            bucket,
        };
        let pair = LockedPair::lock(first.map(place), place(second), bh);
        let is_here =
            |(table, bucket): At<'a>| !table.is_moving() || table.phase(bucket) == Phase::Before;
        if first.is_none_or(is_here) && is_here(second) {
            return Some(pair);
        }
        // A resize took one of them away between the question and the lock.
    }
}

/// The entry on a locked bucket that stands in `conn`'s way there, if one does, and how many are
/// there in front of it: one that has its tuple `dir`, or any of its tuples ([`None`]), if the
/// bucket is for both of them.
#[inline(always)]
pub(super) fn rival<'l>(
    pair: &'l LockedPair<'_>,
    conn: &Conn,
    dir: Option<Dir>,
) -> (Option<&'l Conn>, u32) {
    let mut length = 0;
    for (other, other_dir) in pair.chain(dir.unwrap_or(Dir::Reply)).entries() {
        let is_rival = match dir {
            Some(dir) => has_tuple(other, other_dir, conn, dir),
            None => {
                has_tuple_of(other, other_dir, conn, Dir::Reply)
                    || has_tuple_of(other, other_dir, conn, Dir::Original)
            }
        };
        if is_rival {
            return (Some(other), length);
        }
        length = length.wrapping_add(1);
    }
    (None, length)
}

/// Whether the tuple by which `other` stands there, or the mirror image for which it stands, too, is
/// the tuple `dir` of `conn`.
#[inline]
fn has_tuple(other: &Conn, other_dir: Dir, conn: &Conn, dir: Dir) -> bool {
    let status = other.status();
    let stands_for_both = status.has(StatusBit::Mirrored) && !status.has(StatusBit::NatClash);
    has_tuple_of(other, other_dir, conn, dir)
        || stands_for_both && has_tuple_of(other, other_dir.opposite(), conn, dir)
}

/// Whether the tuple `other_dir` of `other` is the tuple `dir` of `conn`, for a lookup: by the zone
/// id of the way that it has there.
#[inline]
fn has_tuple_of(other: &Conn, other_dir: Dir, conn: &Conn, dir: Dir) -> bool {
    let key = |conn: &Conn, dir| Key::from_words(conn.tuple_words(dir));
    let id = |conn: &Conn| conn.zone::<Zone>().id_for(direction(other_dir));
    let wanted = key(conn, dir);
    wanted.may_have(|index| other.tuple_word(other_dir, index))
        && wanted == key(other, other_dir)
        && id(other) == id(conn)
        && core::ptr::eq(other.net(), conn.net())
}

/// The entry that has `tuple`, in the default zone.
pub(super) fn find_tuple(net: &Net, tuple: &Tuple, rcu: Rcu<'_>) -> Option<(ARef<Conn>, Dir)> {
    Wanted {
        key: tuple.key(),
        zone: Zone::DEFAULT,
        net,
    }
    .find(rcu)
    .0
}
