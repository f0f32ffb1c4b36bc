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
            expectation::{
                Draft,
                Event,
                ExpectGuard,
                Flag,
                Locked, //
            },
            helper::{
                Policy,
                CLASSES,
                MAX_EXPECTED, //
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

/// Adds an expectation.
///
/// `skip_master`: a master's expectation may be the same as another master's, who then keeps
/// the first.
///
/// `EALREADY`: there is the same one already, of another class or master. `EBUSY`: there is
/// another one, for some of the same tuples. `EMFILE`: the namespace has as many as it may.
/// `ESHUTDOWN`: the master can have none. `EINVAL`: it was added or withdrawn before.
pub(crate) fn relate(draft: &Draft<'_>, skip_master: bool, by: Requester) -> Result {
    let guard = ExpectGuard::new();
    let locked = guard.locked();
    let help = help_of(draft.master()).ok_or(ESHUTDOWN)?;
    let wanted = NewExpectation::new(draft, help, skip_master, locked)?;
    wanted.make_room()?;
    wanted.insert(by)
}

/// Adds two expectations of one master, or none: as [`relate`].
pub(in crate::ct) fn relate_pair(drafts: [&Draft<'_>; 2], skip_master: bool) -> Result {
    let guard = ExpectGuard::new();
    let locked = guard.locked();
    let [first, second] = drafts;
    let help = help_of(first.master()).ok_or(EINVAL)?;
    if !first.expectation().has_master_of(second.expectation()) {
        return Err(EINVAL);
    }
    let first = NewExpectation::new(first, help, skip_master, locked)?;
    let second = NewExpectation::new(second, help, skip_master, locked)?;
    first.make_room()?;
    // The second one must not be given the room of the first.
    first.count(u8::saturating_add);
    let room = second.make_room();
    first.count(u8::saturating_sub);
    room?;
    first.insert(Requester::default())?;
    second.insert(Requester::default())
}

/// An expectation that is to be added.
struct NewExpectation<'d, 'l> {
    draft: &'d Draft<'l>,
    help: &'d Help,
    net: &'d Net,
    pattern: Pattern,
    bucket: u32,
    skip_master: bool,
    locked: Locked<'d>,
}

impl<'d, 'l> NewExpectation<'d, 'l> {
    fn new(
        draft: &'d Draft<'l>,
        help: &'d Help,
        skip_master: bool,
        locked: Locked<'d>,
    ) -> Result<Self> {
        let expectation = draft.expectation();
        let class = expectation.class() as usize;
        if expectation.flags().has(Flag::Dead) || class >= CLASSES {
            return Err(EINVAL);
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
    fn make_room(&self) -> Result {
        let own = self.draft.expectation();
        for other in table::walk_locked(self.bucket, self.locked) {
            if remove_expired(&other, self.locked) || !other.is_in(self.net) {
                continue;
            }
            let others = pattern(&other);
            let of_interest = self.skip_master || other.has_master_of(own);
            if of_interest && others.equals(&self.pattern) {
                if other.class() != own.class() || !other.has_master_of(own) {
                    return Err(EALREADY);
                }
                // The same expectation again: it begins anew.
                remove(&other, Requester::default(), self.locked);
                break;
            }
            if others.clashes(&self.pattern) {
                return Err(EBUSY);
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
            return Err(EMFILE);
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
    fn insert(&self, by: Requester) -> Result {
        let more = self.policy().timeout.wrapping_mul(HZ);
        let linked =
            table::insert(self.draft, self.bucket, self.help, more, self.locked).ok_or(EINVAL)?;
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
