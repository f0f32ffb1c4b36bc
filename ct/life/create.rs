// SPDX-License-Identifier: GPL-2.0

//! The beginning of an entry: made for a packet whose tuple is not in the table.

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
        expect, helper,
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
        kernel::params,
        packet::log,
        prelude::*, //
    },
    proto::types::tuple::Key, //
};

use super::{
    early_drop,
    gc, //
};

/// The room that an entry takes in its namespace's count, until the entry owns it.
struct Room<'n>(&'n NetState);

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.0.release_entry();
    }
}

/// Makes room for one more entry, if need be by dropping another one.
#[inline]
fn room<'n>(net: &'n Net, state: &'n NetState, rcu: Rcu<'_>) -> Result<Room<'n>> {
    let room = Room(state);
    if room.0.take_entry() > params::max_entries().load(Relaxed) {
        make_room(net, rcu)?;
    }
    Ok(room)
}

#[cold]
fn make_room(net: &Net, rcu: Rcu<'_>) -> Result {
    if early_drop::make_room(net, rcu) {
        return Ok(());
    }
    gc::wake_for_early_drop();
    complain(net);
    Err(ENOMEM)
}

#[cold]
fn complain(net: &Net) {
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

/// Makes an entry for the tuple with this key, in the original direction, with one reference, not
/// in the table yet. A template says what rules want of it. Returned with it is what the packet is
/// to it.
///
/// `Ok(None)`: nothing can answer such a packet, so it begins no connection. `ENOMEM`: the
/// table is full, or memory is.
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
    let room = room(net, state, rcu)?;
    let tuples = [key.words(), &reply];
    let fresh = Fresh::new(net, zone, tuples, zone.is_for_both(), hash.pack()).ok_or(ENOMEM)?;
    let begun = if template.is_none()
        && !has_default_extensions(net)
        && !events::are_wanted(net)
        && state.expectations.load(Relaxed) == 0
    {
        (fresh.publish(), CtInfo::New)
    } else {
        add_extensions(fresh, net, template, zone, key, rcu)?
    };
    // The entry gives the room back when it is destroyed.
    core::mem::forget(room);
    Ok(Some(begun))
}

/// Gives a new entry its parts, and its master if it was expected.
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
    events::prepare(&mut fresh, net, template)?;

    // A template that is no commitment yet (Open vSwitch) leaves the expectation to one that is.
    let keep = template.is_some_and(|template| !template.is_confirmed());
    let matched = expect::match_new(&mut fresh, net, zone, key, keep, rcu);
    if let (None, Some(template)) = (&matched, template) {
        // Without memory for it the connection goes on without help.
        let _ = helper::assign(fresh.helper_target(), template, rcu);
    }
    let conn = fresh.publish();
    let Some(matched) = matched else {
        return Ok((conn, CtInfo::New));
    };
    matched.run_expectfn(&conn);
    Ok((conn, CtInfo::Related))
}

/// Makes an entry of which user space knows both tuples, with one reference, not in the table
/// yet. `set_up` says what it is like.
///
/// `ENOMEM`: the table is full, or memory is.
pub(in crate::ct) fn create_from_user(
    net: &Net,
    zone: Zone,
    [original, reply]: [&Tuple; 2],
    hash: TupleHash,
    set_up: impl FnOnce(&mut Fresh) -> Result,
    rcu: Rcu<'_>,
) -> Result<ARef<Conn>> {
    let room = room(net, net.state_in(rcu), rcu)?;
    let tuples = [&original.words(), &reply.words()];
    let mut fresh = Fresh::new(net, zone, tuples, zone.is_for_both(), hash.pack()).ok_or(ENOMEM)?;
    if let Err(error) = set_up(&mut fresh) {
        // What NAT had chosen for it is free again.
        reservation::release(fresh.conn(), rcu);
        return Err(error);
    }
    // The entry gives the room back when it is destroyed.
    core::mem::forget(room);
    Ok(fresh.publish())
}

/// Whether a namespace wants anything of every entry.
#[inline]
fn has_default_extensions(net: &Net) -> bool {
    net.acct() != 0 || net.tstamp() != 0 || net.labels_used()
}

/// What the namespace wants of every entry. Without memory for it the connection goes on
/// uncounted.
fn add_default_extensions(fresh: &mut Fresh, net: &Net) {
    if net.acct() != 0 {
        let _ = fresh.add::<Counters>();
    }
    if net.tstamp() != 0 {
        let _ = fresh.add::<Timestamps>();
    }
    if net.labels_used() {
        let _ = fresh.add::<Labels>();
    }
}

/// Makes an entry, in the default zone, for a connection that no packet began, with one
/// reference, not in the table yet.
///
/// `ENOSPC`: the table is full; nothing else is dropped for it. `ENOMEM`: memory is.
pub(in crate::ct) fn create_adopted(net: &Net, tuple: &Tuple) -> Result<ARef<Conn>> {
    let reply = tuple.invert().ok_or(EINVAL)?;
    let room = Room(net.state::<NetState>());
    if room.0.take_entry() > params::max_entries().load(Relaxed) {
        return Err(ENOSPC);
    }
    let tuples = [&tuple.words(), &reply.words()];
    let mut fresh = Fresh::new(net, Zone::DEFAULT, tuples, true, 0).ok_or(ENOMEM)?;
    add_default_extensions(&mut fresh, net);
    events::prepare(&mut fresh, net, None)?;
    // The entry gives the room back when it is destroyed.
    core::mem::forget(room);
    Ok(fresh.publish())
}
