// SPDX-License-Identifier: GPL-2.0

//! The netlink view: the messages by which `conntrack`, `conntrackd` and others in user space
//! see and change entries (ctnetlink, the subsystems 1 and 2 of nfnetlink).
//!
//! What comes in is read once, at the edge, into types; a message that is refused has changed
//! nothing. What messages mean, and which error answers which mistake, is what the C
//! implementation has made of them.

use kernel::prelude::*;

use crate::nf::{
    kernel::nfnetlink::{
        Handlers,
        Subsystem,
        SubsystemRegistration,
        CONNECTIONS,
        EXPECTATIONS, //
    },
    packet::queue_hook::GlueRegistration, //
};

use self::cta::*;

mod change;
mod cta;
mod delete;
pub(super) mod events;
mod expect;
mod filter;
mod get;
mod new;
mod policy;
mod protocol;
mod queue;
mod statistics;
mod tuple;
mod write;

static HANDLERS: Handlers<{ IPCTNL_MSG_MAX }> = Handlers::new()
    .with::<new::New>(IPCTNL_MSG_CT_NEW)
    .with::<get::Get<false>>(IPCTNL_MSG_CT_GET)
    .with::<delete::Delete>(IPCTNL_MSG_CT_DELETE)
    .with::<get::Get<true>>(IPCTNL_MSG_CT_GET_CTRZERO)
    .with::<statistics::GetOfCpus>(IPCTNL_MSG_CT_GET_STATS_CPU)
    .with::<statistics::GetGlobal>(IPCTNL_MSG_CT_GET_STATS)
    .with::<get::GetDying>(IPCTNL_MSG_CT_GET_DYING)
    .with::<get::GetUnconfirmed>(IPCTNL_MSG_CT_GET_UNCONFIRMED);

static SUBSYSTEM: Subsystem = Subsystem::new(c"conntrack", CONNECTIONS, &HANDLERS);

static EXPECT_HANDLERS: Handlers<{ IPCTNL_MSG_EXP_MAX }> = Handlers::new()
    .with::<expect::New>(IPCTNL_MSG_EXP_NEW)
    .with::<expect::Get>(IPCTNL_MSG_EXP_GET)
    .with::<expect::Delete>(IPCTNL_MSG_EXP_DELETE)
    .with::<statistics::GetExpectationsOfCpus>(IPCTNL_MSG_EXP_GET_STATS_CPU);

static EXPECT_SUBSYSTEM: Subsystem =
    Subsystem::new(c"conntrack_expect", EXPECTATIONS, &EXPECT_HANDLERS);

/// Keeps the view in place.
pub(super) struct Netlink {
    _packets: GlueRegistration,
    _expectations: SubsystemRegistration,
    _connections: SubsystemRegistration,
}

impl Netlink {
    /// Answers user space from now on. May sleep.
    pub(super) fn new() -> Result<Self> {
        let connections = SubsystemRegistration::new(&SUBSYSTEM)?;
        let expectations = SubsystemRegistration::new(&EXPECT_SUBSYSTEM)?;
        Ok(Self {
            _packets: GlueRegistration::new::<queue::Packets>(),
            _expectations: expectations,
            _connections: connections,
        })
    }
}
