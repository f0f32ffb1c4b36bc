// SPDX-License-Identifier: GPL-2.0

//! Which entries a request is about.

use kernel::prelude::*;

use crate::{
    ct::table::index::Scope,
    nf::{
        entry::l4proto::{
            Parts,
            TupleAttribute, //
        },
        kernel::attr::{
            Attribute,
            Attributes,
            Policy, //
        },
        prelude::*, //
    },
};

use super::{
    cta::*,
    policy,
    tuple, //
};

static POLICY: [Policy; CTA_FILTER_MAX + 1] = policy::table([
    (CTA_FILTER_ORIG_FLAGS, Policy::u32_within(Parts::ALL.0)),
    (CTA_FILTER_REPLY_FLAGS, Policy::u32_within(Parts::ALL.0)),
]);

/// Bits, and which of them count.
#[derive(Clone, Copy, Default)]
struct Bits {
    value: u32,
    mask: u32,
}

impl Bits {
    fn matches(self, bits: u32) -> bool {
        bits & self.mask == self.value
    }
}

/// Some parts of one of an entry's tuples.
struct Ends {
    parts: Parts,
    tuple: Tuple,
}

impl Ends {
    fn matches(&self, other: &Tuple) -> bool {
        use TupleAttribute as A;
        let wants = |attribute| self.parts.has(attribute);
        let own = &self.tuple;
        let ports = |source, destination| {
            (!wants(source) || own.src_key == other.src_key)
                && (!wants(destination) || own.dst_key == other.dst_key)
        };
        let query = |id, kind, code| {
            (!wants(kind) || own.icmp_type() == other.icmp_type())
                && (!wants(code) || own.icmp_code() == other.icmp_code())
                && (!wants(id) || own.src_key == other.src_key)
        };
        (!self.parts.any(Parts::SOURCE) || own.src == other.src)
            && (!self.parts.any(Parts::DESTINATION) || own.dst == other.dst)
            && (!self.parts.any(Parts::PROTOCOL) || own.protonum == other.protonum)
            && match other.protonum {
                protocol::TCP | protocol::UDP => ports(A::SourcePort, A::DestinationPort),
                protocol::ICMP => query(A::IcmpId, A::IcmpType, A::IcmpCode),
                protocol::ICMPV6 => query(A::Icmpv6Id, A::Icmpv6Type, A::Icmpv6Code),
                // Ports of other protocols are not compared.
                _ => true,
            }
    }
}

/// What entries have to be like. [`None`] of all: anything.
pub(super) struct Filter {
    /// 0: any.
    family: u8,
    /// Of either direction, or of both.
    zone: Option<u16>,
    original: Option<Ends>,
    reply: Option<Ends>,
    mark: Bits,
    status: Bits,
}

impl Filter {
    /// The filter of a request; [`None`]: it is about all entries.
    pub(super) fn of(attributes: &Attributes<'_>, family: u8) -> Result<Option<Self>> {
        let get = |place| attributes.get(place);
        let filters = [CTA_MARK, CTA_FILTER, CTA_STATUS, CTA_ZONE];
        if family == 0 && filters.into_iter().all(|place| get(place).is_none()) {
            return Ok(None);
        }
        let mark = bits(get(CTA_MARK), get(CTA_MARK_MASK), |_| u32::MAX)?;
        let status = bits(get(CTA_STATUS), get(CTA_STATUS_MASK), |value| value)?;
        if get(CTA_STATUS).is_some() && status.mask == 0 {
            return Err(EINVAL);
        }
        // A tuple's own zone takes the place of the default one, and then no more.
        let by_zone = get(CTA_ZONE).is_some();
        let mut zone = tuple::get_zone(get(CTA_ZONE))?;

        let mut parts = (Parts(0), Parts(0));
        if let Some(nest) = get(CTA_FILTER) {
            let nest = nest.nest_strictly(&POLICY)?;
            let flags = |place| match nest.attributes().get(place) {
                Some(flags) => flags.u32().map(Parts),
                None => Ok(Parts(0)),
            };
            parts = (
                flags(CTA_FILTER_ORIG_FLAGS)?,
                flags(CTA_FILTER_REPLY_FLAGS)?,
            );
        }
        let mut ends = |place, direction, parts| -> Result<Option<Ends>> {
            if parts == Parts(0) {
                return Ok(None);
            }
            let attribute: Attribute<'_> = get(place).ok_or(EINVAL)?;
            let tuple = tuple::get(attribute, direction, family, Some(&mut zone), parts)?;
            Ok(Some(Ends { parts, tuple }))
        };
        let original = ends(CTA_TUPLE_ORIG, Direction::Original, parts.0)?;
        let reply = ends(CTA_TUPLE_REPLY, Direction::Reply, parts.1)?;
        Ok(Some(Self {
            family,
            zone: by_zone.then_some(zone.id),
            original,
            reply,
            mark,
            status,
        }))
    }

    /// Where the entries are that it is about.
    fn scope(&self) -> Scope {
        let address = |ends: &Option<Ends>, part, of: fn(&Tuple) -> [u8; 16]| {
            let ends = ends.as_ref().filter(|ends| ends.parts.any(part))?;
            Some(of(&ends.tuple))
        };
        let (source, destination) = (|tuple: &Tuple| tuple.src, |tuple: &Tuple| tuple.dst);
        if let Some(address) = address(&self.original, Parts::SOURCE, source) {
            Scope::Source(address)
        } else if let Some(address) = address(&self.reply, Parts::DESTINATION, destination) {
            Scope::ReplyDestination(address)
        } else if let Some(address) = address(&self.reply, Parts::SOURCE, source) {
            Scope::ReplySource(address)
        } else if let Some(address) = address(&self.original, Parts::DESTINATION, destination) {
            Scope::Destination(address)
        } else {
            self.zone.map_or(Scope::Namespace, Scope::Zone)
        }
    }

    /// Whether it is about an entry.
    pub(super) fn matches(&self, conn: &Conn) -> bool {
        let original = conn.tuple(Direction::Original);
        let ends = |ends: &Option<Ends>, tuple: &Tuple| {
            ends.as_ref().is_none_or(|ends| ends.matches(tuple))
        };
        (self.family == 0 || u16::from(self.family) == original.l3num)
            && self.zone.is_none_or(|id| conn.zone().id == id)
            && ends(&self.original, &original)
            && ends(&self.reply, &conn.tuple(Direction::Reply))
            && self.mark.matches(conn.mark())
            && self.status.matches(conn.status().bits())
    }
}

/// A value and its mask, which is nothing without a value.
fn bits(
    value: Option<Attribute<'_>>,
    mask: Option<Attribute<'_>>,
    default: impl FnOnce(u32) -> u32,
) -> Result<Bits> {
    match (value, mask) {
        (None, None) => Ok(Bits::default()),
        (None, Some(_)) => Err(EINVAL),
        (Some(value), mask) => {
            let value = value.be32()?;
            Ok(Bits {
                value,
                mask: match mask {
                    Some(mask) => mask.be32()?,
                    None => default(value),
                },
            })
        }
    }
}

/// Where the entries are that a request is about.
pub(super) fn scope(filter: &Option<Filter>) -> Scope {
    filter.as_ref().map_or(Scope::Namespace, Filter::scope)
}

/// Whether a request is about an entry.
pub(super) fn passes(filter: &Option<Filter>, conn: &Conn) -> bool {
    filter.as_ref().is_none_or(|filter| filter.matches(conn))
}
