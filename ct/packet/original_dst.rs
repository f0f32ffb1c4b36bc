// SPDX-License-Identifier: GPL-2.0

//! The original destination of a redirected connection, for the program that accepted it
//! (`SO_ORIGINAL_DST`).

use crate::{
    ct::life::lookup,
    nf::{
        kernel::endpoint::Endpoint,
        packet::original_dst::Origin,
        prelude::*, //
    },
    proto::types::tuple::L4Key, //
};

/// Answers the socket option from the connection table, in the default zone.
pub(in crate::ct) struct OriginalDst;

impl Origin for OriginalDst {
    fn destination(
        net: &Net,
        family: Family,
        protocol: u8,
        local: &Endpoint,
        peer: &Endpoint,
    ) -> Option<Endpoint> {
        let key = L4Key {
            src: local.port,
            dst: peer.port,
        };
        let tuple = match family {
            Family::Ipv4 => {
                let ([a, b, c, d, ..], [e, f, g, h, ..]) = (local.address, peer.address);
                Tuple::ipv4([a, b, c, d], [e, f, g, h], key, protocol)
            }
            Family::Ipv6 => Tuple::ipv6(local.address, peer.address, key, protocol),
        };
        let section = RcuGuard::new();
        let (conn, _) = lookup::find_tuple(net, &tuple, section.token())?;
        let (_, destination) = Endpoint::ends_of(&conn.tuple(Direction::Original));
        Some(destination)
    }
}
