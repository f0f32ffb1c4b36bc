// SPDX-License-Identifier: GPL-2.0

//! Redirection: DNAT to this machine.

use crate::{
    nf::{
        packet::{
            device::Ipv6AddrType,
            hook::InetHook, //
        },
        prelude::*, //
    },
    proto::{
        nat::{
            range::Range,
            Manip, //
        },
        types::tuple::widen,
        wire::ipv6, //
    },
};

use super::setup;

const LOOPBACK_IPV4: [u8; 16] = widen([127, 0, 0, 1]);
const LOOPBACK_IPV6: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// Returns the new destination: the loopback address for a packet from this machine, else the first
/// address of the input device.
fn destination(skb: &Skb, family: Family, hooknum: u32, rcu: Rcu<'_>) -> Option<[u8; 16]> {
    let local = hooknum == InetHook::LocalOut.number();
    match family {
        Family::Ipv4 if local => Some(LOOPBACK_IPV4),
        Family::Ipv4 => {
            let address = skb.device()?.first_ipv4(rcu)?;
            Some(widen(address))
        }
        Family::Ipv6 if local => Some(LOOPBACK_IPV6),
        Family::Ipv6 => {
            // The new destination has the scope of the old one, so that the sender can reach it.
            let header = ipv6::Header::parse(&skb.read(skb.network_offset()?)?);
            let scope = Ipv6AddrType::of(header.destination()).scope();
            skb.device()?.first_ipv6(scope, rcu)
        }
    }
}

/// Redirects a connection to this machine.
pub(super) fn redirect(
    skb: &mut Skb,
    range: &Range,
    family: Family,
    hooknum: u32,
    rcu: Rcu<'_>,
) -> Verdict {
    let Some(destination) = destination(skb, family, hooknum, rcu) else {
        return Verdict::Drop;
    };
    match skb.unconfirmed() {
        Some(entry) => setup::setup_info(entry, &range.at(destination), Manip::Destination),
        None => Verdict::Accept,
    }
}
