// SPDX-License-Identifier: GPL-2.0

//! Tuples and zones in messages.

use kernel::prelude::*;

use crate::{
    nf::{
        entry::l4proto::Parts,
        kernel::attr::{
            Attribute,
            Message,
            Policy, //
        },
        prelude::*, //
    },
    proto::types::tuple::{
        widen,
        L4Key, //
    },
};

use super::{
    cta::*,
    protocol, //
};

static POLICY: [Policy; CTA_TUPLE_MAX + 1] = Policy::table([
    (CTA_TUPLE_IP, Policy::NESTED),
    (CTA_TUPLE_PROTO, Policy::NESTED),
    (CTA_TUPLE_ZONE, Policy::U16),
]);

static ADDRESS_POLICY: [Policy; CTA_IP_MAX + 1] = Policy::table([
    (CTA_IP_V4_SRC, Policy::U32),
    (CTA_IP_V4_DST, Policy::U32),
    (CTA_IP_V6_SRC, Policy::bytes(16)),
    (CTA_IP_V6_DST, Policy::bytes(16)),
]);

static TRANSPORT_POLICY: [Policy; CTA_PROTO_MAX + 1] = Policy::table([(CTA_PROTO_NUM, Policy::U8)]);

/// The reason why a tuple could not be read.
pub(super) enum TupleError {
    /// An attribute is malformed; too short is `ERANGE`.
    Malformed(Error),
    /// `EINVAL`: a wanted field is missing, or the protocol that gives it a meaning.
    MissingField,
    /// `EINVAL`: the tuple has a zone where it cannot have one, or after another zone was given.
    UnexpectedZone,
    /// `EOPNOTSUPP`: the address family is neither IPv4 nor IPv6.
    UnknownFamily,
}

impl From<Error> for TupleError {
    fn from(error: Error) -> Self {
        Self::Malformed(error)
    }
}

impl From<TupleError> for Error {
    fn from(error: TupleError) -> Self {
        match error {
            TupleError::Malformed(error) => error,
            TupleError::MissingField | TupleError::UnexpectedZone => EINVAL,
            TupleError::UnknownFamily => EOPNOTSUPP,
        }
    }
}

/// Upper bound of the bytes that the addresses of a tuple take: C counts both families.
pub(super) const ADDRESSES_SIZE: usize = {
    use crate::nf::kernel::attr::size_of_attribute as size;
    2 * size(4) + 2 * size(16)
};

/// Writes the attributes of a tuple, without the nest around them.
pub(super) fn put(tuple: &Tuple, message: &mut Message<'_>) -> Result {
    message.nest(CTA_TUPLE_IP, |message| match tuple.family() {
        Some(Family::Ipv4) => {
            message.put(CTA_IP_V4_SRC, &tuple.src_ipv4())?;
            message.put(CTA_IP_V4_DST, &tuple.dst_ipv4())
        }
        Some(Family::Ipv6) => {
            message.put(CTA_IP_V6_SRC, &tuple.src)?;
            message.put(CTA_IP_V6_DST, &tuple.dst)
        }
        None => Ok(()),
    })?;
    message.nest(CTA_TUPLE_PROTO, |message| {
        message.put_u8(CTA_PROTO_NUM, tuple.protonum)?;
        protocol::put_tuple(tuple, message)
    })
}

/// Writes a tuple as the nest `number`.
pub(super) fn put_nest(number: u16, tuple: &Tuple, message: &mut Message<'_>) -> Result {
    message.nest(number, |message| put(tuple, message))
}

/// Reads the zone of a message, which is that of both directions; without one, the default zone.
pub(super) fn get_zone(attribute: Option<Attribute<'_>>) -> Result<Zone> {
    match attribute {
        Some(attribute) => Ok(Zone::new(attribute.be16()?, Zone::BOTH)),
        None => Ok(Zone::DEFAULT),
    }
}

fn address(
    attribute: Option<Attribute<'_>>,
    family: Option<Family>,
) -> Result<[u8; 16], TupleError> {
    let attribute = attribute.ok_or(TupleError::MissingField)?;
    if family == Some(Family::Ipv6) {
        return Ok(attribute.bytes()?);
    }
    Ok(widen(attribute.bytes()?))
}

fn get_addresses(
    attribute: Attribute<'_>,
    tuple: &mut Tuple,
    parts: Parts,
) -> Result<(), TupleError> {
    let nest = attribute.nest(&ADDRESS_POLICY)?;
    let attributes = nest.attributes();
    let (source, destination) = if tuple.has_family(Family::Ipv4) {
        (CTA_IP_V4_SRC, CTA_IP_V4_DST)
    } else {
        (CTA_IP_V6_SRC, CTA_IP_V6_DST)
    };
    if parts.any(Parts::SOURCE) {
        tuple.src = address(attributes.get(source), tuple.family())?;
    }
    if parts.any(Parts::DESTINATION) {
        tuple.dst = address(attributes.get(destination), tuple.family())?;
    }
    Ok(())
}

/// Reads the wanted fields of a tuple, which are `parts`.
///
/// A zone in the tuple, which is for one direction only, goes to `zone`; [`None`]: the tuple cannot
/// have one.
pub(super) fn get(
    attribute: Attribute<'_>,
    direction: Direction,
    family: u8,
    zone: Option<&mut Zone>,
    parts: Parts,
) -> Result<Tuple, TupleError> {
    let nest = attribute.nest(&POLICY)?;
    let attributes = nest.attributes();
    let family = Family::from_number(family.into()).ok_or(TupleError::UnknownFamily)?;
    let mut tuple =
        Tuple::new(family.to_u16(), [0; 16], [0; 16], L4Key::NONE, 0).with_direction(direction);

    if parts.any(Parts::SOURCE) || parts.any(Parts::DESTINATION) {
        let addresses = attributes
            .get(CTA_TUPLE_IP)
            .ok_or(TupleError::MissingField)?;
        get_addresses(addresses, &mut tuple, parts)?;
    }
    if parts.any(Parts::PROTOCOL) {
        let transport = attributes
            .get(CTA_TUPLE_PROTO)
            .ok_or(TupleError::MissingField)?;
        tuple.protonum = transport
            .nest(&TRANSPORT_POLICY)?
            .attributes()
            .get(CTA_PROTO_NUM)
            .ok_or(TupleError::MissingField)?
            .u8()?;
        protocol::get_tuple(transport, &mut tuple, parts)?;
    } else if parts.any(Parts::TRANSPORT) {
        return Err(TupleError::MissingField);
    }
    if let Some(own) = attributes
        .get(CTA_TUPLE_ZONE)
        .filter(|_| parts.any(Parts::ZONE))
    {
        let zone = zone.ok_or(TupleError::UnexpectedZone)?;
        if zone.id != Zone::DEFAULT_ID {
            return Err(TupleError::UnexpectedZone);
        }
        let bit = match direction {
            Direction::Original => Zone::ORIGINAL,
            Direction::Reply => Zone::REPLY,
        };
        *zone = Zone::new(own.be16()?, bit);
    }
    Ok(tuple)
}
