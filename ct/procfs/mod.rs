// SPDX-License-Identifier: GPL-2.0

//! The views in `/proc/net`, one set for every namespace.
//!
//! - `nf_conntrack`: the entries, a line for each, as the C tracker writes it; for the tools
//!   that know it.
//! - `rust_conntrack`: the same lines, and more at their ends; see [`entries`].
//! - `nf_conntrack_expect`: the expectations, a line for each; see [`expect`].
//! - `stat/nf_conntrack`: the statistics, a line for each CPU; see [`stat`].

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

use self::entries::Entries;

mod entries;
mod expect;
mod line;
mod stat;

const CLASSIC: ProcFile<Entries<line::Classic>> =
    ProcFile::new(c"nf_conntrack", Folder::Net, Readers::Root);
const EXTENDED: ProcFile<Entries<line::Extended>> =
    ProcFile::new(c"rust_conntrack", Folder::Net, Readers::Root);
const EXPECTATIONS: ProcFile<expect::Expectations> =
    ProcFile::new(c"nf_conntrack_expect", Folder::Net, Readers::Root);
const STATISTICS: ProcFile<stat::Statistics> =
    ProcFile::new(c"nf_conntrack", Folder::Stat, Readers::All);

/// Shows a namespace's files. May sleep.
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

/// Takes them away, and waits for their readers. May sleep.
pub(super) fn unregister(net: &Net) {
    STATISTICS.remove(net);
    EXPECTATIONS.remove(net);
    EXTENDED.remove(net);
    CLASSIC.remove(net);
}
