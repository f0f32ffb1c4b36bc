// SPDX-License-Identifier: GPL-2.0

//! The index: entries by namespace and zone, and by address, so that a request for some of them
//! does not walk the whole table.
//!
//! Every entry in the table is on up to four lists:
//!
//! - that of its namespace and its class of zones (ids that are equal modulo
//!   [`ZONE_CLASSES`](crate::nf::entry::index_keys::ZONE_CLASSES));
//! - that of its source, and that of its destination (unless the parameter `index_addresses` is
//!   off);
//! - if it is translated, that of the address that replaced the destination (the source of
//!   replies), or the source (the destination of replies). Where both were replaced, the list of
//!   all such entries of the namespace.
//!
//! A list is selected by a hash, so it may have other entries as well; whatever is found is
//! compared again.
//!
//! # Order
//!
//! An entry joins its lists before it gets into the table ([`insert`]) and leaves them after it was
//! taken out ([`remove`]). So for a moment the lists may have more entries than the table, but
//! never fewer.
//!
//! # Locks
//!
//! All lists are sharded, with a lock per shard, and an entry is in the shard of the CPU that
//! created it. CPUs that create connections do not contend; a CPU that deletes connections of
//! another one may. The locks are leaves (see [`crate::ct`]) and may be taken under bucket locks.
//!
//! # Examples
//!
//! Every entry of a zone is deleted; the walk sleeps between entries:
//!
//! ```ignore
//! index::for_each(net, Scope::Zone(id), |conn| {
//!     // The list may have entries of other zones, too.
//!     if conn.zone().id == id {
//!         delete::delete(conn, DestroyReason::Flushed);
//!     }
//! });
//! ```

use kernel::{
    cpu::nr_cpu_ids,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::Relaxed,
        Arc, //
    },
};

use crate::{
    ct::netns::NetState,
    nf::{
        entry::{
            index_keys::{
                address_words,
                zone_class,
                IndexKey,
                ZONE_CLASSES, //
            },
            index_lists::{
                Found,
                ListCursor,
                ShardedLists, //
            },
            pair::{
                LockedPair,
                Removed, //
            },
        },
        kernel::{
            cpu,
            params,
            random,
            rcu::RcuArc,
            work, //
        },
        prelude::*, //
    },
};

use super::walk;

/// The lists. Owned by [`IndexLists`].
static LISTS: RcuArc<ShardedLists> = RcuArc::empty();

/// The smallest number of lists for each link of an entry.
const MIN_LISTS: u32 = 8_192;
/// The smallest number of lists in a shard. It bounds the part of the table that a request for one
/// address visits: 1/512 of a shard.
const MIN_LISTS_PER_SHARD: u32 = 512;
/// The greatest number of lists for each link of an entry.
const MAX_LISTS: u32 = 131_072;
/// The mean length of a list when the table is full.
const ENTRIES_PER_LIST: u32 = 8;

/// The greatest number of shards: a walk looks at one list in each of them.
const MAX_SHARDS: u32 = 256;

/// Returns the number of lists for a greatest number of entries and a number of shards.
const fn lists_for(max_entries: u32, shards: u32) -> u32 {
    let wanted = max_entries / ENTRIES_PER_LIST;
    let least = match shards.checked_next_power_of_two() {
        Some(shards) => shards.saturating_mul(MIN_LISTS_PER_SHARD),
        None => MAX_LISTS,
    };
    let wanted = if wanted > least { wanted } else { least };
    if wanted < MIN_LISTS {
        MIN_LISTS
    } else if wanted > MAX_LISTS {
        MAX_LISTS
    } else {
        wanted
    }
}

// Many CPUs with little memory, one CPU, and much memory.
const _: () = assert!(lists_for(65_536, MAX_SHARDS) == MAX_SHARDS * MIN_LISTS_PER_SHARD);
const _: () = assert!(MAX_SHARDS * MIN_LISTS_PER_SHARD <= MAX_LISTS);
const _: () = assert!(lists_for(65_536, 1) == MIN_LISTS && lists_for(u32::MAX, 2) == MAX_LISTS);

/// Owner of the lists: [`LISTS`] is set as long as this exists.
pub(in crate::ct) struct IndexLists {
    /// Where the lists are published.
    lists: &'static RcuArc<ShardedLists>,
}

impl IndexLists {
    /// Creates the lists, for `nf_conntrack_max` entries. May sleep.
    ///
    /// `ENOMEM`: no memory.
    pub(in crate::ct) fn new() -> Result<Self> {
        let shards = nr_cpu_ids().min(MAX_SHARDS);
        let lists = ShardedLists::new(
            lists_for(params::max_entries().load(Relaxed), shards),
            shards,
        )?;
        drop(LISTS.replace(Some(Arc::new(lists, GFP_KERNEL)?)));
        Ok(Self { lists: &LISTS })
    }
}

impl Drop for IndexLists {
    /// Frees the lists, which are empty: every entry left them when it left the table.
    fn drop(&mut self) {
        drop(self.lists.replace(None));
    }
}

/// Puts an entry into its buckets and on its lists, and confirms it. The reference becomes the
/// table's.
///
/// Errors as for [`LockedPair::insert`].
#[inline(always)]
pub(in crate::ct) fn insert(
    pair: &mut LockedPair<'_>,
    conn: ARef<Conn>,
    bh: &BhDisabled,
    rcu: Rcu<'_>,
) -> Result<(), ARef<Conn>> {
    let Some(lists) = LISTS.load(rcu) else {
        return Err(conn);
    };
    mark_class(&conn, rcu);
    pair.insert(conn, lists, bh)
}

/// As [`insert`], by the reply tuple alone.
pub(in crate::ct) fn insert_reply_only(
    pair: &mut LockedPair<'_>,
    conn: ARef<Conn>,
    bh: &BhDisabled,
    rcu: Rcu<'_>,
) -> Result<(), ARef<Conn>> {
    let Some(lists) = LISTS.load(rcu) else {
        return Err(conn);
    };
    mark_class(&conn, rcu);
    pair.insert_reply_only(conn, lists, bh)
}

/// Takes an entry out of its buckets and off its lists. [`None`]: it was not there.
#[inline]
pub(in crate::ct) fn remove(
    pair: LockedPair<'_>,
    conn: &Conn,
    bh: &BhDisabled,
    rcu: Rcu<'_>,
) -> Option<Removed> {
    pair.remove(conn, LISTS.load(rcu)?, bh)
}

/// Notes that the namespace has an entry in the class of this one's zone, before a walk can miss
/// it.
#[inline]
fn mark_class(conn: &Conn, rcu: Rcu<'_>) {
    let class = zone_class(conn.zone().id);
    if class != 0 {
        conn.net().state_in::<NetState>(rcu).mark_class(class);
    }
}

/// The entries that a walk is to find. It may find others as well: the caller compares.
#[derive(Clone, Copy)]
pub(crate) enum Scope {
    /// All entries of the namespace.
    Namespace,
    /// The entries of a zone.
    Zone(u16),
    /// The entries with this source in the original direction.
    Source([u8; 16]),
    /// The entries with this destination in the original direction.
    Destination([u8; 16]),
    /// The entries with this source in the reply direction.
    ReplySource([u8; 16]),
    /// The entries with this destination in the reply direction.
    ReplyDestination([u8; 16]),
}

impl Scope {
    /// Returns the scope's list with this number, or with the next one that there is, and its
    /// number. No entry of the scope is on two of these lists.
    fn key_from(&self, net: &Net, number: u32) -> Option<(u32, IndexKey)> {
        let key = match (*self, number) {
            (Self::Namespace, _) => {
                let class = net.state::<NetState>().next_class(number)?;
                return Some((class, IndexKey::ZoneClass(class)));
            }
            (Self::Zone(id), 0) => IndexKey::ZoneClass(zone_class(id)),
            (Self::Source(address), 0) => IndexKey::Source(address_words(address)),
            (Self::Destination(address), 0) => IndexKey::Destination(address_words(address)),
            // An untranslated entry has the original destination as the source of replies.
            (Self::ReplySource(address), 0) => IndexKey::Destination(address_words(address)),
            (Self::ReplySource(address), 1) => IndexKey::ReplySource(address_words(address)),
            (Self::ReplyDestination(address), 0) => IndexKey::Source(address_words(address)),
            (Self::ReplyDestination(address), 1) => {
                IndexKey::ReplyDestination(address_words(address))
            }
            (Self::ReplySource(_) | Self::ReplyDestination(_), 2) => IndexKey::TranslatedTwice,
            _ => return None,
        };
        Some((number, key))
    }
}

/// A walk over entries of a namespace. It finds every entry of its scope that is there the whole
/// time, and no entry twice.
///
/// The latest entries that a CPU has created come first. This order has nothing to do with hashes:
/// from the order of a listing, hash seeds could be computed.
///
/// A walk may rest for as long as it likes. It keeps an object on a list then, not a lock.
pub(in crate::ct) struct ScopeWalk {
    /// The entries that are looked for.
    scope: Scope,
    /// The number of the scope's list at which the walk is.
    number: u32,
    /// The shard of that list.
    shard: u32,
    /// The place on that list.
    cursor: ListCursor,
}

impl ScopeWalk {
    /// Creates a walk at the start of a scope. Where addresses are not indexed, it is over the
    /// whole namespace. May sleep.
    ///
    /// `ENOENT`: there is no tracker. `ENOMEM`: no memory.
    pub(in crate::ct) fn new(scope: Scope) -> Result<Self> {
        let lists = {
            let rcu = RcuGuard::new();
            LISTS.hold(rcu.token())
        };
        Ok(Self {
            scope: match scope {
                Scope::Zone(_) => scope,
                _ if params::index_addresses() => scope,
                _ => Scope::Namespace,
            },
            number: 0,
            shard: 0,
            cursor: ListCursor::new(lists.ok_or(ENOENT)?)?,
        })
    }

    /// Returns the entry at which the walk is, or the next one if that is gone; or the one after
    /// `past`, if the walk is at that. May sleep.
    pub(in crate::ct) fn next(&mut self, net: &Net, past: Option<&Conn>) -> Option<ARef<Conn>> {
        loop {
            let (number, key) = self.scope.key_from(net, self.number)?;
            self.number = number;
            if !self.cursor.is_on_list() {
                self.cursor.enter(net, &key, self.shard);
            }
            let found = self.cursor.find(past, |conn| {
                core::ptr::eq(conn.net(), net) && conn.is_confirmed() && key.matches(conn)
            });
            match found {
                Found::Object(conn) => return Some(conn),
                Found::More => {}
                Found::End => {
                    self.cursor.leave();
                    self.shard = self.shard.wrapping_add(1);
                    if self.shard >= self.cursor.lists().shards() {
                        self.shard = 0;
                        self.number = number.wrapping_add(1);
                    }
                }
            }
            work::cond_resched();
        }
    }
}

/// The greatest number of lists, and of objects on them, that [`lowest_of_some`] visits.
const MAX_LOOKS: u32 = 64;

/// Returns the entry of the lowest rank among some entries of a namespace, and perhaps of others:
/// the newest ones on the lists of some zones and shards, chosen at random. Of the shards those of
/// CPUs that are online: others have no entries as a rule, and may be many more than are looked at.
/// `rank` takes no lock; [`None`]: not this entry.
pub(in crate::ct) fn lowest_of_some<R: Ord>(
    net: &Net,
    rcu: Rcu<'_>,
    rank: impl Fn(&Conn) -> Option<R>,
) -> Option<(R, ARef<Conn>)> {
    let lists = LISTS.load(rcu)?;
    let state = net.state_in::<NetState>(rcu);
    let mut cpu = cpu::online_from(random::below(nr_cpu_ids()));
    let mut from = random::below(ZONE_CLASSES);
    let mut left = MAX_LOOKS;
    let mut lowest: Option<(R, ARef<Conn>)> = None;
    for _ in 0..MAX_LOOKS {
        let class = match state.next_class(from) {
            Some(class) => class,
            // All later zones are done in the shard of this CPU.
            None => {
                cpu = cpu::online_from(cpu.wrapping_add(1));
                0
            }
        };
        from = class.wrapping_add(1);
        let key = IndexKey::ZoneClass(class);
        let shard = lists.shard_of_cpu(cpu);
        let (found, passed) = lists.lowest_of_newest(net, &key, shard, left, &rank);
        if let Some(found) = found {
            if lowest.as_ref().is_none_or(|lowest| found.0 < lowest.0) {
                lowest = Some(found);
            }
        }
        left = left.saturating_sub(passed);
        if left == 0 {
            break;
        }
    }
    lowest
}

/// Calls `act` for every entry of a scope, and perhaps for others: see [`Scope`]. Without memory
/// for a cursor it goes through the whole table, so it does what it is to do all the same.
///
/// May sleep between entries, but not in `act`, which may take the entry out of the table.
pub(crate) fn for_each(net: &Net, scope: Scope, mut act: impl FnMut(&Conn)) {
    let Ok(mut walk) = ScopeWalk::new(scope) else {
        return walk::for_each(|conn| {
            if core::ptr::eq(conn.net(), net) {
                act(conn);
            }
        });
    };
    let mut now = walk.next(net, None);
    while let Some(conn) = now {
        act(&conn);
        now = walk.next(net, Some(&conn));
    }
}
