// SPDX-License-Identifier: GPL-2.0

//! What user space wants to know of entries.
//!
//! A dump keeps its place on the lists of [`index`]. So an entry that is there all the time is
//! told of once, whatever becomes of the table meanwhile, and no other more often; what is not
//! asked for is not gone through; and neither a lock is held nor are bottom halves off while a
//! message is written.

use kernel::{
    prelude::*,
    sync::aref::ARef, //
};

use crate::{
    ct::{
        entry,
        life::{
            delete::{
                self,
                DestroyReason, //
            },
            lookup::LookupKey, //
        },
        netns::NetState,
        table::index::{
            self,
            ScopeWalk, //
        },
    },
    nf::{
        entry::{
            ecache::DYING,
            index_lists::Place,
            l4proto::Parts, //
        },
        kernel::{
            attr::Policy,
            nfnetlink::{
                flag,
                Dump,
                Handler,
                Head,
                Messages,
                Peer,
                Progress,
                Request,
                CONNECTIONS, //
            },
            work, //
        },
        prelude::*, //
    },
};

use super::{
    cta::*,
    filter::{
        self,
        Filter, //
    },
    policy,
    tuple,
    write::Writer, //
};

/// The entry that has a tuple.
pub(super) fn find(net: &Net, zone: Zone, tuple: &Tuple) -> Option<ARef<Conn>> {
    let section = RcuGuard::new();
    let wanted = LookupKey {
        key: tuple.key(),
        zone,
        net,
    };
    wanted.find(section.token()).0.map(|(conn, _)| conn)
}

/// The entry that a request names, by either of its tuples. `ENOENT`: there is none. `EINVAL`: it
/// names none.
pub(super) fn find_named(request: &Request<'_>) -> Result<ARef<Conn>> {
    let mut zone = tuple::get_zone(request.get(CTA_ZONE))?;
    let (attribute, direction) = match (request.get(CTA_TUPLE_ORIG), request.get(CTA_TUPLE_REPLY)) {
        (Some(original), _) => (original, Direction::Original),
        (None, Some(reply)) => (reply, Direction::Reply),
        (None, None) => return Err(EINVAL),
    };
    let tuple = tuple::get(
        attribute,
        direction,
        request.family(),
        Some(&mut zone),
        Parts::ALL,
    )?;
    find(request.net(), zone, &tuple).ok_or(ENOENT)
}

/// Tells of an entry, and takes off its counters what it told of them, if that is wanted.
/// `own` references to it are the reader's.
fn write_answer(
    conn: &Conn,
    peer: Peer,
    flags: u16,
    zero: bool,
    own: u32,
    messages: &mut Messages<'_>,
) -> Result {
    let head = Head {
        peer,
        subsystem: CONNECTIONS,
        message: IPCTNL_MSG_CT_NEW,
        flags: flags | Head::multi(peer),
        family: conn.tuple(Direction::Original).l3num,
        resource: 0,
    };
    let mut counted = Default::default();
    messages.add(&head, |message| {
        counted = Writer::new(conn, message).answer(own)?;
        Ok(())
    })?;
    if zero {
        counted.take_off(conn);
    }
    Ok(())
}

/// One entry, or all that pass a filter.
pub(super) struct Get<const ZERO: bool>;

impl<const ZERO: bool> Handler for Get<ZERO> {
    const POLICY: &'static [Policy] = &policy::ENTRY;

    fn handle(request: &Request<'_>) -> Result {
        if request.is_dump() {
            let filter = Filter::of(&request.attributes(), request.family())?;
            let scope = filter::scope(&filter);
            return request.dump(Entries {
                peer: request.peer(),
                filter,
                zero: ZERO,
                walk: ScopeWalk::new(scope),
                place: index::cursor()?,
            });
        }
        let conn = find_named(request)?;
        request.answer(|messages| write_answer(&conn, request.peer(), 0, ZERO, 0, messages))
    }
}

/// All entries that pass a filter.
struct Entries {
    peer: Peer,
    filter: Option<Filter>,
    zero: bool,
    walk: ScopeWalk,
    place: Place,
}

impl Dump for Entries {
    fn go_on(&mut self, net: &Net, messages: &mut Messages<'_>) -> Progress {
        // Who has none need not wait until others' are gone through.
        if net.state::<NetState>().entries() == 0 {
            return Progress::End;
        }
        let flags = if self.is_filtered() {
            flag::FILTERED
        } else {
            0
        };
        let mut past: Option<ARef<Conn>> = None;
        while let Some(conn) = self.walk.next(&mut self.place, net, past.as_deref()) {
            if delete::is_due(&conn) {
                delete::delete(&conn, DestroyReason::TimedOut);
            } else if entry::is_shown(&conn)
                && filter::passes(&self.filter, &conn)
                && write_answer(&conn, self.peer, flags, self.zero, 1, messages).is_err()
            {
                return Progress::More;
            }
            past = Some(conn);
        }
        Progress::End
    }

    fn is_filtered(&self) -> bool {
        self.filter.is_some()
    }
}

/// Entries that left the table, but whose end could not be told yet.
pub(super) struct GetDying;

impl Handler for GetDying {
    const POLICY: &'static [Policy] = &[];

    fn handle(request: &Request<'_>) -> Result {
        if !request.is_dump() {
            return Err(EOPNOTSUPP);
        }
        request.dump(Dying {
            peer: request.peer(),
            family: request.family().into(),
            from: 0,
        })
    }
}

/// Those entries.
struct Dying {
    peer: Peer,
    /// 0: any.
    family: u16,
    /// The address of the next one; they come in this order.
    from: usize,
}

impl Dump for Dying {
    fn go_on(&mut self, net: &Net, messages: &mut Messages<'_>) -> Progress {
        let wanted = |conn: &Conn| {
            let family = conn.tuple(Direction::Original).l3num;
            core::ptr::eq(conn.net(), net) && (self.family == 0 || self.family == family)
        };
        let mut from = self.from;
        loop {
            let mut batch = DYING
                .lowest_from::<BATCH>(from, wanted)
                .into_iter()
                .flatten();
            let Some(first) = batch.next() else {
                break;
            };
            for conn in Iterator::chain(core::iter::once(first), batch) {
                from = conn.address();
                if write_answer(&conn, self.peer, 0, false, 1, messages).is_err() {
                    self.from = from;
                    return Progress::More;
                }
                from = from.saturating_add(1);
            }
            work::cond_resched();
        }
        self.from = usize::MAX;
        Progress::End
    }
}

/// How many entries are taken down at a time from the list, which is in another order.
const BATCH: usize = 32;

/// Entries that are in no table yet: nobody keeps a list of them.
pub(super) struct GetUnconfirmed;

impl Handler for GetUnconfirmed {
    const POLICY: &'static [Policy] = &[];

    fn handle(request: &Request<'_>) -> Result {
        if !request.is_dump() {
            return Err(EOPNOTSUPP);
        }
        request.dump(Nothing)
    }
}

struct Nothing;

impl Dump for Nothing {
    fn go_on(&mut self, _net: &Net, _messages: &mut Messages<'_>) -> Progress {
        Progress::End
    }
}
