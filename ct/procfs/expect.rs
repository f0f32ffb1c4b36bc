// SPDX-License-Identifier: GPL-2.0

//! A namespace's expectations, as `/proc/net/nf_conntrack_expect` has always shown them (`?`:
//! only for some):
//!
//! ```text
//! seconds-left l3proto = 2|10 proto=number tuple PERMANENT?,INACTIVE?,USERSPACE? helper?/class?
//! ```
//!
//! The order is that of buckets, and in a bucket of addresses in memory: a reader that comes
//! back finds its place, whatever came and went meanwhile.

use crate::nf::{
    expect::{
        expectation::{
            ExpectFlag,
            ExpectFlags, //
        },
        helper_name::HelperName,
        linked::Seen,
        table, //
    },
    kernel::{
        seq_file::{
            Out,
            SeqFile, //
        },
        time::HZ, //
    },
    prelude::*, //
};

use super::line::write_tuple;

/// The expectations file.
pub(super) struct Expectations;

/// How far a reader is. All zeroes: at the beginning.
#[derive(Clone, Copy, pin_init::Zeroable)]
pub(super) struct Place {
    bucket: u32,
    /// The address of the expectation that it is at.
    address: usize,
}

/// What a line says. It does not keep the expectation, let alone its helper.
pub(super) struct Line {
    jiffies: u32,
    tuple: Tuple,
    flags: ExpectFlags,
    helper: Option<(HelperName, Option<HelperName>)>,
}

impl Line {
    /// [`None`]: its time is over.
    fn of(seen: &Seen<'_>) -> Option<Self> {
        Some(Self {
            jiffies: seen.remaining()?,
            tuple: seen.tuple(),
            flags: seen.flags(),
            helper: seen
                .helper()
                .map(|helper| (helper.name(), helper.policy_name(seen.class()))),
        })
    }
}

impl SeqFile for Expectations {
    type Cursor = Place;
    type Item = Line;

    fn current(place: &mut Place, net: &Net) -> Option<Line> {
        while place.bucket < table::buckets() {
            let section = RcuGuard::new();
            let next = table::walk(place.bucket, section.token())
                .filter(|seen| seen.address() >= place.address && seen.is_in(net))
                .filter_map(|seen| Some((seen.address(), Line::of(&seen)?)))
                .min_by_key(|(address, _)| *address);
            if let Some((address, line)) = next {
                place.address = address;
                return Some(line);
            }
            *place = Place {
                bucket: place.bucket.saturating_add(1),
                address: 0,
            };
        }
        None
    }

    fn advance(place: &mut Place, net: &Net) -> Option<Line> {
        place.address = place.address.saturating_add(1);
        Self::current(place, net)
    }

    fn show(line: &Line, _net: &Net, out: &mut Out<'_>) {
        out.number((line.jiffies / HZ).into());
        out.text(" l3proto = ");
        out.number(line.tuple.l3num.into());
        out.text(" proto=");
        out.number(line.tuple.protonum.into());
        out.text(" ");
        write_tuple(&line.tuple, out);

        let mut delimiter = "";
        for (flag, name) in [
            (ExpectFlag::Permanent, "PERMANENT"),
            (ExpectFlag::Inactive, "INACTIVE"),
        ] {
            if line.flags.has(flag) {
                out.text(delimiter);
                out.text(name);
                delimiter = ",";
            }
        }
        if line.flags.has(ExpectFlag::Userspace) {
            out.text(delimiter);
            out.text("USERSPACE");
        }

        if let Some((helper, class)) = &line.helper {
            if !line.flags.is_empty() {
                out.text(" ");
            }
            out.bytes(helper.text());
            if let Some(class) = class.as_ref().filter(|class| !class.text().is_empty()) {
                out.text("/");
                out.bytes(class.text());
            }
        }
        out.text("\n");
    }
}
