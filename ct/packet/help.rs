// SPDX-License-Identifier: GPL-2.0

//! Packets at a connection's helper.

use kernel::sync::aref::ARef;

use crate::{
    ct::{
        entry::seqadj,
        helper,
        life::confirm, //
    },
    nf::{
        entry::help::Helper,
        kernel::net::Stat,
        packet::skb::Tracked,
        prelude::*, //
    },
};

use super::parse::Packet;

/// A packet of a connection that has a helper, or had one that needs_seqadj its numbers.
struct HelpedPacket {
    conn: ARef<Conn>,
    info: CtInfo,
    /// Where the transport header begins.
    transport: u32,
    /// Whether sequence numbers are to be needs_seqadj.
    needs_seqadj: bool,
}

impl HelpedPacket {
    /// [`None`]: there is nothing to do for the packet.
    #[inline]
    fn of(skb: &Skb) -> Option<Self> {
        let Tracked::Yes(conn, info) = skb.tracked() else {
            return None;
        };
        let status = conn.status();
        if !status.has(StatusBit::Helper) && !status.has(StatusBit::SeqAdjust) {
            return None;
        }
        Self::of_helped(skb, ARef::from(conn), info)
    }

    fn of_helped(skb: &Skb, conn: ARef<Conn>, info: CtInfo) -> Option<Self> {
        // An ICMP error about the connection is no part of what is said in it.
        if info == CtInfo::RelatedReply {
            return None;
        }
        let family = conn.tuple(Direction::Original).family()?;
        let transport = Packet::parse(skb, family, skb.network_offset()?)?.transport;
        let needs_seqadj = conn.has(StatusBit::SeqAdjust) && !skb.is_loopback();
        Some(Self {
            conn,
            info,
            transport,
            needs_seqadj,
        })
    }

    /// Shows the packet to the helper.
    fn run_helper(&self, skb: &mut Skb, rcu: Rcu<'_>) -> Verdict {
        match helper::of(&self.conn, rcu) {
            Some(helper) => helper.help(skb, self.transport, &self.conn, self.info, rcu),
            None => Verdict::Accept,
        }
    }

    /// Shifts the packet's sequence numbers, where a helper made the stream longer or shorter.
    fn adjust_seq(&self, skb: &mut Skb) -> Verdict {
        if !self.needs_seqadj {
            return Verdict::Accept;
        }
        match seqadj::adjust(skb, &self.conn, self.info.dir(), self.transport) {
            Some(()) => Verdict::Accept,
            None => {
                self.conn.net().count_one(Stat::Drop);
                Verdict::Drop
            }
        }
    }
}

/// A packet has passed every rule: its helper looks at it, then it is confirmed.
#[inline]
pub(in crate::ct) fn confirm(skb: &mut Skb, rcu: Rcu<'_>) -> Verdict {
    if let Some(helped) = HelpedPacket::of(skb) {
        let verdict = help(&helped, skb, rcu);
        if verdict != Verdict::Accept {
            return verdict;
        }
    }
    confirm::confirm(skb, rcu)
}

#[cold]
fn help(helped: &HelpedPacket, skb: &mut Skb, rcu: Rcu<'_>) -> Verdict {
    match helped.run_helper(skb, rcu) {
        Verdict::Accept => helped.adjust_seq(skb),
        other => other,
    }
}

/// A packet's helper looks at it, for those who see packets below the hooks and confirm them
/// themselves.
pub(in crate::ct) fn help_packet(
    skb: &mut Skb,
    conn: &Conn,
    info: CtInfo,
    family: Family,
    rcu: Rcu<'_>,
) -> Verdict {
    let Some(helper) = helper::of(conn, rcu) else {
        return Verdict::Accept;
    };
    if helper.family() != 0 && !helper.is_for(family as u16) {
        return Verdict::Accept;
    }
    let protocol = skb
        .network_offset()
        .and_then(|offset| Packet::parse(skb, family, offset))
        .map(|packet| packet.protocol);
    if protocol != Some(helper.protocol()) {
        return Verdict::Accept;
    }
    match HelpedPacket::of_helped(skb, ARef::from(conn), info) {
        Some(helped) => help(&helped, skb, rcu),
        None => Verdict::Accept,
    }
}

/// User space gave a packet back that waited for its helper there: what is left to do for it
/// in [`confirm`] is done now.
pub(super) fn resume(skb: &mut Skb, rcu: Rcu<'_>) -> Verdict {
    let Tracked::Yes(conn, info) = skb.tracked() else {
        return Verdict::Accept;
    };
    if !helper::of(conn, rcu).is_some_and(Helper::is_userspace) {
        return Verdict::Accept;
    }
    let conn = ARef::from(conn);
    if let Some(helped) = HelpedPacket::of_helped(skb, conn, info) {
        let verdict = helped.adjust_seq(skb);
        if verdict != Verdict::Accept {
            return verdict;
        }
    }
    confirm::confirm(skb, rcu)
}
