// SPDX-License-Identifier: GPL-2.0

//! The statistics: a line of names, then a line of hexadecimal numbers for each CPU that
//! the machine can have. Tools add the CPUs up, but for the number of entries, which is
//! that of the namespace on every line.

use crate::{
    ct::netns::NetState,
    nf::{
        kernel::{
            net::{
                possible_cpu,
                Stat, //
            },
            seq_file::{
                Out,
                SeqFile, //
            },
        },
        prelude::*, //
    },
};

/// As tools know it, with blanks and all.
const NAMES: &str = "entries  clashres found new invalid ignore delete chainlength insert \
    insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete \
    search_restart\n";

/// The numbers behind that of entries. [`None`]: not counted for years, but in the format.
const COLUMNS: [Option<Stat>; 16] = [
    Some(Stat::ClashResolve),
    Some(Stat::Found),
    None,
    Some(Stat::Invalid),
    None,
    None,
    Some(Stat::ChainTooLong),
    Some(Stat::Insert),
    Some(Stat::InsertFailed),
    Some(Stat::Drop),
    Some(Stat::EarlyDrop),
    Some(Stat::Error),
    Some(Stat::ExpectNew),
    Some(Stat::ExpectCreate),
    Some(Stat::ExpectDelete),
    Some(Stat::SearchRestart),
];

/// Columns of [`COLUMNS`] before which the format has two blanks.
const AFTER_GAP: [usize; 2] = [0, 12];

/// The statistics file.
pub(super) struct Statistics;

/// A line of it.
pub(super) enum Row {
    Names,
    Cpu(u32),
}

impl SeqFile for Statistics {
    /// 0: the names; otherwise the next CPU, plus one.
    type Cursor = u32;
    type Item = Row;

    fn current(cursor: &mut u32, _net: &Net) -> Option<Row> {
        let Some(from) = cursor.checked_sub(1) else {
            return Some(Row::Names);
        };
        let cpu = possible_cpu(from)?;
        *cursor = cpu.saturating_add(1);
        Some(Row::Cpu(cpu))
    }

    fn advance(cursor: &mut u32, net: &Net) -> Option<Row> {
        *cursor = cursor.saturating_add(1);
        Self::current(cursor, net)
    }

    fn show(row: &Row, net: &Net, out: &mut Out<'_>) {
        let cpu = match *row {
            Row::Names => return out.text(NAMES),
            Row::Cpu(cpu) => cpu,
        };
        out.hex8(net.state::<NetState>().entries());
        for (index, column) in COLUMNS.into_iter().enumerate() {
            out.text(if AFTER_GAP.contains(&index) {
                "  "
            } else {
                " "
            });
            out.hex8(column.map_or(0, |stat| net.stat_of(cpu, stat)));
        }
        out.text("\n");
    }
}
