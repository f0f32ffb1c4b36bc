// SPDX-License-Identifier: GPL-2.0

//! Expectations: announcements of connections by helpers.
//!
//! A helper reads in a control connection where a data connection will come from, and adds an
//! expectation ([`add`]). The packet that begins the data connection creates an entry as any other
//! does, and the entry is matched against the expectations ([`match_new`]): it becomes RELATED, has
//! the control connection as its master, and may get a helper of its own. The expectation is used
//! up by that, unless it is permanent.
//!
//! There are no timers. An expired or withdrawn expectation is removed by the next search of its
//! bucket, by the next expectation of its master, or by the collector ([`reap`]). Those of a master
//! that ends are removed with it ([`remove_all`]).
//!
//! # Locks
//!
//! All changes are made under the one lock of expectations ([`ExpectGuard`]), a leaf. The numbers
//! of expectations of a master and of a namespace are exact under it. Packets read only the number,
//! without the lock, as long as it is zero.
//!
//! # Examples
//!
//! A new entry is matched in three steps, and the last one must be without the lock:
//!
//! ```ignore
//! // 1. While there is one owner: the master and the helper are extensions.
//! let matched = expect::match_new(&mut fresh, net, zone, key, keep, rcu);
//! let conn = match matched {
//!     // 2. The entry is shared. 3. The helper's function may set up NAT, and add or remove
//!     // expectations.
//!     Some(matched) => matched.run_expectfn(fresh),
//!     None => fresh.publish(),
//! };
//! ```

use kernel::{
    prelude::*,
    sync::{
        aref::ARef,
        atomic::Relaxed,
        SetOnce, //
    },
};

use crate::{
    ct::{
        entry,
        netns::NetState,
        table::resize, //
    },
    nf::{
        entry::{
            conn::Entry,
            fresh::Fresh,
            help::Help,
            index_keys::address_words,
            stale::Get, //
        },
        expect::{
            expectation::{
                ExpectEvent,
                ExpectFlag,
                Expectation, //
            },
            linked::{
                Linked,
                Seen, //
            },
            lock::{
                ExpectGuard,
                Locked, //
            },
            table::{
                self,
                ExpectTable, //
            },
        },
        kernel::{
            net::Stat,
            nfnetlink::Requester,
            params,
            refcount::{
                Counted,
                RcuCounted, //
            },
            siphash::SipKey, //
        },
        prelude::*, //
    },
    proto::{
        expect::Pattern,
        hash::reciprocal_scale,
        types::tuple::Key, //
    },
};

pub(crate) mod add;

/// The key of the hash. Listings are in the order of buckets, so it is siphash, as in the C
/// tracker.
static KEY: SetOnce<SipKey> = SetOnce::new();

/// Creates the table, with the size of the parameter `expect_hashsize` or one by the size of the
/// connection table, and sets `nf_conntrack_expect_max` by it. May sleep.
///
/// `ENOMEM`: no memory.
pub(super) fn create_table() -> Result<ExpectTable> {
    let buckets = match table::buckets() {
        0 => (resize::buckets() / 256).max(1),
        wanted => wanted,
    };
    KEY.populate(SipKey::random());
    let table = ExpectTable::create(buckets)?;
    params::max_expectations().store(buckets.saturating_mul(4), Relaxed);
    Ok(table)
}

/// Returns the bucket of expectations for the destination of `tuple`. The source is not hashed,
/// because it may be unknown.
fn bucket(net: &Net, tuple: &Tuple) -> u32 {
    let [high, low] = address_words(tuple.dst);
    let ([k0, k1], [family, _]) = (tuple.dst_key, tuple.l3num.to_le_bytes());
    let place = u32::from_ne_bytes([k0, k1, tuple.protonum, family]);
    let place = u64::from(net.hash_mix()) << 32 | u64::from(place);
    let hash = KEY.as_ref().map_or(0, |key| key.hash(&[high, low, place]));
    // CAST: the low half.
    reciprocal_scale(hash as u32, table::buckets())
}

/// Returns which tuples an expectation matches.
#[inline]
fn pattern(expectation: &Expectation) -> Pattern {
    Pattern {
        tuple: expectation.tuple(),
        mask: expectation.mask(),
        zone_id: expectation.zone().id,
    }
}

/// Finds an expectation of `tuple`, without the lock. Returns what `take` makes of it.
pub(super) fn find<R>(
    net: &Net,
    zone: Zone,
    tuple: &Tuple,
    rcu: Rcu<'_>,
    take: impl FnOnce(&Seen<'_>) -> R,
) -> Option<R> {
    if net.state::<NetState>().expectations.load(Relaxed) == 0 {
        return None;
    }
    table::walk(bucket(net, tuple), rcu)
        .find(|seen| !seen.is_expired() && seen.is_in(net) && pattern(seen).matches(tuple, zone.id))
        .map(|seen| take(&seen))
}

/// Removes an expectation, and notifies listeners. Does nothing if it has been removed before.
pub(super) fn remove(linked: &Linked<'_>, by: Requester, locked: Locked<'_>) {
    let Some(expectation) = linked.unlink() else {
        return;
    };
    let net = linked.net();
    net.state::<NetState>().expectations.fetch_sub(1, Relaxed);
    if let Some(help) = linked.help() {
        let class = linked.class();
        let fewer = help.expecting(class, locked).saturating_sub(1);
        help.set_expecting(class, fewer, locked);
    }
    linked.notify(ExpectEvent::Destroy, by);
    drop(expectation);
    net.count_one(Stat::ExpectDelete);
}

/// Removes an expectation if it has expired. Returns whether it had.
fn remove_expired(linked: &Linked<'_>, locked: Locked<'_>) -> bool {
    let expired = linked.is_expired();
    if expired {
        remove(linked, Requester::default(), locked);
    }
    expired
}

/// An expectation that a new entry matched. Its function is yet to be called.
pub(super) struct Matched<'r> {
    seen: Seen<'r>,
    _reference: ARef<Counted<Expectation>>,
}

impl Matched<'_> {
    /// Shares the entry, which is ready for NAT, and calls the function of the expectation
    /// (`expectfn`). Without the lock: the function may add or remove expectations.
    pub(super) fn run_expectfn(self, fresh: Fresh) -> ARef<Conn> {
        self.seen.run_expectfn(fresh)
    }
}

/// Matches a new entry for the tuple `key` against the expectations. If one matches, the entry
/// becomes related to its master, and the expectation is used up, unless `keep` is set or it is
/// permanent.
#[inline]
pub(super) fn match_new<'r>(
    fresh: &mut Fresh,
    net: &Net,
    zone: Zone,
    key: &Key,
    keep: bool,
    rcu: Rcu<'r>,
) -> Option<Matched<'r>> {
    if net.state_in::<NetState>(rcu).expectations.load(Relaxed) == 0 {
        return None;
    }
    match_new_locked(fresh, net, zone, &key.tuple(), keep, rcu)
}

/// Does the work of [`match_new`] under the lock, if the namespace has expectations.
#[inline(never)]
fn match_new_locked<'r>(
    fresh: &mut Fresh,
    net: &Net,
    zone: Zone,
    tuple: &Tuple,
    keep: bool,
    rcu: Rcu<'r>,
) -> Option<Matched<'r>> {
    // Dropped last, without the lock: it may be the last reference, and freeing takes the lock.
    let _refused;
    let guard = ExpectGuard::new();
    let locked = guard.locked();
    let linked = table::walk_locked(bucket(net, tuple), locked).find(|linked| {
        !remove_expired(linked, locked)
            && !linked.flags().has(ExpectFlag::Inactive)
            && linked.is_in(net)
            && pattern(linked).matches(tuple, zone.id)
    })?;
    let matched = Matched {
        seen: linked.seen(rcu),
        _reference: linked.get()?,
    };

    // The packet that announced the connection may not have left yet (the master is unconfirmed),
    // so the other end cannot know of it; and nothing can be related to a master that ends.
    let master = linked.master();
    let status = master.status();
    if !status.has(StatusBit::Confirmed) || status.has(StatusBit::Dying) {
        return None;
    }
    // Under the lock the memory cannot be reused for another entry: see `Linked`.
    let Get::Hit(master) = master.get_if(|_| true) else {
        return None;
    };
    // The chain of masters has its full length: the connection is an ordinary one.
    if !entry::may_be_master(&master) {
        _refused = master;
        return None;
    }
    if !keep && !linked.flags().has(ExpectFlag::Permanent) {
        remove(&linked, Requester::default(), locked);
    }

    if let Some(helper) = linked.assigned_helper() {
        if let Some(help) = fresh.helper_target().add_help() {
            help.set_helper(helper.get());
        }
    }
    fresh.set_master(master);
    net.count_one(Stat::ExpectNew);
    Some(matched)
}

/// Returns the helper extension of an entry.
#[inline]
fn help_of(conn: &Entry) -> Option<&Help> {
    conn.extensions().find::<Help>()
}

/// Withdraws an expectation: it matches no more, and is removed later.
pub(super) fn withdraw(expectation: &Expectation) {
    let guard = ExpectGuard::new();
    expectation.withdraw(guard.locked());
}

/// Removes all expectations of `conn`.
///
/// An entry that may have had expectations takes the lock even if it has none left: a CPU that
/// holds the lock may still be reading the last one of them.
#[inline]
pub(super) fn remove_all(conn: &Entry) {
    if let Some(help) = help_of(conn) {
        remove_from(help, |_| true);
    }
}

/// Removes the expired expectations of `conn`. For the collector.
pub(super) fn reap(conn: &Conn) {
    if let Some(help) = help_of(conn).filter(|help| help.is_expecting()) {
        remove_from(help, |linked| linked.is_expired());
    }
}

/// Removes the expectations of a master that `which` selects.
#[cold]
fn remove_from(help: &Help, which: fn(&Linked<'_>) -> bool) {
    let guard = ExpectGuard::new();
    let locked = guard.locked();
    for linked in help.expectations(locked) {
        if which(&linked) {
            remove(&linked, Requester::default(), locked);
        }
    }
}

/// Finds the expectation of `tuple`, under the lock.
fn find_locked<'l>(net: &Net, zone: Zone, tuple: &Tuple, locked: Locked<'l>) -> Option<Linked<'l>> {
    table::walk_locked(bucket(net, tuple), locked).find(|linked| {
        !linked.is_expired() && linked.is_in(net) && pattern(linked).matches(tuple, zone.id)
    })
}

/// Removes the expectation of `tuple`, if `meant` accepts it.
///
/// `ENOENT`: there is none, or it is not accepted. Other errors are those of `meant`.
pub(super) fn remove_one(
    net: &Net,
    zone: Zone,
    tuple: &Tuple,
    by: Requester,
    meant: impl FnOnce(&Expectation) -> Result<bool>,
) -> Result {
    let guard = ExpectGuard::new();
    let linked = find_locked(net, zone, tuple, guard.locked()).ok_or(ENOENT)?;
    if !meant(&linked)? {
        return Err(ENOENT);
    }
    remove(&linked, by, guard.locked());
    Ok(())
}

/// Calls `change` for the expectation of `tuple`, if there is one, and returns the result.
pub(super) fn change_one<R>(
    net: &Net,
    zone: Zone,
    tuple: &Tuple,
    change: impl FnOnce(&Expectation, Locked<'_>) -> R,
) -> Option<R> {
    let guard = ExpectGuard::new();
    let linked = find_locked(net, zone, tuple, guard.locked())?;
    Some(change(&linked, guard.locked()))
}

/// Removes all expectations that `which` selects, in one namespace or in all.
pub(super) fn remove_where(
    net: Option<&Net>,
    by: Requester,
    mut which: impl FnMut(&Linked<'_>) -> bool,
) {
    let guard = ExpectGuard::new();
    let locked = guard.locked();
    for bucket in 0..table::buckets() {
        for linked in table::walk_locked(bucket, locked) {
            if net.is_none_or(|net| linked.is_in(net)) && which(&linked) {
                remove(&linked, by, locked);
            }
        }
    }
}
