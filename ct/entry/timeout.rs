// SPDX-License-Identifier: GPL-2.0

//! Timeouts of entries: those of a rule's policy (`nfnetlink_cttimeout`), else the sysctls of the
//! namespace.

use kernel::prelude::*;

use crate::{
    nf::{
        entry::{
            l4proto::L4Proto,
            timeout::{
                Name,
                PolicyProvider,
                PolicySlot,
                Template,
                TimeoutPolicy, //
            },
        },
        kernel::{
            log::pr_info,
            settings::{
                self,
                Field, //
            },
        },
        packet::log,
        prelude::*, //
    },
    proto::{
        gre,
        sctp,
        tcp,
        types::timeout::Timeout,
        udp, //
    },
};

use super::l4proto;

/// Returns the timeouts of the entry's policy, in jiffies, if it has one for this protocol.
#[inline]
fn policy<'r, const N: usize>(
    conn: &Conn,
    protocol: &'static L4Proto<N>,
    rcu: Rcu<'r>,
) -> Option<&'r [Timeout; N]> {
    let slot = conn.extensions().find::<PolicySlot>()?;
    slot.policy(rcu)?.timeouts(protocol)
}

/// Returns the one timeout of a policy, or that of the namespace, in jiffies.
#[inline]
fn single(policy: Option<&[Timeout; 1]>, setting: Field<Timeout>, net: &Net) -> u32 {
    policy
        .map_or_else(|| setting.of(net), |[timeout]| timeout)
        .get()
}

/// Returns the timeouts of a TCP connection, in jiffies.
#[inline]
pub(in crate::ct) fn tcp<'r>(conn: &Conn, net: &'r Net, rcu: Rcu<'r>) -> &'r tcp::Timeouts {
    policy(conn, &l4proto::TCP, rcu).unwrap_or_else(|| settings::TCP_TIMEOUTS.of(net))
}

/// Returns the timeouts of a UDP connection, in jiffies.
#[inline]
pub(in crate::ct) fn udp<'r>(conn: &Conn, net: &'r Net, rcu: Rcu<'r>) -> &'r udp::Timeouts {
    policy(conn, &l4proto::UDP, rcu).unwrap_or_else(|| settings::UDP_TIMEOUTS.of(net))
}

/// Returns the timeouts of an SCTP association, in jiffies.
#[inline]
pub(in crate::ct) fn sctp<'r>(conn: &Conn, net: &'r Net, rcu: Rcu<'r>) -> &'r sctp::Timeouts {
    policy(conn, &l4proto::SCTP, rcu).unwrap_or_else(|| settings::SCTP_TIMEOUTS.of(net))
}

/// Returns the timeouts of a GRE connection, in jiffies.
#[inline]
pub(in crate::ct) fn gre<'r>(conn: &Conn, net: &'r Net, rcu: Rcu<'r>) -> &'r gre::Timeouts {
    policy(conn, &l4proto::GRE, rcu).unwrap_or_else(|| settings::GRE_TIMEOUTS.of(net))
}

/// Returns the timeout of an ICMP query, in jiffies.
#[inline]
pub(in crate::ct) fn icmp(conn: &Conn, net: &Net, rcu: Rcu<'_>) -> u32 {
    single(
        policy(conn, &l4proto::ICMP, rcu),
        settings::ICMP_TIMEOUT,
        net,
    )
}

/// Returns the timeout of an ICMPv6 query, in jiffies.
#[inline]
pub(in crate::ct) fn icmpv6(conn: &Conn, net: &Net, rcu: Rcu<'_>) -> u32 {
    single(
        policy(conn, &l4proto::ICMPV6, rcu),
        settings::ICMPV6_TIMEOUT,
        net,
    )
}

/// Returns the timeout of a connection of any other protocol, in jiffies.
#[inline]
pub(in crate::ct) fn generic(conn: &Conn, net: &Net, rcu: Rcu<'_>) -> u32 {
    single(
        policy(conn, &l4proto::GENERIC, rcu),
        settings::GENERIC_TIMEOUT,
        net,
    )
}

/// Assigns the policy `name` to a template, for packets of this family and protocol.
///
/// `ENOENT`: there is no such policy, or no `nfnetlink_cttimeout`. `EINVAL`: the policy is for
/// another family or protocol. `ENOMEM`: no memory.
pub(in crate::ct) fn assign(
    net: &Net,
    template: &mut Template<'_>,
    family: u8,
    protocol: u8,
    name: Name<'_>,
) -> Result {
    let rcu = RcuGuard::new();
    let Some(owner) = PolicyProvider::find(rcu.token()) else {
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

/// Releases the policy of a template.
pub(in crate::ct) fn unassign(template: &Conn) {
    let rcu = RcuGuard::new();
    if let Some(owner) = PolicyProvider::find(rcu.token()) {
        owner.release(template);
    }
}

/// Takes a policy, or any ([`None`]), from an entry, which goes on with the sysctls' timeouts.
pub(in crate::ct) fn untimeout(conn: &Conn, which: Option<&TimeoutPolicy>) {
    if let Some(slot) = conn.extensions().find::<PolicySlot>() {
        slot.forget(which);
    }
}
