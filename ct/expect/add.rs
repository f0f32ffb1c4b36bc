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
            draft::Draft,
            expectation::{
                Event,
                Flag, //
            },
            helper::{
                Policy,
                CLASSES,
                MAX_EXPECTED, //
            },
            lock::{
                ExpectGuard,
                Locked, //
            },
            table, //
        },
        kernel::{
            net::Stat,
            nfnetlink::Requester,
            params,
            time::HZ, //
        },
        packet::log,
        prelude::*, //
    },
    proto::expect::Pattern, //
};

use super::{
    bucket,
    help_of,
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

/// Adds an expectation.
///
/// An expectation that equals one of another master is a [`RelateError::Duplicate`] if
/// `skip_master` (`NF_CT_EXP_F_SKIP_MASTER`), otherwise a [`RelateError::Clash`].
pub(crate) fn relate(
    draft: &Draft<'_>,
    skip_master: bool,
    by: Requester,
) -> Result<(), RelateError> {
    let guard = ExpectGuard::new();
    let locked = guard.locked();
    let help = help_of(draft.master()).ok_or(RelateError::NoHelper)?;
    let wanted = NewExpectation::new(draft, help, skip_master, locked)?;
    wanted.make_room()?;
    wanted.insert(by)
}

/// Adds two expectations of one master, or none: as [`relate`].
pub(in crate::ct) fn relate_pair(
    drafts: [&Draft<'_>; 2],
    skip_master: bool,
) -> Result<(), RelateError> {
    let guard = ExpectGuard::new();
    let locked = guard.locked();
    let [first, second] = drafts;
    let help = help_of(first.master()).ok_or(RelateError::NoCommonMaster)?;
    if !first.expectation().has_master_of(second.expectation()) {
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
    second.insert(Requester::default())
}

/// An expectation that is to be added.
struct NewExpectation<'d, 'l> {
    /// The expectation.
    draft: &'d Draft<'l>,
    /// The helper extension of its master.
    help: &'d Help,
    /// The namespace of its master.
    net: &'d Net,
    /// The tuples that it is for.
    pattern: Pattern,
    /// The bucket of its pattern.
    bucket: u32,
    /// Whether an expectation of another master may equal it.
    skip_master: bool,
    /// The lock of expectations.
    locked: Locked<'d>,
}

impl<'d, 'l> NewExpectation<'d, 'l> {
    /// Checks an expectation by itself.
    fn new(
        draft: &'d Draft<'l>,
        help: &'d Help,
        skip_master: bool,
        locked: Locked<'d>,
    ) -> Result<Self, RelateError> {
        let expectation = draft.expectation();
        let class = expectation.class() as usize;
        if expectation.flags().has(Flag::Dead) || class >= CLASSES {
            return Err(RelateError::NotAddable);
        }
        let net = draft.master().net();
        let pattern = pattern(expectation);
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
        self.draft.expectation().class()
    }

    /// Returns the limits of its class.
    fn policy(&self) -> Policy {
        self.help
            .helper(self.locked.rcu())
            .and_then(|helper| helper.policy(self.class()))
            .unwrap_or(Policy {
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
        let own = self.draft.expectation();
        for other in table::walk_locked(self.bucket, self.locked) {
            if remove_expired(&other, self.locked) || !other.is_in(self.net) {
                continue;
            }
            let others = pattern(&other);
            let of_interest = self.skip_master || other.has_master_of(own);
            if of_interest && others.equals(&self.pattern) {
                if other.class() != own.class() || !other.has_master_of(own) {
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
    fn insert(&self, by: Requester) -> Result<(), RelateError> {
        let more = self.policy().timeout.wrapping_mul(HZ);
        let linked = table::insert(self.draft, self.bucket, self.help, more, self.locked)
            .ok_or(RelateError::NotAddable)?;
        self.count(u8::saturating_add);
        self.net
            .state::<NetState>()
            .expectations
            .fetch_add(1, Relaxed);
        self.net.count_one(Stat::ExpectCreate);
        linked.notify(Event::New, by);
        Ok(())
    }
}
