// SPDX-License-Identifier: GPL-2.0

//! The entries of packets in nfnetlink_queue and nfnetlink_log: their attributes in the message
//! about a packet, and the changes that come back with its verdict.

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
        HelpAttr,
        LabelChange,
        MarkChange, //
    },
    cta::*,
    expect, policy,
    write::{
        self,
        Writer, //
    },
};

/// The callbacks of nfnetlink_queue and nfnetlink_log.
pub(super) struct QueueGlue;

impl Glue for QueueGlue {
    fn size(conn: &Conn) -> usize {
        write::size(conn)
    }

    fn put(conn: &Conn, message: &mut Message<'_>) -> Result {
        let mut out = Writer::new(conn, message);
        out.tuples()?;
        out.id()?;
        out.status()?;
        out.timeout()?;
        out.proto_info(false)?;
        out.counters()?;
        out.timestamps()?;
        out.help()?;
        out.secctx_if_set()?;
        out.master()?;
        out.seq_adj()?;
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
        // Programs send status bits that they cannot change with any value: those are ignored.
        let status = nest.get(CTA_STATUS).map(Attribute::be32).transpose()?;
        if let Some(status) = status {
            change::check_sticky_bits(conn.status(), status)?;
        }
        let help = nest.get(CTA_HELP).map(HelpAttr::get).transpose()?;
        if let Some(help) = &help {
            help.check(conn, rcu)?;
        }
        let labels = LabelChange::get(&nest.attributes())?;
        let mark = MarkChange::get(&nest.attributes())?;

        if let Some(labels) = labels {
            labels.apply(conn)?;
        }
        if let Some(timeout) = timeout {
            // Before confirmation a timeout is relative.
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
        expect::attach(conn, attribute, by, rcu)
    }

    fn shifts(conn: &Conn) -> bool {
        conn.has(StatusBit::SrcNat) || conn.has(StatusBit::DstNat)
    }
}
