// SPDX-License-Identifier: GPL-2.0

//! Masquerading: SNAT to an address of the output device.
//!
//! When the address or the device goes, the connections with that address are deleted, as replies
//! to them can no longer arrive. Notifications come in atomic context, one for each address; a
//! worker deletes the connections.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Relaxed,
            Release, //
        },
        rcu::synchronize_rcu, //
    },
};

use crate::{
    ct::{
        life::delete::{
            self,
            DestroyReason, //
        },
        table::walk, //
    },
    nf::{
        kernel::{
            log::pr_info,
            static_lock::StaticMutex,
            work::{
                self,
                Repeating,
                WorkSlot, //
            },
        },
        packet::{
            device::Device,
            log,
            nat::NatExtension,
            notify::{
                Watcher,
                WatcherRegistration, //
            },
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

/// The number of modules with masquerading rules, and the registration for notifications, which
/// exists while the number is not zero.
struct Masqueraders {
    users: u32,
    watcher: Option<WatcherRegistration>,
}

/// Serialises changes of the number. Taken before the lock of all devices, which may be held by a
/// task that waits for nf_tables, which in turn waits for the mutex of NAT's chains: hence a mutex
/// of its own.
static MASQUERADERS: StaticMutex<Masqueraders> =
    StaticMutex::new(c"MASQUERADERS", || Masqueraders {
        users: 0,
        watcher: None,
    });

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

/// A place for a [`Loss`]. Whichever context changes `state` from or to [`LossSlot::BUSY`] owns the
/// other fields.
struct LossSlot {
    state: Atomic<u32>,
    /// The cookie of the namespace.
    net: Atomic<u64>,
    device: Atomic<i32>,
    /// Whether one address is lost, or the whole device.
    one_address: Atomic<bool>,
    high: Atomic<u64>,
    low: Atomic<u64>,
}

/// The loss of an address, or of a device.
#[derive(Clone, Copy)]
struct Loss {
    net: u64,
    device: i32,
    address: Option<[u64; 2]>,
}

impl LossSlot {
    const FREE: u32 = 0;
    const BUSY: u32 = 1;
    const PENDING: u32 = 2;

    const fn new() -> Self {
        Self {
            state: Atomic::new(Self::FREE),
            net: Atomic::new(0),
            device: Atomic::new(0),
            one_address: Atomic::new(false),
            high: Atomic::new(0),
            low: Atomic::new(0),
        }
    }

    fn put(&self, loss: &Loss) -> bool {
        if self.state.cmpxchg(Self::FREE, Self::BUSY, Full).is_err() {
            return false;
        }
        self.net.store(loss.net, Relaxed);
        self.device.store(loss.device, Relaxed);
        self.one_address.store(loss.address.is_some(), Relaxed);
        let [high, low] = loss.address.unwrap_or_default();
        self.high.store(high, Relaxed);
        self.low.store(low, Relaxed);
        self.state.store(Self::PENDING, Release);
        true
    }

    fn take(&self) -> Option<Loss> {
        if self.state.load(Acquire) != Self::PENDING {
            return None;
        }
        let loss = Loss {
            net: self.net.load(Relaxed),
            device: self.device.load(Relaxed),
            address: self
                .one_address
                .load(Relaxed)
                .then(|| [self.high.load(Relaxed), self.low.load(Relaxed)]),
        };
        self.state.store(Self::FREE, Release);
        Some(loss)
    }
}

fn halves(address: &[u8; 16]) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *address;
    [
        u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
        u64::from_ne_bytes([i, j, k, l, m, n, o, p]),
    ]
}

impl Loss {
    /// Whether the connection was masqueraded with the lost address or device.
    fn concerns(&self, conn: &Conn) -> bool {
        let Some(extension) = conn.extensions().find::<NatExtension>() else {
            return false;
        };
        extension.masquerade_device().load(Relaxed) == self.device
            && conn.net().cookie() == self.net
            && self
                .address
                .is_none_or(|address| halves(&conn.tuple(Direction::Reply).dst) == address)
    }
}

/// Losses that the worker has not handled yet. If no slot is free, the connections of a loss end by
/// their timeouts.
static LOSSES: [LossSlot; 32] = [const { LossSlot::new() }; 32];

/// Deletes connections that lost their address.
pub(super) struct Cleaner;

impl Repeating for Cleaner {
    fn run() -> Option<u32> {
        // One walk serves all losses: a machine that shuts down loses many addresses at once.
        let losses = LOSSES.each_ref().map(LossSlot::take);
        if losses.iter().any(Option::is_some) {
            // After the grace period, connections that got the address just before its loss are in
            // the table. One with its packet in a queue is not, and ends by its timeout.
            synchronize_rcu();
            walk::for_each(|conn| {
                if losses.iter().flatten().any(|loss| loss.concerns(conn)) {
                    delete::delete(conn, DestroyReason::AddressGone);
                }
            });
        }
        None
    }

    fn slot() -> &'static WorkSlot {
        static SLOT: WorkSlot = WorkSlot::new();
        &SLOT
    }
}

/// The receiver of notifications about devices and addresses.
struct Masquerade;

impl Masquerade {
    fn lose(device: &Device, address: Option<[u8; 16]>) {
        let net = device.net();
        // The connections of a namespace end with it.
        if !net.is_alive() {
            return;
        }
        let loss = Loss {
            net: net.cookie(),
            device: device.index(),
            address: address.as_ref().map(halves),
        };
        if LOSSES.iter().any(|slot| slot.put(&loss)) {
            work::queue_now(Cleaner::slot());
        }
    }
}

impl Watcher for Masquerade {
    fn device_down(device: &Device) {
        Self::lose(device, None);
    }

    fn address_gone(device: &Device, address: [u8; 16]) {
        Self::lose(device, Some(address));
    }
}

/// Adds a module with masquerading rules. May sleep.
pub(super) fn register() -> Result {
    let mut masqueraders = MASQUERADERS.lock();
    if masqueraders.users == 0 {
        masqueraders.watcher = Some(WatcherRegistration::new::<Masquerade>()?);
    }
    masqueraders.users = masqueraders.users.checked_add(1).ok_or(EOVERFLOW)?;
    Ok(())
}

/// Removes a module with masquerading rules. May sleep.
pub(super) fn unregister() {
    let mut masqueraders = MASQUERADERS.lock();
    masqueraders.users = masqueraders.users.saturating_sub(1);
    if masqueraders.users == 0 {
        masqueraders.watcher = None;
    }
}
