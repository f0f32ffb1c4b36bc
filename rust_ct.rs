// SPDX-License-Identifier: GPL-2.0

//! Connection tracking for Linux, in Rust.
//!
//! The module replaces `nf_conntrack`, `nf_nat` and `nf_conntrack_netlink`: its entries are `struct
//! nf_conn` objects, which the kernel's C code reads as before. `README.md` describes its use,
//! [`ct`] how it works.

pub(crate) mod ct;
pub(crate) mod nat;
pub(crate) mod nf;
pub mod proto;

use kernel::prelude::*;

use crate::nf::kernel::log::{
    pr_err,
    pr_info, //
};

module! {
    type: RustCt,
    name: "rust_ct",
    authors: ["The rust_ct developers"],
    description: "Connection tracking in Rust",
    license: "GPL",
    alias: [
        "nf_conntrack",
        "ip_conntrack",
        "nf_conntrack-2",
        "nf_conntrack-10",
        "nf_nat",
        "nf_conntrack_netlink",
        "ip_conntrack_netlink",
        "nfnetlink-subsys-1",
        "nfnetlink-subsys-2",
    ],
}

/// The loaded module.
///
/// Fields are dropped in declaration order. The files below the C modules' names are removed first,
/// since they lead to the table. Then the tracker is dropped: it waits until the last entry is
/// freed, and freeing an entry calls into NAT.
struct RustCt {
    _names: ct::ModuleNames,
    _conntrack: ct::Conntrack,
    _nat: nat::Nat,
}

impl kernel::Module for RustCt {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let complain = |error: &Error| {
            pr_err!("cannot start: errno {}\n", error.to_errno().wrapping_neg());
        };
        let conntrack = ct::Conntrack::new().inspect_err(complain)?;
        let nat = nat::Nat::new().inspect_err(complain)?;
        pr_info!("tracking connections\n");
        Ok(Self {
            _names: ct::ModuleNames::new(),
            _conntrack: conntrack,
            _nat: nat,
        })
    }
}
