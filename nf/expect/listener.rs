// SPDX-License-Identifier: GPL-2.0

//! A namespace's listener, which is notified of events of connections and expectations
//! (`struct nf_ct_event_notifier`).
//!
//! C header: [`include/net/netfilter/nf_conntrack_ecache.h`](srctree/include/net/netfilter/nf_conntrack_ecache.h)

use core::ffi::{
    c_int,
    c_uint, //
};

use kernel::{
    error::code::ENOBUFS,
    prelude::*, //
};

use crate::nf::{
    bindings,
    entry::{
        conn::Conn,
        ecache::set_listener, //
    },
    kernel::{
        net::Net,
        nfnetlink::{
            Congested,
            Requester, //
        },
        pernet::NewNet,
        rcu::Rcu, //
    },
};

use super::{
    expectation::ExpectEvent,
    linked::Seen, //
};

/// A listener to the events of connections and expectations.
pub(crate) trait Listener: 'static {
    /// Notifies of events of a connection, as a bitmap. Any context. [`Congested`]: a receiver has
    /// no room, and the events are to be notified again.
    fn connection(conn: &Conn, events: u32, by: Requester, rcu: Rcu<'_>) -> Result<(), Congested>;

    /// Notifies of an event of an expectation. The lock of expectations may be held.
    fn expectation(seen: &Seen<'_>, net: &Net, event: ExpectEvent, by: Requester, rcu: Rcu<'_>);
}

/// Makes `L` the listener of a namespace, until that ends. Calls of its functions that are under
/// way then end within a grace period.
///
/// `ENOMEM`: no memory.
pub(crate) fn register<L: Listener>(net: &NewNet<'_>) -> Result {
    let notifier: &'static bindings::nf_ct_event_notifier = &const {
        bindings::nf_ct_event_notifier {
            ct_event: Some(connection::<L>),
            exp_event: Some(expectation::<L>),
        }
    };
    // SAFETY: Static, and a module's static memory stays until every namespace has ended.
    unsafe { set_listener(net, notifier) };
    // INVARIANT: As just registered.
    net.keep(Listening(net.raw()))
}

/// The registration of a namespace's listener.
///
/// # Invariants
///
/// The namespace has a listener, and keeps this.
struct Listening(*mut bindings::net);

// SAFETY: Any thread may remove the listener.
unsafe impl Send for Listening {}

impl Drop for Listening {
    fn drop(&mut self) {
        // SAFETY: By the type invariants; null.
        unsafe { set_listener(Net::from_raw(self.0), core::ptr::null()) };
    }
}

/// Calls [`Listener::connection`].
///
/// # Safety
///
/// For a notification, under `rcu_read_lock()`, with an entry to which the caller has a reference.
unsafe extern "C" fn connection<L: Listener>(
    events: c_uint,
    item: *const bindings::nf_ct_event,
) -> c_int {
    // SAFETY: By the function's contract.
    let (item, rcu) = unsafe { (&*item, Rcu::assume_held()) };
    // SAFETY: As above.
    let conn = unsafe { Conn::from_raw(item.ct) };
    match L::connection(conn, events, requester(item.portid, item.report), rcu) {
        Ok(()) => 0,
        Err(Congested) => ENOBUFS.to_errno(),
    }
}

/// Calls [`Listener::expectation`].
///
/// # Safety
///
/// For a notification, under `rcu_read_lock()`, with an expectation that was in the table during
/// that section.
unsafe extern "C" fn expectation<L: Listener>(
    events: c_uint,
    item: *const bindings::nf_exp_event,
) -> c_int {
    // SAFETY: By the function's contract.
    let (item, rcu) = unsafe { (&*item, Rcu::assume_held()) };
    // SAFETY: As above; its master's namespace lives as long.
    let (seen, net) = unsafe {
        (
            Seen::from_raw(item.exp, rcu),
            Net::from_raw(bindings::rct_expect_net(item.exp)),
        )
    };
    let by = requester(item.portid, item.report);
    for event in [ExpectEvent::Destroy, ExpectEvent::New] {
        if events & event.bit() != 0 {
            L::expectation(&seen, net, event, by, rcu);
            break;
        }
    }
    0
}

/// Returns the program that caused an event by a request.
fn requester(portid: u32, report: c_int) -> Requester {
    Requester {
        portid,
        report: report != 0,
    }
}
