// SPDX-License-Identifier: GPL-2.0

//! How an expectation comes into the table: if nothing stands in its way, and within the
//! limits of its class and of its namespace.

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

/// Describes the connection that the helper of a master announces. It gets no helper, no function
/// and no translation.
pub(crate) fn describe<'a>(
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

/// An expectation that was not added, and why.
pub(crate) struct Refused<'a> {
    /// See [`relate`].
    pub(crate) error: Error,
    /// The expectation, which may be changed and tried again.
    pub(crate) draft: Draft<'a>,
}

impl From<Refused<'_>> for Error {
    fn from(refused: Refused<'_>) -> Self {
        refused.error
    }
}

/// Adds an expectation.
///
/// `any_master`: a master's expectation may be the same as another master's, who then keeps
/// the first.
///
/// `EALREADY`: there is the same one already, of another class or master. `EBUSY`: there is
/// another one, for some of the same tuples. `EMFILE`: the namespace has as many as it may.
/// `ESHUTDOWN`: the master can have none. `EINVAL`: it was added or withdrawn before.
pub(crate) fn relate<'a>(
    draft: Draft<'a>,
    any_master: bool,
    by: Requester,
) -> Result<(), Refused<'a>> {
    let guard = ExpectGuard::new();
    let locked = guard.locked();
    let Some(help) = draft.help() else {
        return Err(Refused {
            error: ESHUTDOWN,
            draft,
        });
    };
    let wanted = Wanted::new(draft, help, any_master, locked)?;
    match wanted.make_room() {
        Ok(()) => wanted.insert(by),
        Err(error) => Err(wanted.refuse(error)),
    }
}

/// Adds two expectations of one master, or none: as [`relate`].
pub(crate) fn relate_pair(drafts: [Draft<'_>; 2], any_master: bool) -> Result {
    let guard = ExpectGuard::new();
    let locked = guard.locked();
    let [first, second] = drafts;
    let help = first.help().ok_or(EINVAL)?;
    if !core::ptr::eq(first.master(), second.master()) {
        return Err(EINVAL);
    }
    let first = Wanted::new(first, help, any_master, locked)?;
    let second = Wanted::new(second, help, any_master, locked)?;
    first.make_room()?;
    // The second one must not be given the room of the first.
    first.count(u8::saturating_add);
    let room = second.make_room();
    first.count(u8::saturating_sub);
    room?;
    first.insert(Requester::default())?;
    Ok(second.insert(Requester::default())?)
}

/// An expectation that is to be added.
struct Wanted<'a, 'l> {
    draft: Draft<'a>,
    help: &'a Help,
    net: &'a Net,
    pattern: Pattern,
    bucket: u32,
    any_master: bool,
    locked: Locked<'l>,
}

impl<'a: 'l, 'l> Wanted<'a, 'l> {
    fn new(
        draft: Draft<'a>,
        help: &'a Help,
        any_master: bool,
        locked: Locked<'l>,
    ) -> Result<Self, Refused<'a>> {
        if draft.flags().has(ExpectFlag::Dead) || u32_as_usize(draft.class()) >= MAX_CLASSES {
            return Err(Refused {
                error: EINVAL,
                draft,
            });
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
            any_master,
            locked,
        })
    }

    fn refuse(self, error: Error) -> Refused<'a> {
        Refused {
            error,
            draft: self.draft,
        }
    }

    fn class(&self) -> u32 {
        self.draft.class()
    }

    /// What its class may be.
    fn policy(&self) -> ExpectPolicy {
        self.help
            .helper(self.locked.rcu())
            .and_then(|helper| helper.policy(self.class()))
            .unwrap_or(ExpectPolicy {
                max_expected: MAX_EXPECTED,
                timeout: 0,
            })
    }

    /// Changes how many of its class there are.
    fn count(&self, change: fn(u8, u8) -> u8) {
        let now = self.help.expecting(self.class(), self.locked);
        self.help
            .set_expecting(self.class(), change(now, 1), self.locked);
    }

    /// Sees to it that nothing stands in its way, and that it is not one too many.
    fn make_room(&self) -> Result {
        let master = self.draft.master();
        for other in table::walk_locked(self.bucket, self.locked) {
            if remove_expired(&other, self.locked) || !other.is_in(self.net) {
                continue;
            }
            let others = pattern(&other);
            let of_interest = self.any_master || other.has_master(master);
            if of_interest && others.equals(&self.pattern) {
                if other.class() != self.class() || !other.has_master(master) {
                    return Err(EALREADY);
                }
                // The same again: it begins anew.
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

    fn is_class_full(&self) -> bool {
        let expecting = self.help.expecting(self.class(), self.locked);
        u32::from(expecting) >= self.policy().max_expected
    }

    /// Takes away the master's expired ones, and then, if need be, the oldest of the class.
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

    /// Adds it. Its class's time counts from when it was made.
    fn insert(self, by: Requester) -> Result<(), Refused<'a>> {
        let more = self.policy().timeout.wrapping_mul(HZ);
        let class = self.class();
        let linked =
            table::insert(self.draft, self.bucket, more, self.locked).map_err(|draft| Refused {
                error: EINVAL,
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
