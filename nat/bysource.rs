// SPDX-License-Identifier: GPL-2.0

//! The table by source: entries by the source of their original tuple, so that another connection
//! from the same address and port gets the same mapping. Peers then see one address and port for it
//! (endpoint-independent mapping, RFC 4787, section 4.1).
//!
//! An entry is inserted when its source is decided, and removed when it is freed.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    ct::table,
    nf::{
        entry::{
            bysource::SourceTable,
            conn::Entry,
            index_keys::SourceKey,
            stale::{
                Get,
                Stale, //
            },
        },
        kernel::rcu::RcuArc,
        prelude::*, //
    },
    proto::types::tuple::Key, //
};

static TABLE: RcuArc<SourceTable> = RcuArc::empty();

/// Minimum number of buckets.
const MIN_CHAINS: u32 = 1024;

/// Number of entries in a bucket that the search for a second entry of a connection looks at.
const MAX_NEWEST: usize = 8;

/// The table, which exists while this value does.
pub(super) struct BySourceTable(());

impl BySourceTable {
    /// Allocates the table, with as many buckets as the tracker's table has. May sleep.
    pub(super) fn new() -> Result<Self> {
        let buckets = table::buckets(RcuGuard::new().token());
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

/// Inserts an entry, and sets [`StatusBit::SrcNatDone`]. It stays until it is freed.
pub(super) fn insert(conn: &Entry, rcu: Rcu<'_>) {
    if let Some(table) = TABLE.load(rcu) {
        table.insert(conn);
    }
}

/// Removes an entry.
pub(super) fn remove(conn: &Entry, rcu: Rcu<'_>) {
    if let Some(table) = TABLE.load(rcu) {
        table.remove(conn);
    }
}

/// Returns the mapping of a connection from the source of `tuple`, with the destination of `tuple`,
/// for the connection `conn`. Mappings for which `suits` returns false are skipped; and a former
/// one of `conn` itself, if that was given another port: its own may be free by now.
pub(super) fn find_appropriate_src(
    conn: &Entry,
    tuple: &Tuple,
    rcu: Rcu<'_>,
    suits: impl Fn(&Tuple) -> bool,
) -> Option<Tuple> {
    let table = TABLE.load(rcu)?;
    let (net, zone, origin) = (conn.net(), conn.zone(), conn.tuple(Direction::Original));
    let same = |stale: &Stale<'_>| {
        let way = Direction::Original;
        has_source_of(
            &Key::from_words(stale.tuple_words(Direction::Original)),
            tuple,
        ) && stale.zone().id_for(way) == zone.id_for(way)
            && stale.is_in(net)
    };
    for stale in table.walk(net, &SourceKey::new(zone, tuple), rcu) {
        if !same(&stale) {
            continue;
        }
        let Get::Hit(other) = stale.get_if(same) else {
            continue;
        };
        let Some(mapped) = mapped_as(&other, tuple) else {
            continue;
        };
        let is_former =
            mapped.src_key != tuple.src_key && other.tuple(Direction::Original) == origin;
        if !is_former && suits(&mapped) {
            return Some(mapped);
        }
    }
    None
}

/// Returns the mapping of another entry for the same connection, which another CPU created for a
/// packet just now; with the destination of `tuple`.
pub(super) fn same_flow_mapping(conn: &Entry, tuple: &Tuple, rcu: Rcu<'_>) -> Option<Tuple> {
    let table = TABLE.load(rcu)?;
    let origin = conn.tuple(Direction::Original);
    let (key, zone, net) = (origin.key(), conn.zone(), conn.net());
    let same = |stale: &Stale<'_>| {
        let way = Direction::Original;
        Key::from_words(stale.tuple_words(Direction::Original)) == key
            && stale.zone().id_for(way) == zone.id_for(way)
            && stale.is_in(net)
    };
    // The other entry is new, so it is near the head of the bucket.
    let newest = table
        .walk(net, &SourceKey::new(zone, &origin), rcu)
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

/// Returns `tuple` with the translated source of `other`.
fn mapped_as(other: &Conn, tuple: &Tuple) -> Option<Tuple> {
    let mapped = other.tuple(Direction::Reply).invert()?;
    Some(Tuple {
        src: mapped.src,
        src_key: mapped.src_key,
        ..*tuple
    })
}

/// Returns whether `key` has the source and protocol of `tuple`.
fn has_source_of(key: &Key, tuple: &Tuple) -> bool {
    let [a, b, c, d, source, _, _, _, _, last] = key.halves();
    let [v, w, x, y, other_source, _, _, _, _, other_last] = tuple.key().halves();
    let protocol = |last: u32| last.to_ne_bytes()[2];
    (a, b, c, d, source) == (v, w, x, y, other_source) && protocol(last) == protocol(other_last)
}
