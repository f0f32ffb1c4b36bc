// SPDX-License-Identifier: GPL-2.0

//! Helpers: who they are, which connections they have, and when they look at a packet.
//!
//! A rule gives a connection its helper, before it is confirmed; or an expectation does. No
//! port does: what anybody can send must not choose who reads it. From then on the helper
//! looks at every packet that has passed all rules ([`confirm`]).
//!
//! A helper's module may go while connections still have it: its function is taken away first,
//! and what is left, a name and numbers, goes with the last of those connections.

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
    nf::{
        entry::help::{
            Help,
            Helper,
            HelperTarget, //
        },
        expect::{
            helper::{
                LoadedHelper,
                Unregistered,
                MAX_CLASSES,
                MAX_EXPECTED, //
            },
            helper_name::HelperName,
            helper_table::{
                self,
                HelperTable, //
            },
            module::{
                self,
                ModuleRef, //
            },
        },
        kernel::{
            nfnetlink::Requester,
            random,
            rcu, //
        },
        prelude::*, //
    },
    proto::{
        hash::{
            jhash2_array,
            reciprocal_scale, //
        },
        types::num::u32_as_usize, //
    },
};

use super::expect;

/// The secret of the table of helpers.
static SEED: Atomic<u32> = Atomic::new(0);

/// Makes the table. May sleep.
pub(super) fn create_table() -> Result<HelperTable> {
    SEED.store(random::below(u32::MAX), Relaxed);
    HelperTable::create()
}

fn bucket(name: &HelperName, protocol: u8) -> u32 {
    let [a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3] = *name.bytes();
    let words = [
        u32::from_ne_bytes([a0, a1, a2, a3]),
        u32::from_ne_bytes([b0, b1, b2, b3]),
        u32::from_ne_bytes([c0, c1, c2, c3]),
        u32::from_ne_bytes([d0, d1, d2, d3]),
    ];
    let seed = SEED.load(Relaxed) ^ u32::from(protocol);
    reciprocal_scale(jhash2_array(&words, seed), helper_table::buckets())
}

/// The helper of that name, for a family (`NFPROTO_*`) and a protocol.
pub(super) fn find<'r>(
    name: &HelperName,
    family: u16,
    protocol: u8,
    rcu: Rcu<'r>,
) -> Option<&'r Helper> {
    helper_table::walk(bucket(name, protocol), rcu).find(|helper| {
        helper.name() == *name && helper.is_for(family) && helper.protocol() == protocol
    })
}

/// Like [`find`], and takes references to the helper and to its module, which is loaded if need be.
/// May sleep.
pub(super) fn get(name: &HelperName, family: u16, protocol: u8) -> Option<LoadedHelper> {
    let take = || {
        let section = RcuGuard::new();
        find(name, family, protocol, section.token()).map(Helper::load)
    };
    take()
        .or_else(|| {
            module::request_helper(name).ok()?;
            take()
        })
        .flatten()
}

/// Takes a reference to the NAT module of a helper, which is loaded if need be. May sleep.
///
/// `ENOENT`: there is no such helper, or no such module.
pub(super) fn get_nat(name: &HelperName, family: u16, protocol: u8) -> Result<ModuleRef> {
    let take = |nat_name: &HelperName| {
        let section = RcuGuard::new();
        helper_table::find_nat(nat_name, section.token()).map(|nat| nat.module())
    };
    let nat_name = {
        let section = RcuGuard::new();
        find(name, family, protocol, section.token())
            .ok_or(ENOENT)?
            .nat_module_name()
    };
    take(&nat_name)
        .or_else(|| {
            // Whether that succeeded shows in the lookup that follows.
            let _ = module::request(&nat_name);
            take(&nat_name)
        })
        .flatten()
        .ok_or(ENOENT)
}

/// Registers a helper: rules find it from now on. May sleep.
///
/// `EINVAL`: what it describes is no helper. `EBUSY`: there is one of that name, family and
/// protocol. `ENOENT`: the tracker is not there, or no longer.
pub(super) fn register(mut helper: Unregistered<'_>) -> Result {
    let last_class = helper.helper().last_class();
    if u32_as_usize(last_class) >= MAX_CLASSES || !helper.has_name() {
        return Err(EINVAL);
    }
    for class in 0..=last_class {
        let policy = helper.helper().policy(class);
        match policy.map_or(0, |policy| policy.max_expected) {
            0 => helper.set_max_expected(class, MAX_EXPECTED),
            1..=MAX_EXPECTED => {}
            _ => return Err(EINVAL),
        }
    }

    let new = helper.helper();
    let name = new.name();
    let bucket = bucket(&name, new.protocol());
    let mut registry = helper_table::REGISTRY.lock();
    let section = RcuGuard::new();
    let taken = helper_table::walk(bucket, section.token()).any(|other| {
        other.name() == name
            && other.is_for(new.family().into())
            && other.protocol() == new.protocol()
    });
    if taken {
        return Err(EBUSY);
    }
    registry.insert(helper, bucket)
}

/// What comes after a helper was taken out of the table: nobody is in its function any more
/// when this returns, nor is there an expectation of its making. May sleep.
pub(super) fn retire(helper: ARef<Helper>) {
    helper.disable();
    rcu::synchronize();
    release(helper);
}

/// Takes away the expectations that a helper made, or that lead to it, and gives it up.
pub(super) fn release(helper: ARef<Helper>) {
    let address = helper.address();
    expect::remove_where(None, Requester::default(), |expectation| {
        expectation.helper_addresses().contains(&address)
    });
    drop(helper);
}

/// Gives an entry the helper that its template asks for, unless it has one.
///
/// `ENOMEM`: there is no memory for it.
pub(super) fn assign(mut entry: HelperTarget<'_>, template: &Conn, rcu: Rcu<'_>) -> Result {
    if entry.conn().has(StatusBit::Helper) {
        return Ok(());
    }
    let Some(helper) = template
        .extensions()
        .find::<Help>()
        .and_then(|help| help.helper(rcu))
    else {
        return Ok(());
    };
    let help = entry.add_help().ok_or(ENOMEM)?;
    help.set_helper(helper.get());
    Ok(())
}

/// Tells the helper of an entry that this ends.
pub(super) fn destroy(conn: &Conn, rcu: Rcu<'_>) {
    if let Some(helper) = of(conn, rcu) {
        helper.destroy(conn, rcu);
    }
}

/// The helper of an entry.
pub(super) fn of<'r>(conn: &Conn, rcu: Rcu<'r>) -> Option<&'r Helper> {
    conn.extensions().find::<Help>()?.helper(rcu)
}

/// Gives a template a helper, and takes references to the helper's modules. The references are left
/// to the maker of the template, which gives them back by `nf_conntrack_helper_put()` and
/// `nf_nat_helper_put()`: freeing a template does not. May sleep.
///
/// `EINVAL`: there is no such helper. `ENOMEM`: no memory. `ENOENT`: no module translates
/// addresses for it.
pub(super) fn add(
    mut template: HelperTarget<'_>,
    name: &HelperName,
    family: u8,
    protocol: u8,
    with_nat: bool,
) -> Result {
    let helper = get(name, family.into(), protocol).ok_or(EINVAL)?;
    let help = template.add_help().ok_or(ENOMEM)?;
    if with_nat {
        get_nat(name, family.into(), protocol)?.leave_to_c();
    }
    help.set_helper(Some(helper.leave_module_to_c()));
    Ok(())
}
