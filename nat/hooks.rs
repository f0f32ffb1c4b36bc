// SPDX-License-Identifier: GPL-2.0

//! Where NAT meets packets, and whose chains are asked.

use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};

use crate::{
    ct::{
        entry,
        life::delete::{
            self,
            DestroyReason, //
        },
    },
    nf::{
        bindings,
        packet::{
            hook::{
                HookState,
                Point, //
            },
            nat::NatPart,
            nat_hook::{
                Chain,
                Chains,
                NatHook,
                Template,
                POINTS, //
            },
            route,
            skb::Tracked, //
        },
        prelude::*, //
    },
    proto::nat::Manip, //
};

use super::{
    icmp,
    netns::NatState,
    packet,
    setup::{
        self,
        is_done, //
    },
};

/// Translates one end of a packet; before, if it is a connection's first one, asks the chains how.
#[inline]
pub(super) fn translate(
    skb: &mut Skb,
    state: HookState<'_>,
    manip: Manip,
    chains: Option<Chains<'_>>,
) -> Verdict {
    let Tracked::Yes(conn, info) = skb.tracked() else {
        // Not tracked: whoever minds that drops it by a rule.
        return Verdict::Accept;
    };
    if state.leaves_through_vrf() {
        return Verdict::Accept;
    }
    let may_decide = matches!(info, CtInfo::New | CtInfo::Related | CtInfo::RelatedReply);
    if may_decide && !is_done(conn.status(), manip) {
        let verdict = decide(skb, state, manip, chains);
        if verdict != Verdict::Accept {
            return verdict;
        }
    } else if output_device_changed(skb, state) {
        return end(skb);
    }
    let plan = match skb.tracked() {
        Tracked::Yes(conn, info) => packet::plan(conn, manip, info.dir()),
        _ => None,
    };
    packet::translate(skb, plan, manip)
}

/// Asks the chains what one end of a connection is to look like. If they do not say, it stays.
#[inline(never)]
fn decide(
    skb: &mut Skb,
    state: HookState<'_>,
    manip: Manip,
    chains: Option<Chains<'_>>,
) -> Verdict {
    let decided = |skb: &Skb| match skb.tracked() {
        Tracked::Yes(conn, _) => is_done(conn.status(), manip),
        _ => true,
    };
    match chains.and_then(|chains| chains.show(skb, state, decided)) {
        Some(verdict) => verdict,
        None => match skb.unconfirmed() {
            Some(entry) => setup::null_binding(entry, manip),
            None => Verdict::Accept,
        },
    }
}

/// Whether a masqueraded connection's packet leaves through another device than its first one:
/// with an address that is not of that device.
#[inline]
fn output_device_changed(skb: &Skb, state: HookState<'_>) -> bool {
    if !state.is_at(Point::PostRouting) {
        return false;
    }
    let Tracked::Yes(conn, info) = skb.tracked() else {
        return false;
    };
    let Some(part) = conn.extensions().find::<NatPart>() else {
        return false;
    };
    let masqueraded = part.masquerade_device().load(Relaxed);
    masqueraded != 0
        && info.dir() == Direction::Original
        && state.out().is_some_and(|out| out.index() != masqueraded)
}

/// The connection cannot go on.
#[cold]
fn end(skb: &Skb) -> Verdict {
    if let Tracked::Yes(conn, info) = skb.tracked() {
        entry::account(conn, info.dir(), skb.len());
        delete::delete(conn, DestroyReason::AddressGone);
    }
    Verdict::Drop
}

/// Whether it was decided about a packet's connection, and packets of its direction stay as they
/// are at one end; or there is no connection. Then nothing is to be done, but what the hook of
/// packets that leave has to look at.
#[inline]
fn needs_no_translation(skb: &Skb, manip: Manip) -> bool {
    match skb.tracked() {
        Tracked::Yes(conn, info @ (CtInfo::Established | CtInfo::EstablishedReply)) => {
            !packet::is_changed(conn.status(), manip, info.dir())
        }
        Tracked::Yes(..) => false,
        _ => true,
    }
}

/// [`translate`], and ICMP errors.
#[inline]
fn run(
    skb: &mut Skb,
    state: HookState<'_>,
    manip: Manip,
    chains: Chains<'_>,
    family: Family,
) -> Verdict {
    let related = match skb.tracked() {
        Tracked::Yes(_, info) => matches!(info, CtInfo::Related | CtInfo::RelatedReply),
        _ => return Verdict::Accept,
    };
    if related {
        if let Some(offset) = icmp::message_of(skb, family) {
            return translate_error(skb, state.point(), manip, family, offset);
        }
    }
    translate(skb, state, manip, Some(chains))
}

/// Translates an ICMP error about a connection.
#[cold]
pub(super) fn translate_error(
    skb: &mut Skb,
    point: u32,
    manip: Manip,
    family: Family,
    offset: u32,
) -> Verdict {
    let (conn, info) = match skb.tracked() {
        Tracked::Yes(conn, info) => (kernel::sync::aref::ARef::from(conn), info),
        _ => return Verdict::Accept,
    };
    match icmp::translate(skb, &conn, info.dir(), point, manip, family, offset) {
        Some(()) => Verdict::Accept,
        None => Verdict::Drop,
    }
}

/// One of the two addresses of a packet; an IPv4 address ends in zeroes.
#[inline]
fn address(skb: &Skb, family: Family, source: bool) -> Option<[u8; 16]> {
    match (family, source) {
        (Family::Ipv4, true) => skb.read::<4>(12),
        (Family::Ipv4, false) => skb.read::<4>(16),
        (Family::Ipv6, true) => return skb.read(8),
        (Family::Ipv6, false) => return skb.read(24),
    }
    .map(|[a, b, c, d]| [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
}

/// Drops a packet, and tells its sender why.
fn drop_for(error: Error) -> Verdict {
    let errno = error.to_errno().unsigned_abs();
    Verdict::Other(errno << bindings::RCT_NF_DROP_ERR_SHIFT | bindings::NF_DROP)
}

/// Of a packet that arrives, the destination.
struct PreRouting;

impl NatHook for PreRouting {
    fn run(skb: &mut Skb, state: HookState<'_>, chains: Chains<'_>, _rcu: Rcu<'_>) -> Verdict {
        let Some(family) = state.family() else {
            return Verdict::Accept;
        };
        if needs_no_translation(skb, Manip::Destination) {
            return Verdict::Accept;
        }
        let before = address(skb, family, false);
        let verdict = run(skb, state, Manip::Destination, chains, family);
        if verdict == Verdict::Accept && address(skb, family, false) != before {
            skb.forget_route();
        }
        verdict
    }
}

/// Of a packet that is for this machine, the source.
struct LocalIn;

impl NatHook for LocalIn {
    fn run(skb: &mut Skb, state: HookState<'_>, chains: Chains<'_>, _rcu: Rcu<'_>) -> Verdict {
        let Some(family) = state.family() else {
            return Verdict::Accept;
        };
        let before = address(skb, family, true);
        let verdict = run(skb, state, Manip::Source, chains, family);
        if verdict != Verdict::Accept {
            return verdict;
        }
        // The socket was looked up for the source that the packet had then.
        if let Some(peer_port) = skb.demuxed_peer_port() {
            if address(skb, family, true) != before || has_another_port(skb, peer_port) {
                skb.forget_socket();
            }
        }
        verdict
    }
}

/// Whether a packet comes from another port than `expected`, behind us.
fn has_another_port(skb: &Skb, expected: [u8; 2]) -> bool {
    let Tracked::Yes(conn, info) = skb.tracked() else {
        return false;
    };
    matches!(conn.protocol(), protocol::TCP | protocol::UDP)
        && info.dir() == Direction::Original
        && conn.tuple(Direction::Reply).dst_key != expected
}

/// What is different about a packet behind us.
#[derive(Default)]
struct Differences {
    address: bool,
    port: bool,
}

/// What was decided to be different about a packet at one end.
#[inline]
fn differences(skb: &Skb, manip: Manip) -> Differences {
    let Tracked::Yes(conn, info) = skb.tracked() else {
        return Differences::default();
    };
    if !packet::is_changed(conn.status(), manip, info.dir()) {
        return Differences::default();
    }
    let here = conn.tuple(info.dir());
    let back = conn.tuple(info.dir().opposite());
    // The identifiers of queries are no ports.
    let has_ports = !matches!(here.protonum, protocol::ICMP | protocol::ICMPV6);
    match manip {
        Manip::Source => Differences {
            address: here.src != back.dst,
            port: has_ports && here.src_key != back.dst_key,
        },
        Manip::Destination => Differences {
            address: here.dst != back.src,
            port: has_ports && here.dst_key != back.src_key,
        },
    }
}

/// Of a packet that leaves, the source.
struct PostRouting;

impl NatHook for PostRouting {
    fn run(skb: &mut Skb, state: HookState<'_>, chains: Chains<'_>, _rcu: Rcu<'_>) -> Verdict {
        let Some(family) = state.family() else {
            return Verdict::Accept;
        };
        if needs_no_translation(skb, Manip::Source) {
            let lost = !state.leaves_through_vrf() && output_device_changed(skb, state);
            return if lost { end(skb) } else { Verdict::Accept };
        }
        let verdict = run(skb, state, Manip::Source, chains, family);
        if verdict != Verdict::Accept {
            return verdict;
        }
        let what = differences(skb, Manip::Source);
        if what.address || what.port {
            if let Err(error) = route::transform(skb, state, family) {
                return drop_for(error);
            }
        }
        verdict
    }
}

/// Of a packet that this machine sends, the destination.
struct LocalOut;

impl NatHook for LocalOut {
    fn run(skb: &mut Skb, state: HookState<'_>, chains: Chains<'_>, _rcu: Rcu<'_>) -> Verdict {
        let Some(family) = state.family() else {
            return Verdict::Accept;
        };
        if needs_no_translation(skb, Manip::Destination) {
            return Verdict::Accept;
        }
        let verdict = run(skb, state, Manip::Destination, chains, family);
        if verdict != Verdict::Accept {
            return verdict;
        }
        let what = differences(skb, Manip::Destination);
        let routed = if what.address {
            route::reroute(skb, state, family)
        } else if what.port {
            route::transform(skb, state, family)
        } else {
            Ok(())
        };
        match routed {
            Ok(()) => verdict,
            Err(error) => drop_for(error),
        }
    }
}

/// The hooks of a family.
const fn templates(family: Family) -> [Template; POINTS] {
    let family = family as u8;
    [
        Template::new::<PreRouting>(family, Point::PreRouting as u32, false),
        Template::new::<PostRouting>(family, Point::PostRouting as u32, true),
        Template::new::<LocalOut>(family, Point::LocalOut as u32, false),
        Template::new::<LocalIn>(family, Point::LocalIn as u32, true),
    ]
}

static IPV4_HOOKS: [Template; POINTS] = templates(Family::Ipv4);
static IPV6_HOOKS: [Template; POINTS] = templates(Family::Ipv6);

/// Has a chain called for packets of a family. May sleep.
pub(super) fn register(net: &Net, family: Family, chain: Chain<'_>) -> Result {
    let state = net.state::<NatState>();
    match family {
        Family::Ipv4 => state.ipv4.add(net, chain, &IPV4_HOOKS),
        Family::Ipv6 => state.ipv6.add(net, chain, &IPV6_HOOKS),
    }
}

/// Has a chain called no longer. May sleep.
pub(super) fn unregister(net: &Net, family: Family, chain: Chain<'_>) {
    let state = net.state::<NatState>();
    match family {
        Family::Ipv4 => state.ipv4.remove(net, chain, &IPV4_HOOKS),
        Family::Ipv6 => state.ipv6.remove(net, chain, &IPV6_HOOKS),
    }
}
