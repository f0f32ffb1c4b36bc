// SPDX-License-Identifier: GPL-2.0

//! The hook functions of NAT, and the registration of chains.

use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};

use crate::{
    ct::{
        entry,
        life::{
            clash,
            delete::{
                self,
                DestroyReason, //
            },
            reconsider, //
        },
        packet::hooks, //
    },
    nf::{
        bindings,
        kernel::{
            pernet::Counter,
            time::HZ,
            work::{
                Repeating,
                WorkSlot, //
            },
        },
        packet::{
            hook::{
                HookState,
                InetHook, //
            },
            nat::NatExtension,
            nat_hook::{
                Chain,
                Chains,
                HookTemplate,
                NatHook,
                Slot,
                HOOKS, //
            },
            route,
            skb::Tracked, //
        },
        prelude::*, //
    },
    proto::{
        nat::Manip,
        types::tuple::widen, //
    },
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

/// Translates one end of a packet. For the first packet of a connection the chains decide before.
#[inline]
pub(super) fn translate(
    skb: &mut Skb,
    state: HookState<'_>,
    manip: Manip,
    chains: Option<Chains<'_>>,
) -> Verdict {
    let Tracked::Yes(conn, info) = skb.tracked() else {
        // An untracked packet passes; rules may drop it.
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
    } else if info == CtInfo::New && manip == Manip::Destination {
        note_tables(state);
    } else if output_device_changed(skb, state) {
        return drop_connection(skb);
    }
    packet::translate(skb, manip)
}

/// Notes that the rules of iptables have been replaced, on the way of a packet of an unreplied
/// connection: nothing else tells of that. So the next packet is the one that asks them.
#[inline]
fn note_tables(state: HookState<'_>) {
    let rcu = RcuGuard::new();
    let nat = state.net().state_in::<NatState>(rcu.token());
    let (slot, seen) = match state.family() {
        Some(Family::Ipv4) => (&nat.ipv4, &nat.table_ipv4),
        Some(Family::Ipv6) => (&nat.ipv6, &nat.table_ipv6),
        None => return,
    };
    let Some(version) = slot.table_version(rcu.token()) else {
        return;
    };
    if seen.load(Relaxed) != version && seen.xchg(version, Relaxed) != version {
        state.net().note_rules_change();
    }
}

/// Runs the chains on the first packet of a connection. If none decides, the connection gets a null
/// binding.
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
    match chains.and_then(|chains| chains.run(skb, state, decided)) {
        Some(verdict) => verdict,
        None => match skb.unconfirmed() {
            Some(entry) => setup::null_binding(entry, manip),
            None => Verdict::Accept,
        },
    }
}

/// Returns whether the connection was masqueraded, and the packet leaves through another device
/// than the first one did: its source address is not one of that device.
#[inline]
fn output_device_changed(skb: &Skb, state: HookState<'_>) -> bool {
    if !state.is_at(InetHook::PostRouting) {
        return false;
    }
    let Tracked::Yes(conn, info) = skb.tracked() else {
        return false;
    };
    let Some(extension) = conn.extensions().find::<NatExtension>() else {
        return false;
    };
    let masqueraded = extension.masquerade_device().load(Relaxed);
    masqueraded != 0
        && info.dir() == Direction::Original
        && state.out().is_some_and(|out| out.index() != masqueraded)
}

/// Deletes the packet's connection, and drops the packet.
#[cold]
fn drop_connection(skb: &Skb) -> Verdict {
    if let Tracked::Yes(conn, info) = skb.tracked() {
        entry::account(conn, info.dir(), skb.len());
        delete::delete(conn, DestroyReason::AddressGone);
    }
    Verdict::Drop
}

/// Returns whether a packet needs no translation: it has no entry, or both the decision is made and
/// packets of its direction keep this end. POST_ROUTING still checks the output device.
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

/// Does the work of [`translate`] for all packets, ICMP errors included.
#[inline]
fn translate_with_errors(
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
            return translate_error(skb, state.hooknum(), manip, family, offset);
        }
    }
    translate(skb, state, manip, Some(chains))
}

/// Translates an ICMP error about the packet's connection.
#[cold]
pub(super) fn translate_error(
    skb: &mut Skb,
    hooknum: u32,
    manip: Manip,
    family: Family,
    offset: u32,
) -> Verdict {
    let (conn, info) = match skb.tracked() {
        Tracked::Yes(conn, info) => (kernel::sync::aref::ARef::from(conn), info),
        _ => return Verdict::Accept,
    };
    if info.dir() == Direction::Reply && icmp::is_unreachable(skb, family, offset) {
        reconsider::note_unreachable(&conn);
    }
    match icmp::translate(skb, &conn, info.dir(), hooknum, manip, family, offset) {
        Some(()) => Verdict::Accept,
        None => Verdict::Drop,
    }
}

/// Returns an address of the packet. An IPv4 address is padded with zeroes.
#[inline]
fn address(skb: &Skb, family: Family, source: bool) -> Option<[u8; 16]> {
    match (family, source) {
        (Family::Ipv4, true) => skb.read::<4>(12),
        (Family::Ipv4, false) => skb.read::<4>(16),
        (Family::Ipv6, true) => return skb.read(8),
        (Family::Ipv6, false) => return skb.read(24),
    }
    .map(widen)
}

/// Drops a packet, with an errno that its sender gets.
fn drop_with_errno(error: Error) -> Verdict {
    let errno = error.to_errno().unsigned_abs();
    Verdict::Other(errno << bindings::RCT_NF_DROP_ERR_SHIFT | bindings::NF_DROP)
}

/// PRE_ROUTING: DNAT.
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
        let verdict = translate_with_errors(skb, state, Manip::Destination, chains, family);
        if verdict == Verdict::Accept && address(skb, family, false) != before {
            skb.drop_dst();
        }
        verdict
    }
}

/// LOCAL_IN: SNAT.
struct LocalIn;

impl NatHook for LocalIn {
    fn run(skb: &mut Skb, state: HookState<'_>, chains: Chains<'_>, _rcu: Rcu<'_>) -> Verdict {
        let Some(family) = state.family() else {
            return Verdict::Accept;
        };
        let before = address(skb, family, true);
        let verdict = translate_with_errors(skb, state, Manip::Source, chains, family);
        if verdict != Verdict::Accept {
            return verdict;
        }
        // The socket was looked up with the source before translation.
        if let Some(peer_port) = skb.demuxed_peer_port() {
            if address(skb, family, true) != before || source_port_changed(skb, peer_port) {
                skb.orphan();
            }
        }
        verdict
    }
}

/// Returns whether the packet's source port differs from `expected` after translation.
fn source_port_changed(skb: &Skb, expected: [u8; 2]) -> bool {
    let Tracked::Yes(conn, info) = skb.tracked() else {
        return false;
    };
    matches!(conn.protocol(), protocol::TCP | protocol::UDP)
        && info.dir() == Direction::Original
        && conn.tuple(Direction::Reply).dst_key != expected
}

/// The parts of one end that this hook's translation changes.
#[derive(Default)]
struct Changed {
    address: bool,
    port: bool,
}

/// Returns what the translation of one end changes in the packet.
#[inline]
fn what_changed(skb: &Skb, manip: Manip) -> Changed {
    let Tracked::Yes(conn, info) = skb.tracked() else {
        return Changed::default();
    };
    if !packet::is_changed(conn.status(), manip, info.dir()) {
        return Changed::default();
    }
    let here = conn.tuple(info.dir());
    let back = conn.tuple(info.dir().opposite());
    // ICMP identifiers are not ports.
    let has_ports = !matches!(here.protonum, protocol::ICMP | protocol::ICMPV6);
    match manip {
        Manip::Source => Changed {
            address: here.src != back.dst,
            port: has_ports && here.src_key != back.dst_key,
        },
        Manip::Destination => Changed {
            address: here.dst != back.src,
            port: has_ports && here.dst_key != back.src_key,
        },
    }
}

/// POST_ROUTING: SNAT.
struct PostRouting;

impl NatHook for PostRouting {
    fn run(skb: &mut Skb, state: HookState<'_>, chains: Chains<'_>, _rcu: Rcu<'_>) -> Verdict {
        let Some(family) = state.family() else {
            return Verdict::Accept;
        };
        if needs_no_translation(skb, Manip::Source) {
            let lost = !state.leaves_through_vrf() && output_device_changed(skb, state);
            return if lost {
                drop_connection(skb)
            } else {
                Verdict::Accept
            };
        }
        let verdict = translate_with_errors(skb, state, Manip::Source, chains, family);
        if verdict != Verdict::Accept {
            return verdict;
        }
        let changed = what_changed(skb, Manip::Source);
        if changed.address || changed.port {
            if let Err(error) = route::lookup_xfrm(skb, state, family) {
                return drop_with_errno(error);
            }
        }
        verdict
    }
}

/// LOCAL_OUT: DNAT.
struct LocalOut;

impl NatHook for LocalOut {
    fn run(skb: &mut Skb, state: HookState<'_>, chains: Chains<'_>, _rcu: Rcu<'_>) -> Verdict {
        let Some(family) = state.family() else {
            return Verdict::Accept;
        };
        if needs_no_translation(skb, Manip::Destination) {
            return Verdict::Accept;
        }
        let verdict = translate_with_errors(skb, state, Manip::Destination, chains, family);
        if verdict != Verdict::Accept {
            return verdict;
        }
        let changed = what_changed(skb, Manip::Destination);
        let routed = if changed.address {
            route::reroute(skb, state, family)
        } else if changed.port {
            route::lookup_xfrm(skb, state, family)
        } else {
            Ok(())
        };
        match routed {
            Ok(()) => verdict,
            Err(error) => drop_with_errno(error),
        }
    }
}

/// Describes the hooks of a family.
const fn templates(family: Family) -> [HookTemplate; HOOKS] {
    [
        HookTemplate::new::<PreRouting>(family, InetHook::PreRouting, false),
        HookTemplate::new::<PostRouting>(family, InetHook::PostRouting, true),
        HookTemplate::new::<LocalOut>(family, InetHook::LocalOut, false),
        HookTemplate::new::<LocalIn>(family, InetHook::LocalIn, true),
    ]
}

static IPV4_HOOKS: [HookTemplate; HOOKS] = templates(Family::Ipv4);
static IPV6_HOOKS: [HookTemplate; HOOKS] = templates(Family::Ipv6);

/// Adds a chain for packets of a family. May sleep.
pub(super) fn register(net: &Net, family: Family, chain: Chain<'_>) -> Result {
    let state = net.state::<NatState>();
    match family {
        Family::Ipv4 => state.ipv4.add(net, chain, &IPV4_HOOKS)?,
        Family::Ipv6 => state.ipv6.add(net, chain, &IPV6_HOOKS)?,
    }
    hooks::add_nat_chain(net);
    net.note_rules_change();
    Ok(())
}

/// Removes a chain. May sleep.
pub(super) fn unregister(net: &Net, family: Family, chain: Chain<'_>) {
    let state = net.state::<NatState>();
    match family {
        Family::Ipv4 => state.ipv4.remove(net, chain, &IPV4_HOOKS),
        Family::Ipv6 => state.ipv6.remove(net, chain, &IPV6_HOOKS),
    }
    hooks::remove_nat_chain(net);
    net.note_rules_change();
}

/// Gives namespaces hooks without chains after a clash that a null binding would have avoided
/// ([`clash`]). They keep them to their end.
pub(super) struct NullHooks;

impl Repeating for NullHooks {
    fn run() -> Option<u32> {
        let nets = match clash::namespaces() {
            Ok(nets) => nets?,
            Err(_) => return Some(HZ),
        };
        for net in nets {
            for family in [Family::Ipv4, Family::Ipv6] {
                if clash::take(&net, family) {
                    // Without memory the next clash asks again.
                    let _ = add_null_hooks(&net, family);
                }
            }
        }
        None
    }

    fn slot() -> &'static WorkSlot {
        clash::slot()
    }
}

fn add_null_hooks(net: &Net, family: Family) -> Result {
    let state = net.state::<NatState>();
    let (slot, templates, has_hooks) = null_hooks_of(state, family);
    // Set by this worker alone.
    if state.resolves_clashes() && has_hooks.load(Relaxed) == 0 {
        slot.add_user(net, templates)?;
        has_hooks.store(1, Relaxed);
    }
    Ok(())
}

/// Takes the hooks of [`NullHooks`] from a namespace that ends.
pub(super) fn remove_null_hooks(net: &Net) {
    let state = net.state::<NatState>();
    for family in [Family::Ipv4, Family::Ipv6] {
        let (slot, _, has_hooks) = null_hooks_of(state, family);
        if has_hooks.xchg(0, Relaxed) != 0 {
            slot.remove_user(net);
        }
    }
}

fn null_hooks_of(
    state: &NatState,
    family: Family,
) -> (&Slot, &'static [HookTemplate; HOOKS], &Counter) {
    match family {
        Family::Ipv4 => (&state.ipv4, &IPV4_HOOKS, &state.null_ipv4),
        Family::Ipv6 => (&state.ipv6, &IPV6_HOOKS, &state.null_ipv6),
    }
}
