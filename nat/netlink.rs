// SPDX-License-Identifier: GPL-2.0

//! The attributes `CTA_NAT_SRC` and `CTA_NAT_DST`: the translation of an entry that user space
//! creates.

use kernel::prelude::*;

use crate::{
    nf::{
        entry::cta::*,
        kernel::attr::{
            Attribute,
            Attributes,
            Policy, //
        },
        packet::nat::Unconfirmed,
        prelude::*, //
    },
    proto::{
        nat::{
            range::{
                flag,
                Range, //
            },
            Manip, //
        },
        types::tuple::widen, //
    },
};

use super::setup;

static NAT_POLICY: [Policy; CTA_NAT_MAX + 1] = Policy::table([
    (CTA_NAT_V4_MINIP, Policy::U32),
    (CTA_NAT_V4_MAXIP, Policy::U32),
    (CTA_NAT_V6_MINIP, Policy::bytes(16)),
    (CTA_NAT_V6_MAXIP, Policy::bytes(16)),
    (CTA_NAT_PROTO, Policy::NESTED),
]);

static PROTO_POLICY: [Policy; CTA_PROTONAT_MAX + 1] = Policy::table([
    (CTA_PROTONAT_PORT_MIN, Policy::U16),
    (CTA_PROTONAT_PORT_MAX, Policy::U16),
]);

fn ipv4(attribute: Attribute<'_>) -> Result<[u8; 16]> {
    attribute.bytes().map(widen)
}

fn addresses(range: &mut Range, attributes: &Attributes<'_>, l3num: u16) -> Result {
    let (first, last) = match Family::from_number(l3num) {
        Some(Family::Ipv4) => (CTA_NAT_V4_MINIP, CTA_NAT_V4_MAXIP),
        Some(Family::Ipv6) => (CTA_NAT_V6_MINIP, CTA_NAT_V6_MAXIP),
        None => return Err(EPROTONOSUPPORT),
    };
    let read = |attribute: Attribute<'_>| match Family::from_number(l3num) {
        Some(Family::Ipv4) => ipv4(attribute),
        _ => attribute.bytes(),
    };
    if let Some(first) = attributes.get(first) {
        range.min_addr = read(first)?;
        range.flags |= flag::MAP_IPS;
    }
    range.max_addr = match attributes.get(last) {
        Some(last) => read(last)?,
        None => range.min_addr,
    };
    Ok(())
}

fn keys(range: &mut Range, attributes: &Attributes<'_>) -> Result {
    if let Some(first) = attributes.get(CTA_PROTONAT_PORT_MIN) {
        range.min_key = first.bytes()?;
        range.max_key = range.min_key;
        range.flags |= flag::PROTO_SPECIFIED;
    }
    if let Some(last) = attributes.get(CTA_PROTONAT_PORT_MAX) {
        range.max_key = last.bytes()?;
        range.flags |= flag::PROTO_SPECIFIED;
    }
    Ok(())
}

/// Decides about one end of an entry by the attribute; without one, it gets a null binding.
///
/// `EEXIST`: the decision is made. `ENOMEM`: no mapping is free, or there is no memory.
pub(super) fn parse_nat_setup(
    entry: Unconfirmed<'_>,
    manip: Manip,
    attribute: Option<Attribute<'_>>,
) -> Result {
    if setup::is_done(entry.conn().status(), manip) {
        return Err(EEXIST);
    }
    let verdict = match attribute {
        None => setup::null_binding(entry, manip),
        Some(attribute) => {
            let mut range = Range::default();
            let l3num = entry.conn().tuple(Direction::Original).l3num;
            let nest = attribute.nest(&NAT_POLICY)?;
            addresses(&mut range, &nest.attributes(), l3num)?;
            if let Some(proto) = nest.attributes().get(CTA_NAT_PROTO) {
                keys(&mut range, &proto.nest(&PROTO_POLICY)?.attributes())?;
            }
            setup::setup_info(entry, &range, manip)
        }
    };
    if verdict == Verdict::Drop {
        return Err(ENOMEM);
    }
    Ok(())
}
