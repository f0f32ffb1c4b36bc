// SPDX-License-Identifier: GPL-2.0

//! `/proc/net/nf_conntrack_expect`: the expectations of a namespace, in the format of the C tracker
//! (`?`: not on every line; `|`: one of both):
//!
//! ```text
//! seconds-left l3proto = 2|10 proto=number tuple PERMANENT?,INACTIVE?,USERSPACE? helper?/class?
//! ```
//!
//! Lines are ordered by bucket, and within a bucket by address in memory. In this order a reader
//! finds where it stopped, whatever was added or removed meanwhile.

use kernel::prelude::*;

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
pub(super) struct ExpectationsFile;

/// The position of a reader.
#[derive(Default)]
pub(super) struct ExpectCursor {
    bucket: u32,
    /// The lowest address that the expectation at the cursor may have.
    address: usize,
}

/// The content of a line: a copy, because a reference would keep the expectation but not its
/// helper.
pub(super) struct ExpectLine {
    jiffies: u32,
    tuple: Tuple,
    flags: ExpectFlags,
    helper: Option<(HelperName, Option<HelperName>)>,
}

impl ExpectLine {
    /// Returns [`None`] if the expectation has expired.
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

impl SeqFile for ExpectationsFile {
    type Cursor = ExpectCursor;
    type Item = ExpectLine;

    fn current(cursor: &mut ExpectCursor, net: &Net) -> Result<Option<ExpectLine>> {
        while cursor.bucket < table::buckets() {
            let section = RcuGuard::new();
            let next = table::walk(cursor.bucket, section.token())
                .filter(|seen| seen.address() >= cursor.address && seen.is_in(net))
                .filter_map(|seen| Some((seen.address(), ExpectLine::of(&seen)?)))
                .min_by_key(|(address, _)| *address);
            if let Some((address, line)) = next {
                cursor.address = address;
                return Ok(Some(line));
            }
            *cursor = ExpectCursor {
                bucket: cursor.bucket.saturating_add(1),
                address: 0,
            };
        }
        Ok(None)
    }

    fn advance(
        cursor: &mut ExpectCursor,
        _line: &ExpectLine,
        net: &Net,
    ) -> Result<Option<ExpectLine>> {
        cursor.address = cursor.address.saturating_add(1);
        Self::current(cursor, net)
    }

    fn show(line: &ExpectLine, _net: &Net, out: &mut Out<'_>) {
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
