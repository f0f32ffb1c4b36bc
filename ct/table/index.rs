// SPDX-License-Identifier: GPL-2.0

//! Entries by namespace, zone and address, so that who asks for some does not go through all.
//!
//! Every entry in the table is on a list of those with its namespace and zone; on one of those
//! with its source, one of those with its destination; and, if it is translated, on one more:
//! of those with the address that took the place of the destination (answers come from there),
//! or of the source (answers go there). An entry for which both were translated is on a list of
//! such entries of its namespace.
//!
//! It joins them right before it gets into the table, and leaves right after, so they may have
//! more than the table for a moment, never less. What such a list gives is looked at again:
//! lists are shared by what has the same hash.
//!
//! All lists are in pieces, with a lock each, and an entry is in that of the processor that made it.
//! So processors that make connections alike do not wait for each other; who takes connections of
//! others out of the table may.

use kernel::{
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
                IndexKey, //
            },
            index_lists::{
                Found,
                ListCursor,
                ShardedLists, //
            },
            pair::{
                LockedPair,
                Removed, //
            }, //
        },
        kernel::{
            net,
            params,
            rcu::RcuArc,
            work, //
        },
        prelude::*, //
    },
};

static LISTS: RcuArc<ShardedLists> = RcuArc::empty();

/// How many lists there are for each link, and how many entries may come to one, roughly, when
/// the table is full.
const LEAST_LISTS: u32 = 8_192;
const MOST_LISTS: u32 = 131_072;
const ENTRIES_OF_A_LIST: u32 = 8;

/// As many pieces there are at most: who asks for some connections looks at a list of each.
const MOST_PIECES: u32 = 256;

/// The life of the lists.
pub(in crate::ct) struct Owner(());

impl Owner {
    /// Makes the lists, for as many entries as there may be in a namespace. May sleep.
    pub(in crate::ct) fn new() -> Result<Self> {
        let shards = net::cpus().min(MOST_PIECES);
        let wanted = params::max_entries().load(Relaxed) / ENTRIES_OF_A_LIST;
        let lists = ShardedLists::new(wanted.clamp(LEAST_LISTS, MOST_LISTS), shards)?;
        drop(LISTS.replace(Some(Arc::new(lists, GFP_KERNEL)?)));
        Ok(Self(()))
    }
}

impl Drop for Owner {
    /// Every entry has left them by now.
    fn drop(&mut self) {
        drop(LISTS.replace(None));
    }
}

/// Puts an entry into its buckets and on its lists, and confirms it; the reference becomes the
/// table's.
///
/// Errors as for [`LockedPair::insert`].
#[inline(always)]
pub(in crate::ct) fn insert(
    pair: &mut LockedPair<'_>,
    conn: ARef<Conn>,
    rcu: Rcu<'_>,
) -> Result<(), ARef<Conn>> {
    let Some(lists) = LISTS.load(rcu) else {
        return Err(conn);
    };
    note_class(&conn, rcu);
    pair.insert(conn, lists)
}

/// As [`insert`], by the reply tuple alone.
pub(in crate::ct) fn insert_reply_only(
    pair: &mut LockedPair<'_>,
    conn: ARef<Conn>,
    rcu: Rcu<'_>,
) -> Result<(), ARef<Conn>> {
    let Some(lists) = LISTS.load(rcu) else {
        return Err(conn);
    };
    note_class(&conn, rcu);
    pair.insert_reply_only(conn, lists)
}

/// Takes an entry out of its buckets and off its lists. [`None`]: it was not there.
#[inline]
pub(in crate::ct) fn remove(pair: LockedPair<'_>, conn: &Conn, rcu: Rcu<'_>) -> Option<Removed> {
    pair.remove(conn, LISTS.load(rcu)?)
}

/// Notes that the namespace has an entry in this one's class of zones, before a walk can miss it.
#[inline]
fn note_class(conn: &Conn, rcu: Rcu<'_>) {
    let class = zone_class(conn.zone().id);
    if class != 0 {
        conn.net().state_in::<NetState>(rcu).note_class(class);
    }
}

/// Which of a namespace's entries are looked for; more than these may be found.
#[derive(Clone, Copy)]
pub(crate) enum Scope {
    /// All.
    Namespace,
    /// Those of a zone.
    Zone(u16),
    /// Those with an address.
    Source([u8; 16]),
    Destination([u8; 16]),
    ReplySource([u8; 16]),
    ReplyDestination([u8; 16]),
}

impl Scope {
    /// Its part with this number, or the next one, and the number of that. No entry that is
    /// looked for belongs to two of them.
    fn part(&self, net: &Net, number: u32) -> Option<(u32, IndexKey)> {
        let key = match (*self, number) {
            (Self::Namespace, _) => {
                let class = net.state::<NetState>().class_from(number)?;
                return Some((class, IndexKey::ZoneClass(class)));
            }
            (Self::Zone(id), 0) => IndexKey::ZoneClass(zone_class(id)),
            (Self::Source(address), 0) => IndexKey::Source(address_words(address)),
            (Self::Destination(address), 0) => IndexKey::Destination(address_words(address)),
            // What is not translated answers from where the first packet went.
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

/// A walk over a namespace's entries: over each that is looked for and there all the time, and
/// over none twice.
#[derive(Clone, Copy)]
pub(in crate::ct) struct Walk {
    scope: Scope,
    /// Which part of the scope the walk is in, and which piece of its list.
    part: u32,
    shard: u32,
}

/// Makes a cursor for a [`Walk`]. `ENOENT`: the tracker is not there. `ENOMEM`: no memory.
pub(in crate::ct) fn cursor() -> Result<ListCursor> {
    ListCursor::new(LISTS.hold(RcuGuard::new().token()).ok_or(ENOENT)?)
}

impl Walk {
    /// At the beginning.
    pub(in crate::ct) fn new(scope: Scope) -> Self {
        Self {
            scope: match scope {
                Scope::Zone(_) => scope,
                _ if params::index_addresses() => scope,
                _ => Scope::Namespace,
            },
            part: 0,
            shard: 0,
        }
    }

    /// The entry that the walk is at, or the next one if that is gone; or the one behind `past`,
    /// if it is at that. `cursor` is the walk's own. May sleep.
    pub(in crate::ct) fn next(
        &mut self,
        cursor: &mut ListCursor,
        net: &Net,
        past: Option<&Conn>,
    ) -> Option<ARef<Conn>> {
        loop {
            let (part, key) = self.scope.part(net, self.part)?;
            self.part = part;
            if !cursor.is_on_list() {
                cursor.enter(net, &key, self.shard);
            }
            let found = cursor.find(past, |conn| {
                core::ptr::eq(conn.net(), net) && conn.is_confirmed() && key.matches(conn)
            });
            match found {
                Found::Object(conn) => return Some(conn),
                Found::More => {}
                Found::End => {
                    cursor.leave();
                    self.shard = self.shard.wrapping_add(1);
                    if self.shard >= cursor.lists().shards() {
                        self.shard = 0;
                        self.part = part.wrapping_add(1);
                    }
                }
            }
            work::cond_resched();
        }
    }
}

/// Calls `act` for every entry of `net` that is looked for, and maybe for others: see [`Scope`].
/// May sleep between entries, but not in `act`, which may take the entry out of the table.
pub(crate) fn for_each(net: &Net, scope: Scope, mut act: impl FnMut(&Conn)) {
    let Ok(mut cursor) = cursor() else {
        return;
    };
    let mut walk = Walk::new(scope);
    let mut now = walk.next(&mut cursor, net, None);
    while let Some(conn) = now {
        act(&conn);
        now = walk.next(&mut cursor, net, Some(&conn));
    }
}
