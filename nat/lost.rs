// SPDX-License-Identifier: GPL-2.0

//! Addresses that are lost: the end of connections that were translated to one.
//!
//! When an address is removed from a device, or the device goes down, replies to connections that
//! were masqueraded with it can no longer arrive, so that these are deleted. With the sysctl
//! `nf_nat_forget_lost_addresses`, connections that a rule translated to that address (SNAT) are,
//! too.
//!
//! Notifications come in atomic context, one for each address, and as quickly as the root user of
//! any namespace likes; a worker deletes the connections. Until then each namespace has its losses
//! kept, equal ones once, up to [`MAX_LOSSES`]. If there are more of them, or no memory for one,
//! all its masqueraded connections are judged by what addresses it has: none of the losses is
//! forgotten. The worker walks over the connections of the namespaces with losses, and over no
//! others, once for all losses of a namespace.

use kernel::{
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode, //
    },
    sync::atomic::{
        Full,
        Relaxed,
        Release, //
    },
};

use crate::{
    ct::{
        life::delete::{
            self,
            DestroyReason, //
        },
        table::index::{
            self,
            Scope, //
        },
    },
    nf::{
        kernel::{
            net,
            rcu::synchronize_rcu,
            static_lock::StaticSpinLock,
            time::HZ,
            work::{
                self,
                Repeating,
                WorkSlot, //
            },
        },
        packet::{
            device::Device,
            nat::NatExtension,
            notify::Notifier, //
        },
        prelude::*, //
    },
    proto::types::num::u32_as_usize, //
};

use super::{
    masquerade,
    netns::NatState, //
};

/// Maximum number of losses of a namespace that are kept.
const MAX_LOSSES: u32 = 1024;

/// Maximum number of losses for each of which the worker looks up the connections with the address.
/// For more of them it walks over all connections of the namespace once.
const MAX_LOOKUPS: usize = 4;

/// A loss.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Loss {
    /// The device with this interface index went down: no address, of those masqueraded there.
    Device(i32),
    /// This address was removed from the device.
    OfDevice(i32, [u8; 16]),
    /// This address was removed from some device, and rules translate to it.
    Address([u8; 16]),
}

impl Loss {
    /// Sorts before every other loss: the start of a range scan.
    const LEAST: Self = Self::Device(i32::MIN);

    fn address(&self) -> Option<[u8; 16]> {
        match *self {
            Self::Device(_) => None,
            Self::OfDevice(_, address) | Self::Address(address) => Some(address),
        }
    }
}

/// The losses that the worker has not handled yet, by the cookie of the namespace.
static LOSSES: StaticSpinLock<RBTree<(u64, Loss), ()>> =
    StaticSpinLock::new(c"LOSSES", RBTree::new);

/// What [`insert`] did.
enum Insertion {
    /// The loss is kept.
    Inserted,
    /// It was kept before.
    Known,
    /// There is no memory.
    NoMemory,
}

/// Keeps a loss for the worker. Atomic context.
fn lose(net: &Net, loss: Loss) {
    let state = net.state::<NatState>();
    let has_room = state.losses.fetch_add(1, Relaxed) < MAX_LOSSES;
    let insertion = if has_room {
        insert(net, loss)
    } else {
        Insertion::NoMemory
    };
    if !matches!(insertion, Insertion::Inserted) {
        state.losses.fetch_sub(1, Relaxed);
    }
    if matches!(insertion, Insertion::NoMemory) {
        state.more_losses.store(1, Release);
    }
    work::queue_now(Cleaner::slot());
}

fn insert(net: &Net, loss: Loss) -> Insertion {
    let flags = GFP_ATOMIC | __GFP_NOWARN;
    let Ok(node) = RBTreeNode::new((net.cookie(), loss), (), flags) else {
        return Insertion::NoMemory;
    };
    let former = LOSSES.lock().insert(node);
    match former {
        Some(_) => Insertion::Known,
        None => Insertion::Inserted,
    }
}

/// Takes a loss of a namespace.
fn take(net: &Net) -> Option<Loss> {
    let mut losses = LOSSES.lock();
    let (cookie, loss) = {
        let cursor = losses.cursor_lower_bound(&(net.cookie(), Loss::LEAST))?;
        *cursor.current().0
    };
    if cookie != net.cookie() {
        return None;
    }
    let node = losses.remove_node(&(cookie, loss));
    drop(losses);
    drop(node);
    net.state::<NatState>().losses.fetch_sub(1, Relaxed);
    Some(loss)
}

/// Drops the losses of a namespace that ends, and its connections with it.
pub(super) fn remove_all(net: &Net) {
    while take(net).is_some() {}
}

/// The receiver of notifications about devices and addresses.
pub(super) struct Losses;

impl Notifier for Losses {
    fn device_down(device: &Device) {
        let net = device.net();
        // The connections of a namespace end with it.
        if masquerade::has_users() && net.is_alive() {
            lose(net, Loss::Device(device.index()));
        }
    }

    fn address_gone(device: &Device, address: [u8; 16], goes_with_device: bool) {
        let net = device.net();
        if !net.is_alive() {
            return;
        }
        // A device that goes is reported as such.
        if masquerade::has_users() && !goes_with_device {
            lose(net, Loss::OfDevice(device.index(), address));
        }
        if net.state::<NatState>().forgets_lost_addresses() {
            lose(net, Loss::Address(address));
        }
    }
}

/// Deletes connections that lost their address.
pub(super) struct Cleaner;

impl Repeating for Cleaner {
    fn run() -> Option<u32> {
        let has_losses = |net: &Net| {
            let state = net.state::<NatState>();
            state.losses.load(Relaxed) != 0 || state.more_losses.load(Relaxed) != 0
        };
        match net::hold_where(has_losses) {
            Ok(None) => None,
            Ok(Some(nets)) => {
                // After the grace period, connections that got an address just before its loss are
                // in the table. One with its packet in a queue is not, and ends by its timeout.
                synchronize_rcu();
                for net in nets {
                    clean(&net);
                }
                None
            }
            Err(_) => Some(HZ),
        }
    }

    fn slot() -> &'static WorkSlot {
        static SLOT: WorkSlot = WorkSlot::new();
        &SLOT
    }
}

/// Handles all losses of a namespace.
fn clean(net: &Net) {
    let state = net.state::<NatState>();
    let capacity = u32_as_usize(state.losses.load(Relaxed).min(MAX_LOSSES));
    // Without memory for them they are handled as if they had been too many.
    let mut known = KVec::with_capacity(capacity, GFP_KERNEL).unwrap_or_default();
    let mut more = state.more_losses.xchg(0, Full) != 0;
    // What comes while the worker is at work makes it run again.
    for _ in 0..capacity {
        let Some(loss) = take(net) else {
            break;
        };
        more |= known.push_within_capacity(loss).is_err();
    }
    // In the order of the tree.
    let losses = Judge {
        net,
        known: &known,
        more,
    };
    let by_address = known.iter().map(Loss::address);
    if more || known.len() > MAX_LOOKUPS || by_address.clone().any(|address| address.is_none()) {
        losses.clean(Scope::Namespace);
    } else {
        for address in by_address.flatten() {
            losses.clean(Scope::ReplyDestination(address));
        }
    }
}

/// The losses of a namespace, which judge its connections.
struct Judge<'a> {
    net: &'a Net,
    /// Losses, in their order.
    known: &'a [Loss],
    /// Whether there were others.
    more: bool,
}

impl Judge<'_> {
    /// Deletes the connections of a scope that have lost their address.
    fn clean(&self, scope: Scope) {
        index::for_each(self.net, scope, |conn| {
            if self.concern(conn) {
                delete::delete(conn, DestroyReason::AddressGone);
            }
        });
    }

    fn has(&self, loss: Loss) -> bool {
        self.known.binary_search(&loss).is_ok()
    }

    /// Returns whether a connection has lost its address.
    fn concern(&self, conn: &Conn) -> bool {
        let address = conn.tuple(Direction::Reply).dst;
        let extension = conn.extensions().find::<NatExtension>();
        match extension.map_or(0, |extension| extension.masquerade_device().load(Relaxed)) {
            0 => {
                conn.has(StatusBit::SrcNat)
                    && self.has(Loss::Address(address))
                    && !self.is_here(conn, &address)
            }
            device => {
                self.has(Loss::Device(device))
                    || self.has(Loss::OfDevice(device, address))
                    || self.more && !self.is_here(conn, &address)
            }
        }
    }

    /// Returns whether the namespace has an address, on a device that is up.
    fn is_here(&self, conn: &Conn, address: &[u8; 16]) -> bool {
        let family = conn.tuple(Direction::Reply).family();
        let rcu = RcuGuard::new();
        family.is_some_and(|family| self.net.is_local(family, address, rcu.token()))
    }
}
