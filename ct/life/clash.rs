// SPDX-License-Identifier: GPL-2.0

//! Clashes of reply tuples that only NAT could have avoided.
//!
//! Two connections with the same addresses and ports, in zones of the original direction alone
//! (`ct original zone`), are expected to have the same replies. Where a namespace has NAT chains,
//! the second one gets another source port when NAT decides that it needs no translation (a null
//! binding). Without NAT chains the first packet of the second connection is dropped when it is
//! confirmed. Such a clash is noted here, and NAT gives the namespace its hooks: the next packet of
//! the second connection gets a null binding.

use kernel::{
    prelude::*,
    sync::atomic::{
        Full,
        Relaxed,
        Release, //
    },
};

use crate::{
    ct::netns::NetState,
    nf::{
        kernel::{
            net::{
                self,
                NetRef, //
            },
            work::{
                self,
                WorkSlot, //
            },
        },
        prelude::*, //
    },
};

/// The work of NAT that handles noted clashes.
static SLOT: WorkSlot = WorkSlot::new();

/// Returns [`SLOT`].
pub(crate) fn slot() -> &'static WorkSlot {
    &SLOT
}

/// Notes that a packet of `family` is dropped because of such a clash.
#[cold]
pub(super) fn note(net: &Net, family: Family) {
    net.state::<NetState>().clashes(family).store(1, Release);
    work::queue_now(&SLOT);
}

/// Returns the namespaces with a clash that was noted since [`take`] was called for them. May
/// sleep.
///
/// `ENOMEM`: no memory.
pub(crate) fn namespaces() -> Result<Option<KVVec<NetRef>>> {
    net::hold_where(|net| {
        let state = net.state::<NetState>();
        let is_noted = |family| state.clashes(family).load(Relaxed) != 0;
        is_noted(Family::Ipv4) || is_noted(Family::Ipv6)
    })
}

/// Returns whether a clash of `family` was noted in a namespace, and forgets it.
pub(crate) fn take(net: &Net, family: Family) -> bool {
    net.state::<NetState>().clashes(family).xchg(0, Full) != 0
}
