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
            draft::Draft,
            expectation::Expectation,
            helper::{
                Name,
                NAME_LEN, //
            },
            helper_table,
            linked::Seen,
            table,
            user::{
                ExpectSpec,
                Saved, //
            },
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
    proto::{
        expect::Mask,
        types::tuple::L4Key, //
    },
};

use super::{
    change,
    cta::*,
    get,
    policy,
    tuple, //
};

/// What the attributes of a message about expectations must look like.
pub(super) static POLICY: [Policy; CTA_EXPECT_MAX + 1] = policy::table([
    (CTA_EXPECT_MASTER, Policy::NESTED),
    (CTA_EXPECT_TUPLE, Policy::NESTED),
    (CTA_EXPECT_MASK, Policy::NESTED),
    (CTA_EXPECT_TIMEOUT, Policy::U32),
    (CTA_EXPECT_ID, Policy::U32),
    // CAST: a handful.
    (
        CTA_EXPECT_HELP_NAME,
        Policy::text_up_to(NAME_LEN as u16 - 1),
    ),
    (CTA_EXPECT_ZONE, Policy::U16),
    (CTA_EXPECT_FLAGS, Policy::be32_within(NF_CT_EXPECT_MASK)),
    (CTA_EXPECT_CLASS, Policy::U32),
    (CTA_EXPECT_NAT, Policy::NESTED),
    (CTA_EXPECT_FN, Policy::text_up_to(0)),
]);

static NAT_POLICY: [Policy; CTA_EXPECT_NAT_MAX + 1] = policy::table([
    (CTA_EXPECT_NAT_DIR, Policy::be32_up_to(1)),
    (CTA_EXPECT_NAT_TUPLE, Policy::NESTED),
]);

/// A number that stays with it.
fn id(expectation: &Expectation) -> [u8; 4] {
    let key = expectation.tuple().key();
    kernel_hook::id_of(&key, expectation.address()).to_ne_bytes()
}

/// Bytes that one takes in a message, without its head.
pub(super) const SIZE: usize = {
    const NEST: usize = size_of_attribute(0);
    const TUPLE: usize = 4 * NEST + tuple::ADDRESSES_SIZE + 4 * size_of_attribute(4);
    /// Names of functions are text in modules of the kernel.
    const FUNCTION: usize = size_of_attribute(64);
    4 * TUPLE + NEST + 5 * size_of_attribute(4) + size_of_attribute(NAME_LEN) + FUNCTION
};

/// Writes an expectation.
pub(super) fn put(seen: &Seen<'_>, message: &mut Message<'_>, rcu: Rcu<'_>) -> Result {
    let own: Tuple = seen.tuple();
    let master: Tuple = seen.master_tuple();
    tuple::put_nest(CTA_EXPECT_TUPLE, &own, message)?;
    tuple::put_nest(CTA_EXPECT_MASK, &mask_tuple(&own, &seen.mask()), message)?;
    tuple::put_nest(CTA_EXPECT_MASTER, &master, message)?;
    if let Some(saved) = seen.saved() {
        let key = L4Key {
            src: saved.key,
            dst: [0; 2],
        };
        let before = Tuple::new(master.l3num, saved.address, [0; 16], key, master.protonum);
        message.nest(CTA_EXPECT_NAT, |message| {
            message.put_be32(CTA_EXPECT_NAT_DIR, saved.dir as u32)?;
            tuple::put_nest(CTA_EXPECT_NAT_TUPLE, &before, message)
        })?;
    }
    message.put_be32(CTA_EXPECT_TIMEOUT, seen.remaining().unwrap_or(0) / HZ)?;
    message.put(CTA_EXPECT_ID, &id(seen))?;
    message.put_be32(CTA_EXPECT_FLAGS, seen.flags().bits() & NF_CT_EXPECT_MASK)?;
    message.put_be32(CTA_EXPECT_CLASS, seen.class())?;
    if let Some(helper) = seen.helper() {
        message.put_text(CTA_EXPECT_HELP_NAME, helper.name().text())?;
    }
    let function = helper_table::functions(rcu)
        .find(|function| seen.function().is_some() && function.address() == seen.function());
    match function {
        Some(function) => function.with_name(|name| message.put_text(CTA_EXPECT_FN, name)),
        None => Ok(()),
    }
}

/// A mask in the shape of a tuple: the destination counts whole.
fn mask_tuple(own: &Tuple, mask: &Mask) -> Tuple {
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
        message: IPCTNL_MSG_EXP_NEW,
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
    match request.get(CTA_EXPECT_ID) {
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
            return match request.get(CTA_EXPECT_MASTER) {
                Some(master) => dump_of(request, master),
                None => dump(request, None),
            };
        }
        let zone = tuple::get_zone(request.get(CTA_EXPECT_ZONE))?;
        let attribute = request
            .get(CTA_EXPECT_TUPLE)
            .or(request.get(CTA_EXPECT_MASTER));
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
    let zone = tuple::get_zone(request.get(CTA_EXPECT_ZONE))?;
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
        if let Some(tuple) = request.get(CTA_EXPECT_TUPLE) {
            let zone = tuple::get_zone(request.get(CTA_EXPECT_ZONE))?;
            let tuple = read_tuple(tuple, request.family())?;
            return expect::remove_one(net, zone, &tuple, by, |found| is_meant(request, found));
        }
        let name = match request.get(CTA_EXPECT_HELP_NAME) {
            Some(name) => Some(Name::of_attribute(name).ok_or(EINVAL)?),
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
            need(CTA_EXPECT_TUPLE)?,
            need(CTA_EXPECT_MASK)?,
            need(CTA_EXPECT_MASTER)?,
        );
        let zone = tuple::get_zone(request.get(CTA_EXPECT_ZONE))?;
        let own = read_tuple(own, request.family())?;
        let timeout = request.get(CTA_EXPECT_TIMEOUT).map(change::timeout);

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
    let (Some(own), Some(mask)) = (nest.get(CTA_EXPECT_TUPLE), nest.get(CTA_EXPECT_MASK)) else {
        return Err(EINVAL);
    };
    let family = family_of(master);
    let own = read_tuple(own, family)?;
    let mask = read_tuple(mask, family)?;
    let assigned = match nest.get(CTA_EXPECT_HELP_NAME) {
        Some(name) => {
            let name = Name::of_attribute(name).ok_or(EINVAL)?;
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
    let class = number(CTA_EXPECT_CLASS)?;
    if class > helper.last_class() {
        return Err(EINVAL);
    }
    let function = match attributes.get(CTA_EXPECT_FN) {
        Some(name) => {
            let name = name.payload().split(|byte| *byte == 0).next();
            let name = name.unwrap_or_default();
            let found =
                helper_table::functions(rcu).find(|function| function.with_name(|own| own == name));
            Some(found.ok_or(EINVAL)?)
        }
        None => None,
    };
    let saved = attributes
        .get(CTA_EXPECT_NAT)
        .map(|attribute| read_saved(attribute, family_of(master)))
        .transpose()?;
    let flags = number(CTA_EXPECT_FLAGS)? & !NF_CT_EXPECT_USERSPACE;

    let draft = Draft::new(master).ok_or(ENOMEM)?;
    draft.describe_as(&ExpectSpec {
        tuple: own,
        mask: Mask {
            src: mask.src,
            src_key: mask.src_key,
            unused: [0; 2],
        },
        flags,
        class,
        helper,
        assigned,
        function,
        saved,
    });
    // Given back when the table has one of its own, or none.
    let _first = draft.first_reference();
    Ok(add::relate(&draft, false, by)?)
}

fn read_saved(attribute: Attribute<'_>, family: u8) -> Result<Saved> {
    let nest = attribute.nest(&NAT_POLICY)?;
    let (Some(dir), Some(before)) = (nest.get(CTA_EXPECT_NAT_DIR), nest.get(CTA_EXPECT_NAT_TUPLE))
    else {
        return Err(EINVAL);
    };
    let before = read_tuple(before, family)?;
    Ok(Saved {
        dir: match dir.be32()? {
            0 => Direction::Original,
            _ => Direction::Reply,
        },
        address: before.src,
        key: before.src_key,
    })
}
