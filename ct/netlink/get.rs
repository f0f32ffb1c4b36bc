// SPDX-License-Identifier: GPL-2.0

//! `IPCTNL_MSG_CT_GET` and its relatives: user space reads entries.
//!
//! A dump has a cursor on the lists of [`index`]. Therefore it reports an entry that is in the
//! table all the time exactly once, even if the table is resized meanwhile, and no entry twice; it
//! visits only entries in the scope of its filter; and it writes messages without a lock held and
//! with bottom halves enabled.

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
        table::index::ScopeWalk,
    },
    nf::{
        entry::{
            dying::{
                Position,
                WalkStep, //
            },
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
                CTNETLINK, //
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
    tuple::{
        self,
        TupleError, //
    },
    write::Writer, //
};

/// Finds the entry that has a tuple.
pub(super) fn find(net: &Net, zone: Zone, tuple: &Tuple) -> Option<ARef<Conn>> {
    let section = RcuGuard::new();
    let wanted = LookupKey {
        key: tuple.key(),
        zone,
        net,
    };
    wanted.find(section.token()).0.map(|(conn, _)| conn)
}

/// The reason why a request that is about one entry finds none.
pub(super) enum FindError {
    /// An attribute is malformed; the errno is that of the first mistake.
    Malformed(Error),
    /// `EINVAL`: the request has no tuple.
    NoTuple,
    /// `ENOENT`: no entry has the tuple.
    NotFound,
}

impl From<Error> for FindError {
    fn from(error: Error) -> Self {
        Self::Malformed(error)
    }
}

impl From<TupleError> for FindError {
    fn from(error: TupleError) -> Self {
        Self::Malformed(error.into())
    }
}

impl From<FindError> for Error {
    fn from(error: FindError) -> Self {
        match error {
            FindError::Malformed(error) => error,
            FindError::NoTuple => EINVAL,
            FindError::NotFound => ENOENT,
        }
    }
}

/// Finds the entry that a request names by one of its tuples.
pub(super) fn find_named(request: &Request<'_>) -> Result<ARef<Conn>, FindError> {
    let mut zone = tuple::get_zone(request.get(CTA_ZONE))?;
    let (attribute, direction) = match (request.get(CTA_TUPLE_ORIG), request.get(CTA_TUPLE_REPLY)) {
        (Some(original), _) => (original, Direction::Original),
        (None, Some(reply)) => (reply, Direction::Reply),
        (None, None) => return Err(FindError::NoTuple),
    };
    let tuple = tuple::get(
        attribute,
        direction,
        request.family(),
        Some(&mut zone),
        Parts::ALL,
    )?;
    find(request.net(), zone, &tuple).ok_or(FindError::NotFound)
}

/// Adds the message about an entry; if `zero`, resets the entry's counters by what it reports.
///
/// `own_references` to the entry are the reader's, and not reported.
fn add_entry(
    conn: &Conn,
    peer: Peer,
    flags: u16,
    zero: bool,
    own_references: u32,
    messages: &mut Messages<'_>,
) -> Result {
    let head = Head {
        peer,
        subsystem: CTNETLINK,
        message: IPCTNL_MSG_CT_NEW,
        flags: flags | Head::multi(peer),
        family: conn.tuple(Direction::Original).l3num,
        resource: 0,
    };
    let mut reported = Default::default();
    messages.add(&head, |message| {
        reported = Writer::new(conn, message).answer(own_references)?;
        Ok(())
    })?;
    if zero {
        reported.subtract_from(conn);
    }
    Ok(())
}

/// Reads one entry, or all that pass a filter; if `ZERO`, resets their counters.
pub(super) struct Get<const ZERO: bool>;

impl<const ZERO: bool> Handler for Get<ZERO> {
    const POLICY: &'static [Policy] = &policy::ENTRY;

    fn handle(request: &Request<'_>) -> Result {
        if request.is_dump() {
            let filter = Filter::of(&request.attributes(), request.family())?;
            let scope = filter::scope(&filter);
            return request.dump(EntryDump {
                peer: request.peer(),
                filter,
                zero: ZERO,
                walk: ScopeWalk::new(scope)?,
            });
        }
        let conn = find_named(request)?;
        request.answer(|messages| add_entry(&conn, request.peer(), 0, ZERO, 0, messages))
    }
}

/// A dump of all entries that pass a filter.
///
/// A dump goes on where it stopped, in the next message, because the cursor stays on the entry that
/// found no room:
///
/// ```ignore
/// while let Some(conn) = self.walk.next(net, previous.as_deref()) {
///     if add_entry(&conn, …, messages).is_err() {
///         return Progress::More; // `next` returns the same entry again.
///     }
///     previous = Some(conn); // `next` moves past it.
/// }
/// Progress::End
/// ```
struct EntryDump {
    peer: Peer,
    filter: Option<Filter>,
    zero: bool,
    walk: ScopeWalk,
}

impl Dump for EntryDump {
    fn fill(&mut self, net: &Net, messages: &mut Messages<'_>) -> Progress {
        // A namespace without entries need not wait for a walk past those of other namespaces.
        if net.state::<NetState>().entries() == 0 {
            return Progress::End;
        }
        let flags = if self.is_filtered() {
            flag::FILTERED
        } else {
            0
        };
        let mut previous: Option<ARef<Conn>> = None;
        while let Some(conn) = self.walk.next(net, previous.as_deref()) {
            if delete::is_due(&conn) {
                delete::delete(&conn, DestroyReason::TimedOut);
            } else if entry::is_shown(&conn)
                && filter::passes(&self.filter, &conn)
                && add_entry(&conn, self.peer, flags, self.zero, 1, messages).is_err()
            {
                return Progress::More;
            }
            previous = Some(conn);
        }
        Progress::End
    }

    fn is_filtered(&self) -> bool {
        self.filter.is_some()
    }
}

/// Reads the entries that left the table, and whose destroy event is still to be delivered.
///
/// `EOPNOTSUPP`: the request is no dump.
pub(super) struct GetDying;

impl Handler for GetDying {
    const POLICY: &'static [Policy] = &[];

    fn handle(request: &Request<'_>) -> Result {
        if !request.is_dump() {
            return Err(EOPNOTSUPP);
        }
        request.dump(DyingDump {
            peer: request.peer(),
            family: request.family().into(),
            position: None,
        })
    }
}

/// A dump of dying entries, from the newest to the oldest.
struct DyingDump {
    peer: Peer,
    /// 0: any.
    family: u16,
    /// The entry after which the dump goes on.
    position: Option<Position>,
}

impl Dump for DyingDump {
    fn fill(&mut self, net: &Net, messages: &mut Messages<'_>) -> Progress {
        let dying = &net.state::<NetState>().dying;
        let wanted =
            |conn: &Conn| self.family == 0 || self.family == conn.tuple(Direction::Original).l3num;
        loop {
            self.position = match dying.next(self.position.as_ref(), wanted) {
                WalkStep::End => return Progress::End,
                WalkStep::Passed(position) => Some(position),
                WalkStep::Found(position) => {
                    if add_entry(&position, self.peer, 0, false, 1, messages).is_err() {
                        return Progress::More;
                    }
                    Some(position)
                }
            };
            work::cond_resched();
        }
    }
}

/// Reads the unconfirmed entries: no list of them exists, so the answer is empty, as in C.
///
/// `EOPNOTSUPP`: the request is no dump.
pub(super) struct GetUnconfirmed;

impl Handler for GetUnconfirmed {
    const POLICY: &'static [Policy] = &[];

    fn handle(request: &Request<'_>) -> Result {
        if !request.is_dump() {
            return Err(EOPNOTSUPP);
        }
        request.dump(EmptyDump)
    }
}

/// A dump without messages.
struct EmptyDump;

impl Dump for EmptyDump {
    fn fill(&mut self, _net: &Net, _messages: &mut Messages<'_>) -> Progress {
        Progress::End
    }
}
