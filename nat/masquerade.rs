// SPDX-License-Identifier: GPL-2.0

//! Masquerading: a connection gets the address of the device through which it leaves, for as
//! long as the device has it.
//!
//! When the address goes, or the device, the connections go that have it: their peers would
//! answer to nobody. A worker takes them out of the table, since the news comes in atomic
//! context, for one address after the other.

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
            nat::NatPart,
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
        wire::ipv6, //
    },
};

use super::setup;

/// The modules of rules that masquerade, by number, and what keeps the tracker informed while
/// there are any.
struct Masqueraders {
    users: u32,
    watcher: Option<WatcherRegistration>,
}

/// Serialises changes of the number of masquerading modules. Taken before the lock of all devices,
/// which may be held by a task that waits for nf_tables, which in turn waits for the mutex of NAT's
/// chains: hence a mutex of its own.
static MASQUERADERS: StaticMutex<Masqueraders> =
    StaticMutex::new(c"MASQUERADERS", || Masqueraders {
        users: 0,
        watcher: None,
    });

fn widen([a, b, c, d]: [u8; 4]) -> [u8; 16] {
    [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// Gives a connection that leaves through `out` an IPv4 address of that.
pub(super) fn ipv4(skb: &mut Skb, range: &Range, out: &Device, rcu: Rcu<'_>) -> Verdict {
    let Tracked::Yes(conn, _) = skb.tracked() else {
        return Verdict::Accept;
    };
    // This machine itself, before it has an address (DHCP).
    if conn.tuple(Direction::Original).src_ipv4() == [0; 4] {
        return Verdict::Accept;
    }
    match out.ipv4_source_for(skb, rcu) {
        Some(source) => masquerade(skb, range, out, widen(source)),
        None => {
            complain(out);
            Verdict::Drop
        }
    }
}

#[cold]
fn complain(out: &Device) {
    if log::ratelimit() {
        let name = out.name();
        let text = name.split(|&byte| byte == 0).next().unwrap_or_default();
        let text = core::str::from_utf8(text).unwrap_or("?");
        pr_info!("{text} ate my IP address\n");
    }
}

/// Gives a connection that leaves through `out` an IPv6 address of that.
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
    // Without memory for it the connection will outlive its address.
    if let Some(part) = entry.nat_part() {
        part.masquerade_device().store(out.index(), Relaxed);
    }
    setup::setup_info(entry, &range.at(source), Manip::Source)
}

/// An address, or a device, that is gone. A place for one is in one of three states; who
/// changes it from or to [`Loss::BUSY`] has it.
struct Loss {
    state: Atomic<u32>,
    /// The namespace's cookie.
    net: Atomic<u64>,
    device: Atomic<i32>,
    /// Whether the device keeps its other addresses.
    one_address: Atomic<bool>,
    high: Atomic<u64>,
    low: Atomic<u64>,
}

/// [`Loss`], read.
#[derive(Clone, Copy)]
struct Lost {
    net: u64,
    device: i32,
    address: Option<[u64; 2]>,
}

impl Loss {
    const FREE: u32 = 0;
    const BUSY: u32 = 1;
    const NEWS: u32 = 2;

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

    fn put(&self, lost: &Lost) -> bool {
        if self.state.cmpxchg(Self::FREE, Self::BUSY, Full).is_err() {
            return false;
        }
        self.net.store(lost.net, Relaxed);
        self.device.store(lost.device, Relaxed);
        self.one_address.store(lost.address.is_some(), Relaxed);
        let [high, low] = lost.address.unwrap_or_default();
        self.high.store(high, Relaxed);
        self.low.store(low, Relaxed);
        self.state.store(Self::NEWS, Release);
        true
    }

    fn take(&self) -> Option<Lost> {
        if self.state.load(Acquire) != Self::NEWS {
            return None;
        }
        let lost = Lost {
            net: self.net.load(Relaxed),
            device: self.device.load(Relaxed),
            address: self
                .one_address
                .load(Relaxed)
                .then(|| [self.high.load(Relaxed), self.low.load(Relaxed)]),
        };
        self.state.store(Self::FREE, Release);
        Some(lost)
    }
}

fn halves(address: &[u8; 16]) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *address;
    [
        u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
        u64::from_ne_bytes([i, j, k, l, m, n, o, p]),
    ]
}

impl Lost {
    /// Whether the connection was masqueraded by what is lost.
    fn concerns(&self, conn: &Conn) -> bool {
        let Some(part) = conn.extensions().find::<NatPart>() else {
            return false;
        };
        part.masquerade_device().load(Relaxed) == self.device
            && conn.net().cookie() == self.net
            && self
                .address
                .is_none_or(|address| halves(&conn.tuple(Direction::Reply).dst) == address)
    }
}

/// What the worker has not looked at yet. If there is no place for a piece of news, the
/// connections that it is about end by their timeouts.
static LOSSES: [Loss; 32] = [const { Loss::new() }; 32];

/// Takes connections out of the table that lost their address.
pub(super) struct Cleaner;

impl Repeating for Cleaner {
    fn run() -> Option<u32> {
        // One walk for all: a machine that goes down loses many addresses at once.
        let lost = LOSSES.each_ref().map(Loss::take);
        if lost.iter().any(Option::is_some) {
            // What was given the address just before it went is in the table then, unless it
            // waits in a queue: such a connection ends by its timeout.
            synchronize_rcu();
            walk::for_each(|conn| {
                if lost.iter().flatten().any(|lost| lost.concerns(conn)) {
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

/// What has masquerading to do with devices.
struct Masquerade;

impl Masquerade {
    fn lose(device: &Device, address: Option<[u8; 16]>) {
        let net = device.net();
        // All connections go with their namespace.
        if !net.is_alive() {
            return;
        }
        let lost = Lost {
            net: net.cookie(),
            device: device.index(),
            address: address.as_ref().map(halves),
        };
        if LOSSES.iter().any(|loss| loss.put(&lost)) {
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

/// Somebody begins to masquerade. May sleep.
pub(super) fn begin() -> Result {
    let mut masqueraders = MASQUERADERS.lock();
    if masqueraders.users == 0 {
        masqueraders.watcher = Some(WatcherRegistration::new::<Masquerade>()?);
    }
    masqueraders.users = masqueraders.users.checked_add(1).ok_or(EOVERFLOW)?;
    Ok(())
}

/// Somebody ceases to masquerade. May sleep.
pub(super) fn cease() {
    let mut masqueraders = MASQUERADERS.lock();
    masqueraders.users = masqueraders.users.saturating_sub(1);
    if masqueraders.users == 0 {
        masqueraders.watcher = None;
    }
}
