// SPDX-License-Identifier: GPL-2.0

//! Which connections come from an address and port, so that another one from there can be
//! mapped as they are: its peer is then known to all others by one address.
//!
//! An entry is put in when it was decided about its source, and forgotten when it is freed.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
};

use crate::{
    ct::table,
    nf::{
        entry::{
            by_source::SourceTable,
            stale::{
                Get,
                Stale, //
            },
        },
        kernel::{
            random,
            rcu::RcuArc, //
        },
        prelude::*, //
    },
    proto::{
        hash::{
            reciprocal_scale,
            source_hash, //
        },
        types::tuple::Key, //
    },
};

static TABLE: RcuArc<SourceTable> = RcuArc::empty();

/// The secret of the hash.
static SEED: Atomic<u32> = Atomic::new(0);

/// As few chains as this there are at least.
const MIN_CHAINS: u32 = 1024;

/// As many entries of a chain are looked at for one that is new.
const MAX_NEWEST: usize = 8;

/// The life of the table.
pub(super) struct BySourceTable(());

impl BySourceTable {
    /// Makes the table, as large as the tracker's is. May sleep.
    pub(super) fn new() -> Result<Self> {
        let buckets = table::buckets(RcuGuard::new().token());
        SEED.store(random::below(u32::MAX), Relaxed);
        let new = SourceTable::new(buckets.max(MIN_CHAINS))?;
        drop(TABLE.replace(Some(Arc::new(new, GFP_KERNEL)?)));
        Ok(Self(()))
    }
}

impl Drop for BySourceTable {
    fn drop(&mut self) {
        drop(TABLE.replace(None));
    }
}

/// The chain of connections that come from the source of `tuple`.
fn chain(table: &SourceTable, net: &Net, zone: Zone, tuple: &Tuple) -> u32 {
    // A zone of one direction alone may be another one for the answers.
    let zone_id = if zone.dir == Zone::BOTH { zone.id } else { 0 };
    let seed = SEED.load(Relaxed);
    let hash = source_hash(&tuple.key(), zone_id, net.hash_mix(), seed);
    reciprocal_scale(hash, table.len())
}

fn chain_of(table: &SourceTable, conn: &Conn) -> u32 {
    let tuple = conn.tuple(Direction::Original);
    chain(table, conn.net(), conn.zone(), &tuple)
}

/// Remembers an entry, until it is freed.
pub(super) fn insert(conn: &Conn, rcu: Rcu<'_>) {
    if let Some(table) = TABLE.load(rcu) {
        table.insert(chain_of(table, conn), conn);
    }
}

/// Forgets an entry.
pub(super) fn remove(conn: &Conn) {
    let rcu = RcuGuard::new();
    if let Some(table) = TABLE.load(rcu.token()) {
        table.remove(chain_of(table, conn), conn);
    }
}

/// How a connection from the source of `tuple` is mapped, of those that `suits` says: with the
/// destination of `tuple`.
pub(super) fn find_appropriate_src(
    net: &Net,
    zone: Zone,
    tuple: &Tuple,
    rcu: Rcu<'_>,
    suits: impl Fn(&Tuple) -> bool,
) -> Option<Tuple> {
    let table = TABLE.load(rcu)?;
    let same = |stale: &Stale<'_>| {
        let way = Direction::Original;
        has_source_of(
            &Key::from_words(stale.tuple_words(Direction::Original)),
            tuple,
        ) && stale.zone().id_for(way) == zone.id_for(way)
            && stale.is_in(net)
    };
    for stale in table.walk(chain(table, net, zone, tuple), rcu) {
        if !same(&stale) {
            continue;
        }
        let Get::Hit(other) = stale.get_if(same) else {
            continue;
        };
        let mapped = mapped_as(&other, tuple);
        if mapped.is_some_and(|mapped| suits(&mapped)) {
            return mapped;
        }
    }
    None
}

/// How another entry of the same connection is mapped, which a packet made just now on another
/// CPU: with the destination of `tuple`.
pub(super) fn same_flow_mapping(conn: &Conn, tuple: &Tuple, rcu: Rcu<'_>) -> Option<Tuple> {
    let table = TABLE.load(rcu)?;
    let origin = conn.tuple(Direction::Original);
    let (key, zone, net) = (origin.key(), conn.zone(), conn.net());
    let same = |stale: &Stale<'_>| {
        let way = Direction::Original;
        Key::from_words(stale.tuple_words(Direction::Original)) == key
            && stale.zone().id_for(way) == zone.id_for(way)
            && stale.is_in(net)
    };
    // It came just now, so it is among the first.
    let newest = table
        .walk(chain(table, net, zone, &origin), rcu)
        .take(MAX_NEWEST);
    for stale in newest {
        if !same(&stale) {
            continue;
        }
        if let Get::Hit(other) = stale.get_if(same) {
            return mapped_as(&other, tuple);
        }
    }
    None
}

/// What `tuple` would look like if it were mapped as `other` is.
fn mapped_as(other: &Conn, tuple: &Tuple) -> Option<Tuple> {
    let mapped = other.tuple(Direction::Reply).invert()?;
    Some(Tuple {
        src: mapped.src,
        src_key: mapped.src_key,
        ..*tuple
    })
}

/// Whether `key` is that of a tuple with the same source and protocol.
fn has_source_of(key: &Key, tuple: &Tuple) -> bool {
    let [a, b, c, d, source, _, _, _, _, last] = key.halves();
    let [v, w, x, y, other_source, _, _, _, _, other_last] = tuple.key().halves();
    let protocol = |last: u32| last.to_ne_bytes()[2];
    (a, b, c, d, source) == (v, w, x, y, other_source) && protocol(last) == protocol(other_last)
}
