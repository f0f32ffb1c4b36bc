// SPDX-License-Identifier: GPL-2.0

//! Packets at helpers, and confirmation after that.
//!
//! At the last hook a packet that passed all rules is shown to its connection's helper, its
//! sequence numbers are adjusted if the helper has changed the stream's length, and it is
//! confirmed.

use kernel::sync::aref::ARef;

use crate::{
    ct::{
        entry::seqadj,
        figures::causes::{
            self,
            Refusal, //
        },
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

/// A packet of a connection that has a helper, or had one that changed its sequence numbers.
struct HelpedPacket {
    /// The connection.
    conn: ARef<Conn>,
    /// The relation of the packet to the connection.
    info: CtInfo,
    /// The offset of the transport header.
    transport: u32,
    /// Whether the sequence numbers of the packet are to be adjusted.
    needs_seqadj: bool,
}

impl HelpedPacket {
    /// Returns [`None`] if there is nothing to do for the packet.
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

    /// Does the work of [`HelpedPacket::of`] for a connection that has a helper or needs
    /// adjustment.
    fn of_helped(skb: &Skb, conn: ARef<Conn>, info: CtInfo) -> Option<Self> {
        if info == CtInfo::RelatedReply {
            return None;
        }
        let family = conn.tuple(Direction::Original).family()?;
        let packet = Packet::parse(skb, family, skb.network_offset()?)?;
        // An ICMP error about the connection, of either direction, is not part of its stream.
        if packet.protocol != conn.protocol() {
            return None;
        }
        let needs_seqadj = packet.protocol == protocol::TCP
            && conn.has(StatusBit::SeqAdjust)
            && !skb.is_loopback();
        Some(Self {
            conn,
            info,
            transport: packet.transport,
            needs_seqadj,
        })
    }

    /// Calls the helper's function, if the helper is for the protocol of the connection. (SIP over
    /// TCP expects connections of UDP, too.)
    fn run_helper(&self, skb: &mut Skb, rcu: Rcu<'_>) -> Verdict {
        match self.conn.helping(rcu) {
            Some(helper) if !helper.is_for_protocol(self.conn.protocol()) => Verdict::Accept,
            Some(helper) => helper.help(skb, self.transport, self.info),
            None => Verdict::Accept,
        }
    }

    /// Adjusts the packet's sequence numbers, if a helper has changed the stream's length. Drops
    /// the packet if that cannot be done.
    fn adjust_seq(&self, skb: &mut Skb) -> Verdict {
        if !self.needs_seqadj {
            return Verdict::Accept;
        }
        match seqadj::adjust(skb, &self.conn, self.info.dir(), self.transport) {
            Some(()) => Verdict::Accept,
            None => {
                self.conn.net().count_one(Stat::Drop);
                self.conn
                    .net()
                    .count_figure(causes::refused(Refusal::Helper));
                Verdict::Drop
            }
        }
    }
}

/// Runs the helper of a packet that has passed all rules, and confirms it.
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

/// Calls the helper's function, and adjusts the packet's sequence numbers.
#[cold]
fn help(helped: &HelpedPacket, skb: &mut Skb, rcu: Rcu<'_>) -> Verdict {
    match helped.run_helper(skb, rcu) {
        Verdict::Accept => helped.adjust_seq(skb),
        other => other,
    }
}

/// Runs a packet's helper for a caller that sees packets below the hooks, and confirms them itself:
/// `act_ct` and Open vSwitch.
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
    if helper.family() != 0 && !helper.is_for(family.to_u16()) {
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

/// Goes on with a packet that a helper in user space has returned: does what [`confirm`] would have
/// done after the helper.
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
