// SPDX-License-Identifier: GPL-2.0

//! From a packet's bytes to its tuple.

use crate::{
    nf::{
        hook::Family,
        net::Net,
        rcu::Rcu,
        skb::Skb, //
    },
    proto::{
        tuple::{
            protocol,
            L4Key,
            Tuple, //
        },
        wire::{
            gre,
            icmp,
            icmpv6,
            ipv4,
            ipv6, //
        },
    },
};

use super::gre_keymap;

/// A packet's network header, and where the transport header begins.
pub(crate) struct Packet {
    /// The IP protocol number of what follows the network header and its extensions.
    pub(crate) protocol: u8,
    /// Offset of the transport header from the start of the packet's data.
    pub(crate) transport: u32,
    network: Network,
}

enum Network {
    Ipv4(ipv4::Header),
    Ipv6(ipv6::Header),
}

impl Packet {
    /// Reads the headers of the packet that begins at `offset`: the packet itself, or one
    /// that an ICMP error quotes.
    ///
    /// [`None`]: it is cut off, or a fragment other than the first.
    #[inline]
    pub(crate) fn parse(skb: &Skb, family: Family, offset: u32) -> Option<Self> {
        let available = skb.len().checked_sub(offset)?;
        match family {
            Family::Ipv4 => {
                let header = ipv4::Header::parse(&skb.read(offset)?);
                let transport = header.transport_offset(available).ok()?;
                Some(Self {
                    protocol: header.protocol(),
                    transport: offset.checked_add(transport)?,
                    network: Network::Ipv4(header),
                })
            }
            Family::Ipv6 => {
                let header = ipv6::Header::parse(&skb.read(offset)?);
                let start = offset.checked_add(ipv6::HEADER_LEN as u32)?;
                let end = ipv6::skip_extensions(header.next_header(), start, |at| skb.read(at));
                let end = end.ok()?;
                Some(Self {
                    protocol: end.protocol,
                    transport: end.offset,
                    network: Network::Ipv6(header),
                })
            }
        }
    }

    /// The tuple that the packet carries, as one in the original direction.
    ///
    /// [`None`]: the transport header is cut off, or of no use.
    #[inline]
    pub(super) fn tuple(&self, skb: &Skb, net: &Net, rcu: Rcu<'_>) -> Option<Tuple> {
        let key = match self.protocol {
            protocol::TCP | protocol::UDP | protocol::SCTP => {
                L4Key::from_wire(&skb.read(self.transport)?)
            }
            protocol::ICMP => icmp::Header::parse(&skb.read(self.transport)?).key(),
            protocol::ICMPV6 => icmpv6::Header::parse(&skb.read(self.transport)?).key(),
            protocol::GRE => return self.gre_tuple(skb, net, rcu),
            _ => L4Key::NONE,
        };
        Some(self.with_key(key))
    }

    /// Of a PPTP call, the tuple has both call IDs; other GRE has none.
    fn gre_tuple(&self, skb: &Skb, net: &Net, rcu: Rcu<'_>) -> Option<Tuple> {
        let plain = self.with_key(L4Key::NONE);
        let Some(bytes) = skb.read(self.transport) else {
            return Some(plain);
        };
        if gre::classify(&bytes).ok()? == gre::Class::Plain {
            return Some(plain);
        }
        let Some(bytes) = skb.read(self.transport) else {
            return Some(plain);
        };
        let mut tuple = self.with_key(L4Key {
            src: [0; 2],
            dst: gre::call_id(&bytes),
        });
        tuple.src_key = gre_keymap::sender_id(net, &tuple, rcu);
        Some(tuple)
    }

    #[inline]
    fn with_key(&self, key: L4Key) -> Tuple {
        match &self.network {
            Network::Ipv4(header) => {
                Tuple::ipv4(header.source(), header.destination(), key, self.protocol)
            }
            Network::Ipv6(header) => {
                Tuple::ipv6(*header.source(), *header.destination(), key, self.protocol)
            }
        }
    }

    /// The destination address, as a tuple holds it.
    pub(super) fn destination(&self) -> [u8; 16] {
        match &self.network {
            Network::Ipv4(header) => {
                Tuple::ipv4(header.source(), header.destination(), L4Key::NONE, 0).dst
            }
            Network::Ipv6(header) => *header.destination(),
        }
    }

    /// The IPv6 header.
    pub(super) fn ipv6(&self) -> Option<&ipv6::Header> {
        match &self.network {
            Network::Ipv4(_) => None,
            Network::Ipv6(header) => Some(header),
        }
    }

    /// The octets from the transport header to the end of the packet.
    #[inline]
    pub(super) fn transport_len(&self, skb: &Skb) -> u32 {
        skb.len().saturating_sub(self.transport)
    }
}

/// Whether the packet is a fragment: of a raw socket that asked not to put it together.
pub(super) fn is_ipv4_fragment(skb: &Skb) -> bool {
    skb.network_offset()
        .and_then(|offset| skb.read(offset))
        .is_some_and(|bytes| {
            let header = ipv4::Header::parse(&bytes);
            header.more_fragments() || header.fragment_offset() != 0
        })
}
