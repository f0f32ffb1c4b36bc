// SPDX-License-Identifier: GPL-2.0

//! The filter of a request: which entries it lists, counts or deletes.

use kernel::prelude::*;

use crate::{
    ct::table::index::Scope,
    nf::{
        entry::l4proto::Parts,
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
    tuple, //
};

static POLICY: [Policy; CTA_FILTER_MAX + 1] = Policy::table([
    (CTA_FILTER_ORIG_FLAGS, Policy::u32_within(Parts::ALL.0)),
    (CTA_FILTER_REPLY_FLAGS, Policy::u32_within(Parts::ALL.0)),
]);

/// A value of some bits.
#[derive(Clone, Copy, Default)]
struct MaskedBits {
    value: u32,
    /// The bits that are compared.
    mask: u32,
}

impl MaskedBits {
    fn matches(self, bits: u32) -> bool {
        bits & self.mask == self.value
    }
}

/// Values of some fields of a tuple.
struct TupleFilter {
    /// The fields that are compared.
    parts: Parts,
    tuple: Tuple,
}

impl TupleFilter {
    fn matches(&self, other: &Tuple) -> bool {
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
                protocol::TCP | protocol::UDP => ports(CTA_PROTO_SRC_PORT, CTA_PROTO_DST_PORT),
                protocol::ICMP => {
                    query(CTA_PROTO_ICMP_ID, CTA_PROTO_ICMP_TYPE, CTA_PROTO_ICMP_CODE)
                }
                protocol::ICMPV6 => query(
                    CTA_PROTO_ICMPV6_ID,
                    CTA_PROTO_ICMPV6_TYPE,
                    CTA_PROTO_ICMPV6_CODE,
                ),
                // As in C: the ports of other protocols are not compared.
                _ => true,
            }
    }
}

/// A filter. A field that is [`None`] lets every entry pass.
pub(super) struct Filter {
    /// 0: any.
    family: u8,
    /// The number of the zone, whichever directions the zone is for.
    zone: Option<u16>,
    original: Option<TupleFilter>,
    reply: Option<TupleFilter>,
    mark: MaskedBits,
    status: MaskedBits,
}

impl Filter {
    /// Reads the filter of a request; [`None`]: the request is about all entries.
    ///
    /// `EINVAL`: a mask without its value, a status filter that compares no bit, or a tuple that is
    /// to be compared and is missing.
    pub(super) fn of(attributes: &Attributes<'_>, family: u8) -> Result<Option<Self>> {
        let get = |number| attributes.get(number);
        let filters = [CTA_MARK, CTA_FILTER, CTA_STATUS, CTA_ZONE];
        if family == 0 && filters.into_iter().all(|number| get(number).is_none()) {
            return Ok(None);
        }
        let mark = bits(get(CTA_MARK), get(CTA_MARK_MASK), |_| u32::MAX)?;
        let status = bits(get(CTA_STATUS), get(CTA_STATUS_MASK), |value| value)?;
        if get(CTA_STATUS).is_some() && status.mask == 0 {
            return Err(EINVAL);
        }
        // The zone of a tuple replaces the default zone; a second zone is refused.
        let by_zone = get(CTA_ZONE).is_some();
        let mut zone = tuple::get_zone(get(CTA_ZONE))?;

        let mut parts = (Parts(0), Parts(0));
        if let Some(nest) = get(CTA_FILTER) {
            let nest = nest.nest_strictly(&POLICY)?;
            let flags = |number| match nest.attributes().get(number) {
                Some(flags) => flags.u32().map(Parts),
                None => Ok(Parts(0)),
            };
            parts = (
                flags(CTA_FILTER_ORIG_FLAGS)?,
                flags(CTA_FILTER_REPLY_FLAGS)?,
            );
        }
        let mut tuple = |number, direction, parts| -> Result<Option<TupleFilter>> {
            if parts == Parts(0) {
                return Ok(None);
            }
            let attribute: Attribute<'_> = get(number).ok_or(EINVAL)?;
            let tuple = tuple::get(attribute, direction, family, Some(&mut zone), parts)?;
            Ok(Some(TupleFilter { parts, tuple }))
        };
        let original = tuple(CTA_TUPLE_ORIG, Direction::Original, parts.0)?;
        let reply = tuple(CTA_TUPLE_REPLY, Direction::Reply, parts.1)?;
        Ok(Some(Self {
            family,
            zone: by_zone.then_some(zone.id),
            original,
            reply,
            mark,
            status,
        }))
    }

    /// Returns the smallest scope of the index that has all entries that pass.
    fn scope(&self) -> Scope {
        let address = |filter: &Option<TupleFilter>, part, of: fn(&Tuple) -> [u8; 16]| {
            let filter = filter.as_ref().filter(|filter| filter.parts.any(part))?;
            Some(of(&filter.tuple))
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

    /// Returns whether an entry passes.
    pub(super) fn matches(&self, conn: &Conn) -> bool {
        let original = conn.tuple(Direction::Original);
        let passes = |filter: &Option<TupleFilter>, tuple: &Tuple| {
            filter.as_ref().is_none_or(|filter| filter.matches(tuple))
        };
        (self.family == 0 || u16::from(self.family) == original.l3num)
            && self.zone.is_none_or(|id| conn.zone().id == id)
            && passes(&self.original, &original)
            && passes(&self.reply, &conn.tuple(Direction::Reply))
            && self.mark.matches(conn.mark())
            && self.status.matches(conn.status().bits())
    }
}

/// Reads a value and its mask. `EINVAL`: a mask without a value.
fn bits(
    value: Option<Attribute<'_>>,
    mask: Option<Attribute<'_>>,
    default: impl FnOnce(u32) -> u32,
) -> Result<MaskedBits> {
    match (value, mask) {
        (None, None) => Ok(MaskedBits::default()),
        (None, Some(_)) => Err(EINVAL),
        (Some(value), mask) => {
            let value = value.be32()?;
            Ok(MaskedBits {
                value,
                mask: match mask {
                    Some(mask) => mask.be32()?,
                    None => default(value),
                },
            })
        }
    }
}

/// Returns the scope of the index that has all entries that pass an optional filter.
pub(super) fn scope(filter: &Option<Filter>) -> Scope {
    filter.as_ref().map_or(Scope::Namespace, Filter::scope)
}

/// Returns whether an entry passes an optional filter.
pub(super) fn passes(filter: &Option<Filter>, conn: &Conn) -> bool {
    filter.as_ref().is_none_or(|filter| filter.matches(conn))
}
