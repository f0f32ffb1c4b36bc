// SPDX-License-Identifier: GPL-2.0

//! What differs between protocols in messages.

use kernel::prelude::*;

use crate::{
    ct::entry::l4proto::{
        Icmp,
        Icmpv6,
        Ports,
        Sctp,
        SctpProtoInfo,
        Tcp,
        TcpProtoInfo, //
    },
    nf::{
        entry::l4proto::{
            tuple_size,
            Memory,
            Parts,
            ProtocolAttribute,
            Request,
            TupleForm,
            PROTOCOL_PLACES, //
        },
        kernel::attr::{
            Attribute,
            Message,
            Policy, //
        },
        prelude::*, //
    },
};

use super::{cta::*, policy};

static POLICY: [Policy; PROTOCOL_PLACES] = policy::table([
    // CAST: The numbers of the attributes.
    (ProtocolAttribute::Tcp as u16, Policy::NESTED),
    (ProtocolAttribute::Sctp as u16, Policy::NESTED),
]);

/// What a protocol has in the place of ports.
enum Form {
    Ports,
    Icmp,
    Icmpv6,
    /// Nothing.
    None,
}

fn form(protocol: u8) -> Form {
    match protocol {
        protocol::TCP | protocol::UDP | protocol::SCTP | protocol::GRE => Form::Ports,
        protocol::ICMP => Form::Icmp,
        protocol::ICMPV6 if cfg!(CONFIG_IPV6) => Form::Icmpv6,
        _ => Form::None,
    }
}

/// Writes the transport part of a tuple, but for the protocol's number.
pub(super) fn put_tuple(tuple: &Tuple, message: &mut Message<'_>) -> Result {
    match form(tuple.protonum) {
        Form::Ports => Ports::put(tuple, message),
        Form::Icmp => Icmp::put(tuple, message),
        Form::Icmpv6 => Icmpv6::put(tuple, message),
        Form::None => Ok(()),
    }
}

fn get<F: TupleForm>(attribute: Attribute<'_>, tuple: &mut Tuple, parts: Parts) -> Result {
    let nest = attribute.nest(F::POLICY)?;
    F::get(&Request::new(nest.attributes(), parts), tuple)
}

/// Reads it.
pub(super) fn get_tuple(attribute: Attribute<'_>, tuple: &mut Tuple, parts: Parts) -> Result {
    match form(tuple.protonum) {
        Form::Ports => get::<Ports>(attribute, tuple, parts),
        Form::Icmp => get::<Icmp>(attribute, tuple, parts),
        Form::Icmpv6 => get::<Icmpv6>(attribute, tuple, parts),
        Form::None => Ok(()),
    }
}

/// Bytes that tuples and memory of a protocol take in the message of an entry with a master.
pub(super) fn size(protocol: u8) -> usize {
    let tuple = match form(protocol) {
        Form::Ports => tuple_size::<Ports>(),
        Form::Icmp => tuple_size::<Icmp>(),
        Form::Icmpv6 => tuple_size::<Icmpv6>(),
        Form::None => 0,
    };
    let memory = match protocol {
        protocol::TCP => Tcp::MESSAGE_SIZE,
        protocol::SCTP => Sctp::MESSAGE_SIZE,
        _ => 0,
    };
    // The nest in the nest, which the sizes leave out.
    const NEST: usize = crate::nf::kernel::attr::size_of_attribute(0);
    (tuple as usize)
        .wrapping_mul(3)
        .wrapping_add(memory.into())
        .wrapping_add(NEST)
}

/// Writes what an entry's tracker remembers.
pub(super) fn put_memory(conn: &Conn, going: bool, message: &mut Message<'_>) -> Result {
    match conn.protocol() {
        protocol::TCP => message.nest(CTA_PROTOINFO, |message| Tcp::put(conn, going, message)),
        protocol::SCTP => message.nest(CTA_PROTOINFO, |message| Sctp::put(conn, going, message)),
        _ => Ok(()),
    }
}

/// What a message says of that.
pub(super) enum ProtoInfo {
    Nothing,
    Tcp(TcpProtoInfo),
    Sctp(SctpProtoInfo),
}

impl ProtoInfo {
    /// Reads it, for an entry of this protocol.
    pub(super) fn get(attribute: Attribute<'_>, protocol: u8) -> Result<Self> {
        let nest = attribute.nest(&POLICY)?;
        let attributes = nest.attributes();
        Ok(match protocol {
            protocol::TCP => Tcp::get(&attributes)?.map_or(Self::Nothing, Self::Tcp),
            protocol::SCTP => Sctp::get(&attributes)?.map_or(Self::Nothing, Self::Sctp),
            _ => Self::Nothing,
        })
    }

    /// Has an entry remember it.
    pub(super) fn set(&self, conn: &Conn) {
        match self {
            Self::Nothing => {}
            Self::Tcp(told) => Tcp::set(conn, told),
            Self::Sctp(told) => Sctp::set(conn, told),
        }
    }
}
