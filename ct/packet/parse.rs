// SPDX-License-Identifier: GPL-2.0

//! Parsing: from the bytes of a packet to its tuple.
//!
//! Headers are copied out of the packet in small arrays of fixed size, and parsed by
//! [`crate::proto::wire`], which cannot fail. What is [`None`] here is a packet that is cut off.

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

/// The positions of a packet's headers. The headers themselves are read where they are needed.
#[derive(Clone, Copy)]
pub(crate) struct Packet {
    /// The IP protocol number of the transport header: that after the network header and its
    /// extensions.
    pub(crate) protocol: u8,
    /// The offset of the transport header in the packet's data, in bytes.
    pub(crate) transport: u32,
    /// The family of the network header.
    pub(in crate::ct) family: Family,
    /// The offset of the network header, in bytes.
    network: u32,
}

impl Packet {
    /// Parses the headers of the packet at `offset`: the packet itself, or one that an ICMP error
    /// quotes.
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

    /// Returns the transport protocol of an IPv6 packet, and the offset of its header.
    #[inline(always)]
    fn skip_ipv6(skb: &Skb, offset: u32) -> Option<(u8, u32)> {
        let next = ipv6::Header::parse(&skb.read(offset)?).next_header();
        // CAST: 40.
        let start = offset.checked_add(ipv6::HEADER_LEN as u32)?;
        if ipv6::is_extension(next) {
            Self::skip_extensions(skb, next, start)
        } else {
            Some((next, start))
        }
    }

    /// Does the work of [`Packet::skip_ipv6`] for a packet with extension headers, which are rare.
    #[cold]
    #[inline(never)]
    fn skip_extensions(skb: &Skb, first: u8, start: u32) -> Option<(u8, u32)> {
        let end = ipv6::skip_extensions(first, start, |at| skb.read(at)).ok()?;
        Some((end.protocol, end.offset))
    }

    /// Returns the packet's tuple, as one in the original direction.
    ///
    /// [`None`]: the transport header is cut off or malformed.
    pub(in crate::ct) fn tuple(&self, skb: &Skb, net: &Net, rcu: Rcu<'_>) -> Option<Tuple> {
        self.key(skb, net, rcu).map(|key| key.tuple())
    }

    /// Returns whether the packet is one of TCP or UDP.
    #[inline]
    pub(super) fn is_tcp_or_udp(&self) -> bool {
        matches!(self.protocol, protocol::TCP | protocol::UDP)
    }

    /// Returns the key of the tuple of a packet with ports; [`None`] as for [`Packet::tuple`].
    #[inline(always)]
    pub(super) fn port_key(&self, skb: &Skb) -> Option<Key> {
        self.with_l4_key(skb, L4Key::from_wire(&skb.read(self.transport)?))
    }

    /// Returns the key of the tuple of any packet; [`None`] as for [`Packet::tuple`].
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

    /// Returns the key of a GRE packet: with both call IDs for a PPTP call, without any for other
    /// GRE.
    fn gre_key(&self, skb: &Skb, net: &Net, rcu: Rcu<'_>) -> Option<Key> {
        let plain = self.with_l4_key(skb, L4Key::NONE);
        let Some(bytes) = skb.read(self.transport) else {
            return plain;
        };
        let class = gre::classify(&bytes);
        if class == Ok(gre::Class::Plain) {
            return plain;
        }
        // A header of version 1 that ends before the call ID is like one of no known version,
        // whatever its payload is.
        let Some(bytes) = skb.read(self.transport) else {
            return plain;
        };
        class.ok()?;
        let call = L4Key {
            src: [0; 2],
            dst: gre::call_id(&bytes),
        };
        let mut tuple = self.with_l4_key(skb, call)?.tuple();
        tuple.src_key = gre_keymap::sender_id(net, &tuple, rcu);
        Some(tuple.key())
    }

    /// Returns the key with the packet's addresses and these ports.
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

    /// Returns the destination address, in the form of a tuple's.
    pub(in crate::ct) fn destination(&self, skb: &Skb) -> Option<[u8; 16]> {
        let key = self.with_l4_key(skb, L4Key::NONE)?;
        Some(key.tuple().dst)
    }

    /// Returns the IPv6 header; [`None`] for an IPv4 packet.
    #[inline]
    pub(in crate::ct) fn ipv6(&self, skb: &Skb) -> Option<ipv6::Header> {
        match self.family {
            Family::Ipv4 => None,
            Family::Ipv6 => Some(ipv6::Header::parse(&skb.read(self.network)?)),
        }
    }

    /// Returns the number of bytes from the transport header to the end of the packet.
    #[inline]
    pub(in crate::ct) fn transport_len(&self, skb: &Skb) -> u32 {
        skb.len().saturating_sub(self.transport)
    }
}

/// Returns whether the packet is a fragment.
pub(super) fn is_ipv4_fragment(skb: &Skb) -> bool {
    skb.network_offset()
        .and_then(|offset| skb.read(offset))
        .is_some_and(|bytes| {
            let header = ipv4::Header::parse(&bytes);
            header.more_fragments() || header.fragment_offset() != 0
        })
}
