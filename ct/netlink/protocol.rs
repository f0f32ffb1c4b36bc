// SPDX-License-Identifier: GPL-2.0

//! The attributes that depend on the protocol: the transport fields of a tuple (`CTA_PROTO_*`), and
//! the tracker's state (`CTA_PROTOINFO_*`).

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
        entry::{
            conn::Entry,
            l4proto::{
                tuple_size,
                Parts,
                ProtoInfoForm,
                TupleAttributes,
                TupleForm, //
            },
        },
        kernel::attr::{
            Attribute,
            Message,
            Policy, //
        },
        prelude::*, //
    },
    proto::types::num::u32_as_usize, //
};

use super::cta::*;

static POLICY: [Policy; CTA_PROTOINFO_MAX + 1] = Policy::table([
    (CTA_PROTOINFO_TCP, Policy::NESTED),
    (CTA_PROTOINFO_SCTP, Policy::NESTED),
]);

/// The transport fields of a protocol's tuples.
enum Form {
    Ports,
    Icmp,
    Icmpv6,
    /// The tuples have addresses only.
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

/// Writes the transport fields of a tuple, except the protocol number.
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
    F::get(&TupleAttributes::new(nest.attributes(), parts), tuple)
}

/// Reads the wanted transport fields of a tuple, which are `parts`, by the tuple's protocol.
pub(super) fn get_tuple(attribute: Attribute<'_>, tuple: &mut Tuple, parts: Parts) -> Result {
    match form(tuple.protonum) {
        Form::Ports => get::<Ports>(attribute, tuple, parts),
        Form::Icmp => get::<Icmp>(attribute, tuple, parts),
        Form::Icmpv6 => get::<Icmpv6>(attribute, tuple, parts),
        Form::None => Ok(()),
    }
}

/// Returns an upper bound of the bytes that the protocol's attributes take in the message about an
/// entry: the transport fields of three tuples (the third is the master's), and the tracker's
/// state.
pub(super) fn size(protocol: u8) -> usize {
    let tuple = match form(protocol) {
        Form::Ports => tuple_size::<Ports>(),
        Form::Icmp => tuple_size::<Icmp>(),
        Form::Icmpv6 => tuple_size::<Icmpv6>(),
        Form::None => 0,
    };
    let proto_info = match protocol {
        protocol::TCP => Tcp::MESSAGE_SIZE,
        protocol::SCTP => Sctp::MESSAGE_SIZE,
        _ => 0,
    };
    // The sizes are without the outer nest.
    const NEST: usize = crate::nf::kernel::attr::size_of_attribute(0);
    u32_as_usize(tuple)
        .wrapping_mul(3)
        .wrapping_add(proto_info.into())
        .wrapping_add(NEST)
}

/// Writes the state of an entry's tracker; of an entry that was destroyed, less of it.
pub(super) fn put_proto_info(conn: &Conn, destroyed: bool, message: &mut Message<'_>) -> Result {
    match conn.protocol() {
        protocol::TCP => message.nest(CTA_PROTOINFO, |message| Tcp::put(conn, destroyed, message)),
        protocol::SCTP => {
            message.nest(CTA_PROTOINFO, |message| Sctp::put(conn, destroyed, message))
        }
        _ => Ok(()),
    }
}

/// `CTA_PROTOINFO`: the state that a message gives to an entry's tracker.
pub(super) enum ProtoInfo {
    /// The protocol has no state, or the message leaves it out.
    Nothing,
    Tcp(TcpProtoInfo),
    Sctp(SctpProtoInfo),
}

impl ProtoInfo {
    /// Reads it, for an entry of `protocol`.
    pub(super) fn get(attribute: Attribute<'_>, protocol: u8) -> Result<Self> {
        let nest = attribute.nest(&POLICY)?;
        let attributes = nest.attributes();
        Ok(match protocol {
            protocol::TCP => Tcp::get(&attributes)?.map_or(Self::Nothing, Self::Tcp),
            protocol::SCTP => Sctp::get(&attributes)?.map_or(Self::Nothing, Self::Sctp),
            _ => Self::Nothing,
        })
    }

    /// Sets the state of an entry's tracker.
    pub(super) fn set(&self, conn: &Entry) {
        match self {
            Self::Nothing => {}
            Self::Tcp(info) => Tcp::set(conn, info),
            Self::Sctp(info) => Sctp::set(conn, info),
        }
    }
}
