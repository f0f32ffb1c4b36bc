// SPDX-License-Identifier: GPL-2.0

//! From a packet's bytes to its tuple.

use crate::{
    ct::entry::gre_keymap,
    nf::prelude::*,
    proto::{
        types::tuple::{
            Key,
            L4Key, //
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

/// Where a packet's headers are. What they say is read where it is needed.
#[derive(Clone, Copy)]
pub(crate) struct Packet {
    /// The IP protocol number of what follows the network header and its extensions.
    pub(crate) protocol: u8,
    /// Offset of the transport header from the start of the packet's data.
    pub(crate) transport: u32,
    pub(in crate::ct) family: Family,
    /// Offset of the network header.
    network: u32,
}

impl Packet {
    /// Reads the headers of the packet that begins at `offset`: the packet itself, or one
    /// that an ICMP error quotes.
    ///
    /// [`None`]: it is cut off, or a fragment other than the first.
    #[inline(always)]
    pub(crate) fn parse(skb: &Skb, family: Family, offset: u32) -> Option<Self> {
        let (protocol, transport) = match family {
            Family::Ipv4 => {
                let available = skb.len().checked_sub(offset)?;
                let header = ipv4::Header::parse(&skb.read(offset)?);
                let transport = header.transport_offset(available).ok()?;
                (header.protocol(), offset.checked_add(transport)?)
            }
            Family::Ipv6 => Self::skip_ipv6(skb, offset)?,
        };
        Some(Self {
            protocol,
            transport,
            family,
            network: offset,
        })
    }

    /// The transport protocol and where its header begins.
    #[inline(always)]
    fn skip_ipv6(skb: &Skb, offset: u32) -> Option<(u8, u32)> {
        let next = ipv6::Header::parse(&skb.read(offset)?).next_header();
        let start = offset.checked_add(ipv6::HEADER_LEN as u32)?;
        if ipv6::is_extension(next) {
            Self::skip_extensions(skb, next, start)
        } else {
            Some((next, start))
        }
    }

    /// The same, from a header on that nearly no packet has.
    #[cold]
    #[inline(never)]
    fn skip_extensions(skb: &Skb, first: u8, start: u32) -> Option<(u8, u32)> {
        let end = ipv6::skip_extensions(first, start, |at| skb.read(at)).ok()?;
        Some((end.protocol, end.offset))
    }

    /// The tuple that the packet carries, as one in the original direction.
    ///
    /// [`None`]: the transport header is cut off, or of no use.
    pub(in crate::ct) fn tuple(&self, skb: &Skb, net: &Net, rcu: Rcu<'_>) -> Option<Tuple> {
        self.key(skb, net, rcu).map(|key| key.tuple())
    }

    /// Whether the packet is one of TCP or UDP.
    #[inline]
    pub(super) fn is_tcp_or_udp(&self) -> bool {
        matches!(self.protocol, protocol::TCP | protocol::UDP)
    }

    /// What names the tuple of a packet with ports; [`None`] likewise.
    #[inline(always)]
    pub(super) fn port_key(&self, skb: &Skb) -> Option<Key> {
        self.with_l4_key(skb, L4Key::from_wire(&skb.read(self.transport)?))
    }

    /// What names the tuple of any packet; [`None`] likewise.
    #[inline(never)]
    pub(in crate::ct) fn key(&self, skb: &Skb, net: &Net, rcu: Rcu<'_>) -> Option<Key> {
        let key = match self.protocol {
            protocol::TCP | protocol::UDP | protocol::SCTP => return self.port_key(skb),
            protocol::ICMP => icmp::Header::parse(&skb.read(self.transport)?).key(),
            protocol::ICMPV6 => icmpv6::Header::parse(&skb.read(self.transport)?).key(),
            protocol::GRE => return self.gre_key(skb, net, rcu),
            _ => L4Key::NONE,
        };
        self.with_l4_key(skb, key)
    }

    /// Of a PPTP call, the tuple has both call IDs; other GRE has none.
    fn gre_key(&self, skb: &Skb, net: &Net, rcu: Rcu<'_>) -> Option<Key> {
        let plain = self.with_l4_key(skb, L4Key::NONE);
        let Some(bytes) = skb.read(self.transport) else {
            return plain;
        };
        if gre::classify(&bytes).ok()? == gre::Class::Plain {
            return plain;
        }
        let Some(bytes) = skb.read(self.transport) else {
            return plain;
        };
        let call = L4Key {
            src: [0; 2],
            dst: gre::call_id(&bytes),
        };
        let mut tuple = self.with_l4_key(skb, call)?.tuple();
        tuple.src_key = gre_keymap::sender_id(net, &tuple, rcu);
        Some(tuple.key())
    }

    #[inline(always)]
    fn with_l4_key(&self, skb: &Skb, key: L4Key) -> Option<Key> {
        match self.family {
            Family::Ipv4 => {
                let header = ipv4::Header::parse(&skb.read(self.network)?);
                let (source, destination) = (header.source(), header.destination());
                Some(Key::ipv4(source, destination, key, self.protocol))
            }
            Family::Ipv6 => {
                let header = self.ipv6(skb)?;
                let (source, destination) = (*header.source(), *header.destination());
                Some(Tuple::ipv6(source, destination, key, self.protocol).key())
            }
        }
    }

    /// The destination address, as a tuple holds it.
    pub(in crate::ct) fn destination(&self, skb: &Skb) -> Option<[u8; 16]> {
        let key = self.with_l4_key(skb, L4Key::NONE)?;
        Some(key.tuple().dst)
    }

    /// The IPv6 header.
    #[inline]
    pub(in crate::ct) fn ipv6(&self, skb: &Skb) -> Option<ipv6::Header> {
        match self.family {
            Family::Ipv4 => None,
            Family::Ipv6 => Some(ipv6::Header::parse(&skb.read(self.network)?)),
        }
    }

    /// The bytes from the transport header to the end of the packet.
    #[inline]
    pub(in crate::ct) fn transport_len(&self, skb: &Skb) -> u32 {
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
