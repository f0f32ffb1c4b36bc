// SPDX-License-Identifier: GPL-2.0

//! Helpers: the registry of application-layer helpers, and their assignment to connections.
//!
//! A rule assigns a helper to a connection before that is confirmed, or an expectation does. A port
//! never does: what any sender can choose must not decide which code parses its packets. From then
//! on the helper sees every packet of the connection that has passed all rules
//! ([`crate::ct::packet::help`]).
//!
//! A helper's module may be unloaded while connections have the helper: its function is disabled
//! first ([`retire`]), and the rest, a name and numbers, is freed with the last of these
//! connections.
//!
//! The registry is read under RCU, and changed under the mutex of helpers.

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
            rcu::synchronize_rcu,
            refcount::{
                Counted,
                RcuCounted, //
            },
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

/// The hash seed of the registry.
static SEED: Atomic<u32> = Atomic::new(0);

/// Creates the registry. May sleep.
///
/// `ENOMEM`: no memory.
pub(super) fn create_table() -> Result<HelperTable> {
    SEED.store(random::below(u32::MAX), Relaxed);
    HelperTable::create()
}

/// Returns the bucket of a helper.
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

/// Finds a helper by name, family (`NFPROTO_*`) and protocol.
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

/// Does as [`find`], and takes a reference to the helper and one to its module, which is loaded if
/// need be. May sleep.
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

/// Takes a reference to the module that translates addresses in what a helper reads; it is loaded
/// if need be. May sleep.
///
/// `ENOENT`: there is no such module, or it is being unloaded; or there is no such helper.
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
            // The second attempt shows whether the module was loaded.
            let _ = module::request(&nat_name);
            take(&nat_name)
        })
        .flatten()
        .ok_or(ENOENT)
}

/// The reason why a helper is not registered.
pub(super) enum RegisterError {
    /// `EINVAL`: its description is invalid.
    Invalid,
    /// `EBUSY`: there is one of the same name, family and protocol.
    Taken,
    /// `ENOENT`: there is no tracker.
    NoTracker,
}

impl From<RegisterError> for Error {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::Invalid => EINVAL,
            RegisterError::Taken => EBUSY,
            RegisterError::NoTracker => ENOENT,
        }
    }
}

/// Registers a helper: rules find it from now on. May sleep.
pub(super) fn register(mut helper: Unregistered<'_>) -> Result<(), RegisterError> {
    let last_class = helper.helper().last_class();
    if u32_as_usize(last_class) >= MAX_CLASSES || !helper.has_name() {
        return Err(RegisterError::Invalid);
    }
    for class in 0..=last_class {
        let policy = helper.helper().policy(class);
        match policy.map_or(0, |policy| policy.max_expected) {
            0 => helper.set_max_expected(class, MAX_EXPECTED),
            1..=MAX_EXPECTED => {}
            _ => return Err(RegisterError::Invalid),
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
        return Err(RegisterError::Taken);
    }
    registry
        .insert(helper, bucket)
        .map_err(|_| RegisterError::NoTracker)
}

/// Disables a helper that was taken out of the registry: when this returns, its function runs
/// nowhere, and it has no expectations. May sleep.
pub(super) fn retire(helper: ARef<Counted<Helper>>) {
    helper.disable();
    synchronize_rcu();
    release(helper);
}

/// Removes the expectations that a helper made or that assign it, and drops the reference.
pub(super) fn release(helper: ARef<Counted<Helper>>) {
    let address = helper.address();
    expect::remove_where(None, Requester::default(), |expectation| {
        expectation.helper_addresses().contains(&address)
    });
    drop(helper);
}

/// Assigns the helper of a template to an entry, unless that has one.
///
/// `ENOMEM`: no memory.
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

/// Notifies the helper of an entry of its end.
pub(super) fn destroy(conn: &Conn, rcu: Rcu<'_>) {
    if let Some(helper) = conn.helping(rcu) {
        helper.destroy();
    }
}

/// Returns the helper of an entry.
pub(super) fn of<'r>(conn: &Conn, rcu: Rcu<'r>) -> Option<&'r Helper> {
    conn.extensions().find::<Help>()?.helper(rcu)
}

/// The reason why a template gets no helper.
pub(super) enum AddError {
    /// `EINVAL`: there is no such helper.
    UnknownHelper,
    /// `ENOMEM`: no memory.
    NoMemory,
    /// `ENOENT`: no module translates addresses for it.
    NoNat,
}

impl From<AddError> for Error {
    fn from(error: AddError) -> Self {
        match error {
            AddError::UnknownHelper => EINVAL,
            AddError::NoMemory => ENOMEM,
            AddError::NoNat => ENOENT,
        }
    }
}

/// Assigns a helper to a template, with references to the helper's modules. The owner of the
/// template gives these back by `nf_conntrack_helper_put()` and `nf_nat_helper_put()`; freeing the
/// template does not. May sleep.
pub(super) fn add(
    mut template: HelperTarget<'_>,
    name: &HelperName,
    family: u8,
    protocol: u8,
    with_nat: bool,
) -> Result<(), AddError> {
    let helper = get(name, family.into(), protocol).ok_or(AddError::UnknownHelper)?;
    let help = template.add_help().ok_or(AddError::NoMemory)?;
    if with_nat {
        get_nat(name, family.into(), protocol)
            .map_err(|_| AddError::NoNat)?
            .leave_to_c();
    }
    help.set_helper(Some(helper.leave_module_to_c()));
    Ok(())
}
