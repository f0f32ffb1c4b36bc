// SPDX-License-Identifier: GPL-2.0

//! A namespace's own: the hooks of its families.

use kernel::prelude::*;

use crate::nf::{
    nat_hook::Slot,
    net::{
        ExitingNets,
        Net,
        Pernet,
        PernetPlace, //
    },
};

/// What NAT keeps for a namespace. Zeroed at first.
///
/// It lives as long as the namespace: nf_tables, which may have been there before us, takes its
/// chains back when it wants.
#[derive(pin_init::Zeroable)]
pub(super) struct NatState {
    /// The hooks of IPv4.
    pub(super) ipv4: Slot,
    /// The hooks of IPv6.
    pub(super) ipv6: Slot,
}

impl Pernet for NatState {
    fn init(_net: &'static Net) -> Result {
        Ok(())
    }

    fn exit(_nets: &ExitingNets) {}

    fn place() -> &'static PernetPlace {
        static PLACE: PernetPlace = PernetPlace::new();
        &PLACE
    }
}
