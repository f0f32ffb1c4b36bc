// SPDX-License-Identifier: GPL-2.0

//! Events of connections and expectations, sent to multicast groups.
//!
//! An event becomes one message for all members of its group. It is written only if the group has
//! a member, or if the program that caused the event asked for a report (`NLM_F_ECHO`).

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
            CTNETLINK,
            CTNETLINK_EXP, //
        },
    },
    prelude::*, //
};

use super::{
    cta::*,
    expect as ct_expect,
    write::{
        self,
        Writer, //
    },
};

/// The listener of all namespaces, which sends events to the multicast groups.
pub(crate) struct Multicast;

impl Listener for Multicast {
    fn connection(conn: &Conn, events: u32, by: Requester, _rcu: Rcu<'_>) -> Result<(), Congested> {
        let events = Events(events);
        let (message, flags, group) = if events.has(Event::Destroy) {
            (IPCTNL_MSG_CT_DELETE, 0, Group::CONNTRACK_DESTROY)
        } else if events.has(Event::New) || events.has(Event::Related) {
            (IPCTNL_MSG_CT_NEW, flag::CREATED, Group::CONNTRACK_NEW)
        } else if events.0 != 0 {
            (IPCTNL_MSG_CT_NEW, 0, Group::CONNTRACK_UPDATE)
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
            subsystem: CTNETLINK,
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
            ExpectEvent::Destroy => (IPCTNL_MSG_EXP_DELETE, 0, Group::CONNTRACK_EXP_DESTROY),
            ExpectEvent::New => (IPCTNL_MSG_EXP_NEW, flag::CREATED, Group::CONNTRACK_EXP_NEW),
        };
        if !by.report && !group.has_listeners(net) {
            return;
        }
        let head = Head {
            peer: Peer {
                portid: by.portid,
                sequence: 0,
            },
            subsystem: CTNETLINK_EXP,
            message,
            flags,
            family: seen.tuple().l3num,
            resource: 0,
        };
        // An event of an expectation that a full buffer loses is not sent again.
        let _ = group.send(net, by, ct_expect::SIZE, &head, |message| {
            ct_expect::put(seen, message, rcu)
        });
    }
}

/// The events that one message reports.
#[derive(Clone, Copy)]
struct Events(u32);

impl Events {
    fn has(self, event: Event) -> bool {
        self.0 & event.mask() != 0
    }
}

fn fill(conn: &Conn, events: Events, message: &mut Message<'_>) -> Result {
    let mut out = Writer::new(conn, message);
    out.tuples()?;
    out.id()?;
    out.status()?;
    if events.has(Event::Destroy) {
        out.timeout_if_left()?;
        out.counters()?;
        out.timestamps()?;
        out.proto_info(true)?;
        out.destroy_reason()?;
    } else {
        out.timeout()?;
        if events.has(Event::ProtoInfo) {
            out.proto_info(false)?;
        }
        if events.has(Event::Helper) || conn.extensions().find::<Help>().is_some() {
            out.help()?;
        }
        if events.has(Event::SecMark) {
            out.secctx()?;
        } else {
            out.secctx_if_set()?;
        }
        if events.has(Event::Label) {
            out.labels()?;
        }
        if events.has(Event::Related) {
            out.master()?;
        }
        if events.has(Event::SeqAdjust) {
            out.seq_adj()?;
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
