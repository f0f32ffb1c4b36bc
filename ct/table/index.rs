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

static LISTS: RcuArc<Lists> = RcuArc::empty();

/// The secret of the hash: odd numbers.
static FACTORS: [Atomic<u64>; 3] = [const { Atomic::new(1) }; 3];

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
        for factor in &FACTORS {
            let (high, low) = (random::below(u32::MAX), random::below(u32::MAX));
            factor.store(u64::from(high) << 32 | u64::from(low) | 1, Relaxed);
        }
        let shards = nr_cpu_ids().min(MOST_PIECES);
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

/// Where an entry's packets come from and go to, in one direction.
#[inline]
fn ends(conn: &Conn, dir: Direction) -> [Address; 2] {
    let tuple = conn.tuple(dir);
    [halves(tuple.src), halves(tuple.dst)]
}

/// What is translated: an entry is on the list of one of these, or on none.
#[inline]
fn translation(conn: &Conn) -> Option<Key> {
    if conn.has(StatusBit::Mirrored) {
        return None;
    }
    let [source, destination] = ends(conn, Direction::Original);
    let [reply_source, reply_destination] = ends(conn, Direction::Reply);
    match (reply_destination != source, reply_source != destination) {
        (false, false) => None,
        (true, false) => Some(Key::ReplyDestination(reply_destination)),
        (false, true) => Some(Key::ReplySource(reply_source)),
        (true, true) => Some(Key::Twice),
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
        let ends = || ends(conn, Direction::Original);
        match *self {
            Self::Class(class) => class_of(conn) == class,
            Self::Source(address) => matches!(ends(), [source, _] if source == address),
            Self::Destination(address) => matches!(ends(), [_, end] if end == address),
            _ => translation(conn) == Some(*self),
        }
    }
}

/// How the lists of a namespace are found: by a sum of products with secret numbers. Who knew them
/// could make lists long, at the expense of who asks for them.
#[derive(Clone, Copy)]
struct Mixer {
    first: u64,
    second: u64,
    net: u64,
}

impl Mixer {
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
    fn hash(&self, key: &Key) -> u64 {
        // Links have lists of their own, so only what shares a link is told apart by a number.
        match *key {
            Key::Class(class) => self.mix(0, [class.into(), 0]),
            Key::Source(address) | Key::Destination(address) => self.mix(0, address),
            Key::ReplySource(address) => self.mix(1 << 63, address),
            Key::ReplyDestination(address) => self.mix(0, address),
            Key::Twice => self.mix(1 << 62, [0, 0]),
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
    let mixer = Mixer::of(conn.net());
    let on = |key: Key| lists.number(mixer.hash(&key), shard);
    let zone = on(Key::Class(class_of(conn)));
    if !params::index_addresses() {
        return Memberships {
            zone,
            ends: None,
            translated: None,
        };
    }
    let [source, destination] = ends(conn, Direction::Original);
    Memberships {
        zone,
        ends: Some([on(Key::Source(source)), on(Key::Destination(destination))]),
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
        conn.net().state_in::<NetState>(rcu).note_class(class);
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
    fn part(&self, net: &Net, number: u32) -> Option<(u32, Key)> {
        let key = match (*self, number) {
            (Self::Namespace, _) => {
                let class = net.state::<NetState>().class_from(number)?;
                return Some((class, Key::Class(class)));
            }
            (Self::Zone(id), 0) => Key::Class(u32::from(id) & (ZONE_CLASSES - 1)),
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
pub(in crate::ct) struct Walk {
    scope: Scope,
    /// Which part of the scope the walk is in, and which piece of its list.
    part: u32,
    shard: u32,
}

/// A place for a [`Walk`]. `ENOENT`: the tracker is not there. `ENOMEM`: no memory.
pub(in crate::ct) fn place() -> Result<Place> {
    Place::new(LISTS.hold(RcuGuard::new().token()).ok_or(ENOENT)?)
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
    /// if it is at that. `place` is the walk's own. May sleep.
    pub(in crate::ct) fn next(
        &mut self,
        place: &mut Place,
        net: &Net,
        past: Option<&Conn>,
    ) -> Option<ARef<Conn>> {
        loop {
            let (part, key) = self.scope.part(net, self.part)?;
            self.part = part;
            if !place.is_on_list() {
                let number = place.lists().number(Mixer::of(net).hash(&key), self.shard);
                place.enter(key.link(), number, self.shard);
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
            work::cond_resched();
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
