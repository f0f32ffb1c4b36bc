// SPDX-License-Identifier: GPL-2.0

//! Expectations, which helpers create and the tracker matches.

use core::{
    ffi::{
        c_int,
        c_uint,
        c_void, //
    },
    ptr::{
        null_mut,
        NonNull, //
    },
};

use kernel::{
    error::from_result,
    sync::aref::ARef, //
};

use crate::{
    ct::expect::{
        self,
        add, //
    },
    nf::{
        bindings,
        c_export::c_export,
        expect::{
            draft::Draft,
            expectation::Expectation,
            linked::{
                Linked,
                Seen, //
            },
            lock::Locked, //
        },
        kernel::{
            nfnetlink::Requester,
            refcount::Counted, //
        },
        prelude::*, //
    },
    proto::expect::Announcement, //
};

/// A predicate of expectations in C.
type Predicate =
    Option<unsafe extern "C" fn(*mut bindings::nf_conntrack_expect, *mut c_void) -> bool>;

fn requester(portid: u32, report: c_int) -> Requester {
    Requester {
        portid,
        report: report != 0,
    }
}

/// Returns an expectation as one that is not in the table yet.
///
/// # Safety
///
/// `expect` is an expectation that only its creator changes, and whose master lives for `'a`.
unsafe fn draft<'a>(expect: *mut bindings::nf_conntrack_expect) -> Draft<'a> {
    // SAFETY: By the safety requirements of this function.
    unsafe { Draft::from_raw(NonNull::new_unchecked(expect)) }
}

c_export! {
    /// Allocates an expectation of a connection, with one reference; null: no memory.
    fn nf_ct_expect_alloc(me: *mut bindings::nf_conn) -> *mut bindings::nf_conntrack_expect {
        // SAFETY: The caller holds a reference.
        match Draft::new(unsafe { Conn::from_raw(me) }) {
            Some(draft) => draft.into_raw(),
            None => null_mut(),
        }
    }
}

c_export! {
    /// Sets the tuple, the mask and the class of an expectation.
    fn nf_ct_expect_init(
        exp: *mut bindings::nf_conntrack_expect,
        class: c_uint,
        family: u8,
        saddr: *const bindings::nf_inet_addr,
        daddr: *const bindings::nf_inet_addr,
        proto: u8,
        src: *const bindings::__be16,
        dst: *const bindings::__be16
    ) {
        let address = |place: *const bindings::nf_inet_addr| {
            let mut address = [0; 16];
            let len = if u32::from(family) == bindings::NFPROTO_IPV4 { 4 } else { 16 };
            if place.is_null() {
                return None;
            }
            // SAFETY: The caller passes an address of the family; the buffer has room for either.
            unsafe {
                core::ptr::copy_nonoverlapping(place.cast::<u8>(), address.as_mut_ptr(), len);
            }
            Some(address)
        };
        let port = |place: *const bindings::__be16| {
            // SAFETY: The caller passes a port, or null.
            unsafe { place.as_ref() }.map(|port| port.to_ne_bytes())
        };
        let announced = Announcement {
            l3num: family.into(),
            protonum: proto,
            src: address(saddr),
            src_key: port(src),
            dst: address(daddr).unwrap_or_default(),
            dst_key: port(dst).unwrap_or_default(),
        };
        // SAFETY: The caller allocated the expectation for an entry that it holds, and is under
        // `rcu_read_lock()`.
        let (mut draft, rcu) = unsafe { (draft(exp), Rcu::assume_held()) };
        add::describe(&mut draft, class, &announced, rcu);
    }
}

c_export! {
    /// Drops a reference to an expectation; null is allowed.
    fn nf_ct_expect_put(exp: *mut bindings::nf_conntrack_expect) {
        if let Some(exp) = NonNull::new(exp) {
            // SAFETY: The caller has a reference, and gives it up.
            drop(unsafe { ARef::from_raw(exp.cast::<Counted<Expectation>>()) });
        }
    }
}

c_export! {
    /// Adds an expectation to the table. Returns 0 or the errno of
    /// [`RelateError`](add::RelateError).
    fn nf_ct_expect_related_report(
        expect: *mut bindings::nf_conntrack_expect,
        portid: u32,
        report: c_int,
        flags: c_uint
    ) -> c_int {
        // SAFETY: The caller allocated the expectation for an entry that it holds.
        let draft = unsafe { draft(expect) };
        let skip_master = flags & bindings::NF_CT_EXP_F_SKIP_MASTER != 0;
        from_result(|| {
            add::relate(draft, skip_master, requester(portid, report))?;
            Ok(0)
        })
    }
}

c_export! {
    /// Adds two expectations of one master, or none. Returns 0 or the errno of
    /// [`RelateError`](add::RelateError).
    fn nf_ct_expect_related_pair(
        expect: *mut *mut bindings::nf_conntrack_expect,
        flags: c_uint
    ) -> c_int {
        // SAFETY: The caller passes two expectations, allocated for an entry that it holds.
        let (first, second) = unsafe { (draft(*expect), draft(*expect.add(1))) };
        let skip_master = flags & bindings::NF_CT_EXP_F_SKIP_MASTER != 0;
        from_result(|| {
            add::relate_pair([first, second], skip_master)?;
            Ok(0)
        })
    }
}

/// Finds the expectation that matches a tuple, and returns what `take` makes of it.
///
/// # Safety
///
/// The three pointers are valid.
unsafe fn find<R>(
    net: *mut bindings::net,
    zone: *const bindings::nf_conntrack_zone,
    tuple: *const bindings::nf_conntrack_tuple,
    rcu: Rcu<'_>,
    take: impl FnOnce(&Seen<'_>) -> R,
) -> Option<R> {
    // SAFETY: Valid, as the caller guarantees; the Rust types have the layout of the C types.
    let (net, zone, tuple) = unsafe {
        (
            Net::from_raw(net),
            *zone.cast::<Zone>(),
            *tuple.cast::<Tuple>(),
        )
    };
    expect::find(net, zone, &tuple, rcu, take)
}

c_export! {
    /// Finds the expectation that matches a tuple. Takes no reference: the result is valid while
    /// the caller is under RCU or holds the lock of expectations.
    fn __nf_ct_expect_find(
        net: *mut bindings::net,
        zone: *const bindings::nf_conntrack_zone,
        tuple: *const bindings::nf_conntrack_tuple
    ) -> *mut bindings::nf_conntrack_expect {
        // SAFETY: The caller passes valid pointers, under `rcu_read_lock()` or the lock.
        let found = unsafe { find(net, zone, tuple, Rcu::assume_held(), |seen| seen.raw()) };
        found.unwrap_or(null_mut())
    }
}

c_export! {
    /// Finds the expectation that matches a tuple, and takes a reference for the caller.
    fn nf_ct_expect_find_get(
        net: *mut bindings::net,
        zone: *const bindings::nf_conntrack_zone,
        tuple: *const bindings::nf_conntrack_tuple
    ) -> *mut bindings::nf_conntrack_expect {
        let section = RcuGuard::new();
        // SAFETY: The caller passes valid pointers.
        match unsafe { find(net, zone, tuple, section.token(), |seen| seen.get()) }.flatten() {
            Some(found) => ARef::into_raw(found).as_ptr().cast(),
            None => null_mut(),
        }
    }
}

c_export! {
    /// Withdraws an expectation.
    fn nf_ct_unexpect_related(exp: *mut bindings::nf_conntrack_expect) {
        // SAFETY: The caller has a reference.
        expect::withdraw(unsafe { Expectation::from_raw(exp) });
    }
}

c_export! {
    /// Removes an expectation from the table.
    fn nf_ct_unlink_expect_report(
        exp: *mut bindings::nf_conntrack_expect,
        portid: u32,
        report: c_int
    ) {
        // SAFETY: The caller holds the lock, under which it found the expectation.
        let (locked, linked) = unsafe {
            let locked = Locked::assume_held();
            (locked, Linked::from_raw(exp, locked))
        };
        expect::remove(&linked, requester(portid, report), locked);
    }
}

c_export! {
    /// Removes all expectations of a master.
    fn nf_ct_remove_expectations(ct: *mut bindings::nf_conn) {
        // SAFETY: The caller holds a reference.
        expect::remove_all(unsafe { Conn::from_raw(ct) });
    }
}

/// Returns a predicate of C as a Rust closure.
///
/// # Safety
///
/// `predicate` may be called with an expectation, the lock held, and `data`.
unsafe fn closure(predicate: Predicate, data: *mut c_void) -> impl FnMut(&Linked<'_>) -> bool {
    move |expectation| {
        // SAFETY: By the safety requirements of `closure`.
        predicate.is_some_and(|predicate| unsafe { predicate(expectation.raw(), data) })
    }
}

c_export! {
    /// Removes the expectations for which `iter` returns true, in all namespaces.
    fn nf_ct_expect_iterate_destroy(iter: Predicate, data: *mut c_void) {
        // SAFETY: The caller passes a predicate and its data.
        expect::remove_where(None, Requester::default(), unsafe { closure(iter, data) });
    }
}

c_export! {
    /// Removes the expectations of a namespace for which `iter` returns true.
    fn nf_ct_expect_iterate_net(
        net: *mut bindings::net,
        iter: Predicate,
        data: *mut c_void,
        portid: u32,
        report: c_int
    ) {
        // SAFETY: The caller passes a namespace.
        let net = unsafe { Net::from_raw(net) };
        // SAFETY: The caller passes a predicate and its data.
        let predicate = unsafe { closure(iter, data) };
        expect::remove_where(Some(net), requester(portid, report), predicate);
    }
}
