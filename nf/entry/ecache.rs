// SPDX-License-Identifier: GPL-2.0

//! Events of a connection, cached in an extension until a listener is notified.
//!
//! C header:
//! [`include/net/netfilter/nf_conntrack_ecache.h`](srctree/include/net/netfilter/nf_conntrack_ecache.h)

use core::ptr::addr_of_mut;

use kernel::{
    sync::atomic::{
        Atomic,
        Full,
        Relaxed, //
    },
    types::Opaque, //
};

use crate::nf::{
    bindings,
    kernel::{
        net::Net,
        nfnetlink::{
            Congested,
            Requester, //
        },
        rcu::RcuGuard,
        time, //
    }, //
};

use super::{
    conn::Conn,
    ext::Extension, //
};

/// An event (`enum ip_conntrack_events`).
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Event {
    /// The entry was confirmed.
    New = bindings::ip_conntrack_events_IPCT_NEW,
    /// The entry was confirmed, and was expected.
    Related = bindings::ip_conntrack_events_IPCT_RELATED,
    /// The entry left the table.
    Destroy = bindings::ip_conntrack_events_IPCT_DESTROY,
    /// The first packet in the reply direction was seen.
    Reply = bindings::ip_conntrack_events_IPCT_REPLY,
    /// The entry is not subject to early drop from now on.
    Assured = bindings::ip_conntrack_events_IPCT_ASSURED,
    /// The protocol's state changed.
    ProtoInfo = bindings::ip_conntrack_events_IPCT_PROTOINFO,
    /// The entry got a helper.
    Helper = bindings::ip_conntrack_events_IPCT_HELPER,
    /// The mark changed.
    Mark = bindings::ip_conntrack_events_IPCT_MARK,
    /// The adjustment of sequence numbers changed.
    SeqAdjust = bindings::ip_conntrack_events_IPCT_SEQADJ,
    /// The security mark changed.
    SecMark = bindings::ip_conntrack_events_IPCT_SECMARK,
    /// The state of SYNPROXY changed.
    SynProxy = bindings::ip_conntrack_events_IPCT_SYNPROXY,
    /// The labels changed.
    Label = bindings::ip_conntrack_events_IPCT_LABEL,
}

impl Event {
    /// Returns the event's bit in masks.
    pub(crate) const fn mask(self) -> u32 {
        1 << self as u32
    }
}

/// The event cache of an entry (`struct nf_conntrack_ecache`).
#[repr(transparent)]
pub(crate) struct EventCache(Opaque<bindings::nf_conntrack_ecache>);

// SAFETY: Accessed atomically only. (C code reads the masks, too, and does not write them.)
unsafe impl Sync for EventCache {}
// SAFETY: `struct nf_conntrack_ecache` is the extension with this number.
unsafe impl Extension for EventCache {
    const ID: u32 = bindings::nf_ct_ext_id_NF_CT_EXT_ECACHE;
}

impl EventCache {
    /// Returns the mask of wanted events of the connection. (An [`Atomic`] of 16 bits is signed.)
    fn ct_mask(&self) -> &Atomic<i16> {
        // SAFETY: A valid, aligned half-word that is only accessed atomically.
        unsafe { Atomic::from_ptr(addr_of_mut!((*self.0.get()).ctmask).cast()) }
    }

    /// Returns the mask of wanted events of its expectations.
    fn expect_mask(&self) -> &Atomic<i16> {
        // SAFETY: As above.
        unsafe { Atomic::from_ptr(addr_of_mut!((*self.0.get()).expmask).cast()) }
    }

    /// Sets the masks of wanted events, of the connection and of its expectations, and whether
    /// events have a time stamp.
    pub(crate) fn set_up(&self, ct_mask: u16, expect_mask: u16, with_time: bool) {
        self.ct_mask()
            .store(i16::from_ne_bytes(ct_mask.to_ne_bytes()), Relaxed);
        self.expect_mask()
            .store(i16::from_ne_bytes(expect_mask.to_ne_bytes()), Relaxed);
        if with_time {
            self.set_time();
        }
    }

    /// Returns the mask of wanted events of the connection.
    pub(crate) fn wanted(&self) -> u32 {
        load(self.ct_mask()).into()
    }

    /// Returns the mask of wanted events of its expectations.
    pub(crate) fn wanted_of_expectations(&self) -> u16 {
        load(self.expect_mask())
    }

    /// Returns both masks.
    pub(crate) fn masks(&self) -> (u16, u16) {
        (load(self.ct_mask()), load(self.expect_mask()))
    }

    /// Takes the cached events, as a mask.
    pub(crate) fn take(&self) -> u32 {
        // SAFETY: A valid, aligned word that is only accessed atomically.
        let events =
            unsafe { Atomic::<usize>::from_ptr(addr_of_mut!((*self.0.get()).cache).cast()) };
        // CAST: sixteen events.
        events.xchg(0, Full) as u32
    }

    /// Returns the mask of events that a listener missed.
    pub(crate) fn missed(&self) -> &Atomic<u32> {
        // SAFETY: A valid, aligned word that is only accessed atomically.
        unsafe { Atomic::from_ptr(addr_of_mut!((*self.0.get()).missed)) }
    }

    /// Returns the netlink port that requested the deletion, if the destroy event could not be
    /// delivered.
    pub(crate) fn portid(&self) -> &Atomic<u32> {
        // SAFETY: A valid, aligned word that is only accessed atomically.
        unsafe { Atomic::from_ptr(addr_of_mut!((*self.0.get()).portid)) }
    }

    fn time_word(&self) -> &Atomic<u64> {
        // SAFETY: A valid, aligned word that is only accessed atomically.
        unsafe { Atomic::from_ptr(addr_of_mut!((*self.0.get()).timestamp).cast()) }
    }

    /// Returns the event's time stamp, in nanoseconds since the epoch; 0: none.
    pub(crate) fn time(&self) -> u64 {
        self.time_word().load(Relaxed)
    }

    fn set_time(&self) {
        self.time_word().store(time::real_ns(), Relaxed);
    }

    /// Sets the time stamp to the present time, where events have one.
    pub(crate) fn renew_time(&self) {
        if self.time_word().load(Relaxed) != 0 {
            self.set_time();
        }
    }
}

fn load(mask: &Atomic<i16>) -> u16 {
    u16::from_ne_bytes(mask.load(Relaxed).to_ne_bytes())
}

/// Caches an event, if the entry has an [`EventCache`].
#[inline]
pub(crate) fn keep(conn: &Conn, event: Event) {
    // SAFETY: The entry is valid.
    unsafe { bindings::rct_ct_event_cache(event as u32, conn.raw()) };
}

/// Notifies the namespace's listener. Without a listener the events are delivered, too.
pub(crate) fn notify(conn: &Conn, events: u32, by: Requester) -> Result<(), Congested> {
    let item = bindings::nf_ct_event {
        ct: conn.raw(),
        portid: by.portid,
        report: by.report.into(),
    };
    let _section = RcuGuard::new();
    // SAFETY: In an RCU read-side section, during which a listener stays valid.
    let listener = unsafe { bindings::rct_ct_event_listener(conn.net().raw()).as_ref() };
    let Some(notify) = listener.and_then(|listener| listener.ct_event) else {
        return Ok(());
    };
    // SAFETY: The entry is valid.
    if unsafe { notify(events, &item) } < 0 {
        Err(Congested)
    } else {
        Ok(())
    }
}

/// Returns whether there may be a listener: then new entries get an [`EventCache`].
pub(crate) fn has_listeners() -> bool {
    // SAFETY: A byte that is read whole.
    unsafe { bindings::rct_ctnetlink_has_listener() }
}

/// Sets or removes a namespace's listener.
///
/// # Safety
///
/// `notifier` is null or stays valid until a grace period after it was replaced.
pub(crate) unsafe fn set_listener(net: &Net, notifier: *const bindings::nf_ct_event_notifier) {
    // SAFETY: The caller's promise.
    unsafe { bindings::rct_ct_event_listener_set(net.raw(), notifier) };
}
