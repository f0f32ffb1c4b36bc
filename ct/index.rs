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
//! All lists are in some pieces, with a lock each, so that processors that make connections alike
//! do not wait for each other. Which one an entry is in is told by where it lies in memory, so it
//! takes one lock.

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

use crate::nf::{
    conn::{
        Conn,
        Dir, //
    },
    links::{
        Found,
        Link,
        Lists,
        Piece,
        Place, //
    },
    lock::BhDisabled,
    net::{
        self,
        Net, //
    },
    params,
    random,
    rcu::{
        Rcu,
        RcuArc,
        RcuGuard, //
    },
    work, //
};

use super::{
    entry,
    netns::NetState, //
};

static LISTS: RcuArc<Lists> = RcuArc::empty();

/// The secret of the hash.
static SEED: Atomic<u32> = Atomic::new(0);

/// Zones are told apart by their low bits: as many classes there are.
pub(super) const CLASSES: u32 = 4096;

/// How many lists there are for each link, and how many entries may come to one, roughly, when
/// the table is full.
const LEAST_LISTS: u32 = 8_192;
const MOST_LISTS: u32 = 131_072;
const ENTRIES_OF_A_LIST: u32 = 8;

/// The life of the lists.
pub(super) struct Owner(());

impl Owner {
    /// Makes the lists, for as many entries as there may be in a namespace. May sleep.
    pub(super) fn new() -> Result<Self> {
        SEED.store(random::below(u32::MAX), Relaxed);
        let shards = net::cpus().saturating_mul(2).clamp(2, 64);
        let wanted = params::max_entries().load(Relaxed) / ENTRIES_OF_A_LIST;
        let lists = Lists::new(wanted.clamp(LEAST_LISTS, MOST_LISTS), shards)?;
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

/// An address, as two words.
type Address = [u64; 2];

fn halves(address: [u8; 16]) -> Address {
    let [a, b, c, d, e, f, g, h, rest @ ..] = address;
    [
        u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
        u64::from_ne_bytes(rest),
    ]
}

/// Where an entry's packets come from and go to, each way.
#[derive(Clone, Copy)]
struct Ends {
    source: Address,
    destination: Address,
    /// Of the answers.
    reply_source: Address,
    reply_destination: Address,
}

impl Ends {
    #[inline]
    fn of(conn: &Conn) -> Self {
        let (original, reply) = (
            entry::tuple(conn, Dir::Original),
            entry::tuple(conn, Dir::Reply),
        );
        Self {
            source: halves(original.src),
            destination: halves(original.dst),
            reply_source: halves(reply.src),
            reply_destination: halves(reply.dst),
        }
    }

    /// What is translated: an entry is on the list of one of these, or on none.
    #[inline]
    fn translation(&self) -> Option<Key> {
        let source = self.reply_destination != self.source;
        let destination = self.reply_source != self.destination;
        match (source, destination) {
            (false, false) => None,
            (true, false) => Some(Key::ReplyDestination(self.reply_destination)),
            (false, true) => Some(Key::ReplySource(self.reply_source)),
            (true, true) => Some(Key::Twice),
        }
    }
}

/// What the entries of a list have in common beside the namespace.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Class(u32),
    Source(Address),
    Destination(Address),
    /// It alone is translated: the other end is not.
    ReplySource(Address),
    ReplyDestination(Address),
    /// Both ends are translated.
    Twice,
}

impl Key {
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
        match *self {
            Self::Class(class) => class_of(conn) == class,
            Self::Source(address) => Ends::of(conn).source == address,
            Self::Destination(address) => Ends::of(conn).destination == address,
            _ => Ends::of(conn).translation() == Some(*self),
        }
    }
}

/// What lists of a namespace are told apart by.
#[derive(Clone, Copy)]
struct Mixer {
    secret: u64,
    shards: u32,
}

impl Mixer {
    #[inline]
    fn of(net: &Net, lists: &Lists) -> Self {
        Self {
            secret: u64::from(SEED.load(Relaxed)) << 32 | u64::from(net.hash_mix()),
            shards: lists.shards(),
        }
    }

    /// The first of the pieces of a list, which lie side by side.
    #[inline]
    fn list(&self, key: &Key) -> u32 {
        let (kind, [a, b]) = match *key {
            Key::Class(class) => (0, [class.into(), 0]),
            Key::Source(address) => (1, address),
            Key::Destination(address) => (2, address),
            Key::ReplySource(address) => (3, address),
            Key::ReplyDestination(address) => (4, address),
            Key::Twice => (5, [0, 0]),
        };
        let secret = self.secret ^ kind << 32;
        // Odd numbers without a pattern: each bit of the key counts for each bit of the upper
        // half. Who knew the secret could make lists long, at the expense of who asks for them.
        let mixed = (a ^ secret)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(32)
            ^ b.wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
        let hash = mixed.wrapping_mul(0xd6e8_feb8_6659_fd93) >> 32;
        // CAST: 32 bits.
        (hash as u32).wrapping_mul(self.shards)
    }
}

/// The piece that an entry is in. Entries that one processor makes lie side by side.
#[inline]
fn shard_of(conn: &Conn, lists: &Lists) -> u32 {
    const PAGES: u32 = 14;
    // CAST: the low bits are well mixed there.
    let page = (conn.address() >> PAGES) as u32;
    page.wrapping_mul(0x9e37_79b1) >> 16 & lists.shards().wrapping_sub(1)
}

#[inline]
fn class_of(conn: &Conn) -> u32 {
    u32::from(entry::zone(conn).id) & (CLASSES - 1)
}

/// Calls `act` for each list that an entry is on, with the lock of its piece held.
#[inline]
fn for_lists(conn: &Conn, lists: &Lists, bh: &BhDisabled, act: impl Fn(&Piece<'_>, Link, u32)) {
    let (mixer, shard) = (Mixer::of(conn.net(), lists), shard_of(conn, lists));
    let class = Key::Class(class_of(conn));
    let ends = params::index_addresses().then(|| Ends::of(conn));
    lists.locked(shard, bh, |piece| {
        let on = |key: Key| act(piece, key.link(), mixer.list(&key).wrapping_add(shard));
        on(class);
        if let Some(ends) = ends {
            on(Key::Source(ends.source));
            on(Key::Destination(ends.destination));
            if let Some(key) = ends.translation() {
                on(key);
            }
        }
    });
}

/// Puts an entry on its lists, that is about to get into the table.
#[inline]
pub(super) fn join(conn: &Conn, bh: &BhDisabled, rcu: Rcu<'_>) {
    let Some(lists) = LISTS.load(rcu) else {
        return;
    };
    for_lists(conn, lists, bh, |piece, link, list| {
        piece.join(link, list, conn)
    });
    let class = class_of(conn);
    if class != 0 {
        conn.net().state::<NetState>().note_class(class);
    }
}

/// Takes an entry off its lists, that was just taken out of the table, and whose reference for
/// that is still there.
#[inline]
pub(super) fn leave(conn: &Conn, bh: &BhDisabled, rcu: Rcu<'_>) {
    if let Some(lists) = LISTS.load(rcu) {
        for_lists(conn, lists, bh, |piece, link, list| {
            piece.leave(link, list, conn)
        });
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
    fn part(&self, net: &Net, number: u32) -> Option<(u32, Key)> {
        let key = match (*self, number) {
            (Self::Namespace, _) => {
                let class = net.state::<NetState>().class_from(number)?;
                return Some((class, Key::Class(class)));
            }
            (Self::Zone(id), 0) => Key::Class(u32::from(id) & (CLASSES - 1)),
            (Self::Source(address), 0) => Key::Source(halves(address)),
            (Self::Destination(address), 0) => Key::Destination(halves(address)),
            // What is not translated answers from where the first packet went.
            (Self::ReplySource(address), 0) => Key::Destination(halves(address)),
            (Self::ReplySource(address), 1) => Key::ReplySource(halves(address)),
            (Self::ReplyDestination(address), 0) => Key::Source(halves(address)),
            (Self::ReplyDestination(address), 1) => Key::ReplyDestination(halves(address)),
            (Self::ReplySource(_) | Self::ReplyDestination(_), 2) => Key::Twice,
            _ => return None,
        };
        Some((number, key))
    }
}

/// A walk over a namespace's entries: over each that is looked for and there all the time, and
/// over none twice.
#[derive(Clone, Copy)]
pub(super) struct Walk {
    scope: Scope,
    /// Which part of the scope the walk is in, and which piece of its list.
    part: u32,
    shard: u32,
}

/// A place for a [`Walk`]. `ENOENT`: the tracker is not there. `ENOMEM`: no memory.
pub(super) fn place() -> Result<Place> {
    Place::new(LISTS.hold(RcuGuard::new().token()).ok_or(ENOENT)?)
}

impl Walk {
    /// At the beginning.
    pub(super) fn new(scope: Scope) -> Self {
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
    /// if it is at that. `place` is the walk's own. May sleep.
    pub(super) fn next(
        &mut self,
        place: &mut Place,
        net: &Net,
        past: Option<&Conn>,
    ) -> Option<ARef<Conn>> {
        loop {
            let (part, key) = self.scope.part(net, self.part)?;
            self.part = part;
            if !place.is_on_list() {
                let list = Mixer::of(net, place.lists()).list(&key);
                place.enter(key.link(), list.wrapping_add(self.shard));
            }
            let found = place.find(past, |conn| {
                core::ptr::eq(conn.net(), net) && conn.is_confirmed() && key.has(conn)
            });
            match found {
                Found::Entry(conn) => return Some(conn),
                Found::More => {}
                Found::End => {
                    place.quit();
                    self.shard = self.shard.wrapping_add(1);
                    if self.shard >= place.lists().shards() {
                        self.shard = 0;
                        self.part = part.wrapping_add(1);
                    }
                }
            }
            work::yield_if_needed();
        }
    }
}

/// Calls `act` for every entry of `net` that is looked for, and maybe for others: see [`Scope`].
/// May sleep between entries, but not in `act`, which may take the entry out of the table.
pub(crate) fn for_each(net: &Net, scope: Scope, mut act: impl FnMut(&Conn)) {
    let Ok(mut place) = place() else {
        return;
    };
    let mut walk = Walk::new(scope);
    let mut now = walk.next(&mut place, net, None);
    while let Some(conn) = now {
        act(&conn);
        now = walk.next(&mut place, net, Some(&conn));
    }
}
