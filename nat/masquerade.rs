// SPDX-License-Identifier: GPL-2.0

//! Masquerading: SNAT to an address of the output device.
//!
//! When the address or the device goes, the connections with that address are deleted, as replies
//! to them can no longer arrive: see [`super::lost`].

use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};

use crate::{
    nf::{
        kernel::log::pr_info,
        packet::{
            device::Device,
            log,
            skb::Tracked, //
        },
        prelude::*, //
    },
    proto::{
        nat::{
            range::Range,
            Manip, //
        },
        types::tuple::widen,
        wire::ipv6, //
    },
};

use super::setup;

/// The number of modules with masquerading rules.
static USERS: Atomic<u32> = Atomic::new(0);

/// Adds a module with masquerading rules.
pub(super) fn register() {
    USERS.fetch_add(1, Relaxed);
}

/// Removes a module with masquerading rules. Connections that are masqueraded go on.
pub(super) fn unregister() {
    USERS.fetch_sub(1, Relaxed);
}

/// Returns whether there are modules with masquerading rules.
pub(super) fn has_users() -> bool {
    USERS.load(Relaxed) != 0
}

/// Masquerades an IPv4 connection that leaves through `out`.
pub(super) fn ipv4(skb: &mut Skb, range: &Range, out: &Device, rcu: Rcu<'_>) -> Verdict {
    let Tracked::Yes(conn, _) = skb.tracked() else {
        return Verdict::Accept;
    };
    // A packet without a source address comes from this machine before it has one (DHCP).
    if conn.tuple(Direction::Original).src_ipv4() == [0; 4] {
        return Verdict::Accept;
    }
    match out.ipv4_source_for(skb, rcu) {
        Some(source) => masquerade(skb, range, out, widen(source)),
        None => {
            warn_no_address(out);
            Verdict::Drop
        }
    }
}

#[cold]
fn warn_no_address(out: &Device) {
    if log::ratelimit() {
        let name = out.name();
        let text = name.split(|&byte| byte == 0).next().unwrap_or_default();
        let text = core::str::from_utf8(text).unwrap_or("?");
        pr_info!("{text} ate my IP address\n");
    }
}

/// Masquerades an IPv6 connection that leaves through `out`.
pub(super) fn ipv6(skb: &mut Skb, range: &Range, out: &Device, rcu: Rcu<'_>) -> Verdict {
    let Tracked::Yes(conn, _) = skb.tracked() else {
        return Verdict::Accept;
    };
    let source = skb.network_offset().and_then(|offset| {
        let header = ipv6::Header::parse(&skb.read(offset)?);
        out.ipv6_source_for(conn.net(), header.destination(), rcu)
    });
    match source {
        Some(source) => masquerade(skb, range, out, source),
        None => Verdict::Drop,
    }
}

fn masquerade(skb: &mut Skb, range: &Range, out: &Device, source: [u8; 16]) -> Verdict {
    let Some(mut entry) = skb.unconfirmed() else {
        return Verdict::Accept;
    };
    // Without memory for the extension the connection outlives its address, until its timeout.
    if let Some(extension) = entry.ensure_nat_extension() {
        extension.masquerade_device().store(out.index(), Relaxed);
    }
    setup::setup_info(entry, &range.at(source), Manip::Source)
}
