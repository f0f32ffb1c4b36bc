// SPDX-License-Identifier: GPL-2.0

//! Telling listeners in user space what happens to connections.
//!
//! Events are kept in the entry while a packet is on its way, and told together when it has
//! passed. The end of a connection is told when it leaves the table; if the listener's
//! buffer is full then, the entry is kept aside until it could be told ([`Redelivery`]).

use kernel::{
    prelude::*,
    sync::{
        aref::ARef,
        atomic::Relaxed, //
    },
};

use crate::nf::{
    entry::{
        ecache::{
            self,
            Event,
            EventCache, //
        },
        ext::Timestamps,
        fresh::Fresh, //
    },
    kernel::{
        nfnetlink::{
            Congested,
            Requester, //
        },
        time::{
            jiffies32,
            HZ, //
        },
        work::{
            self,
            Repeating,
            WorkSlot, //
        },
    },
    prelude::*, //
};

/// `nf_conntrack_events`: no events; always; if somebody listens.
mod setting {
    pub(super) const OFF: u8 = 0;
    pub(super) const ALWAYS: u8 = 1;
}

/// The masks with which an entry of `net` gets an event cache, if it gets one.
///
/// Masks that a rule asks for count whatever the setting is.
pub(in crate::ct) fn masks_for(net: &Net, ct_mask: u16, expect_mask: u16) -> Option<(u16, u16)> {
    let asked = ct_mask != 0 || expect_mask != 0;
    let setting = net.events();
    let off_but_asked = setting == setting::OFF && asked;
    if !off_but_asked && !are_enabled(net) {
        return None;
    }
    Some(if asked {
        (ct_mask, expect_mask)
    } else {
        (u16::MAX, u16::MAX)
    })
}

/// Whether new entries of a namespace get a place for their events, unless rules say otherwise.
#[inline]
pub(in crate::ct) fn are_enabled(net: &Net) -> bool {
    match net.events() {
        setting::OFF => false,
        setting::ALWAYS => true,
        _ => ecache::has_listeners(),
    }
}

/// Gives a new entry the place for its events, where it needs one. `ENOMEM`: no memory.
pub(in crate::ct) fn add_cache(fresh: &mut Fresh, net: &Net, template: Option<&Conn>) -> Result {
    let asked = template.and_then(|template| template.extensions().find::<EventCache>());
    let (ct_mask, expect_mask) = asked.map_or((0, 0), EventCache::masks);
    if asked.is_none() && net.events() == setting::OFF {
        return Ok(());
    }
    if let Some((ct_mask, expect_mask)) = masks_for(net, ct_mask, expect_mask) {
        fresh.add::<EventCache>()?;
        init_cache(fresh.conn(), ct_mask, expect_mask);
    }
    Ok(())
}

/// Sets a new event cache up.
pub(in crate::ct) fn init_cache(conn: &Conn, ct_mask: u16, expect_mask: u16) {
    let extensions = conn.extensions();
    if let Some(cache) = extensions.find::<EventCache>() {
        cache.set_up(
            ct_mask,
            expect_mask,
            extensions.find::<Timestamps>().is_some(),
        );
    }
}

/// Tells `events`, and with them those that were missed before.
fn notify(
    conn: &Conn,
    cache: &EventCache,
    events: u32,
    missed: u32,
    by: Requester,
) -> Result<(), Congested> {
    if (events | missed) & cache.wanted() == 0 {
        return Ok(());
    }
    let result = ecache::notify(conn, events | missed, by);
    if result.is_ok() && missed == 0 {
        return result;
    }
    // Another CPU may tell events of the same entry; at worst some are told twice.
    let word = cache.missed();
    let mut old = word.load(Relaxed);
    loop {
        let new = if result.is_ok() {
            old & !missed
        } else {
            old | events
        };
        match word.cmpxchg(old, new, kernel::sync::atomic::Full) {
            Ok(_) => return result,
            Err(other) => old = other,
        }
    }
}

/// Tells the events that wait in the entry. With bottom halves off.
#[inline]
pub(in crate::ct) fn deliver(conn: &Conn) {
    let Some(cache) = conn.extensions().find::<EventCache>() else {
        return;
    };
    let status = conn.status();
    if !status.has(StatusBit::Confirmed) || status.has(StatusBit::Dying) {
        return;
    }
    let missed = cache.missed().load(Relaxed);
    // What could not be told is remembered as missed.
    let _ = notify(conn, cache, cache.take(), missed, Requester::default());
}

/// Tells events at once.
pub(in crate::ct) fn notify_now(conn: &Conn, events: u32, by: Requester) -> Result<(), Congested> {
    let Some(cache) = conn.extensions().find::<EventCache>() else {
        return Ok(());
    };
    if !conn.is_confirmed() {
        return Ok(());
    }
    // Who asked for an end that could not be told is told with the next attempt.
    let earlier = cache.portid().load(Relaxed);
    let (portid, missed) = match earlier {
        0 => (by.portid, cache.missed().load(Relaxed)),
        _ => (earlier, 0),
    };
    cache.renew_time();
    let result = notify(
        conn,
        cache,
        events,
        missed,
        Requester {
            portid,
            report: by.report,
        },
    );
    if result.is_err() && events & Event::Destroy.mask() != 0 && earlier == 0 && by.portid != 0 {
        cache.portid().store(by.portid, Relaxed);
    }
    result
}

/// Keeps an entry that left the table, whose end could not be told.
pub(in crate::ct) fn defer_destroy(conn: ARef<Conn>) {
    ecache::defer(conn);
    work::queue(&SLOT, HZ);
}

/// An end was told: the listener has room again.
#[inline]
pub(in crate::ct) fn retry_deferred() {
    if !ecache::DYING.is_empty() {
        work::queue_now(&SLOT);
    }
}

static SLOT: WorkSlot = WorkSlot::new();

/// How long a part of the work takes, and how long a congested listener gets, in jiffies.
const TEN_MS: u32 = if HZ / 100 > 0 { HZ / 100 } else { 1 };

/// Tells the ends that could not be told.
pub(in crate::ct) struct Redelivery;

impl Repeating for Redelivery {
    fn run() -> Option<u32> {
        let begin = jiffies32();
        while let Some(conn) = ecache::DYING.pop() {
            if notify_now(&conn, Event::Destroy.mask(), Requester::default()).is_err() {
                ecache::defer(conn);
                return Some(TEN_MS);
            }
            if jiffies32().wrapping_sub(begin) > TEN_MS {
                return Some(0);
            }
            work::cond_resched();
        }
        None
    }

    fn slot() -> &'static WorkSlot {
        &SLOT
    }
}
