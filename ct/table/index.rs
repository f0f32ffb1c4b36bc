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
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
};

use crate::{
    ct::netns::{
        NetState,
        ZONE_CLASSES, //
    },
    nf::{
        entry::{
            index_lists::{
                Found,
                Lists,
                Memberships,
                Place, //
            },
            object::Link, //
        },
        kernel::{
            net,
            params,
            random,
            rcu::RcuArc,
            work, //
        },
        prelude::*, //
    },
};

static LISTS: RcuArc<Lists> = RcuArc::empty();

/// The secret of the hash: odd numbers.
static FACTORS: [Atomic<u64>; 3] = [const { Atomic::new(1) }; 3];

/// How many lists there are for each link, and how many entries may come to one, roughly, when
/// the table is full.
const MIN_LISTS: u32 = 8_192;
const MAX_LISTS: u32 = 131_072;
const ENTRIES_PER_LIST: u32 = 8;

/// As many pieces there are at most: who asks for some connections looks at a list of each.
const MAX_SHARDS: u32 = 256;

/// The life of the lists.
pub(in crate::ct) struct IndexLists(());

impl IndexLists {
    /// Makes the lists, for as many entries as there may be in a namespace. May sleep.
    pub(in crate::ct) fn new() -> Result<Self> {
        for factor in &FACTORS {
            let (high, low) = (random::below(u32::MAX), random::below(u32::MAX));
            factor.store(u64::from(high) << 32 | u64::from(low) | 1, Relaxed);
        }
        let shards = net::cpus().min(MAX_SHARDS);
        let wanted = params::max_entries().load(Relaxed) / ENTRIES_PER_LIST;
        let lists = Lists::new(wanted.clamp(MIN_LISTS, MAX_LISTS), shards)?;
        drop(LISTS.replace(Some(Arc::new(lists, GFP_KERNEL)?)));
        Ok(Self(()))
    }
}

impl Drop for IndexLists {
    /// Every entry has left them by now.
    fn drop(&mut self) {
        drop(LISTS.replace(None));
    }
}

/// An address, as two words.
type Address = [u64; 2];

fn address_words(address: [u8; 16]) -> Address {
    let [a, b, c, d, e, f, g, h, rest @ ..] = address;
    [
        u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
        u64::from_ne_bytes(rest),
    ]
}

/// Where an entry's packets come from and go to, in one direction.
#[inline]
fn addresses(conn: &Conn, dir: Direction) -> [Address; 2] {
    let tuple = conn.tuple(dir);
    [address_words(tuple.src), address_words(tuple.dst)]
}

/// What is translated: an entry is on the list of one of these, or on none.
#[inline]
fn translation(conn: &Conn) -> Option<ListKey> {
    if conn.has(StatusBit::Mirrored) {
        return None;
    }
    let [source, destination] = addresses(conn, Direction::Original);
    let [reply_source, reply_destination] = addresses(conn, Direction::Reply);
    match (reply_destination != source, reply_source != destination) {
        (false, false) => None,
        (true, false) => Some(ListKey::ReplyDestination(reply_destination)),
        (false, true) => Some(ListKey::ReplySource(reply_source)),
        (true, true) => Some(ListKey::Twice),
    }
}

/// What the entries of a list have in common beside the namespace.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ListKey {
    Class(u32),
    Source(Address),
    Destination(Address),
    /// It alone is translated: the other end is not.
    ReplySource(Address),
    ReplyDestination(Address),
    /// Both ends are translated.
    Twice,
}

impl ListKey {
    fn link(&self) -> Link {
        match self {
            Self::Class(_) => Link::Zone,
            Self::Source(_) => Link::Source,
            Self::Destination(_) => Link::Destination,
            Self::ReplySource(_) | Self::ReplyDestination(_) | Self::Twice => Link::Translated,
        }
    }

    /// Whether an entry of the namespace belongs to it.
    fn has(&self, conn: &Conn) -> bool {
        let addresses = || addresses(conn, Direction::Original);
        match *self {
            Self::Class(class) => class_of(conn) == class,
            Self::Source(address) => matches!(addresses(), [source, _] if source == address),
            Self::Destination(address) => matches!(addresses(), [_, end] if end == address),
            _ => translation(conn) == Some(*self),
        }
    }
}

/// How the lists of a namespace are found: by a sum of products with secret numbers. Who knew them
/// could make lists long, at the expense of who asks for them.
#[derive(Clone, Copy)]
struct ListHasher {
    first: u64,
    second: u64,
    net: u64,
}

impl ListHasher {
    #[inline]
    fn of(net: &Net) -> Self {
        Self {
            first: FACTORS[0].load(Relaxed),
            second: FACTORS[1].load(Relaxed),
            net: FACTORS[2].load(Relaxed).wrapping_mul(net.hash_mix().into()),
        }
    }

    /// A hash whose high bits depend on all.
    #[inline]
    fn mix(&self, kind: u64, [a, b]: Address) -> u64 {
        let a = (a ^ kind).wrapping_mul(self.first);
        a.wrapping_add(b.wrapping_mul(self.second))
            .wrapping_add(self.net)
    }

    #[inline]
    fn hash(&self, key: &ListKey) -> u64 {
        // Links have lists of their own, so only what shares a link is told apart by a number.
        match *key {
            ListKey::Class(class) => self.mix(0, [class.into(), 0]),
            ListKey::Source(address) | ListKey::Destination(address) => self.mix(0, address),
            ListKey::ReplySource(address) => self.mix(1 << 63, address),
            ListKey::ReplyDestination(address) => self.mix(0, address),
            ListKey::Twice => self.mix(1 << 62, [0, 0]),
        }
    }
}

#[inline]
fn class_of(conn: &Conn) -> u32 {
    u32::from(conn.zone().id) & (ZONE_CLASSES - 1)
}

/// The lists that an entry is on, of a piece.
#[inline(always)]
fn memberships(conn: &Conn, lists: &Lists, shard: u32) -> Memberships {
    let mixer = ListHasher::of(conn.net());
    let on = |key: ListKey| lists.number(mixer.hash(&key), shard);
    let zone = on(ListKey::Class(class_of(conn)));
    if !params::index_addresses() {
        return Memberships {
            zone,
            ends: None,
            translated: None,
        };
    }
    let [source, destination] = addresses(conn, Direction::Original);
    Memberships {
        zone,
        ends: Some([
            on(ListKey::Source(source)),
            on(ListKey::Destination(destination)),
        ]),
        translated: translation(conn).map(on),
    }
}

/// Puts an entry on its lists, that is about to get into the table.
#[inline]
pub(in crate::ct) fn join(conn: &Conn, bh: &BhDisabled, rcu: Rcu<'_>) {
    let Some(lists) = LISTS.load(rcu) else {
        return;
    };
    let shard = lists.shard_of(conn);
    lists.join(conn, shard, &memberships(conn, lists, shard), bh);
    let class = class_of(conn);
    if class != 0 {
        conn.net().state_in::<NetState>(rcu).mark_class(class);
    }
}

/// Takes an entry off its lists, that was just taken out of the table, and whose reference for
/// that is still there.
#[inline]
pub(in crate::ct) fn leave(conn: &Conn, bh: &BhDisabled, rcu: Rcu<'_>) {
    if let Some(lists) = LISTS.load(rcu) {
        let shard = lists.shard_of(conn);
        lists.leave(conn, shard, &memberships(conn, lists, shard), bh);
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
    fn key_from(&self, net: &Net, number: u32) -> Option<(u32, ListKey)> {
        let key = match (*self, number) {
            (Self::Namespace, _) => {
                let class = net.state::<NetState>().next_class(number)?;
                return Some((class, ListKey::Class(class)));
            }
            (Self::Zone(id), 0) => ListKey::Class(u32::from(id) & (ZONE_CLASSES - 1)),
            (Self::Source(address), 0) => ListKey::Source(address_words(address)),
            (Self::Destination(address), 0) => ListKey::Destination(address_words(address)),
            // What is not translated answers from where the first packet went.
            (Self::ReplySource(address), 0) => ListKey::Destination(address_words(address)),
            (Self::ReplySource(address), 1) => ListKey::ReplySource(address_words(address)),
            (Self::ReplyDestination(address), 0) => ListKey::Source(address_words(address)),
            (Self::ReplyDestination(address), 1) => {
                ListKey::ReplyDestination(address_words(address))
            }
            (Self::ReplySource(_) | Self::ReplyDestination(_), 2) => ListKey::Twice,
            _ => return None,
        };
        Some((number, key))
    }
}

/// A walk over a namespace's entries: over each that is looked for and there all the time, and
/// over none twice.
#[derive(Clone, Copy)]
pub(in crate::ct) struct ScopeWalk {
    scope: Scope,
    /// Which part of the scope the walk is in, and which piece of its list.
    number: u32,
    shard: u32,
}

/// A place for a [`ScopeWalk`]. `ENOENT`: the tracker is not there. `ENOMEM`: no memory.
pub(in crate::ct) fn cursor() -> Result<Place> {
    Place::new(LISTS.hold(RcuGuard::new().token()).ok_or(ENOENT)?)
}

impl ScopeWalk {
    /// At the beginning.
    pub(in crate::ct) fn new(scope: Scope) -> Self {
        Self {
            scope: match scope {
                Scope::Zone(_) => scope,
                _ if params::index_addresses() => scope,
                _ => Scope::Namespace,
            },
            number: 0,
            shard: 0,
        }
    }

    /// The entry that the walk is at, or the next one if that is gone; or the one behind `past`,
    /// if it is at that. `place` is the walk's own. May sleep.
    pub(in crate::ct) fn next(
        &mut self,
        cursor: &mut Place,
        net: &Net,
        past: Option<&Conn>,
    ) -> Option<ARef<Conn>> {
        loop {
            let (number, key) = self.scope.key_from(net, self.number)?;
            self.number = number;
            if !cursor.is_on_list() {
                let number = cursor
                    .lists()
                    .number(ListHasher::of(net).hash(&key), self.shard);
                cursor.enter(key.link(), number, self.shard);
            }
            let found = cursor.find(past, |conn| {
                core::ptr::eq(conn.net(), net) && conn.is_confirmed() && key.has(conn)
            });
            match found {
                Found::Entry(conn) => return Some(conn),
                Found::More => {}
                Found::End => {
                    cursor.quit();
                    self.shard = self.shard.wrapping_add(1);
                    if self.shard >= cursor.lists().shards() {
                        self.shard = 0;
                        self.number = number.wrapping_add(1);
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
    let mut walk = ScopeWalk::new(scope);
    let mut now = walk.next(&mut cursor, net, None);
    while let Some(conn) = now {
        act(&conn);
        now = walk.next(&mut cursor, net, Some(&conn));
    }
}
