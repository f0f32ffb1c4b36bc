// SPDX-License-Identifier: GPL-2.0

//! Expectations: user space reads, creates, changes and deletes them.

use kernel::{
    prelude::*,
    sync::aref::ARef, //
};

use crate::{
    ct::{
        entry::id,
        expect::{
            self,
            add, //
        },
        helper, //
    },
    nf::{
        entry::{
            help::{
                Help,
                Helper, //
            },
            l4proto::Parts, //
        },
        expect::{
            draft::{
                Draft,
                ExpectSpec, //
            },
            expectation::{
                ExpectNat,
                Expectation, //
            },
            expectfn,
            helper_name::{
                HelperName,
                HELPER_NAME_LEN, //
            },
            linked::Seen,
            table, //
        },
        kernel::{
            attr::{
                size_of_attribute,
                Attribute,
                Attributes,
                Message,
                Policy, //
            },
            nfnetlink::{
                Dump,
                Handler,
                Head,
                Messages,
                Peer,
                Progress,
                Request,
                Requester,
                CTNETLINK_EXP, //
            },
            time::HZ, //
        },
        prelude::*, //
    },
    proto::types::{
        mask::TupleMask,
        tuple::L4Key, //
    },
};

use super::{
    change,
    cta::*,
    get,
    policy,
    tuple, //
};

/// The policies of messages about expectations (`ctattr_expect`).
static POLICY: [Policy; CTA_EXPECT_MAX + 1] = Policy::table([
    (CTA_EXPECT_MASTER, Policy::NESTED),
    (CTA_EXPECT_TUPLE, Policy::NESTED),
    (CTA_EXPECT_MASK, Policy::NESTED),
    (CTA_EXPECT_TIMEOUT, Policy::U32),
    (CTA_EXPECT_ID, Policy::U32),
    (CTA_EXPECT_HELP_NAME, policy::HELPER_NAME),
    (CTA_EXPECT_ZONE, Policy::U16),
    (CTA_EXPECT_FLAGS, Policy::be32_within(NF_CT_EXPECT_MASK)),
    (CTA_EXPECT_CLASS, Policy::U32),
    (CTA_EXPECT_NAT, Policy::NESTED),
    (CTA_EXPECT_FN, Policy::text_up_to(0)),
]);

static NAT_POLICY: [Policy; CTA_EXPECT_NAT_MAX + 1] = Policy::table([
    (CTA_EXPECT_NAT_DIR, Policy::be32_up_to(1)),
    (CTA_EXPECT_NAT_TUPLE, Policy::NESTED),
]);

/// Returns the id of an expectation, in the machine's byte order: to user space it is no number.
fn id_of(expectation: &Expectation) -> [u8; 4] {
    id::of_expectation(expectation).to_ne_bytes()
}

/// Upper bound of the bytes that the attributes of an expectation take in a message.
pub(super) const SIZE: usize = {
    const NEST: usize = size_of_attribute(0);
    const TUPLE: usize = 4 * NEST + tuple::ADDRESSES_SIZE + 4 * size_of_attribute(4);
    /// The names of functions are constants in kernel modules, and shorter.
    const FUNCTION: usize = size_of_attribute(64);
    4 * TUPLE + NEST + 5 * size_of_attribute(4) + size_of_attribute(HELPER_NAME_LEN) + FUNCTION
};

/// Writes the attributes of an expectation.
pub(super) fn put(seen: &Seen<'_>, message: &mut Message<'_>, rcu: Rcu<'_>) -> Result {
    let own: Tuple = seen.tuple();
    let master: Tuple = seen.master_tuple();
    tuple::put_nest(CTA_EXPECT_TUPLE, &own, message)?;
    tuple::put_nest(CTA_EXPECT_MASK, &mask_tuple(&own, &seen.mask()), message)?;
    tuple::put_nest(CTA_EXPECT_MASTER, &master, message)?;
    let nat = seen.nat();
    if !nat.is_none() {
        let key = L4Key {
            src: nat.key,
            dst: [0; 2],
        };
        let nat_tuple = Tuple::new(master.l3num, nat.address, [0; 16], key, master.protonum);
        message.nest(CTA_EXPECT_NAT, |message| {
            message.put_be32(CTA_EXPECT_NAT_DIR, nat.dir.to_u8().into())?;
            tuple::put_nest(CTA_EXPECT_NAT_TUPLE, &nat_tuple, message)
        })?;
    }
    message.put_be32(CTA_EXPECT_TIMEOUT, seen.remaining().unwrap_or(0) / HZ)?;
    message.put(CTA_EXPECT_ID, &id_of(seen))?;
    message.put_be32(CTA_EXPECT_FLAGS, seen.flags().bits() & NF_CT_EXPECT_MASK)?;
    message.put_be32(CTA_EXPECT_CLASS, seen.class())?;
    if let Some(helper) = seen.helper() {
        message.put_text(CTA_EXPECT_HELP_NAME, helper.name().text())?;
    }
    let address = seen.expectfn_address();
    let expectfn =
        expectfn::walk(rcu).find(|known| address.is_some() && known.address() == address);
    match expectfn {
        Some(expectfn) => message.put_text(CTA_EXPECT_FN, expectfn.name()),
        None => Ok(()),
    }
}

/// Returns the mask of an expectation in the form of a tuple: all of the destination is compared.
fn mask_tuple(own: &Tuple, mask: &TupleMask) -> Tuple {
    let key = L4Key {
        src: mask.src_key,
        dst: [u8::MAX; 2],
    };
    Tuple::new(own.l3num, mask.src, [u8::MAX; 16], key, own.protonum)
}

/// Adds the message about an expectation.
fn add_expectation(
    seen: &Seen<'_>,
    peer: Peer,
    messages: &mut Messages<'_>,
    rcu: Rcu<'_>,
) -> Result {
    let head = Head {
        peer,
        subsystem: CTNETLINK_EXP,
        message: IPCTNL_MSG_EXP_NEW,
        flags: Head::multi(peer),
        family: seen.tuple().l3num,
        resource: 0,
    };
    messages.add(&head, |message| put(seen, message, rcu))
}

fn read_tuple(attribute: Attribute<'_>, family: u8) -> Result<Tuple> {
    Ok(tuple::get(
        attribute,
        Direction::Original,
        family,
        None,
        Parts::ALL,
    )?)
}

/// Returns whether an expectation has the id in the request, if the request has one.
fn id_matches(request: &Request<'_>, expectation: &Expectation) -> Result<bool> {
    match request.get(CTA_EXPECT_ID) {
        Some(wanted) => Ok(wanted.bytes()? == id_of(expectation)),
        None => Ok(true),
    }
}

/// The reason why a request about expectations is refused.
enum ExpectError {
    /// `EINVAL`: the request has no tuple, or a new expectation no mask or master.
    Incomplete,
    /// `EINVAL`: the name is too long for a helper's, or is no string.
    BadName,
    /// `ENOENT`: no expectation has the tuple, or it has another id.
    NotFound,
    /// `EEXIST`: an expectation has the tuple, and the request is exclusive (`NLM_F_EXCL`).
    Exists,
    /// `ENOENT`: no entry is the master.
    NoMaster,
    /// `EOPNOTSUPP`: the master has no helper, or no helper has the name.
    NoHelper,
    /// `EINVAL`: the helper does not have the class.
    NoClass,
    /// `EINVAL`: no function has the name.
    NoFunction,
    /// `ENOMEM`: no memory.
    NoMemory,
}

impl From<ExpectError> for Error {
    fn from(error: ExpectError) -> Self {
        match error {
            ExpectError::Incomplete
            | ExpectError::BadName
            | ExpectError::NoClass
            | ExpectError::NoFunction => EINVAL,
            ExpectError::NotFound | ExpectError::NoMaster => ENOENT,
            ExpectError::Exists => EEXIST,
            ExpectError::NoHelper => EOPNOTSUPP,
            ExpectError::NoMemory => ENOMEM,
        }
    }
}

/// Reads one expectation, those of a master, or all.
pub(super) struct Get;

impl Handler for Get {
    const POLICY: &'static [Policy] = &POLICY;

    fn handle(request: &Request<'_>) -> Result {
        if request.is_dump() {
            return match request.get(CTA_EXPECT_MASTER) {
                Some(master) => dump_of_master(request, master),
                None => dump(request, None),
            };
        }
        let zone = tuple::get_zone(request.get(CTA_EXPECT_ZONE))?;
        let attribute = request
            .get(CTA_EXPECT_TUPLE)
            .or(request.get(CTA_EXPECT_MASTER));
        let tuple = read_tuple(attribute.ok_or(ExpectError::Incomplete)?, request.family())?;
        request.answer(|messages| {
            let section = RcuGuard::new();
            let rcu = section.token();
            let found = expect::find(request.net(), zone, &tuple, rcu, |seen| {
                if id_matches(request, seen)? {
                    add_expectation(seen, request.peer(), messages, rcu)
                } else {
                    Err(ExpectError::NotFound.into())
                }
            });
            found.ok_or(ExpectError::NotFound)?
        })
    }
}

/// Dumps the expectations of one master.
fn dump_of_master(request: &Request<'_>, master: Attribute<'_>) -> Result {
    let tuple = read_tuple(master, request.family())?;
    let zone = tuple::get_zone(request.get(CTA_EXPECT_ZONE))?;
    let master = get::find(request.net(), zone, &tuple).ok_or(ExpectError::NoMaster)?;
    if master.extensions().find::<Help>().is_none() {
        return Ok(());
    }
    dump(request, Some(master))
}

fn dump(request: &Request<'_>, master: Option<ARef<Conn>>) -> Result {
    request.dump(ExpectDump {
        peer: request.peer(),
        family: request.family().into(),
        master,
        bucket: 0,
        address: 0,
    })
}

/// A dump of expectations, by bucket, and within a bucket by address in memory.
///
/// In this order the dump reports an expectation that exists all the time exactly once, whatever
/// else is added or removed meanwhile, and none twice.
struct ExpectDump {
    peer: Peer,
    /// 0: any.
    family: u16,
    /// [`None`]: any.
    master: Option<ARef<Conn>>,
    bucket: u32,
    /// The lowest address that the next expectation may have.
    address: usize,
}

impl Dump for ExpectDump {
    fn fill(&mut self, net: &Net, messages: &mut Messages<'_>) -> Progress {
        while self.bucket < table::buckets() {
            let section = RcuGuard::new();
            let rcu = section.token();
            let next = table::walk(self.bucket, rcu)
                .filter(|seen| seen.address() >= self.address && self.is_wanted(seen, net))
                .min_by_key(|seen| seen.address());
            match next {
                Some(seen) if add_expectation(&seen, self.peer, messages, rcu).is_err() => {
                    return Progress::More;
                }
                Some(seen) => self.address = seen.address().saturating_add(1),
                None => {
                    self.bucket = self.bucket.saturating_add(1);
                    self.address = 0;
                }
            }
        }
        Progress::End
    }
}

impl ExpectDump {
    fn is_wanted(&self, seen: &Seen<'_>, net: &Net) -> bool {
        // As in C: an expired one is left out of the dump of all, but not of a master's.
        seen.is_in(net)
            && (self.master.is_some() || !seen.is_expired())
            && (self.family == 0 || seen.tuple().l3num == self.family)
            && self
                .master
                .as_ref()
                .is_none_or(|master| seen.has_master(master))
    }
}

/// Deletes one expectation, those of a helper, or all.
pub(super) struct Delete;

impl Handler for Delete {
    const POLICY: &'static [Policy] = &POLICY;

    fn handle(request: &Request<'_>) -> Result {
        let (net, by) = (request.net(), request.requester());
        if let Some(tuple) = request.get(CTA_EXPECT_TUPLE) {
            let zone = tuple::get_zone(request.get(CTA_EXPECT_ZONE))?;
            let tuple = read_tuple(tuple, request.family())?;
            return expect::remove_one(net, zone, &tuple, by, |found| id_matches(request, found));
        }
        let name = match request.get(CTA_EXPECT_HELP_NAME) {
            Some(name) => Some(HelperName::from_attribute(name).ok_or(ExpectError::BadName)?),
            None => None,
        };
        expect::remove_where(Some(net), by, |linked| match &name {
            Some(name) => linked.helper().is_some_and(|helper| helper.name() == *name),
            None => true,
        });
        Ok(())
    }
}

/// Creates an expectation (`NLM_F_CREATE`), or changes the timeout of the one that has the tuple.
pub(super) struct New;

impl Handler for New {
    const POLICY: &'static [Policy] = &POLICY;

    fn handle(request: &Request<'_>) -> Result {
        let need = |number| request.get(number).ok_or(ExpectError::Incomplete);
        let (own, mask, master) = (
            need(CTA_EXPECT_TUPLE)?,
            need(CTA_EXPECT_MASK)?,
            need(CTA_EXPECT_MASTER)?,
        );
        let zone = tuple::get_zone(request.get(CTA_EXPECT_ZONE))?;
        let own = read_tuple(own, request.family())?;
        let timeout = request.get(CTA_EXPECT_TIMEOUT).map(change::timeout);

        let changed = expect::change_one(request.net(), zone, &own, |found, locked| -> Result {
            if request.is_exclusive() {
                return Err(ExpectError::Exists.into());
            }
            if let Some(timeout) = timeout {
                found.set_remaining(timeout?, locked);
            }
            Ok(())
        });
        match changed {
            Some(result) => result,
            None if request.creates() => create(request, zone, own, mask, master),
            None => Err(ExpectError::NotFound.into()),
        }
    }
}

fn create(
    request: &Request<'_>,
    zone: Zone,
    own: Tuple,
    mask: Attribute<'_>,
    master: Attribute<'_>,
) -> Result {
    let mask = read_tuple(mask, request.family())?;
    let master = read_tuple(master, request.family())?;
    let master = get::find(request.net(), zone, &master).ok_or(ExpectError::NoMaster)?;
    let section = RcuGuard::new();
    add_to_master(
        &master,
        &request.attributes(),
        own,
        &mask,
        None,
        request.requester(),
        section.token(),
    )
}

/// Creates an expectation of `master` that comes with the verdict on one of its packets.
pub(super) fn attach(
    master: &Conn,
    attribute: Attribute<'_>,
    by: Requester,
    rcu: Rcu<'_>,
) -> Result {
    let nest = attribute.nest(&POLICY)?;
    let (Some(own), Some(mask)) = (nest.get(CTA_EXPECT_TUPLE), nest.get(CTA_EXPECT_MASK)) else {
        return Err(ExpectError::Incomplete.into());
    };
    let family = family_of(master);
    let own = read_tuple(own, family)?;
    let mask = read_tuple(mask, family)?;
    let assigned = match nest.get(CTA_EXPECT_HELP_NAME) {
        Some(name) => {
            let name = HelperName::from_attribute(name).ok_or(ExpectError::BadName)?;
            let found = helper::find(&name, family.into(), own.protonum, rcu);
            Some(found.ok_or(ExpectError::NoHelper)?)
        }
        None => None,
    };
    add_to_master(master, &nest.attributes(), own, &mask, assigned, by, rcu)
}

fn family_of(conn: &Conn) -> u8 {
    // CAST: Address families have 8 bits.
    conn.tuple(Direction::Original).l3num as u8
}

/// Adds an expectation of `master`, for connections like `own` where `mask` has bits.
///
/// Errors are those of [`ExpectError`], of [`RelateError`](add::RelateError) and of the attributes.
fn add_to_master(
    master: &Conn,
    attributes: &Attributes<'_>,
    own: Tuple,
    mask: &Tuple,
    assigned: Option<&Helper>,
    by: Requester,
    rcu: Rcu<'_>,
) -> Result {
    let helper = helper::of(master, rcu).ok_or(ExpectError::NoHelper)?;
    let number = |number| attributes.get(number).map_or(Ok(0), Attribute::be32);
    let class = number(CTA_EXPECT_CLASS)?;
    if class > helper.last_class() {
        return Err(ExpectError::NoClass.into());
    }
    let expectfn = match attributes.get(CTA_EXPECT_FN) {
        Some(name) => {
            let name = name.payload().split(|byte| *byte == 0).next();
            let name = name.unwrap_or_default();
            let found = expectfn::walk(rcu).find(|known| known.name() == name);
            Some(found.ok_or(ExpectError::NoFunction)?)
        }
        None => None,
    };
    let nat = match attributes.get(CTA_EXPECT_NAT) {
        Some(attribute) => read_nat(attribute, family_of(master))?,
        None => ExpectNat::NONE,
    };
    let flags = number(CTA_EXPECT_FLAGS)? & !NF_CT_EXPECT_USERSPACE;

    let mut draft = Draft::new(master).ok_or(ExpectError::NoMemory)?;
    draft.describe(&ExpectSpec {
        tuple: own,
        mask: TupleMask::new(mask.src, mask.src_key),
        flags,
        class,
        helper: Some(helper),
        assigned,
        expectfn,
        nat,
    });
    Ok(add::relate(draft, false, by)?)
}

/// Reads the NAT of the expected connection: a direction, and an address and port, which are in the
/// source fields of a tuple.
fn read_nat(attribute: Attribute<'_>, family: u8) -> Result<ExpectNat> {
    let nest = attribute.nest(&NAT_POLICY)?;
    let (Some(dir), Some(nat_tuple)) =
        (nest.get(CTA_EXPECT_NAT_DIR), nest.get(CTA_EXPECT_NAT_TUPLE))
    else {
        return Err(EINVAL);
    };
    let nat_tuple = read_tuple(nat_tuple, family)?;
    Ok(ExpectNat {
        dir: match dir.be32()? {
            0 => Direction::Original,
            _ => Direction::Reply,
        },
        address: nat_tuple.src,
        key: nat_tuple.src_key,
    })
}
