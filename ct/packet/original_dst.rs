// SPDX-License-Identifier: GPL-2.0

//! Where a redirected connection wanted to go, for the program that it was redirected to.

use crate::{
    ct::life::lookup,
    nf::{
        kernel::endpoint::Endpoint,
        packet::original_dst::Origin,
        prelude::*, //
    },
    proto::types::tuple::L4Key, //
};

/// The table of connections, in the default zone, knows.
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
        let original = conn.tuple(Direction::Original);
        Some(Endpoint {
            address: original.dst,
            port: original.dst_key,
        })
    }
}
