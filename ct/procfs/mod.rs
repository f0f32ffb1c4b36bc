// SPDX-License-Identifier: GPL-2.0

//! The files in `/proc/net`, of each namespace.
//!
//! - `nf_conntrack`: one line per entry, in the format of the C tracker; see [`line`].
//! - `rust_conntrack`: the same lines with additional fields; see [`line`].
//! - `nf_conntrack_expect`: one line per expectation; see [`expect`].
//! - `stat/nf_conntrack`: one line of statistics per CPU; see [`stat`].
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

use kernel::{
    prelude::*,
    types::ScopeGuard, //
};

use crate::nf::{
    kernel::procfs::{
        Folder,
        ProcFile,
        Readers, //
    },
    prelude::*, //
};

use self::entries::EntriesFile;

mod entries;
mod expect;
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

/// Creates a namespace's files. May sleep.
pub(super) fn register(net: &Net) -> Result {
    CLASSIC.create(net)?;
    let classic = ScopeGuard::new(|| CLASSIC.remove(net));
    EXTENDED.create(net)?;
    let extended = ScopeGuard::new(|| EXTENDED.remove(net));
    EXPECTATIONS.create(net)?;
    let expectations = ScopeGuard::new(|| EXPECTATIONS.remove(net));
    STATISTICS.create(net)?;
    expectations.dismiss();
    extended.dismiss();
    classic.dismiss();
    Ok(())
}

/// Removes a namespace's files, and waits until no reader is in them. May sleep.
pub(super) fn unregister(net: &Net) {
    STATISTICS.remove(net);
    EXPECTATIONS.remove(net);
    EXTENDED.remove(net);
    CLASSIC.remove(net);
}
