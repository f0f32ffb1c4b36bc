// SPDX-License-Identifier: GPL-2.0

//! Expectations: connections that others announced, and what becomes of them.
//!
//! A helper reads in a control connection where a data connection will come from, and adds an
//! expectation of it ([`add`]). The packet that begins it makes an entry as any other does,
//! which then meets its expectation ([`match_new`]): it is RELATED, has a master, and may get a
//! helper of its own. That uses the expectation up, unless it is a permanent one.
//!
//! Nothing watches the clock. An expectation whose time is over, or that was withdrawn, is
//! taken away by whoever comes by: by those who look for another one in its bucket, by its
//! master's next expectation, or by the collector ([`reap`]). What a master still expects at
//! its end goes with it ([`remove_all`]).
//!
//! Everything here takes the lock of expectations. What is said of the counts, of masters and
//! of a namespace, is said under it.

use kernel::{
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
    },
};

use crate::{
    ct::{
        netns::NetState,
        table::resize, //
    },
    nf::{
        entry::{
            fresh::Fresh,
            help::Help,
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
            random, //
        },
        prelude::*, //
    },
    proto::{
        expect::{
            self,
            Pattern, //
        },
        types::tuple::Key, //
    },
};

pub(crate) mod add;

/// The secret of the table.
static SEED: Atomic<u32> = Atomic::new(0);

/// Makes the table, as large as the parameter says, or else by the table of entries; and sets
/// the limit that goes with it. May sleep.
pub(super) fn create_table() -> Result<ExpectTable> {
    let buckets = match table::buckets() {
        0 => (resize::buckets() / 256).max(1),
        wanted => wanted,
    };
    SEED.store(random::below(u32::MAX), Relaxed);
    let table = ExpectTable::create(buckets)?;
    params::max_expectations().store(buckets.saturating_mul(4), Relaxed);
    Ok(table)
}

/// The bucket of what is expected at the destination of `tuple`.
#[inline]
fn bucket(net: &Net, tuple: &Tuple) -> u32 {
    expect::bucket(tuple, net.hash_mix(), SEED.load(Relaxed), table::buckets())
}

#[inline]
fn pattern(expectation: &Expectation) -> Pattern {
    Pattern {
        tuple: expectation.tuple(),
        mask: expectation.mask(),
        zone_id: expectation.zone().id,
    }
}

/// Finds who expects `tuple`, in passing; gives out what `take` makes of it.
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

/// Takes an expectation away, and tells of it. Who takes away the same a second time does
/// nothing.
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

/// Takes an expectation away if its time is over. Says whether it was.
fn remove_expired(linked: &Linked<'_>, locked: Locked<'_>) -> bool {
    let expired = linked.is_expired();
    if expired {
        remove(linked, Requester::default(), locked);
    }
    expired
}

/// The expectation that a new entry matched: its function is still to be called.
pub(super) struct Matched<'r> {
    seen: Seen<'r>,
    _reference: ARef<Expectation>,
}

impl Matched<'_> {
    /// Calls the expectation's function: without the lock, because the function may add or remove
    /// expectations, and with the entry ready for NAT.
    pub(super) fn run_expectfn(self, conn: &Conn) {
        self.seen.run_expectfn(conn);
    }
}

/// A new entry for the tuple with this key looks whether it is expected; if so it becomes RELATED to its
/// master, and the expectation is used up, unless `keep`, or it is a permanent one.
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

#[inline(never)]
fn match_new_locked<'r>(
    fresh: &mut Fresh,
    net: &Net,
    zone: Zone,
    tuple: &Tuple,
    keep: bool,
    rcu: Rcu<'r>,
) -> Option<Matched<'r>> {
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

    // The other end cannot know of what was announced in a packet that has not left yet; and
    // a master that ends has nobody to be related to.
    let master = linked.master();
    let status = master.status();
    if !status.has(StatusBit::Confirmed) || status.has(StatusBit::Dying) {
        return None;
    }
    // Under the lock it cannot become another entry: see `Linked`.
    let Get::Hit(master) = master.get_if(|_| true) else {
        return None;
    };
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

#[inline]
fn help_of(conn: &Conn) -> Option<&Help> {
    conn.extensions().find::<Help>()
}

/// Withdraws an expectation: it may have been met already, and is taken away later.
pub(super) fn withdraw(expectation: &Expectation) {
    let guard = ExpectGuard::new();
    expectation.withdraw(guard.locked());
}

/// Takes away everything that `conn` expects.
///
/// An entry that may have expected something takes the lock even if it expects nothing any
/// more: who holds it may still be looking at its last expectation.
#[inline]
pub(super) fn remove_all(conn: &Conn) {
    if let Some(help) = help_of(conn) {
        remove_from(help, |_| true);
    }
}

/// Takes away what `conn` expected too long. For the collector.
pub(super) fn reap(conn: &Conn) {
    if let Some(help) = help_of(conn).filter(|help| help.is_expecting()) {
        remove_from(help, |linked| linked.is_expired());
    }
}

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

/// The expectation that is made for `tuple`, under the lock.
fn find_locked<'l>(net: &Net, zone: Zone, tuple: &Tuple, locked: Locked<'l>) -> Option<Linked<'l>> {
    table::walk_locked(bucket(net, tuple), locked).find(|linked| {
        !linked.is_expired() && linked.is_in(net) && pattern(linked).matches(tuple, zone.id)
    })
}

/// Takes away the expectation that is made for `tuple`, if it is the one that is `meant`.
/// `ENOENT`: it is not, or there is none.
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

/// Has `change` change the expectation that is made for `tuple`, if there is one.
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

/// Takes away all expectations that `which` chooses, in one namespace or everywhere.
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
