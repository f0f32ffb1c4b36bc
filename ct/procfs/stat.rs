// SPDX-License-Identifier: GPL-2.0

//! `/proc/net/stat/nf_conntrack`: a line of column names, then a line of hexadecimal numbers per
//! possible CPU. Tools add up the lines, except the first column: each line has the namespace's
//! number of entries there.

use kernel::prelude::*;

use crate::{
    ct::netns::NetState,
    nf::{
        kernel::{
            net::{
                PossibleCpu,
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

/// The line of column names, which tools compare with its double blanks.
const NAMES: &str = "entries  clashres found new invalid ignore delete chainlength insert \
    insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete \
    search_restart\n";

/// The columns after the first. [`None`]: a counter that the kernel no longer has.
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

/// The indices in [`COLUMNS`] before which the format has two blanks.
const AFTER_TWO_BLANKS: [usize; 2] = [0, 12];

/// The file of statistics.
pub(super) struct StatisticsFile;

/// A line of the file.
pub(super) enum Row {
    Names,
    Cpu(PossibleCpu),
}

impl SeqFile for StatisticsFile {
    /// 0: at the line of names; otherwise the lowest number that the next CPU may have, plus one.
    type Cursor = u32;
    type Item = Row;

    fn current(cursor: &mut u32, _net: &Net) -> Result<Option<Row>> {
        let Some(from) = cursor.checked_sub(1) else {
            return Ok(Some(Row::Names));
        };
        Ok(PossibleCpu::at_least(from).map(|cpu| {
            *cursor = cpu.number().saturating_add(1);
            Row::Cpu(cpu)
        }))
    }

    fn advance(cursor: &mut u32, _row: &Row, net: &Net) -> Result<Option<Row>> {
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
            out.text(if AFTER_TWO_BLANKS.contains(&index) {
                "  "
            } else {
                " "
            });
            out.hex8(column.map_or(0, |stat| net.stat_of(cpu, stat)));
        }
        out.text("\n");
    }
}
