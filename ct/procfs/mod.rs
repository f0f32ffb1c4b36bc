// SPDX-License-Identifier: GPL-2.0

//! The files in `/proc/net`, of each namespace.
//!
//! - `nf_conntrack`: one line per entry, in the format of the C tracker; see [`line`].
//! - `rust_conntrack`: the same lines with additional fields; see [`line`].
//! - `nf_conntrack_expect`: one line per expectation; see [`expect`].
//! - `stat/nf_conntrack`: one line of statistics per CPU; see [`stat`].
//! - `rust_conntrack.prom`, `stat/rust_conntrack`: the figures, in two formats; see [`figures`].
//!
//! # Examples
//!
//! A file is a type that implements [`SeqFile`], and a constant with its name and its folder:
//!
//! ```ignore
//! struct Numbers;
//!
//! impl SeqFile for Numbers {
//!     type Cursor = u32; // Zero at the first record; kept between two reads.
//!     type Item = u32;
//!
//!     fn current(cursor: &mut u32, _net: &Net) -> Result<Option<u32>> {
//!         Ok((*cursor < 3).then_some(*cursor))
//!     }
//!
//!     fn advance(cursor: &mut u32, _number: &u32, net: &Net) -> Result<Option<u32>> {
//!         *cursor += 1;
//!         Self::current(cursor, net)
//!     }
//!
//!     fn show(number: &u32, _net: &Net, out: &mut Out<'_>) {
//!         out.number((*number).into());
//!         out.text("\n");
//!     }
//! }
//!
//! const NUMBERS: ProcFile<Numbers> = ProcFile::new(c"numbers", Folder::Net, Readers::All);
//! NUMBERS.create(net)?;
//! ```
//!
//! [`SeqFile`]: crate::nf::kernel::seq_file::SeqFile

use kernel::prelude::*;

use crate::nf::kernel::{
    pernet::NewNet,
    procfs::{
        Folder,
        ProcFile,
        Readers, //
    },
};

use self::{
    entries::EntriesFile,
    figures::FiguresFile, //
};

mod entries;
mod expect;
mod figures;
mod line;
mod stat;

const CLASSIC: ProcFile<EntriesFile<line::Classic>> =
    ProcFile::new(c"nf_conntrack", Folder::Net, Readers::Root);
const EXTENDED: ProcFile<EntriesFile<line::Extended>> =
    ProcFile::new(c"rust_conntrack", Folder::Net, Readers::Root);
const EXPECTATIONS: ProcFile<expect::ExpectationsFile> =
    ProcFile::new(c"nf_conntrack_expect", Folder::Net, Readers::Root);
const STATISTICS: ProcFile<stat::StatisticsFile> =
    ProcFile::new(c"nf_conntrack", Folder::Stat, Readers::All);
const PROMETHEUS: ProcFile<FiguresFile<figures::Prometheus>> =
    ProcFile::new(c"rust_conntrack.prom", Folder::Net, Readers::All);
const CAUSES: ProcFile<FiguresFile<figures::Names>> =
    ProcFile::new(c"rust_conntrack", Folder::Stat, Readers::All);

/// Creates a namespace's files, until it ends. May sleep.
pub(super) fn register(net: &NewNet<'_>) -> Result {
    CLASSIC.create(net)?;
    EXTENDED.create(net)?;
    EXPECTATIONS.create(net)?;
    STATISTICS.create(net)?;
    PROMETHEUS.create(net)?;
    CAUSES.create(net)
}
