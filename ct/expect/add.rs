// SPDX-License-Identifier: GPL-2.0

//! Adding expectations: checks for conflicts, and the limits of a master's class and of the
//! namespace.

use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};

use crate::{
    ct::netns::NetState,
    nf::{
        entry::help::Help,
        expect::{
            draft::{
                Draft,
                ExpectSpec, //
            },
            expectation::{
                ExpectEvent,
                ExpectFlag,
                ExpectNat, //
            },
            helper::{
                ExpectPolicy,
                MAX_CLASSES,
                MAX_EXPECTED, //
            },
            lock::{
                ExpectGuard,
                Locked, //
            },
            table, //
        },
        kernel::{
            errno::{
                EALREADY,
                ESHUTDOWN, //
            },
            log::pr_warn,
            net::Stat,
            nfnetlink::Requester,
            params,
            time::HZ, //
        },
        packet::log,
        prelude::*, //
    },
    proto::{
        expect::{
            Announcement,
            Pattern, //
        },
        types::num::u32_as_usize, //
    },
};

use super::{
    bucket,
    pattern,
    remove,
    remove_expired, //
};

/// The reason why an expectation was not added, with the errno of
/// `nf_ct_expect_related_report()`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum RelateError {
    /// `ESHUTDOWN`: the master has no helper extension, and cannot have expectations.
    NoHelper,
    /// `EINVAL`: the two expectations of a pair do not have one master that can have expectations.
    NoCommonMaster,
    /// `EINVAL`: the expectation was added or withdrawn before, or its class does not exist.
    NotAddable,
    /// `EALREADY`: an expectation of another class or master is for exactly the same tuples.
    Duplicate,
    /// `EBUSY`: another expectation is for some of the same tuples.
    Clash,
    /// `EMFILE`: the namespace has as many expectations as it may have.
    TableFull,
}

impl From<RelateError> for Error {
    fn from(error: RelateError) -> Self {
        match error {
            RelateError::NoHelper => ESHUTDOWN,
            RelateError::NoCommonMaster | RelateError::NotAddable => EINVAL,
            RelateError::Duplicate => EALREADY,
            RelateError::Clash => EBUSY,
            RelateError::TableFull => EMFILE,
        }
    }
}

/// An expectation that was not added.
pub(crate) struct Refused<'a> {
    /// The reason.
    pub(crate) error: RelateError,
    /// The expectation, which may be changed and added again.
    pub(crate) draft: Draft<'a>,
}

impl From<Refused<'_>> for RelateError {
    fn from(refused: Refused<'_>) -> Self {
        refused.error
    }
}

impl From<Refused<'_>> for Error {
    fn from(refused: Refused<'_>) -> Self {
        refused.error.into()
    }
}

/// Describes the connection that the helper of a master announces. It gets no helper, no function
/// and no translation.
pub(in crate::ct) fn describe<'a>(
    draft: &mut Draft<'a>,
    class: u32,
    announced: &Announcement,
    rcu: Rcu<'a>,
) {
    let (tuple, mask) = announced.tuple_and_mask();
    draft.describe(&ExpectSpec {
        tuple,
        mask,
        flags: 0,
        class,
        helper: draft.help().and_then(|help| help.helper(rcu)),
        assigned: None,
        expectfn: None,
        nat: ExpectNat::NONE,
    });
}

/// Adds an expectation.
///
/// An expectation that equals one of another master is a [`RelateError::Duplicate`] if
/// `skip_master` (`NF_CT_EXP_F_SKIP_MASTER`), otherwise a [`RelateError::Clash`].
pub(crate) fn relate(
    draft: Draft<'_>,
    skip_master: bool,
    by: Requester,
) -> Result<(), Refused<'_>> {
    let guard = ExpectGuard::new();
    let locked = guard.locked();
    let Some(help) = draft.help() else {
        let error = RelateError::NoHelper;
        return Err(Refused { error, draft });
    };
    let wanted = NewExpectation::new(draft, help, skip_master, locked)?;
    match wanted.make_room() {
        Ok(()) => wanted.insert(by),
        Err(error) => Err(Refused {
            error,
            draft: wanted.draft,
        }),
    }
}

/// Adds two expectations of one master, or none: as [`relate`].
pub(in crate::ct) fn relate_pair(
    drafts: [Draft<'_>; 2],
    skip_master: bool,
) -> Result<(), RelateError> {
    let guard = ExpectGuard::new();
    let locked = guard.locked();
    let [first, second] = drafts;
    let help = first.help().ok_or(RelateError::NoCommonMaster)?;
    if !core::ptr::eq(first.master(), second.master()) {
        return Err(RelateError::NoCommonMaster);
    }
    let first = NewExpectation::new(first, help, skip_master, locked)?;
    let second = NewExpectation::new(second, help, skip_master, locked)?;
    first.make_room()?;
    // Counted meanwhile, so that the second one is not given the same place.
    first.count(u8::saturating_add);
    let room = second.make_room();
    first.count(u8::saturating_sub);
    room?;
    first.insert(Requester::default())?;
    Ok(second.insert(Requester::default())?)
}

/// An expectation that is to be added.
struct NewExpectation<'a, 'l> {
    /// The expectation.
    draft: Draft<'a>,
    /// The helper extension of its master.
    help: &'a Help,
    /// The namespace of its master.
    net: &'a Net,
    /// The tuples that it is for.
    pattern: Pattern,
    /// The bucket of its pattern.
    bucket: u32,
    /// Whether an expectation of another master may equal it.
    skip_master: bool,
    /// The lock of expectations.
    locked: Locked<'l>,
}

impl<'a: 'l, 'l> NewExpectation<'a, 'l> {
    /// Checks an expectation by itself.
    fn new(
        draft: Draft<'a>,
        help: &'a Help,
        skip_master: bool,
        locked: Locked<'l>,
    ) -> Result<Self, Refused<'a>> {
        if draft.flags().has(ExpectFlag::Dead) || u32_as_usize(draft.class()) >= MAX_CLASSES {
            let error = RelateError::NotAddable;
            return Err(Refused { error, draft });
        }
        let net = draft.master().net();
        let pattern = Pattern {
            tuple: draft.tuple(),
            mask: draft.mask(),
            zone_id: draft.zone().id,
        };
        Ok(Self {
            draft,
            help,
            net,
            pattern,
            bucket: bucket(net, &pattern.tuple),
            skip_master,
            locked,
        })
    }

    /// Returns its class.
    fn class(&self) -> u32 {
        self.draft.class()
    }

    /// Returns the limits of its class.
    fn policy(&self) -> ExpectPolicy {
        self.help
            .helper(self.locked.rcu())
            .and_then(|helper| helper.policy(self.class()))
            .unwrap_or(ExpectPolicy {
                max_expected: MAX_EXPECTED,
                timeout: 0,
            })
    }

    /// Changes the number of expectations of its class.
    fn count(&self, change: fn(u8, u8) -> u8) {
        let now = self.help.expecting(self.class(), self.locked);
        self.help
            .set_expecting(self.class(), change(now, 1), self.locked);
    }

    /// Checks for conflicts and limits. Removes an equal expectation of the same master, which
    /// begins anew, and evicts the oldest of a class that is full.
    fn make_room(&self) -> Result<(), RelateError> {
        let master = self.draft.master();
        for other in table::walk_locked(self.bucket, self.locked) {
            if remove_expired(&other, self.locked) || !other.is_in(self.net) {
                continue;
            }
            let others = pattern(&other);
            let of_interest = self.skip_master || other.has_master(master);
            if of_interest && others.equals(&self.pattern) {
                if other.class() != self.class() || !other.has_master(master) {
                    return Err(RelateError::Duplicate);
                }
                // The same expectation again: it begins anew.
                remove(&other, Requester::default(), self.locked);
                break;
            }
            if others.clashes(&self.pattern) {
                return Err(RelateError::Clash);
            }
        }
        if self.is_class_full() {
            self.evict();
        }
        let max = params::max_expectations().load(Relaxed);
        if self.net.state::<NetState>().expectations.load(Relaxed) >= max {
            if log::ratelimit() {
                pr_warn!("nf_conntrack: expectation table full\n");
            }
            return Err(RelateError::TableFull);
        }
        Ok(())
    }

    /// Returns whether its class has as many expectations as it may have.
    fn is_class_full(&self) -> bool {
        let expecting = self.help.expecting(self.class(), self.locked);
        u32::from(expecting) >= self.policy().max_expected
    }

    /// Removes the master's expired expectations, and then, if the class is still full, the oldest
    /// of the class.
    fn evict(&self) {
        let mut oldest = None;
        for own in self.help.expectations(self.locked) {
            if !remove_expired(&own, self.locked) && own.class() == self.class() {
                oldest = Some(own);
            }
        }
        if let Some(oldest) = oldest {
            if self.is_class_full() {
                remove(&oldest, Requester::default(), self.locked);
            }
        }
    }

    /// Inserts it into the table. Its timeout, that of its class, runs from its creation.
    fn insert(self, by: Requester) -> Result<(), Refused<'a>> {
        let more = self.policy().timeout.wrapping_mul(HZ);
        let class = self.class();
        let linked =
            table::insert(self.draft, self.bucket, more, self.locked).map_err(|draft| Refused {
                error: RelateError::NotAddable,
                draft,
            })?;
        let expecting = self.help.expecting(class, self.locked);
        self.help
            .set_expecting(class, expecting.saturating_add(1), self.locked);
        self.net
            .state::<NetState>()
            .expectations
            .fetch_add(1, Relaxed);
        self.net.count_one(Stat::ExpectCreate);
        linked.notify(ExpectEvent::New, by);
        Ok(())
    }
}
