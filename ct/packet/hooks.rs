// SPDX-License-Identifier: GPL-2.0

//! Where the tracker meets packets, and who asked for it.
//!
//! In each namespace and family four hooks: two where connections are looked up, as early
//! as possible, and two where they are confirmed, behind everything that could still drop
//! the packet. The users of a family are counted; the first one switches the hooks on.

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
                self,
                hook,
                Hook,
                HookState,
                Hooks,
                Point,
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

/// Looks up the connection of a packet that arrives, or is sent, over IPv6.
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
        // A raw socket with IP_NODEFRAG sends fragments that nobody puts together.
        if parse::is_ipv4_fragment(skb) {
            if matches!(skb.tracked(), Tracked::Template) {
                drop(skb.detach());
            }
            return Verdict::Accept;
        }
        ipv4_conntrack_in(skb, state, rcu)
    }
}

/// [`Ipv4ConntrackIn`], once for those who are no hook for what arrives.
#[inline(never)]
fn ipv4_conntrack_in(skb: &mut Skb, state: HookState<'_>, rcu: Rcu<'_>) -> Verdict {
    Ipv4ConntrackIn::run(skb, state, rcu)
}

/// Confirms the connection of a packet that has passed every check.
pub(in crate::ct) struct Confirm;

impl Hook for Confirm {
    #[inline(always)]
    fn run(skb: &mut Skb, state: HookState<'_>, rcu: Rcu<'_>) -> Verdict {
        // Most packets belong to connections that are confirmed and have nothing to tell.
        if confirm::needs_no_confirm(skb) || state.leaves_through_vrf() {
            return Verdict::Accept;
        }
        confirm_slow(skb, rcu)
    }
}

#[inline(never)]
fn confirm_slow(skb: &mut Skb, rcu: Rcu<'_>) -> Verdict {
    help::confirm(skb, rcu)
}

static IPV4_HOOKS: Hooks<4> = Hooks::new([
    hook::<Ipv4ConntrackIn>(Family::Ipv4, Point::PreRouting, Priority::CONNTRACK),
    hook::<Ipv4ConntrackLocal>(Family::Ipv4, Point::LocalOut, Priority::CONNTRACK),
    hook::<Confirm>(Family::Ipv4, Point::PostRouting, Priority::LAST),
    hook::<Confirm>(Family::Ipv4, Point::LocalIn, Priority::LAST),
]);

static IPV6_HOOKS: Hooks<4> = Hooks::new([
    hook::<Ipv6ConntrackIn>(Family::Ipv6, Point::PreRouting, Priority::CONNTRACK),
    hook::<Ipv6ConntrackIn>(Family::Ipv6, Point::LocalOut, Priority::CONNTRACK),
    hook::<Confirm>(Family::Ipv6, Point::PostRouting, Priority::LAST),
    hook::<Confirm>(Family::Ipv6, Point::LocalIn, Priority::BEFORE_LAST),
]);

/// What C code calls in place of the hooks that look up.
pub(in crate::ct) fn conntrack_in(skb: &mut Skb, state: HookState<'_>, rcu: Rcu<'_>) -> Verdict {
    match state.family() {
        Some(Family::Ipv4) => ipv4_conntrack_in(skb, state, rcu),
        Some(Family::Ipv6) => Ipv6ConntrackIn::run(skb, state, rcu),
        None => conntrack_in::track_unsupported_family(skb, state),
    }
}

/// What a user asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::ct) enum HookFamilies {
    /// One family.
    Family(Family),
    /// Both.
    Inet,
    /// Those, and the bridge's.
    Bridge,
}

fn hooks_of(family: Family) -> &'static Hooks<4> {
    match family {
        Family::Ipv4 => &IPV4_HOOKS,
        Family::Ipv6 => &IPV6_HOOKS,
    }
}

/// Adds a user. The first one switches the hooks on, and has the connections adopted that
/// there are. May sleep.
pub(in crate::ct) fn get(net: &Net, families: HookFamilies) -> Result {
    if add(net, families)? {
        adopt::adopt_namespace(net);
    }
    Ok(())
}

/// Adds a user in a namespace that begins, or in all when the module is loaded: connections
/// that are there then are not the namespace's business.
pub(in crate::ct) fn get_without_adoption(net: &Net) -> Result {
    add(net, HookFamilies::Inet).map(|_| ())
}

/// Says whether hooks were switched on.
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

/// Removes a user. With the last one the hooks go. May sleep.
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

/// The bridge's module brings its hooks, or takes them away.
pub(in crate::ct) fn set_bridge(hooks: Option<BridgeHooks>) {
    *HOOKS.lock() = hooks;
}

/// Adds a user of the bridge's hooks. `EPROTO`: their module is not there.
fn get_bridge(net: &Net) -> Result {
    let mut guard = HOOKS.lock();
    if guard.is_none() {
        // The module registers its hooks, for which it needs the mutex.
        drop(guard);
        bridge::request_module();
        guard = HOOKS.lock();
    }
    let bridge = guard.ok_or(EPROTO)?;
    bridge.hold()?;
    let users = &net.state::<NetState>().users_bridge;
    if users.load(Relaxed) == 0 {
        bridge.register(net).inspect_err(|_| bridge.release())?;
    }
    users.store(users.load(Relaxed).saturating_add(1), Relaxed);
    Ok(())
}

/// Removes a user of the bridge's hooks.
fn put_bridge(net: &Net) {
    let guard = HOOKS.lock();
    let Some(bridge) = *guard else {
        return;
    };
    let users = &net.state::<NetState>().users_bridge;
    match users.load(Relaxed) {
        0 => {}
        1 => {
            users.store(0, Relaxed);
            bridge.unregister(net);
        }
        more => users.store(more.saturating_sub(1), Relaxed),
    }
    bridge.release();
}

fn get_family(net: &Net, family: Family) -> Result<bool> {
    let guard = HOOKS.lock();
    let users = net.state::<NetState>().users(family);
    if users.load(Relaxed) == 0 {
        hook::defragment(family, net)?;
        hooks_of(family)
            .register(net)
            .inspect_err(|_| hook::stop_defragmenting(family, net))?;
    }
    users.store(users.load(Relaxed).saturating_add(1), Relaxed);
    let first = users.load(Relaxed) == 1;
    drop(guard);
    if first {
        forget_windows(net, family);
    }
    Ok(first)
}

fn put_family(net: &Net, family: Family) {
    let _guard = HOOKS.lock();
    let users = net.state::<NetState>().users(family);
    match users.load(Relaxed) {
        // More puts than gets: a user that came before a failed get counted for it.
        0 => {}
        1 => {
            users.store(0, Relaxed);
            hooks_of(family).unregister(net);
            hook::stop_defragmenting(family, net);
        }
        more => users.store(more.saturating_sub(1), Relaxed),
    }
}

/// Packets have passed unseen while there were no hooks, so the windows that established
/// connections had then say nothing about those that they have now.
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
