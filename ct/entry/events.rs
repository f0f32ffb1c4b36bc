// SPDX-License-Identifier: GPL-2.0

//! Events: notifications of user space about changes to entries.
//!
//! Events are collected in the entry's event cache while a packet is in the hooks, and are sent in
//! one message when the packet has passed ([`deliver`]). The end of a connection is sent when it
//! leaves the table ([`notify_end`]). If the listener's buffer is full then, the entry is put on
//! the dying list of its namespace, whose work ([`redeliver`]) tries again until the message is
//! sent. Ends of a namespace are sent in their order, and wait for its listeners alone.
//!
//! No lock of the tracker is held while a message is sent.

use kernel::{
    prelude::*,
    sync::{
        aref::ARef,
        atomic::Relaxed, //
    },
};

use crate::{
    ct::netns::NetState,
    nf::{
        entry::{
            conn::Entry,
            dying::Oldest,
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
            work, //
        },
        prelude::*, //
    },
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
    if result.is_err() && events & Event::Destroy.mask() != 0 {
        keep_requester(cache, by);
    }
    result
}

/// Notes which program asked for a deletion whose event could not be sent, unless one did before.
fn keep_requester(cache: &EventCache, by: Requester) {
    if by.portid != 0 && cache.portid().load(Relaxed) == 0 {
        cache.portid().store(by.portid, Relaxed);
    }
}

/// Returns whether the destroy event of an entry must be sent: whether its cache wants it.
pub(in crate::ct) fn is_end_wanted(conn: &Conn) -> bool {
    let cache = conn.extensions().find::<EventCache>();
    cache.is_some_and(|cache| {
        (Event::Destroy.mask() | cache.missed().load(Relaxed)) & cache.wanted() != 0
    })
}

/// Sends the destroy event of an entry that is leaving the table.
///
/// Events of entries that ended earlier are sent first: while there are some on the dying list, an
/// attempt is for the oldest of them. (But a report to the program that asked for the deletion does
/// not wait.) So a congested listener costs one attempt for each end.
///
/// `Congested`: the listener's buffer is full, or there are earlier ends; [`defer_end`] is next.
pub(in crate::ct) fn notify_end(conn: &Conn, by: Requester, rcu: Rcu<'_>) -> Result<(), Congested> {
    if !is_end_wanted(conn) {
        return Ok(());
    }
    let net = conn.net();
    if !by.report && !is_next(net, rcu) {
        if let Some(cache) = conn.extensions().find::<EventCache>() {
            keep_requester(cache, by);
        }
        return Err(Congested);
    }
    notify_now(conn, Event::Destroy.mask(), by)
}

/// Returns whether no end of a namespace is still to be sent, after an attempt to send the oldest.
fn is_next(net: &Net, rcu: Rcu<'_>) -> bool {
    match retry_oldest(net, rcu) {
        Retry::Empty => true,
        Retry::Congested => false,
        Retry::Sent(_) => {
            let is_next = net.state_in::<NetState>(rcu).dying.is_empty();
            if !is_next {
                net.hasten_work::<NetState>();
            }
            is_next
        }
    }
}

/// Puts an entry that has left the table on the dying list: its end could not be sent.
pub(in crate::ct) fn defer_end(removed: Removed, rcu: Rcu<'_>) {
    // The list may be drained, and the entry freed, before the work is queued; the namespace stays:
    // the caller has a reference to the entry.
    let conn = ARef::from(&*removed);
    conn.net().state_in::<NetState>(rcu).dying.push(removed);
    conn.net().queue_work::<NetState>(HZ);
}

/// The result of [`retry_oldest`].
pub(in crate::ct) enum Retry {
    /// No entry is dying.
    Empty,
    /// The event of this one was sent.
    Sent(Removed),
    /// The listener's buffer is full, or another CPU is sending the event.
    Congested,
}

/// Tries to send the event of the namespace's oldest dying entry.
pub(in crate::ct) fn retry_oldest(net: &Net, rcu: Rcu<'_>) -> Retry {
    let dying = &net.state_in::<NetState>(rcu).dying;
    if dying.is_empty() {
        return Retry::Empty;
    }
    let bh = BhDisabled::new();
    let Some(oldest) = dying.oldest(&bh) else {
        return Retry::Congested;
    };
    if notify_now(&oldest, Event::Destroy.mask(), Requester::default()).is_err() {
        return Retry::Congested;
    }
    Retry::Sent(oldest.remove())
}

/// The maximum length of a slice of [`redeliver`], and the first pause for a congested listener, in
/// jiffies.
const TEN_MS: u32 = if HZ / 100 > 0 { HZ / 100 } else { 1 };

/// The longest pause for a congested listener, in jiffies.
const MAX_PAUSE: u32 = HZ;

/// Sends the ends of dying entries. Returns the jiffies until the next run.
///
/// While the listener stays congested the pauses get longer: one that never reads costs an attempt
/// a second.
pub(in crate::ct) fn redeliver(net: &Net) -> Option<u32> {
    let begin = jiffies32();
    let pause = &net.state::<NetState>().retry_pause;
    loop {
        let retry = {
            let rcu = RcuGuard::new();
            retry_oldest(net, rcu.token())
        };
        match retry {
            Retry::Empty => return None,
            Retry::Sent(removed) => {
                pause.store(0, Relaxed);
                drop(removed);
            }
            Retry::Congested => {
                let next = pause.load(Relaxed).saturating_mul(2);
                let next = next.clamp(TEN_MS, MAX_PAUSE);
                pause.store(next, Relaxed);
                return Some(next);
            }
        }
        if jiffies32().wrapping_sub(begin) > TEN_MS {
            return Some(0);
        }
        work::cond_resched();
    }
}

/// Drops all dying entries of a namespace, without an event.
pub(in crate::ct) fn forget_ends(net: &Net) {
    let dying = &net.state::<NetState>().dying;
    loop {
        let oldest = {
            let bh = BhDisabled::new();
            dying.oldest(&bh).map(Oldest::remove)
        };
        // The work may be sending the oldest one: the caller comes again.
        if oldest.is_none() {
            return;
        }
        drop(oldest);
        work::cond_resched();
    }
}
