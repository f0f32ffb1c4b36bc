// SPDX-License-Identifier: GPL-2.0

//! Entries that user space makes, or changes: what a dump told of an entry makes the same entry
//! again.

use kernel::{
    prelude::*,
    sync::aref::ARef, //
};

use crate::{
    ct::{
        entry::{
            self,
            events, //
        },
        helper,
        life::{
            confirm,
            create,
            lookup::LookupKey, //
        },
        table::TupleHash, //
    },
    nf::{
        entry::{
            conn::Status,
            ecache::Event,
            ext::{
                self,
                Counters,
                Labels,
                SeqAdjust,
                Timestamps, //
            },
            fresh::Fresh,
            l4proto::Parts, //
        },
        expect::{
            helper_name::HelperName,
            module, //
        },
        kernel::{
            attr::{
                Attribute,
                Policy, //
            },
            nfnetlink::{
                Handler,
                Request, //
            },
            time, //
        },
        packet::nat,
        prelude::*, //
    },
};

use super::{
    attributes::entry as number,
    change::{
        self,
        Changes,
        Helped,
        LabelBits,
        Mark,
        Shifts,
        Synproxy, //
    },
    get,
    policy::POLICY,
    protocol::ProtoInfo,
    tuple, //
};

/// What may be new of an entry that user space made or changed.
const ANYTHING: u32 = Event::Reply.mask()
    | Event::Assured.mask()
    | Event::Helper.mask()
    | Event::ProtoInfo.mask()
    | Event::SeqAdjust.mask()
    | Event::Mark.mask()
    | Event::SynProxy.mask();

/// Makes an entry, or changes one.
pub(super) struct New;

impl Handler for New {
    const POLICY: &'static [Policy] = &POLICY;

    fn handle(request: &Request<'_>) -> Result {
        let mut zone = tuple::get_zone(request.get(number::ZONE))?;
        let mut read = |place, direction| -> Result<Option<Tuple>> {
            let attribute: Option<Attribute<'_>> = request.get(place);
            attribute
                .map(|tuple| {
                    let family = request.family();
                    tuple::get(tuple, direction, family, Some(&mut zone), Parts::ALL)
                })
                .transpose()
        };
        let original = read(number::ORIGINAL, Direction::Original)?;
        let reply = read(number::REPLY, Direction::Reply)?;

        let (found, hash) = match original.as_ref().or(reply.as_ref()) {
            Some(tuple) => {
                let section = RcuGuard::new();
                let wanted = LookupKey {
                    key: tuple.key(),
                    zone,
                    net: request.net(),
                };
                wanted.find(section.token())
            }
            None => (None, TupleHash::default()),
        };
        match found {
            Some(_) if request.is_exclusive() => Err(EEXIST),
            Some((conn, _)) => change(request, &conn),
            None if !request.creates() => Err(ENOENT),
            None => match (original, reply) {
                (Some(original), Some(reply)) if original.protonum == reply.protonum => make(
                    request,
                    &Ends {
                        zone,
                        original,
                        reply,
                    },
                    hash,
                ),
                _ => Err(EINVAL),
            },
        }
    }
}

fn change(request: &Request<'_>, conn: &Conn) -> Result {
    Changes::get(&request.attributes(), conn)?.apply(conn);
    // Who could not be told is told with the next event.
    let _ = events::notify_now(conn, ANYTHING | Event::Label.mask(), request.requester());
    Ok(())
}

/// What a new entry is found by.
struct Ends {
    zone: Zone,
    original: Tuple,
    reply: Tuple,
}

/// What a new entry gets, but for the helper and NAT.
struct NewAttrs {
    status: Option<u32>,
    shifts: Shifts,
    told: Option<ProtoInfo>,
    synproxy: Synproxy,
    mark: Option<Mark>,
    master: Option<ARef<Conn>>,
}

impl NewAttrs {
    /// In the order in which mistakes are told.
    fn get(request: &Request<'_>, ends: &Ends) -> Result<Self> {
        let attributes = request.attributes();
        Ok(Self {
            status: request
                .get(number::STATUS)
                .map(|attribute| change::status(Status::of(StatusBit::Confirmed), attribute))
                .transpose()?,
            shifts: Shifts::get(&attributes, true)?,
            told: request
                .get(number::PROTOCOL_INFO)
                .map(|attribute| ProtoInfo::get(attribute, ends.original.protonum))
                .transpose()?,
            synproxy: Synproxy::get(&attributes, HAS_SYNPROXY)?,
            mark: Mark::get(&attributes)?,
            master: request
                .get(number::MASTER)
                .map(|attribute| master(request, attribute, ends.zone))
                .transpose()?,
        })
    }

    fn apply(self, fresh: &mut Fresh) {
        let conn = fresh.conn();
        if let Some(status) = self.status {
            conn.change_status(status, 0);
        }
        self.shifts.apply(conn);
        if let Some(told) = self.told {
            told.set(conn);
        }
        self.synproxy.apply(conn);
        if let Some(mark) = self.mark {
            mark.apply(conn);
        }
        if let Some(master) = self.master {
            fresh.set_master_only(master);
        }
    }
}

/// Whether the kernel knows SYNPROXY.
const HAS_SYNPROXY: bool = cfg!(CONFIG_NETFILTER_SYNPROXY);

fn master(request: &Request<'_>, attribute: Attribute<'_>, zone: Zone) -> Result<ARef<Conn>> {
    let tuple = tuple::get(
        attribute,
        Direction::Original,
        request.family(),
        None,
        Parts::ALL,
    )?;
    get::find(request.net(), zone, &tuple).ok_or(ENOENT)
}

fn make(request: &Request<'_>, ends: &Ends, hash: TupleHash) -> Result {
    let timeout = change::timeout(request.get(number::TIMEOUT).ok_or(EINVAL)?)?;
    let help = request.get(number::HELP).map(Helped::get).transpose()?;
    if let Some(help) = &help {
        need_helper(&help.name, &ends.original)?;
    }
    let nat = [number::NAT_DESTINATION, number::NAT_SOURCE].map(|place| request.get(place));
    let translated = nat.iter().any(Option::is_some);
    let mut attrs = Some(NewAttrs::get(request, ends));
    if !translated {
        // With NAT its mistakes are told first, and they need an entry.
        attrs = Some(Ok(attrs.take().ok_or(EINVAL)??));
    }

    let section = RcuGuard::new();
    let rcu = section.token();
    let conn = create::create_from_user(
        request.net(),
        ends.zone,
        [&ends.original, &ends.reply],
        hash,
        |fresh| {
            if let Some(help) = &help {
                give_helper(fresh, help, rcu)?;
            }
            if translated {
                let [destination, source] = nat;
                nat::set_up(fresh, false, destination)?;
                nat::set_up(fresh, true, source)?;
            }
            let attrs = attrs.take().ok_or(EINVAL)??;
            add_parts(fresh, request);
            attrs.apply(fresh);
            Ok(())
        },
        rcu,
    )?;
    conn.set_timeout(time::jiffies32().wrapping_add(timeout));
    entry::note_start(&conn);
    confirm::insert_from_user(conn.clone(), rcu)?;
    drop(section);
    announce(request, &conn);
    Ok(())
}

/// Tells of a new entry, after it got its labels.
fn announce(request: &Request<'_>, conn: &Conn) {
    let begun = if conn.has(StatusBit::Expected) {
        Event::Related
    } else {
        Event::New
    };
    let labelled = LabelBits::get(&request.attributes())
        .is_ok_and(|labels| labels.is_some_and(|labels| labels.apply(conn).is_ok()));
    let labelled = if labelled { Event::Label.mask() } else { 0 };
    // Who could not be told is told with the next event.
    let _ = events::notify_now(
        conn,
        ANYTHING | begun.mask() | labelled,
        request.requester(),
    );
}

/// Sees to it that there is a helper of that name, if need be by having its module loaded.
/// `EOPNOTSUPP`: there is none.
fn need_helper(name: &HelperName, tuple: &Tuple) -> Result {
    let is_there = || {
        let section = RcuGuard::new();
        helper::find(name, tuple.l3num, tuple.protonum, section.token()).is_some()
    };
    if is_there() {
        return Ok(());
    }
    module::request_helper(name).map_err(|_| EOPNOTSUPP)?;
    if is_there() {
        Ok(())
    } else {
        Err(EOPNOTSUPP)
    }
}

fn give_helper(fresh: &mut Fresh, wanted: &Helped<'_>, rcu: Rcu<'_>) -> Result {
    let original = fresh
        .conn()
        .tuple(crate::proto::types::direction::Direction::Original);
    let helper =
        helper::find(&wanted.name, original.l3num, original.protonum, rcu).ok_or(EOPNOTSUPP)?;
    let reference = helper.get().ok_or(ENOENT)?;
    fresh
        .helper_target()
        .add_help()
        .ok_or(ENOMEM)?
        .set_helper(Some(reference));
    helper.from_nlattr(fresh.conn(), wanted.info, rcu);
    Ok(())
}

/// Gives a new entry the parts that one made by a packet would get, and those that a message may
/// say something of. Without memory for one it goes on without.
fn add_parts(fresh: &mut Fresh, request: &Request<'_>) {
    let net = request.net();
    if net.acct() != 0 {
        let _ = fresh.add::<Counters>();
    }
    if net.tstamp() != 0 {
        let _ = fresh.add::<Timestamps>();
    }
    let _ = events::prepare(fresh, net, None);
    if net.labels_used() {
        let _ = fresh.add::<Labels>();
    }
    if fresh.conn().extensions().find::<SeqAdjust>().is_none() {
        let _ = fresh.add::<SeqAdjust>();
    }
    if HAS_SYNPROXY {
        let _ = fresh.add::<ext::SynProxy>();
    }
}
