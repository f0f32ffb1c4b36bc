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

use self::cta::{
    expect_message,
    message, //
};

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

static HANDLERS: Handlers<{ message::COUNT }> = Handlers::new()
    .with::<new::New>(message::NEW)
    .with::<get::Get<false>>(message::GET)
    .with::<delete::Delete>(message::DELETE)
    .with::<get::Get<true>>(message::GET_AND_ZERO)
    .with::<statistics::GetOfCpus>(message::STATISTICS_OF_CPUS)
    .with::<statistics::GetGlobal>(message::STATISTICS)
    .with::<get::GetDying>(message::GET_DYING)
    .with::<get::GetUnconfirmed>(message::GET_UNCONFIRMED);

static SUBSYSTEM: Subsystem = Subsystem::new(c"conntrack", CONNECTIONS, &HANDLERS);

static EXPECT_HANDLERS: Handlers<{ expect_message::COUNT }> = Handlers::new()
    .with::<expect::New>(expect_message::NEW)
    .with::<expect::Get>(expect_message::GET)
    .with::<expect::Delete>(expect_message::DELETE)
    .with::<statistics::GetExpectationsOfCpus>(expect_message::STATISTICS_OF_CPUS);

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
