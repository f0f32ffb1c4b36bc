// SPDX-License-Identifier: GPL-2.0

//! Creation of entries: for a packet of a new connection, for user space, and for a socket.
//!
//! A new entry is `Fresh`, which has one owner and can be given extensions. It is counted in its
//! namespace from here on, and has one reference. It is in the table only after confirmation
//! ([`super::confirm`]).
//!
//! There is no lock here: the count is atomic, and the expectations have their own lock.

use kernel::{
    prelude::*,
    sync::{
        aref::ARef,
        atomic::Relaxed, //
    },
};

use crate::{
    ct::{
        entry::events,
        expect,
        figures::causes::{
            self,
            Refusal, //
        },
        helper,
        netns::NetState,
        table::{
            reservation,
            TupleHash, //
        },
    },
    nf::{
        entry::{
            ext::{
                Counters,
                Labels,
                SeqAdjust,
                SynProxy,
                Timestamps, //
            },
            fresh::Fresh,
            timeout::PolicySlot, //
        },
        kernel::{
            log::pr_warn,
            params,
            settings, //
        },
        packet::log,
        prelude::*, //
    },
    proto::types::tuple::Key, //
};

use super::{
    early_drop,
    gc, //
};

/// One place in a namespace's count of entries. Dropping it gives the place back; the entry that is
/// created takes it over, and gives it back when it is freed.
struct Quota<'n>(&'n NetState);

impl Drop for Quota<'_> {
    fn drop(&mut self) {
        self.0.release_entry();
    }
}

impl Quota<'_> {
    /// Leaves the place to the entry that was created, which gives it back when it is freed. Counts
    /// the entry.
    #[inline]
    fn keep(self, net: &Net, protocol: u8) {
        core::mem::forget(self);
        net.count_figure(causes::created(protocol));
    }
}

/// Takes one place for a new entry, if need be after an early drop.
///
/// `ENOMEM`: the table is full.
#[inline]
fn take_quota<'n>(net: &'n Net, state: &'n NetState, rcu: Rcu<'_>) -> Result<Quota<'n>> {
    let quota = Quota(state);
    if quota.0.take_entry() > params::max_entries().load(Relaxed) {
        make_room(net, rcu)?;
    }
    Ok(quota)
}

/// Drops an entry to make room, or wakes the collector and logs that the table is full.
#[cold]
fn make_room(net: &Net, rcu: Rcu<'_>) -> Result {
    if early_drop::make_room(net, rcu) {
        return Ok(());
    }
    gc::wake_for_early_drop();
    warn_full(net);
    Err(ENOMEM)
}

/// Logs that the table of a namespace is full, in the words of the C tracker.
#[cold]
fn warn_full(net: &Net) {
    if !log::ratelimit() {
        return;
    }
    if net.is_init() {
        pr_warn!("nf_conntrack: table full, dropping packet\n");
    } else {
        pr_warn!(
            "nf_conntrack: table full in netns {}, dropping packet\n",
            net.inum()
        );
    }
}

/// Creates an entry for a tuple, in the original direction. Returns it with one reference, and the
/// relation of the packet to it ([`CtInfo`]). `template` has the options that a rule has set.
///
/// `Ok(None)`: the tuple cannot be replied to, so it is no connection. `ENOMEM`: the table is full,
/// or there is no memory.
#[inline(always)]
pub(in crate::ct) fn create(
    net: &Net,
    template: Option<&Conn>,
    zone: Zone,
    key: &Key,
    hash: TupleHash,
    rcu: Rcu<'_>,
) -> Result<Option<(ARef<Conn>, CtInfo)>> {
    let Some(reply) = key.answer() else {
        return Ok(None);
    };
    let state = net.state_in::<NetState>(rcu);
    let quota = take_quota(net, state, rcu).inspect_err(|_| refuse(net, Refusal::TableFull))?;
    let tuples = [key.words(), &reply];
    let (hash, generation) = (hash.pack(), net.generation());
    let fresh = Fresh::new(net, zone, tuples, zone.is_for_both(), hash, generation)
        .inspect_err(|_| refuse(net, Refusal::NoMemory))?;
    let begun = if template.is_none()
        && !has_default_extensions(net)
        && !events::are_enabled(net)
        && state.expectations.load(Relaxed) == 0
    {
        (fresh.publish(), CtInfo::New)
    } else {
        add_extensions(fresh, net, template, zone, key, rcu)
            .inspect_err(|_| refuse(net, Refusal::NoMemory))?
    };
    quota.keep(net, key.tuple().protonum);
    Ok(Some(begun))
}

/// Counts a packet that is dropped because no entry can be created for it.
#[cold]
fn refuse(net: &Net, cause: Refusal) {
    net.count_figure(causes::refused(cause));
}

/// Adds the extensions of a new entry, matches it against expectations, and shares it.
///
/// `ENOMEM`: no memory for an extension that the connection cannot do without.
#[inline(never)]
fn add_extensions(
    mut fresh: Fresh,
    net: &Net,
    template: Option<&Conn>,
    zone: Zone,
    key: &Key,
    rcu: Rcu<'_>,
) -> Result<(ARef<Conn>, CtInfo)> {
    if template.is_some_and(|template| template.extensions().find::<SynProxy>().is_some()) {
        fresh.add::<SeqAdjust>()?;
        fresh.add::<SynProxy>()?;
    }
    add_default_extensions(&mut fresh, net);
    let slot = template.and_then(|template| template.extensions().find::<PolicySlot>());
    if let Some(policy) = slot.and_then(|slot| slot.policy(rcu)) {
        fresh.add_policy(policy);
    }
    events::add_cache(&mut fresh, net, template)?;

    // Open vSwitch uses an unconfirmed template for packets that it does not commit: the
    // expectation is left to a packet that is committed.
    let keep = template.is_some_and(|template| !template.is_confirmed());
    let matched = expect::match_new(&mut fresh, net, zone, key, keep, rcu);
    if let (None, Some(template)) = (&matched, template) {
        // Without memory for it the connection has no helper.
        let _ = helper::assign(fresh.helper_target(), template, rcu);
    }
    Ok(match matched {
        Some(matched) => (matched.run_expectfn(fresh), CtInfo::Related),
        None => (fresh.publish(), CtInfo::New),
    })
}

/// Creates an entry with both tuples given by user space. `configure` adds its extensions and its
/// state. Returns the entry with one reference.
///
/// `ENOMEM`: the table is full, or there is no memory. Other errors are those of `configure`.
pub(in crate::ct) fn create_from_user(
    net: &Net,
    zone: Zone,
    [original, reply]: [&Tuple; 2],
    hash: TupleHash,
    configure: impl FnOnce(&mut Fresh) -> Result,
    rcu: Rcu<'_>,
) -> Result<ARef<Conn>> {
    let quota = take_quota(net, net.state_in(rcu), rcu)?;
    let tuples = [&original.words(), &reply.words()];
    let (hash, generation) = (hash.pack(), net.generation());
    let mut fresh = Fresh::new(net, zone, tuples, zone.is_for_both(), hash, generation)?;
    if let Err(error) = configure(&mut fresh) {
        // The reply tuple that NAT has chosen for it is free again.
        reservation::release(fresh.conn(), rcu);
        return Err(error);
    }
    quota.keep(net, original.protonum);
    Ok(fresh.publish())
}

/// Returns whether every entry of a namespace gets extensions: accounting, timestamps or labels.
#[inline]
fn has_default_extensions(net: &Net) -> bool {
    settings::ACCT.read(net) != 0 || settings::TSTAMP.read(net) != 0 || net.labels_used()
}

/// Adds the extensions that every entry of the namespace gets. Without memory the connection goes
/// on without them.
fn add_default_extensions(fresh: &mut Fresh, net: &Net) {
    if settings::ACCT.read(net) != 0 {
        let _ = fresh.add::<Counters>();
    }
    if settings::TSTAMP.read(net) != 0 {
        let _ = fresh.add::<Timestamps>();
    }
    if net.labels_used() {
        let _ = fresh.add::<Labels>();
    }
}

/// Creates an entry in the default zone for the connection of a socket. Returns it with one
/// reference.
///
/// `ENOSPC`: the table is full, and no other entry is dropped for this one. `ENOMEM`: no memory.
/// `EINVAL`: the tuple cannot be replied to.
pub(super) fn create_adopted(net: &Net, tuple: &Tuple) -> Result<ARef<Conn>> {
    let reply = tuple.invert().ok_or(EINVAL)?;
    let quota = Quota(net.state::<NetState>());
    if quota.0.take_entry() > params::max_entries().load(Relaxed) {
        return Err(ENOSPC);
    }
    let tuples = [&tuple.words(), &reply.words()];
    let mut fresh = Fresh::new(net, Zone::DEFAULT, tuples, true, 0, net.generation())?;
    add_default_extensions(&mut fresh, net);
    events::add_cache(&mut fresh, net, None)?;
    quota.keep(net, tuple.protonum);
    Ok(fresh.publish())
}
