// SPDX-License-Identifier: GPL-2.0

//! Expectations, as user space sees them, makes them and takes them away.

use kernel::{
    prelude::*,
    sync::aref::ARef, //
};

use crate::{
    ct::{
        expect::{
            self,
            add, //
        },
        helper,
        packet::kernel_hook, //
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
            table,
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
                EXPECTATIONS, //
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
    attributes::{
        expect as number,
        expect_message as message,
        expect_nat, //
    },
    change,
    get,
    tuple, //
};

/// What the attributes of a message about expectations must look like.
pub(super) static POLICY: [Policy; number::PLACES] = {
    let mut policy = [const { Policy::ANY }; number::PLACES];
    policy[number::MASTER as usize] = Policy::NESTED;
    policy[number::TUPLE as usize] = Policy::NESTED;
    policy[number::MASK as usize] = Policy::NESTED;
    policy[number::TIMEOUT as usize] = Policy::U32;
    policy[number::ID as usize] = Policy::U32;
    // CAST: a handful.
    policy[number::HELPER as usize] = Policy::text_up_to(HELPER_NAME_LEN as u16 - 1);
    policy[number::ZONE as usize] = Policy::U16;
    policy[number::FLAGS as usize] = Policy::be32_within(number::KNOWN_FLAGS);
    policy[number::CLASS as usize] = Policy::U32;
    policy[number::NAT as usize] = Policy::NESTED;
    policy[number::FUNCTION as usize] = Policy::text_up_to(0);
    policy
};

static NAT_POLICY: [Policy; expect_nat::PLACES] =
    [Policy::ANY, Policy::be32_up_to(1), Policy::NESTED];

/// A number that stays with it.
fn id(expectation: &Expectation) -> [u8; 4] {
    let key = expectation.tuple().key();
    kernel_hook::number_of(&key, expectation.address()).to_ne_bytes()
}

/// Bytes that one takes in a message, without its head.
pub(super) const SIZE: usize = {
    const NEST: usize = size_of_attribute(0);
    const TUPLE: usize = 4 * NEST + tuple::ADDRESSES_SIZE + 4 * size_of_attribute(4);
    /// Names of functions are text in modules of the kernel.
    const FUNCTION: usize = size_of_attribute(64);
    4 * TUPLE + NEST + 5 * size_of_attribute(4) + size_of_attribute(HELPER_NAME_LEN) + FUNCTION
};

/// Writes an expectation.
pub(super) fn put(seen: &Seen<'_>, message: &mut Message<'_>, rcu: Rcu<'_>) -> Result {
    let own: Tuple = seen.tuple();
    let master: Tuple = seen.master_tuple();
    tuple::put_nest(number::TUPLE, &own, message)?;
    tuple::put_nest(number::MASK, &mask_tuple(&own, &seen.mask()), message)?;
    tuple::put_nest(number::MASTER, &master, message)?;
    let nat = seen.nat();
    if !nat.is_none() {
        let key = L4Key {
            src: nat.key,
            dst: [0; 2],
        };
        let before = Tuple::new(master.l3num, nat.address, [0; 16], key, master.protonum);
        message.nest(number::NAT, |message| {
            message.put_be32(expect_nat::DIRECTION, nat.dir.to_u8().into())?;
            tuple::put_nest(expect_nat::TUPLE, &before, message)
        })?;
    }
    message.put_be32(number::TIMEOUT, seen.remaining().unwrap_or(0) / HZ)?;
    message.put(number::ID, &id(seen))?;
    message.put_be32(number::FLAGS, seen.flags().bits() & number::KNOWN_FLAGS)?;
    message.put_be32(number::CLASS, seen.class())?;
    if let Some(helper) = seen.helper() {
        message.put_text(number::HELPER, helper.name().text())?;
    }
    let address = seen.expectfn_address();
    let expectfn =
        expectfn::walk(rcu).find(|known| address.is_some() && known.address() == address);
    match expectfn {
        Some(expectfn) => message.put_text(number::FUNCTION, expectfn.name()),
        None => Ok(()),
    }
}

/// A mask in the shape of a tuple: the destination counts whole.
fn mask_tuple(own: &Tuple, mask: &TupleMask) -> Tuple {
    let key = L4Key {
        src: mask.src_key,
        dst: [u8::MAX; 2],
    };
    Tuple::new(own.l3num, mask.src, [u8::MAX; 16], key, own.protonum)
}

fn write_answer(seen: &Seen<'_>, peer: Peer, messages: &mut Messages<'_>, rcu: Rcu<'_>) -> Result {
    let head = Head {
        peer,
        subsystem: EXPECTATIONS,
        message: message::NEW,
        flags: Head::multi(peer),
        family: seen.tuple().l3num,
        resource: 0,
    };
    messages.add(&head, |message| put(seen, message, rcu))
}

fn read_tuple(attribute: Attribute<'_>, family: u8) -> Result<Tuple> {
    tuple::get(attribute, Direction::Original, family, None, Parts::ALL)
}

/// Whether the number that a request may tell is that of an expectation.
fn is_meant(request: &Request<'_>, expectation: &Expectation) -> Result<bool> {
    match request.get(number::ID) {
        Some(wanted) => Ok(wanted.bytes()? == id(expectation)),
        None => Ok(true),
    }
}

/// One expectation, or all of them, or those of a master.
pub(super) struct Get;

impl Handler for Get {
    const POLICY: &'static [Policy] = &POLICY;

    fn handle(request: &Request<'_>) -> Result {
        if request.is_dump() {
            return match request.get(number::MASTER) {
                Some(master) => dump_of(request, master),
                None => dump(request, None),
            };
        }
        let zone = tuple::get_zone(request.get(number::ZONE))?;
        let attribute = request.get(number::TUPLE).or(request.get(number::MASTER));
        let tuple = read_tuple(attribute.ok_or(EINVAL)?, request.family())?;
        request.answer(|messages| {
            let section = RcuGuard::new();
            let rcu = section.token();
            let told = expect::find(request.net(), zone, &tuple, rcu, |seen| {
                if is_meant(request, seen)? {
                    write_answer(seen, request.peer(), messages, rcu)
                } else {
                    Err(ENOENT)
                }
            });
            told.unwrap_or(Err(ENOENT))
        })
    }
}

/// Those that a connection announced.
fn dump_of(request: &Request<'_>, master: Attribute<'_>) -> Result {
    let tuple = read_tuple(master, request.family())?;
    let zone = tuple::get_zone(request.get(number::ZONE))?;
    let master = get::find(request.net(), zone, &tuple).ok_or(ENOENT)?;
    if master.extensions().find::<Help>().is_none() {
        return Ok(());
    }
    dump(request, Some(master))
}

fn dump(request: &Request<'_>, master: Option<ARef<Conn>>) -> Result {
    request.dump(Expectations {
        peer: request.peer(),
        family: request.family().into(),
        master,
        bucket: 0,
        address: 0,
    })
}

/// All expectations, in the order of buckets, and in a bucket of addresses in memory: whatever
/// comes and goes, none is told of twice, and none left out that is there all the time.
struct Expectations {
    peer: Peer,
    /// 0: any.
    family: u16,
    /// [`None`]: of any.
    master: Option<ARef<Conn>>,
    bucket: u32,
    address: usize,
}

impl Dump for Expectations {
    fn go_on(&mut self, net: &Net, messages: &mut Messages<'_>) -> Progress {
        while self.bucket < table::buckets() {
            let section = RcuGuard::new();
            let rcu = section.token();
            let next = table::walk(self.bucket, rcu)
                .filter(|seen| seen.address() >= self.address && self.is_wanted(seen, net))
                .min_by_key(|seen| seen.address());
            match next {
                Some(seen) if write_answer(&seen, self.peer, messages, rcu).is_err() => {
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

impl Expectations {
    fn is_wanted(&self, seen: &Seen<'_>, net: &Net) -> bool {
        seen.is_in(net)
            && !seen.is_expired()
            && (self.family == 0 || seen.tuple().l3num == self.family)
            && self
                .master
                .as_ref()
                .is_none_or(|master| seen.has_master(master))
    }
}

/// Takes away one, those of a helper, or all.
pub(super) struct Delete;

impl Handler for Delete {
    const POLICY: &'static [Policy] = &POLICY;

    fn handle(request: &Request<'_>) -> Result {
        let (net, by) = (request.net(), request.requester());
        if let Some(tuple) = request.get(number::TUPLE) {
            let zone = tuple::get_zone(request.get(number::ZONE))?;
            let tuple = read_tuple(tuple, request.family())?;
            return expect::remove_one(net, zone, &tuple, by, |found| is_meant(request, found));
        }
        let name = match request.get(number::HELPER) {
            Some(name) => Some(HelperName::from_attribute(name).ok_or(EINVAL)?),
            None => None,
        };
        expect::remove_where(Some(net), by, |linked| match &name {
            Some(name) => linked.helper().is_some_and(|helper| helper.name() == *name),
            None => true,
        });
        Ok(())
    }
}

/// Makes one, or changes one.
pub(super) struct New;

impl Handler for New {
    const POLICY: &'static [Policy] = &POLICY;

    fn handle(request: &Request<'_>) -> Result {
        let need = |place| request.get(place).ok_or(EINVAL);
        let (own, mask, master) = (
            need(number::TUPLE)?,
            need(number::MASK)?,
            need(number::MASTER)?,
        );
        let zone = tuple::get_zone(request.get(number::ZONE))?;
        let own = read_tuple(own, request.family())?;
        let timeout = request.get(number::TIMEOUT).map(change::timeout);

        let changed = expect::change_one(request.net(), zone, &own, |found, locked| {
            if request.is_exclusive() {
                return Err(EEXIST);
            }
            if let Some(timeout) = timeout {
                found.set_remaining(timeout?, locked);
            }
            Ok(())
        });
        match changed {
            Some(result) => result,
            None if request.creates() => make(request, zone, own, mask, master),
            None => Err(ENOENT),
        }
    }
}

fn make(
    request: &Request<'_>,
    zone: Zone,
    own: Tuple,
    mask: Attribute<'_>,
    master: Attribute<'_>,
) -> Result {
    let mask = read_tuple(mask, request.family())?;
    let master = read_tuple(master, request.family())?;
    let master = get::find(request.net(), zone, &master).ok_or(ENOENT)?;
    let section = RcuGuard::new();
    relate(
        &master,
        &request.attributes(),
        own,
        &mask,
        None,
        request.requester(),
        section.token(),
    )
}

/// The announcement that comes with a packet's verdict.
pub(super) fn announce(
    master: &Conn,
    attribute: Attribute<'_>,
    by: Requester,
    rcu: Rcu<'_>,
) -> Result {
    let nest = attribute.nest(&POLICY)?;
    let (Some(own), Some(mask)) = (nest.get(number::TUPLE), nest.get(number::MASK)) else {
        return Err(EINVAL);
    };
    let family = family_of(master);
    let own = read_tuple(own, family)?;
    let mask = read_tuple(mask, family)?;
    let assigned = match nest.get(number::HELPER) {
        Some(name) => {
            let name = HelperName::from_attribute(name).ok_or(EINVAL)?;
            let found = helper::find(&name, family.into(), own.protonum, rcu);
            Some(found.ok_or(EOPNOTSUPP)?)
        }
        None => None,
    };
    relate(master, &nest.attributes(), own, &mask, assigned, by, rcu)
}

fn family_of(conn: &Conn) -> u8 {
    // CAST: families are a byte.
    conn.tuple(Direction::Original).l3num as u8
}

/// Adds an expectation of a connection. `EOPNOTSUPP`: the connection has no helper.
fn relate(
    master: &Conn,
    attributes: &Attributes<'_>,
    own: Tuple,
    mask: &Tuple,
    assigned: Option<&Helper>,
    by: Requester,
    rcu: Rcu<'_>,
) -> Result {
    let helper = helper::of(master, rcu).ok_or(EOPNOTSUPP)?;
    let number = |place| attributes.get(place).map_or(Ok(0), Attribute::be32);
    let class = number(number::CLASS)?;
    if class > helper.last_class() {
        return Err(EINVAL);
    }
    let expectfn = match attributes.get(number::FUNCTION) {
        Some(name) => {
            let name = name.payload().split(|byte| *byte == 0).next();
            let name = name.unwrap_or_default();
            let found = expectfn::walk(rcu).find(|known| known.name() == name);
            Some(found.ok_or(EINVAL)?)
        }
        None => None,
    };
    let nat = match attributes.get(number::NAT) {
        Some(attribute) => read_nat(attribute, family_of(master))?,
        None => ExpectNat::NONE,
    };
    let flags = number(number::FLAGS)? & !number::USERSPACE_FLAG;

    let mut draft = Draft::new(master).ok_or(ENOMEM)?;
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

fn read_nat(attribute: Attribute<'_>, family: u8) -> Result<ExpectNat> {
    let nest = attribute.nest(&NAT_POLICY)?;
    let (Some(dir), Some(before)) = (nest.get(expect_nat::DIRECTION), nest.get(expect_nat::TUPLE))
    else {
        return Err(EINVAL);
    };
    let before = read_tuple(before, family)?;
    Ok(ExpectNat {
        dir: match dir.be32()? {
            0 => Direction::Original,
            _ => Direction::Reply,
        },
        address: before.src,
        key: before.src_key,
    })
}
