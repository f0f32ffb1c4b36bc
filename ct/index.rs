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
//! Each list is in some pieces ([`shards`]), so that processors that make connections alike do
//! not wait for each other. Which one an entry is on is told by where it lies in memory.

use core::pin::{
    pin,
    Pin, //
};

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

/// In how many pieces each list is: a power of two.
static SHARDS: Atomic<u32> = Atomic::new(1);

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
        SHARDS.store(shards.next_power_of_two(), Relaxed);
        let wanted = params::max_entries().load(Relaxed) / ENTRIES_OF_A_LIST;
        let lists = Lists::new(wanted.clamp(LEAST_LISTS, MOST_LISTS))?;
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

    /// The first of the pieces of its list.
    #[inline]
    fn list(&self, net: &Net) -> u32 {
        let (kind, [a, b]) = match *self {
            Self::Class(class) => (0, [class.into(), 0]),
            Self::Source(address) => (1, address),
            Self::Destination(address) => (2, address),
            Self::ReplySource(address) => (3, address),
            Self::ReplyDestination(address) => (4, address),
            Self::Twice => (5, [0, 0]),
        };
        let secret = u64::from(SEED.load(Relaxed) ^ kind) << 32 | u64::from(net.hash_mix());
        // Odd numbers without a pattern: each bit of the key counts for each bit of the upper
        // half. Who knew the secret could make lists long, at the expense of who asks for them.
        let mixed = (a ^ secret)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(32)
            ^ b.wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
        let hash = mixed.wrapping_mul(0xd6e8_feb8_6659_fd93) >> 32;
        // CAST: 32 bits. The pieces lie side by side.
        (hash as u32).wrapping_mul(shards())
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

#[inline]
fn shards() -> u32 {
    SHARDS.load(Relaxed)
}

/// The piece that an entry is on. Entries that one processor makes lie side by side.
#[inline]
fn shard_of(conn: &Conn) -> u32 {
    const PAGES: u32 = 14;
    // CAST: the low bits are well mixed there.
    let page = (conn.address() >> PAGES) as u32;
    page.wrapping_mul(0x9e37_79b1) >> 16 & shards().wrapping_sub(1)
}

#[inline]
fn class_of(conn: &Conn) -> u32 {
    u32::from(entry::zone(conn).id) & (CLASSES - 1)
}

/// Calls `act` for each list that an entry is on.
#[inline]
fn for_lists(conn: &Conn, mut act: impl FnMut(Link, u32)) {
    let (net, shard) = (conn.net(), shard_of(conn));
    let mut on = |key: Key| act(key.link(), key.list(net).wrapping_add(shard));
    on(Key::Class(class_of(conn)));
    if params::index_addresses() {
        let ends = Ends::of(conn);
        on(Key::Source(ends.source));
        on(Key::Destination(ends.destination));
        if let Some(key) = ends.translation() {
            on(key);
        }
    }
}

/// Puts an entry on its lists, that is about to get into the table.
#[inline]
pub(super) fn join(conn: &Conn, bh: &BhDisabled, rcu: Rcu<'_>) {
    let Some(lists) = LISTS.load(rcu) else {
        return;
    };
    for_lists(conn, |link, list| lists.join(link, list, conn, bh));
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
        for_lists(conn, |link, list| lists.leave(link, list, conn, bh));
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

/// A place for a [`Walk`]. `ENOENT`: the tracker is not there.
pub(super) fn place() -> Result<Place> {
    let lists = LISTS.hold(RcuGuard::new().token()).ok_or(ENOENT)?;
    Ok(Place::new(lists))
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
        mut place: Pin<&mut Place>,
        net: &Net,
        past: Option<&Conn>,
    ) -> Option<ARef<Conn>> {
        loop {
            let (part, key) = self.scope.part(net, self.part)?;
            self.part = part;
            if !place.is_on_list() {
                let list = key.list(net).wrapping_add(self.shard);
                place.as_mut().enter(key.link(), list);
            }
            let found = place.as_mut().find(past, |conn| {
                core::ptr::eq(conn.net(), net) && conn.is_confirmed() && key.has(conn)
            });
            match found {
                Found::Entry(conn) => return Some(conn),
                Found::More => {}
                Found::End => {
                    place.as_mut().quit();
                    self.shard = self.shard.wrapping_add(1);
                    if self.shard >= shards() {
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
    let Ok(place) = place() else {
        return;
    };
    let mut place = pin!(place);
    let mut walk = Walk::new(scope);
    let mut now = walk.next(place.as_mut(), net, None);
    while let Some(conn) = now {
        act(&conn);
        now = walk.next(place.as_mut(), net, Some(&conn));
    }
}
