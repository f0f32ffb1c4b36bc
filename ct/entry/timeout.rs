// SPDX-License-Identifier: GPL-2.0

//! How long entries live: as a rule's policy says, else as the namespace's sysctls say.

use kernel::prelude::*;

use crate::{
    nf::{
        entry::{
            l4proto::L4Proto,
            timeout::{
                Name,
                Owner,
                Policy,
                PolicySlot,
                Template, //
            },
        },
        packet::log,
        prelude::*, //
    },
    proto::{
        gre,
        sctp,
        tcp,
        udp, //
    },
};

use super::l4proto;

/// What a rule's policy says.
#[inline]
fn policy<'r, const N: usize>(
    conn: &Conn,
    protocol: &'static L4Proto<N>,
    rcu: Rcu<'r>,
) -> Option<&'r [u32; N]> {
    let slot = conn.extensions().find::<PolicySlot>()?;
    slot.policy(rcu)?.timeouts(protocol)
}

/// In jiffies, for a TCP connection.
#[inline]
pub(in crate::ct) fn tcp<'r>(conn: &Conn, net: &'r Net, rcu: Rcu<'r>) -> &'r tcp::Timeouts {
    policy(conn, &l4proto::TCP, rcu).unwrap_or_else(|| net.tcp_timeouts())
}

/// In jiffies, for a UDP conversation.
#[inline]
pub(in crate::ct) fn udp<'r>(conn: &Conn, net: &'r Net, rcu: Rcu<'r>) -> &'r udp::Timeouts {
    policy(conn, &l4proto::UDP, rcu).unwrap_or_else(|| net.udp_timeouts())
}

/// In jiffies, for an SCTP association.
#[inline]
pub(in crate::ct) fn sctp<'r>(conn: &Conn, net: &'r Net, rcu: Rcu<'r>) -> &'r sctp::Timeouts {
    policy(conn, &l4proto::SCTP, rcu).unwrap_or_else(|| net.sctp_timeouts())
}

/// In jiffies, for a GRE connection.
#[inline]
pub(in crate::ct) fn gre<'r>(conn: &Conn, net: &'r Net, rcu: Rcu<'r>) -> &'r gre::Timeouts {
    policy(conn, &l4proto::GRE, rcu).unwrap_or_else(|| net.gre_timeouts())
}

/// In jiffies, for an ICMP query.
#[inline]
pub(in crate::ct) fn icmp(conn: &Conn, net: &Net, rcu: Rcu<'_>) -> u32 {
    policy(conn, &l4proto::ICMP, rcu).map_or_else(|| net.icmp_timeout(), |[timeout]| *timeout)
}

/// In jiffies, for an ICMPv6 query.
#[inline]
pub(in crate::ct) fn icmpv6(conn: &Conn, net: &Net, rcu: Rcu<'_>) -> u32 {
    policy(conn, &l4proto::ICMPV6, rcu).map_or_else(|| net.icmpv6_timeout(), |[timeout]| *timeout)
}

/// In jiffies, for everything else.
#[inline]
pub(in crate::ct) fn generic(conn: &Conn, net: &Net, rcu: Rcu<'_>) -> u32 {
    policy(conn, &l4proto::GENERIC, rcu).map_or_else(|| net.generic_timeout(), |[timeout]| *timeout)
}

/// Gives a template the policy with a name, for packets of this family and protocol.
///
/// `ENOENT`: there is no such policy; `EINVAL`: it is for others; `ENOMEM`.
pub(in crate::ct) fn assign(
    net: &Net,
    template: &mut Template<'_>,
    family: u8,
    protocol: u8,
    name: Name<'_>,
) -> Result {
    let rcu = RcuGuard::new();
    let Some(owner) = Owner::find(rcu.token()) else {
        if log::ratelimit() {
            pr_info!("no timeout policies without nfnetlink_cttimeout\n");
        }
        return Err(ENOENT);
    };
    let Some(named) = owner.policy(net, name) else {
        if log::ratelimit() {
            pr_info!("no such timeout policy: `{name}`\n");
        }
        return Err(ENOENT);
    };
    let policy = named.policy();
    let other = if policy.family() != u16::from(family) {
        Some((3, policy.family()))
    } else if policy.protocol() != protocol {
        Some((4, policy.protocol().into()))
    } else {
        None
    };
    if let Some((layer, number)) = other {
        if log::ratelimit() {
            pr_info!("timeout policy `{name}` is for L{layer} protocol {number} only\n");
        }
        return Err(EINVAL);
    }
    template.give(named)
}

/// Takes a template's policy back.
pub(in crate::ct) fn unassign(template: &Conn) {
    let rcu = RcuGuard::new();
    if let Some(owner) = Owner::find(rcu.token()) {
        owner.release(template);
    }
}

/// Takes a policy, or any ([`None`]), from an entry, which goes on with the namespace's timeouts.
pub(in crate::ct) fn untimeout(conn: &Conn, which: Option<&Policy>) {
    if let Some(slot) = conn.extensions().find::<PolicySlot>() {
        slot.forget(which);
    }
}
