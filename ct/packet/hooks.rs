// SPDX-License-Identifier: GPL-2.0

//! The tracker's netfilter hooks, and their users.
//!
//! Each family has four hooks per namespace: two where connections are looked up, before all rules,
//! and two where they are confirmed, after everything that could drop the packet. The hooks are
//! registered for the first user of a family (a rule, NAT, the namespace itself with the parameter
//! `enable_hooks`) and unregistered for the last one. The number of users is in [`NetState`] and is
//! changed under the mutex of hooks.

use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};

use crate::{
    ct::{
        life::{
            adopt,
            confirm, //
        },
        netns::NetState,
        table::index::{
            self,
            Scope, //
        },
    },
    nf::{
        kernel::static_lock::StaticMutex,
        packet::{
            bridge::{
                self,
                BridgeHooks, //
            },
            hook::{
                hook,
                FamilyHooks,
                Hook,
                HookState,
                InetHook,
                Priority, //
            },
            skb::Tracked, //
        },
        prelude::*, //
    },
    proto::tcp, //
};

use super::{
    conntrack_in,
    help,
    parse, //
};

/// Serialises registering and unregistering the hooks of a namespace; holds those of the bridge
/// family, while their module is loaded.
static HOOKS: StaticMutex<Option<BridgeHooks>> = StaticMutex::new(c"HOOKS", || None);

/// Looks up the connection of a packet that arrives over IPv4.
struct Ipv4ConntrackIn;

impl Hook for Ipv4ConntrackIn {
    #[inline(always)]
    fn run(skb: &mut Skb, state: HookState<'_>, rcu: Rcu<'_>) -> Verdict {
        conntrack_in::track_fast(skb, Family::Ipv4, state, rcu)
    }
}

/// Looks up the connection of a packet that arrives or is sent over IPv6.
struct Ipv6ConntrackIn;

impl Hook for Ipv6ConntrackIn {
    #[inline(always)]
    fn run(skb: &mut Skb, state: HookState<'_>, rcu: Rcu<'_>) -> Verdict {
        conntrack_in::track_fast(skb, Family::Ipv6, state, rcu)
    }
}

/// Looks up the connection of a packet that this machine sends over IPv4.
struct Ipv4ConntrackLocal;

impl Hook for Ipv4ConntrackLocal {
    fn run(skb: &mut Skb, state: HookState<'_>, rcu: Rcu<'_>) -> Verdict {
        // A raw socket with `IP_NODEFRAG` sends fragments, which are not reassembled.
        if parse::is_ipv4_fragment(skb) {
            if matches!(skb.tracked(), Tracked::Template) {
                drop(skb.detach());
            }
            return Verdict::Accept;
        }
        ipv4_conntrack_in(skb, state, rcu)
    }
}

/// Runs [`Ipv4ConntrackIn`], out of line, for all callers but its own hook.
#[inline(never)]
fn ipv4_conntrack_in(skb: &mut Skb, state: HookState<'_>, rcu: Rcu<'_>) -> Verdict {
    Ipv4ConntrackIn::run(skb, state, rcu)
}

/// Confirms the connection of a packet that has passed all rules.
pub(in crate::ct) struct Confirm;

impl Hook for Confirm {
    #[inline(always)]
    fn run(skb: &mut Skb, state: HookState<'_>, rcu: Rcu<'_>) -> Verdict {
        // Most packets belong to confirmed connections without events.
        if confirm::needs_no_confirm(skb) || state.leaves_through_vrf() {
            return Verdict::Accept;
        }
        confirm_slow(skb, rcu)
    }
}

/// Runs helpers and confirms, out of line.
#[inline(never)]
fn confirm_slow(skb: &mut Skb, rcu: Rcu<'_>) -> Verdict {
    help::confirm(skb, rcu)
}

/// The hooks of IPv4.
static IPV4_HOOKS: FamilyHooks = FamilyHooks::new(
    Family::Ipv4,
    [
        hook::<Ipv4ConntrackIn>(InetHook::PreRouting, Priority::CONNTRACK),
        hook::<Ipv4ConntrackLocal>(InetHook::LocalOut, Priority::CONNTRACK),
        hook::<Confirm>(InetHook::PostRouting, Priority::LAST),
        hook::<Confirm>(InetHook::LocalIn, Priority::LAST),
    ],
);

/// The hooks of IPv6.
static IPV6_HOOKS: FamilyHooks = FamilyHooks::new(
    Family::Ipv6,
    [
        hook::<Ipv6ConntrackIn>(InetHook::PreRouting, Priority::CONNTRACK),
        hook::<Ipv6ConntrackIn>(InetHook::LocalOut, Priority::CONNTRACK),
        hook::<Confirm>(InetHook::PostRouting, Priority::LAST),
        hook::<Confirm>(InetHook::LocalIn, Priority::BEFORE_LAST),
    ],
);

/// Looks up the connection of a packet for C code that calls in place of the hooks
/// (`nf_conntrack_in`).
pub(in crate::ct) fn conntrack_in(skb: &mut Skb, state: HookState<'_>, rcu: Rcu<'_>) -> Verdict {
    match state.family() {
        Some(Family::Ipv4) => ipv4_conntrack_in(skb, state, rcu),
        Some(Family::Ipv6) => Ipv6ConntrackIn::run(skb, state, rcu),
        None => conntrack_in::track_unsupported_family(skb, state),
    }
}

/// The hooks that a user needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::ct) enum HookFamilies {
    /// Those of one family.
    Family(Family),
    /// Those of both families.
    Inet,
    /// Those of both families, and those of the bridge.
    Bridge,
}

/// Returns the hooks of a family.
fn hooks_of(family: Family) -> &'static FamilyHooks {
    match family {
        Family::Ipv4 => &IPV4_HOOKS,
        Family::Ipv6 => &IPV6_HOOKS,
    }
}

/// Adds a user. The first one registers the hooks, and existing connections are adopted then. May
/// sleep.
///
/// Errors of the registration, and `EPROTO`: there is no bridge module.
pub(in crate::ct) fn get(net: &Net, families: HookFamilies) -> Result {
    if add(net, families)? {
        adopt::adopt_namespace(net);
    }
    Ok(())
}

/// Does as [`get`], but without adopting connections: for a new namespace, which has none. (When
/// the module is loaded, all namespaces are adopted at once, see [`adopt::adopt_all`].)
pub(in crate::ct) fn get_without_adoption(net: &Net) -> Result {
    add(net, HookFamilies::Inet).map(|_| ())
}

/// Notes that a namespace has got its first NAT chain, or another one. To be undone by
/// [`remove_nat_chain`].
pub(crate) fn add_nat_chain(net: &Net) {
    net.state::<NetState>().nat_chains.fetch_add(1, Relaxed);
}

/// Undoes [`add_nat_chain`].
pub(crate) fn remove_nat_chain(net: &Net) {
    net.state::<NetState>().nat_chains.fetch_sub(1, Relaxed);
}

/// Adds a user. Returns whether hooks were registered.
fn add(net: &Net, families: HookFamilies) -> Result<bool> {
    match families {
        HookFamilies::Family(family) => get_family(net, family),
        HookFamilies::Inet => {
            let first = get_family(net, Family::Ipv4)?;
            get_family(net, Family::Ipv6)
                .map(|other| first || other)
                .inspect_err(|_| put_family(net, Family::Ipv4))
        }
        HookFamilies::Bridge => {
            get_bridge(net)?;
            add(net, HookFamilies::Inet).inspect_err(|_| put_bridge(net))
        }
    }
}

/// Removes a user. The last one unregisters the hooks. May sleep.
pub(in crate::ct) fn put(net: &Net, families: HookFamilies) {
    match families {
        HookFamilies::Family(family) => put_family(net, family),
        HookFamilies::Inet => {
            put_family(net, Family::Ipv4);
            put_family(net, Family::Ipv6);
        }
        HookFamilies::Bridge => {
            put_bridge(net);
            put(net, HookFamilies::Inet);
        }
    }
}

/// Sets or clears the hooks of the bridge module, when it is loaded or unloaded.
pub(in crate::ct) fn set_bridge(hooks: Option<BridgeHooks>) {
    *HOOKS.lock() = hooks;
}

/// Adds a user of the bridge's hooks.
///
/// `EPROTO`: there is no bridge module.
fn get_bridge(net: &Net) -> Result {
    let mut guard = HOOKS.lock();
    if guard.is_none() {
        // The module registers its hooks when it is loaded, for which it takes the mutex.
        drop(guard);
        bridge::request_module();
        guard = HOOKS.lock();
    }
    let bridge = (*guard).as_mut().ok_or(EPROTO)?;
    bridge.add_user(net, &net.state::<NetState>().bridge_users)
}

/// Removes a user of the bridge's hooks.
fn put_bridge(net: &Net) {
    if let Some(bridge) = &mut *HOOKS.lock() {
        bridge.remove_user(net, &net.state::<NetState>().bridge_users);
    }
}

/// Adds a user of a family's hooks. Returns whether it is the first one.
fn get_family(net: &Net, family: Family) -> Result<bool> {
    let guard = HOOKS.lock();
    let state = net.state::<NetState>();
    let users = state.users(family);
    if users.load(Relaxed) == 0 {
        state.hooks(family).register(net, hooks_of(family))?;
    }
    users.store(users.load(Relaxed).saturating_add(1), Relaxed);
    let first = users.load(Relaxed) == 1;
    drop(guard);
    if first {
        forget_windows(net, family);
    }
    Ok(first)
}

/// Removes a user of a family's hooks.
fn put_family(net: &Net, family: Family) {
    let _guard = HOOKS.lock();
    let state = net.state::<NetState>();
    let users = state.users(family);
    match users.load(Relaxed) {
        // There are more puts than gets: a put after a failed get used up the count of another
        // user.
        0 => {}
        1 => {
            users.store(0, Relaxed);
            state.hooks(family).unregister(net);
        }
        more => users.store(more.saturating_sub(1), Relaxed),
    }
}

/// Forgets the windows of a family's established TCP connections. While there were no hooks,
/// packets have passed that the tracker has not seen.
fn forget_windows(net: &Net, family: Family) {
    if net.state::<NetState>().entries() == 0 {
        return;
    }
    index::for_each(net, Scope::Namespace, |conn| {
        let tuple = conn.tuple(Direction::Original);
        if tuple.has_family(family) && tuple.protonum == protocol::TCP {
            conn.with_proto(|track: &mut tcp::Track| {
                if track.state() == tcp::State::Established {
                    track.forget_windows();
                }
            });
        }
    });
}
