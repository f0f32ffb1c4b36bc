// SPDX-License-Identifier: GPL-2.0

//! `IPCTNL_MSG_CT_NEW`: user space creates an entry, or changes one.
//!
//! The attributes of an entry in a dump, sent back, create the same entry again: that is how
//! `conntrackd` restores entries on another machine.

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
            refcount::RcuCounted,
            settings,
            time, //
        },
        packet::nat,
        prelude::*, //
    },
};

use super::{
    change::{
        self,
        ChangeError,
        Changes,
        HelpAttr,
        LabelChange,
        MarkChange,
        SeqAdjChange,
        SynproxyChange, //
    },
    cta::*,
    get,
    policy,
    protocol::ProtoInfo,
    tuple, //
};

/// The events of an entry that user space created or changed.
const CHANGE_EVENTS: u32 = Event::Reply.mask()
    | Event::Assured.mask()
    | Event::Helper.mask()
    | Event::ProtoInfo.mask()
    | Event::SeqAdjust.mask()
    | Event::Mark.mask()
    | Event::SynProxy.mask();

/// The reason why no entry is created or changed.
enum NewError {
    /// `EEXIST`: an entry has one of the tuples, and the request is exclusive (`NLM_F_EXCL`).
    Exists,
    /// `ENOENT`: no entry has one of the tuples, and the request does not create one
    /// (`NLM_F_CREATE`).
    NotFound,
    /// `EINVAL`: a new entry needs two tuples of one protocol.
    NoTuples,
    /// `EINVAL`: a new entry needs a timeout.
    NoTimeout,
    /// `ENOENT`: no entry is the master.
    NoMaster,
    /// `ELOOP`: the master has too many masters above it.
    TooManyMasters,
    /// `EOPNOTSUPP`: no helper has the name.
    NoHelper,
}

impl From<NewError> for Error {
    fn from(error: NewError) -> Self {
        match error {
            NewError::Exists => EEXIST,
            NewError::NotFound | NewError::NoMaster => ENOENT,
            NewError::NoTuples | NewError::NoTimeout => EINVAL,
            NewError::TooManyMasters => ELOOP,
            NewError::NoHelper => EOPNOTSUPP,
        }
    }
}

/// Creates an entry, or changes the one with these tuples.
///
/// Errors are those of [`NewError`], of [`ChangeError`](change::ChangeError) and of the attributes.
pub(super) struct New;

impl Handler for New {
    const POLICY: &'static [Policy] = &policy::ENTRY;

    fn handle(request: &Request<'_>) -> Result {
        let mut zone = tuple::get_zone(request.get(CTA_ZONE))?;
        let mut read = |number, direction| -> Result<Option<Tuple>> {
            let Some(attribute) = request.get(number) else {
                return Ok(None);
            };
            let family = request.family();
            let tuple = tuple::get(attribute, direction, family, Some(&mut zone), Parts::ALL)?;
            Ok(Some(tuple))
        };
        let original = read(CTA_TUPLE_ORIG, Direction::Original)?;
        let reply = read(CTA_TUPLE_REPLY, Direction::Reply)?;

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
            Some(_) if request.is_exclusive() => Err(NewError::Exists.into()),
            Some((conn, _)) => change(request, &conn),
            None if !request.creates() => Err(NewError::NotFound.into()),
            None => match (original, reply) {
                (Some(original), Some(reply)) if original.protonum == reply.protonum => create(
                    request,
                    &NewTuples {
                        zone,
                        original,
                        reply,
                    },
                    hash,
                ),
                _ => Err(NewError::NoTuples.into()),
            },
        }
    }
}

fn change(request: &Request<'_>, conn: &Conn) -> Result {
    Changes::get(&request.attributes(), conn)?.apply(conn);
    // Events that a listener could not take are delivered with the entry's next event.
    let _ = events::notify_now(
        conn,
        CHANGE_EVENTS | Event::Label.mask(),
        request.requester(),
    );
    Ok(())
}

/// The tuples of a new entry.
struct NewTuples {
    zone: Zone,
    original: Tuple,
    reply: Tuple,
}

/// The attributes of a new entry, except helper and NAT.
struct NewAttrs {
    status: Option<u32>,
    seq_adj: SeqAdjChange,
    proto_info: Option<ProtoInfo>,
    synproxy: SynproxyChange,
    mark: Option<MarkChange>,
    master: Option<ARef<Conn>>,
}

impl NewAttrs {
    /// Reads and checks them. The error is that of the first mistake, in the order of the fields.
    fn get(request: &Request<'_>, tuples: &NewTuples) -> Result<Self, ChangeError> {
        let attributes = request.attributes();
        // Rust evaluates fields in this order.
        Ok(Self {
            status: request
                .get(CTA_STATUS)
                .map(|attribute| change::status(Status::of(StatusBit::Confirmed), attribute))
                .transpose()?,
            seq_adj: SeqAdjChange::get(&attributes, true)?,
            proto_info: request
                .get(CTA_PROTOINFO)
                .map(|attribute| ProtoInfo::get(attribute, tuples.original.protonum))
                .transpose()?,
            synproxy: SynproxyChange::get(&attributes, HAS_SYNPROXY)?,
            mark: MarkChange::get(&attributes)?,
            master: request
                .get(CTA_TUPLE_MASTER)
                .map(|attribute| find_master(request, attribute, tuples.zone))
                .transpose()?,
        })
    }

    /// Sets them.
    fn apply(self, fresh: &mut Fresh) {
        let conn = fresh.conn();
        if let Some(status) = self.status {
            conn.change_status(status, 0);
        }
        self.seq_adj.apply(conn);
        if let Some(proto_info) = self.proto_info {
            proto_info.set(conn);
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

/// Whether the kernel has SYNPROXY.
const HAS_SYNPROXY: bool = cfg!(CONFIG_NETFILTER_SYNPROXY);

/// Finds the entry that is to be the master.
fn find_master(request: &Request<'_>, attribute: Attribute<'_>, zone: Zone) -> Result<ARef<Conn>> {
    let tuple = tuple::get(
        attribute,
        Direction::Original,
        request.family(),
        None,
        Parts::ALL,
    )?;
    let master = get::find(request.net(), zone, &tuple).ok_or(NewError::NoMaster)?;
    if !entry::may_be_master(&master) {
        return Err(NewError::TooManyMasters.into());
    }
    Ok(master)
}

fn create(request: &Request<'_>, tuples: &NewTuples, hash: TupleHash) -> Result {
    let timeout = change::timeout(request.get(CTA_TIMEOUT).ok_or(NewError::NoTimeout)?)?;
    let help = request.get(CTA_HELP).map(HelpAttr::get).transpose()?;
    if let Some(help) = &help {
        request_helper(&help.name, &tuples.original)?;
    }
    let nat = [CTA_NAT_DST, CTA_NAT_SRC].map(|number| request.get(number));
    let has_nat = nat.iter().any(Option::is_some);
    let mut attrs = Some(NewAttrs::get(request, tuples));
    if !has_nat {
        // With NAT attributes, the mistakes in those come first, and finding them takes an entry.
        attrs = Some(Ok(attrs.take().ok_or(EINVAL)??));
    }

    let section = RcuGuard::new();
    let rcu = section.token();
    let conn = create::create_from_user(
        request.net(),
        tuples.zone,
        [&tuples.original, &tuples.reply],
        hash,
        |fresh| {
            if let Some(help) = &help {
                assign_helper(fresh, help, rcu)?;
            }
            if has_nat {
                let [destination, source] = nat;
                nat::setup_from_user(fresh, false, destination)?;
                nat::setup_from_user(fresh, true, source)?;
            }
            let attrs = attrs.take().ok_or(EINVAL)??;
            add_extensions(fresh, request);
            attrs.apply(fresh);
            Ok(())
        },
        rcu,
    )?;
    conn.set_timeout(time::jiffies32().wrapping_add(timeout));
    entry::note_start(&conn);
    confirm::insert_from_user(conn.clone(), rcu)?;
    drop(section);
    label_and_notify(request, &conn);
    Ok(())
}

/// Sets the labels of a new entry, and reports it to listeners. An entry gets its labels only in
/// the table; mistakes in them are ignored.
fn label_and_notify(request: &Request<'_>, conn: &Conn) {
    let begun = if conn.has(StatusBit::Expected) {
        Event::Related
    } else {
        Event::New
    };
    let labelled = LabelChange::get(&request.attributes())
        .is_ok_and(|labels| labels.is_some_and(|labels| labels.apply(conn).is_ok()));
    let labelled = if labelled { Event::Label.mask() } else { 0 };
    // Events that a listener could not take are delivered with the entry's next event.
    let _ = events::notify_now(
        conn,
        CHANGE_EVENTS | begun.mask() | labelled,
        request.requester(),
    );
}

/// Loads the module of a helper, unless the helper is registered. May sleep.
fn request_helper(name: &HelperName, tuple: &Tuple) -> Result<(), NewError> {
    let is_registered = || {
        let section = RcuGuard::new();
        helper::find(name, tuple.l3num, tuple.protonum, section.token()).is_some()
    };
    if is_registered() {
        return Ok(());
    }
    module::request_helper(name).map_err(|_| NewError::NoHelper)?;
    if is_registered() {
        Ok(())
    } else {
        Err(NewError::NoHelper)
    }
}

fn assign_helper(fresh: &mut Fresh, wanted: &HelpAttr<'_>, rcu: Rcu<'_>) -> Result {
    let original = fresh.conn().tuple(Direction::Original);
    let helper = helper::find(&wanted.name, original.l3num, original.protonum, rcu)
        .ok_or(NewError::NoHelper)?;
    let reference = helper.get().ok_or(ENOENT)?;
    fresh
        .helper_target()
        .add_help()
        .ok_or(ENOMEM)?
        .set_helper(Some(reference));
    if let Some(own) = fresh.conn().helping(rcu) {
        own.from_nlattr(wanted.info);
    }
    Ok(())
}

/// Adds the extensions that an entry created by a packet gets, and those that a message can set.
/// An extension for which there is no memory is left out.
fn add_extensions(fresh: &mut Fresh, request: &Request<'_>) {
    let net = request.net();
    if settings::ACCT.read(net) != 0 {
        let _ = fresh.add::<Counters>();
    }
    if settings::TSTAMP.read(net) != 0 {
        let _ = fresh.add::<Timestamps>();
    }
    let _ = events::add_cache(fresh, net, None);
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
