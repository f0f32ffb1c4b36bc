// SPDX-License-Identifier: GPL-2.0

//! What user space is told without asking: what happens to connections and expectations.
//!
//! Each event is made into a message once, for all who joined its group, and only if somebody
//! did (or asked for what happened, and wants to hear of it).

use kernel::prelude::*;

use crate::nf::{
    entry::{
        ecache::Event,
        help::Help, //
    },
    expect::{
        expectation::ExpectEvent,
        linked::Seen,
        listener::Listener, //
    },
    kernel::{
        attr::Message,
        nfnetlink::{
            flag,
            Congested,
            Group,
            Head,
            Peer,
            Requester,
            CONNECTIONS,
            EXPECTATIONS, //
        },
    },
    prelude::*, //
};

use super::{
    attributes::{
        expect_message,
        message, //
    },
    expect as ct_expect,
    write::{
        self,
        Writer, //
    },
};

/// The listener of all namespaces.
pub(crate) struct Multicast;

impl Listener for Multicast {
    fn connection(conn: &Conn, events: u32, by: Requester, _rcu: Rcu<'_>) -> Result<(), Congested> {
        let events = Events(events);
        let (message, flags, group) = if events.has(Event::Destroy) {
            (message::DELETE, 0, Group::CONNECTION_GONE)
        } else if events.has(Event::New) || events.has(Event::Related) {
            (message::NEW, flag::CREATED, Group::CONNECTION_NEW)
        } else if events.0 != 0 {
            (message::NEW, 0, Group::CONNECTION_CHANGED)
        } else {
            return Ok(());
        };
        let net = conn.net();
        if !by.report && !group.has_listeners(net) {
            return Ok(());
        }
        let head = Head {
            peer: Peer {
                portid: by.portid,
                sequence: 0,
            },
            subsystem: CONNECTIONS,
            message,
            flags,
            family: conn.tuple(Direction::Original).l3num,
            resource: 0,
        };
        group.send(net, by, write::size(conn), &head, |message| {
            fill(conn, events, message)
        })
    }

    fn expectation(seen: &Seen<'_>, net: &Net, event: ExpectEvent, by: Requester, rcu: Rcu<'_>) {
        let (message, flags, group) = match event {
            ExpectEvent::Destroy => (expect_message::DELETE, 0, Group::EXPECTATION_GONE),
            ExpectEvent::New => (expect_message::NEW, flag::CREATED, Group::EXPECTATION_NEW),
        };
        if !by.report && !group.has_listeners(net) {
            return;
        }
        let head = Head {
            peer: Peer {
                portid: by.portid,
                sequence: 0,
            },
            subsystem: EXPECTATIONS,
            message,
            flags,
            family: seen.tuple().l3num,
            resource: 0,
        };
        // Of expectations nobody is told a second time.
        let _ = group.send(net, by, ct_expect::SIZE, &head, |message| {
            ct_expect::put(seen, message, rcu)
        });
    }
}

/// What happened at once.
#[derive(Clone, Copy)]
struct Events(u32);

impl Events {
    fn has(self, event: Event) -> bool {
        self.0 & event.mask() != 0
    }
}

fn fill(conn: &Conn, events: Events, message: &mut Message<'_>) -> Result {
    let mut out = Writer::new(conn, message);
    out.ends()?;
    out.id()?;
    out.status()?;
    if events.has(Event::Destroy) {
        out.timeout_left()?;
        out.counters()?;
        out.times()?;
        out.memory(true)?;
        out.why()?;
    } else {
        out.timeout()?;
        if events.has(Event::ProtoInfo) {
            out.memory(false)?;
        }
        if events.has(Event::Helper) || conn.extensions().find::<Help>().is_some() {
            out.help()?;
        }
        if events.has(Event::SecMark) {
            out.security()?;
        } else {
            out.security_if_labelled()?;
        }
        if events.has(Event::Label) {
            out.labels()?;
        }
        if events.has(Event::Related) {
            out.master()?;
        }
        if events.has(Event::SeqAdjust) {
            out.shifts()?;
        }
        if events.has(Event::SynProxy) {
            out.synproxy()?;
        }
    }
    if events.has(Event::Mark) || conn.mark() != 0 {
        out.mark()?;
    }
    out.event_time()
}
