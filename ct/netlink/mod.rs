// SPDX-License-Identifier: GPL-2.0

//! ctnetlink: the messages by which `conntrack`, `conntrackd` and other programs read and change
//! entries and expectations (subsystems 1 and 2 of nfnetlink).
//!
//! A message is parsed once, into types, before anything is done. A message that is refused has
//! changed nothing. The meaning of messages, and the errno for each mistake, are those of the C
//! implementation.

use kernel::prelude::*;

use crate::nf::{
    kernel::nfnetlink::{
        Handlers,
        Subsystem,
        SubsystemRegistration,
        CTNETLINK,
        CTNETLINK_EXP, //
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
    .with::<statistics::GetStatsCpu>(IPCTNL_MSG_CT_GET_STATS_CPU)
    .with::<statistics::GetStats>(IPCTNL_MSG_CT_GET_STATS)
    .with::<get::GetDying>(IPCTNL_MSG_CT_GET_DYING)
    .with::<get::GetUnconfirmed>(IPCTNL_MSG_CT_GET_UNCONFIRMED);

static SUBSYSTEM: Subsystem = Subsystem::new(c"conntrack", CTNETLINK, &HANDLERS);

static EXPECT_HANDLERS: Handlers<{ IPCTNL_MSG_EXP_MAX }> = Handlers::new()
    .with::<expect::New>(IPCTNL_MSG_EXP_NEW)
    .with::<expect::Get>(IPCTNL_MSG_EXP_GET)
    .with::<expect::Delete>(IPCTNL_MSG_EXP_DELETE)
    .with::<statistics::GetExpectStatsCpu>(IPCTNL_MSG_EXP_GET_STATS_CPU);

static EXPECT_SUBSYSTEM: Subsystem =
    Subsystem::new(c"conntrack_expect", CTNETLINK_EXP, &EXPECT_HANDLERS);

/// The registrations of both subsystems, and of the callbacks of nfnetlink_queue.
pub(super) struct Netlink {
    _queue_glue: GlueRegistration,
    _expectations: SubsystemRegistration,
    _connections: SubsystemRegistration,
}

impl Netlink {
    /// Registers them. May sleep.
    pub(super) fn new() -> Result<Self> {
        let connections = SubsystemRegistration::new(&SUBSYSTEM)?;
        let expectations = SubsystemRegistration::new(&EXPECT_SUBSYSTEM)?;
        Ok(Self {
            _queue_glue: GlueRegistration::new::<queue::QueueGlue>(),
            _expectations: expectations,
            _connections: connections,
        })
    }
}
