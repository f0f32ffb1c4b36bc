// SPDX-License-Identifier: GPL-2.0

//! `nf_nat_hook`: the calls of the rest of the kernel to NAT.

use kernel::prelude::*;

use crate::{
    nf::{
        entry::conn::Entry,
        kernel::attr::Attribute,
        packet::{
            nat::{
                Flow,
                Translator,
                Unconfirmed, //
            },
            skb::Tracked, //
        },
        prelude::*, //
    },
    proto::nat::Manip, //
};

use super::{
    bysource,
    choose,
    netlink,
    packet, //
};

/// The provider of NAT.
pub(super) struct RustNat;

impl Translator for RustNat {
    fn parse_nat_setup(
        entry: Unconfirmed<'_>,
        source: bool,
        attribute: Option<Attribute<'_>>,
    ) -> Result {
        let manip = if source {
            Manip::Source
        } else {
            Manip::Destination
        };
        netlink::parse_nat_setup(entry, manip, attribute)
    }

    fn decode_session(skb: &Skb, flow: &mut Flow) {
        let Tracked::Yes(conn, info) = skb.tracked() else {
            return;
        };
        let tuple = conn.tuple(info.dir());
        let Some(family) = Family::from_number(tuple.l3num) else {
            return;
        };
        let has_ports = matches!(
            tuple.protonum,
            protocol::TCP | protocol::UDP | protocol::SCTP
        );
        let (status, dir) = (conn.status(), info.dir());
        if packet::is_changed(status, Manip::Destination, dir) {
            flow.set_destination(family, tuple.dst, has_ports.then_some(tuple.dst_key));
        }
        if packet::is_changed(status, Manip::Source, dir) {
            flow.set_source(family, tuple.src, has_ports.then_some(tuple.src_key));
        }
    }

    fn remove_nat_bysrc(conn: &Entry) {
        let rcu = RcuGuard::new();
        bysource::remove(conn, rcu.token());
        choose::clear_mark(conn, rcu.token());
    }
}
