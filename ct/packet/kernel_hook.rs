// SPDX-License-Identifier: GPL-2.0

//! What the rest of the kernel calls in the tracker (`struct nf_ct_hook`).

use kernel::sync::aref::ARef;

use crate::{
    ct::{
        entry::{
            self,
            id,
            timeout, //
        },
        life::{
            confirm,
            delete,
            lookup, //
        },
    },
    nf::{
        entry::{
            ecache::{
                self,
                Event, //
            },
            end::Dead, //
        },
        packet::{
            skb::Tracked,
            tracker::Tracker, //
        },
        prelude::*, //
    },
    proto::{
        tcp,
        types::num::u8_as_usize, //
    },
};

use super::{
    help,
    parse::Packet, //
};

/// The tracker, as the kernel sees it.
pub(in crate::ct) struct ConntrackHook;

impl Tracker for ConntrackHook {
    fn update(_net: &Net, skb: &mut Skb, rcu: Rcu<'_>) -> Verdict {
        // Only a helper in user space leaves work for this.
        help::resume(skb, rcu)
    }

    fn destroy(conn: Dead, rcu: Rcu<'_>) {
        delete::destroy(conn, rcu);
    }

    fn tuple_of(skb: &Skb, rcu: Rcu<'_>) -> Option<Tuple> {
        if let Tracked::Yes(conn, info) = skb.tracked() {
            return Some(conn.tuple(info.dir()));
        }
        // A queueing discipline sees packets that have no connection yet, or no longer.
        let packet = Packet::parse(skb, Family::Ipv4, skb.network_offset()?)?;
        let net = skb.device_net()?;
        let tuple = packet.tuple(skb, net, rcu)?;
        let (conn, dir) = lookup::find_tuple(net, &tuple, rcu)?;
        Some(conn.tuple(dir.opposite()))
    }

    fn attach(new: &mut Skb, old: &Skb) {
        // The new packet is a reply to the old one, so it has the opposite direction.
        if let Tracked::Yes(conn, info) = old.tracked() {
            let info = match info.dir() {
                Direction::Original => CtInfo::RelatedReply,
                Direction::Reply => CtInfo::Related,
            };
            new.attach(ARef::from(conn), info);
        }
    }

    fn set_closing(conn: &Conn, rcu: Rcu<'_>) {
        if !conn.is_confirmed() {
            return;
        }
        let is_changed = conn.with_proto(|track: &mut tcp::Track| track.set_closing());
        if is_changed == Some(true) && !conn.has(StatusBit::FixedTimeout) {
            const CLOSE: usize = u8_as_usize(tcp::State::Close.to_u8());
            let timeouts = timeout::tcp(conn, conn.net(), rcu);
            entry::refresh(conn, timeouts[CLOSE].get());
            ecache::keep(conn, Event::ProtoInfo);
        }
    }

    fn confirm(skb: &mut Skb, rcu: Rcu<'_>) -> Verdict {
        confirm::confirm_packet(skb, rcu)
    }

    fn id(conn: &Conn) -> u32 {
        id::of_entry(conn)
    }
}
