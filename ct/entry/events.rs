// SPDX-License-Identifier: GPL-2.0

//! Events: notifications of user space about changes to entries.
//!
//! Events are collected in the entry's event cache while a packet is in the hooks, and are sent in
//! one message when the packet has passed ([`deliver`]). The end of a connection is sent when it
//! leaves the table ([`notify_now`]). If the listener's buffer is full then, the entry is put on a
//! list of dying entries, and [`Redelivery`] tries again until the message is sent.
//!
//! No lock of the tracker is held while a message is sent.

use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};

use crate::nf::{
    entry::{
        conn::Entry,
        detached::DetachedList,
        ecache::{
            self,
            Event,
            EventCache, //
        },
        ext::Timestamps,
        fresh::Fresh,
        pair::Removed, //
    },
    kernel::{
        nfnetlink::{
            Congested,
            Requester, //
        },
        settings,
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

/// Values of the sysctl `nf_conntrack_events`. Every other value: while there is a listener.
mod setting {
    /// No events.
    pub(super) const OFF: u8 = 0;
    /// Events for all entries.
    pub(super) const ALWAYS: u8 = 1;
}

/// Returns the event masks for the cache of an entry of `net`; [`None`] if it gets no cache.
///
/// Masks that a rule has set count even if the sysctl turns events off.
pub(in crate::ct) fn masks_for(net: &Net, ct_mask: u16, expect_mask: u16) -> Option<(u16, u16)> {
    let asked = ct_mask != 0 || expect_mask != 0;
    let setting = settings::EVENTS.read(net);
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

/// Returns whether new entries of a namespace get an event cache, unless a rule says otherwise.
#[inline]
pub(in crate::ct) fn are_enabled(net: &Net) -> bool {
    match settings::EVENTS.read(net) {
        setting::OFF => false,
        setting::ALWAYS => true,
        _ => ecache::has_listeners(),
    }
}

/// Adds an event cache to a new entry, if it is to have one. `template` may have masks.
///
/// `ENOMEM`: no memory.
pub(in crate::ct) fn add_cache(fresh: &mut Fresh, net: &Net, template: Option<&Conn>) -> Result {
    let asked = template.and_then(|template| template.extensions().find::<EventCache>());
    let (ct_mask, expect_mask) = asked.map_or((0, 0), EventCache::masks);
    if asked.is_none() && settings::EVENTS.read(net) == setting::OFF {
        return Ok(());
    }
    if let Some((ct_mask, expect_mask)) = masks_for(net, ct_mask, expect_mask) {
        fresh.add::<EventCache>()?;
        init_cache(fresh.conn(), ct_mask, expect_mask);
    }
    Ok(())
}

/// Initialises a new event cache.
pub(in crate::ct) fn init_cache(conn: &Entry, ct_mask: u16, expect_mask: u16) {
    let extensions = conn.extensions();
    if let Some(cache) = extensions.find::<EventCache>() {
        cache.set_up(
            ct_mask,
            expect_mask,
            extensions.find::<Timestamps>().is_some(),
        );
    }
}

/// Sends `events`, and with them `missed`, which could not be sent before.
///
/// `Congested`: the listener's buffer is full; the events are kept as missed.
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
    // Another CPU may send events of the same entry. At worst some are sent twice.
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

/// Sends the events in the cache of an entry. Bottom halves are off.
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
    // Events that could not be sent are kept as missed.
    let _ = notify(conn, cache, cache.take(), missed, Requester::default());
}

/// Sends events at once.
///
/// `Congested`: the listener's buffer is full.
pub(in crate::ct) fn notify_now(conn: &Conn, events: u32, by: Requester) -> Result<(), Congested> {
    let Some(cache) = conn.extensions().find::<EventCache>() else {
        return Ok(());
    };
    if !conn.is_confirmed() {
        return Ok(());
    }
    // An earlier attempt to report the end for a request has left the port of the requester, which
    // the message names even if another one makes this attempt.
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

/// The dying entries: they left the table, with a destroy event that could not be sent yet.
pub(in crate::ct) static DYING: DetachedList = DetachedList::new();

/// Puts an entry that has left the table on the list of dying entries: its end could not be sent.
pub(in crate::ct) fn defer_destroy(removed: Removed) {
    DYING.push(removed);
    work::queue(&SLOT, HZ);
}

/// Sends the ends of dying entries soon, if there are any. For callers that have just sent a
/// message: the listener has room.
#[inline]
pub(in crate::ct) fn retry_deferred() {
    if !DYING.is_empty() {
        work::queue_now(&SLOT);
    }
}

/// The delayed work of [`Redelivery`].
static SLOT: WorkSlot = WorkSlot::new();

/// The maximum length of a slice of the work, and the pause for a congested listener, in jiffies.
const TEN_MS: u32 = if HZ / 100 > 0 { HZ / 100 } else { 1 };

/// The work that sends the ends of dying entries.
pub(in crate::ct) struct Redelivery;

impl Repeating for Redelivery {
    fn run() -> Option<u32> {
        let begin = jiffies32();
        while let Some(conn) = DYING.pop() {
            if notify_now(&conn, Event::Destroy.mask(), Requester::default()).is_err() {
                DYING.push(conn);
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
