// SPDX-License-Identifier: GPL-2.0

//! The index: entries by namespace and zone, and by address, so that a request for some of them
//! does not walk the whole table.
//!
//! Every entry in the table is on up to four lists:
//!
//! - that of its namespace and its class of zones (ids that are equal modulo [`ZONE_CLASSES`]);
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
//! An entry joins its lists before it gets into the table ([`join`]) and leaves them after it was
//! taken out ([`leave`]). So for a moment the lists may have more entries than the table, but never
//! fewer.
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
            params,
            random,
            rcu::RcuArc,
            work, //
        },
        prelude::*, //
    },
};

/// The lists. Owned by [`IndexLists`].
static LISTS: RcuArc<Lists> = RcuArc::empty();

/// The hash seed: three odd random numbers.
static FACTORS: [Atomic<u64>; 3] = [const { Atomic::new(1) }; 3];

/// The smallest number of lists for each link of an entry.
const MIN_LISTS: u32 = 8_192;
/// The greatest number of lists for each link of an entry.
const MAX_LISTS: u32 = 131_072;
/// The mean length of a list when the table is full.
const ENTRIES_PER_LIST: u32 = 8;

/// The greatest number of shards: a walk looks at one list in each of them.
const MAX_SHARDS: u32 = 256;

/// Owner of the lists: [`LISTS`] is set as long as this exists.
pub(in crate::ct) struct IndexLists {
    /// Where the lists are published.
    lists: &'static RcuArc<Lists>,
}

impl IndexLists {
    /// Creates the lists, for `nf_conntrack_max` entries. May sleep.
    ///
    /// `ENOMEM`: no memory.
    pub(in crate::ct) fn new() -> Result<Self> {
        for factor in &FACTORS {
            let (high, low) = (random::below(u32::MAX), random::below(u32::MAX));
            factor.store(u64::from(high) << 32 | u64::from(low) | 1, Relaxed);
        }
        let shards = nr_cpu_ids().min(MAX_SHARDS);
        let wanted = params::max_entries().load(Relaxed) / ENTRIES_PER_LIST;
        let lists = Lists::new(wanted.clamp(MIN_LISTS, MAX_LISTS), shards)?;
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

/// An address, as two words.
type Address = [u64; 2];

/// Returns the two words of an address.
fn address_words(address: [u8; 16]) -> Address {
    let [a, b, c, d, e, f, g, h, rest @ ..] = address;
    [
        u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
        u64::from_ne_bytes(rest),
    ]
}

/// Returns source and destination of an entry's packets in one direction.
#[inline]
fn addresses(conn: &Conn, dir: Direction) -> [Address; 2] {
    let tuple = conn.tuple(dir);
    [address_words(tuple.src), address_words(tuple.dst)]
}

/// Returns the list for a translated entry; [`None`] for an entry that is not translated.
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

/// What the entries of a list have in common, besides the namespace.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ListKey {
    /// The class of zones.
    Class(u32),
    /// The source address of the original direction.
    Source(Address),
    /// The destination address of the original direction.
    Destination(Address),
    /// The source address of the reply direction, which alone is translated.
    ReplySource(Address),
    /// The destination address of the reply direction, which alone is translated.
    ReplyDestination(Address),
    /// Both addresses are translated.
    Twice,
}

impl ListKey {
    /// Returns the link of an entry that lists of this kind use.
    fn link(&self) -> Link {
        match self {
            Self::Class(_) => Link::Zone,
            Self::Source(_) => Link::Source,
            Self::Destination(_) => Link::Destination,
            Self::ReplySource(_) | Self::ReplyDestination(_) | Self::Twice => Link::Translated,
        }
    }

    /// Returns whether an entry of the namespace belongs on the list.
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

/// The hash of a list's key: a sum of products with random factors. An attacker that knew the
/// factors could make lists long, at the expense of requests that walk them.
#[derive(Clone, Copy)]
struct ListHasher {
    /// The factor of the first word.
    first: u64,
    /// The factor of the second word.
    second: u64,
    /// The product for the namespace.
    net: u64,
}

impl ListHasher {
    /// Returns the hash for a namespace.
    #[inline]
    fn of(net: &Net) -> Self {
        Self {
            first: FACTORS[0].load(Relaxed),
            second: FACTORS[1].load(Relaxed),
            net: FACTORS[2].load(Relaxed).wrapping_mul(net.hash_mix().into()),
        }
    }

    /// Returns a hash; its high bits depend on all inputs.
    #[inline]
    fn mix(&self, kind: u64, [a, b]: Address) -> u64 {
        let a = (a ^ kind).wrapping_mul(self.first);
        a.wrapping_add(b.wrapping_mul(self.second))
            .wrapping_add(self.net)
    }

    /// Returns the hash of a key.
    #[inline]
    fn hash(&self, key: &ListKey) -> u64 {
        // Each link has lists of its own, so only keys that share a link need a number that tells
        // them apart.
        match *key {
            ListKey::Class(class) => self.mix(0, [class.into(), 0]),
            ListKey::Source(address) | ListKey::Destination(address) => self.mix(0, address),
            ListKey::ReplySource(address) => self.mix(1 << 63, address),
            ListKey::ReplyDestination(address) => self.mix(0, address),
            ListKey::Twice => self.mix(1 << 62, [0, 0]),
        }
    }
}

/// Returns the class of an entry's zone.
#[inline]
fn class_of(conn: &Conn) -> u32 {
    u32::from(conn.zone().id) & (ZONE_CLASSES - 1)
}

/// Returns the lists of an entry, in a shard.
#[inline(always)]
fn memberships(conn: &Conn, lists: &Lists, shard: u32) -> Memberships {
    let hasher = ListHasher::of(conn.net());
    let on = |key: ListKey| lists.number(hasher.hash(&key), shard);
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

/// Links an entry into its lists. The caller inserts it into the table afterwards.
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

/// Unlinks an entry from its lists. The caller has just taken it out of the table, and still has
/// the table's reference.
#[inline]
pub(in crate::ct) fn leave(conn: &Conn, bh: &BhDisabled, rcu: Rcu<'_>) {
    if let Some(lists) = LISTS.load(rcu) {
        let shard = lists.shard_of(conn);
        lists.leave(conn, shard, &memberships(conn, lists, shard), bh);
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
    fn key_from(&self, net: &Net, number: u32) -> Option<(u32, ListKey)> {
        let key = match (*self, number) {
            (Self::Namespace, _) => {
                let class = net.state::<NetState>().next_class(number)?;
                return Some((class, ListKey::Class(class)));
            }
            (Self::Zone(id), 0) => ListKey::Class(u32::from(id) & (ZONE_CLASSES - 1)),
            (Self::Source(address), 0) => ListKey::Source(address_words(address)),
            (Self::Destination(address), 0) => ListKey::Destination(address_words(address)),
            // An untranslated entry has the original destination as the source of replies.
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

/// A walk over entries of a namespace. It finds every entry of its scope that is there the whole
/// time, and no entry twice.
#[derive(Clone, Copy)]
pub(in crate::ct) struct ScopeWalk {
    /// The entries that are looked for.
    scope: Scope,
    /// The number of the scope's list at which the walk is.
    number: u32,
    /// The shard of that list.
    shard: u32,
}

/// Creates a cursor for a [`ScopeWalk`].
///
/// `ENOENT`: there is no tracker. `ENOMEM`: no memory.
pub(in crate::ct) fn cursor() -> Result<Place> {
    Place::new(LISTS.hold(RcuGuard::new().token()).ok_or(ENOENT)?)
}

impl ScopeWalk {
    /// Creates a walk at the start of a scope. Where addresses are not indexed, it is over the
    /// whole namespace.
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

    /// Returns the entry at which the walk is, or the next one if that is gone; or the one after
    /// `past`, if the walk is at that. May sleep.
    ///
    /// `cursor` belongs to this walk, and is the same in each call.
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

/// Calls `act` for every entry of a scope, and perhaps for others: see [`Scope`].
///
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
