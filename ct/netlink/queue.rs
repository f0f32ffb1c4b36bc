// SPDX-License-Identifier: GPL-2.0

//! Packets' connections, as nfnetlink_queue and nfnetlink_log tell of them; and what comes back
//! with a verdict.

use kernel::prelude::*;

use crate::nf::{
    kernel::{
        attr::{
            Attribute,
            Message, //
        },
        nfnetlink::Requester,
        time, //
    },
    packet::queue_hook::Glue,
    prelude::*, //
};

use super::{
    change::{
        self,
        Helped,
        LabelBits,
        Mark, //
    },
    cta::*,
    expect, policy,
    write::{
        self,
        Writer, //
    },
};

/// What is told of a packet's connection.
pub(super) struct Packets;

impl Glue for Packets {
    fn size(conn: &Conn) -> usize {
        write::size(conn)
    }

    fn put(conn: &Conn, message: &mut Message<'_>) -> Result {
        let mut out = Writer::new(conn, message);
        out.ends()?;
        out.id()?;
        out.status()?;
        out.timeout()?;
        out.memory(false)?;
        out.counters()?;
        out.times()?;
        out.help()?;
        out.security_if_labelled()?;
        out.master()?;
        out.shifts()?;
        out.synproxy()?;
        out.mark()?;
        out.labels()
    }

    fn change(conn: &Conn, attribute: Attribute<'_>, rcu: Rcu<'_>) -> Result {
        let nest = attribute.nest(&policy::ENTRY)?;
        let timeout = nest
            .get(CTA_TIMEOUT)
            .map(|timeout| change::wanted_timeout(timeout, conn))
            .transpose()?;
        // What it may not change user space often sends otherwise than it is: that is left out.
        let status = nest.get(CTA_STATUS).map(Attribute::be32).transpose()?;
        if let Some(status) = status {
            change::stays_set(conn.status(), status)?;
        }
        let help = nest.get(CTA_HELP).map(Helped::get).transpose()?;
        if let Some(help) = &help {
            help.check(conn, rcu)?;
        }
        let labels = LabelBits::get(&nest.attributes())?;
        let mark = Mark::get(&nest.attributes())?;

        if let Some(labels) = labels {
            labels.apply(conn)?;
        }
        if let Some(timeout) = timeout {
            let base = if conn.is_confirmed() {
                time::jiffies32()
            } else {
                0
            };
            conn.set_timeout(base.wrapping_add(timeout));
        }
        if let Some(status) = status {
            conn.change_status(status, !status);
        }
        if let Some(help) = help {
            help.apply(conn);
        }
        if let Some(mark) = mark {
            mark.apply(conn);
        }
        Ok(())
    }

    fn expect(conn: &Conn, attribute: Attribute<'_>, by: Requester, rcu: Rcu<'_>) -> Result {
        expect::announce(conn, attribute, by, rcu)
    }

    fn shifts(conn: &Conn) -> bool {
        conn.has(StatusBit::SrcNat) || conn.has(StatusBit::DstNat)
    }
}
