// SPDX-License-Identifier: GPL-2.0

//! Expectations: made and added by helpers, met by the tracker.

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
        kernel::nfnetlink::Requester,
        prelude::*, //
    },
    proto::expect::Announcement, //
};

/// What C code chooses expectations by.
type Choice = Option<unsafe extern "C" fn(*mut bindings::nf_conntrack_expect, *mut c_void) -> bool>;

fn requester(portid: u32, report: c_int) -> Requester {
    Requester {
        portid,
        report: report != 0,
    }
}

/// # Safety
///
/// `expect` is an expectation that only its maker changes, and whose master lives for `'a`.
unsafe fn draft<'a>(expect: *mut bindings::nf_conntrack_expect) -> Draft<'a> {
    // SAFETY: The caller's promise.
    unsafe { Draft::from_raw(NonNull::new_unchecked(expect)) }
}

c_export! {
    /// Makes an expectation of a connection, with one reference.
    fn nf_ct_expect_alloc(me: *mut bindings::nf_conn) -> *mut bindings::nf_conntrack_expect {
        // SAFETY: The caller holds a reference.
        match Draft::new(unsafe { Conn::from_raw(me) }) {
            Some(draft) => draft.into_raw(),
            None => null_mut(),
        }
    }
}

c_export! {
    /// Fills in what is expected.
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
            // SAFETY: The caller hands over an address of the family, or null; both are apart.
            unsafe {
                core::ptr::copy_nonoverlapping(place.cast::<u8>(), address.as_mut_ptr(), len);
            }
            Some(address)
        };
        // SAFETY: The caller hands over a port, or null.
        let port = |place: *const bindings::__be16| unsafe { place.as_ref() }.map(|port| port.to_ne_bytes());
        let announced = Announcement {
            l3num: family.into(),
            protonum: proto,
            src: address(saddr),
            src_key: port(src),
            dst: address(daddr).unwrap_or_default(),
            dst_key: port(dst).unwrap_or_default(),
        };
        // SAFETY: The caller made the expectation of an entry that it has at hand, under
        // `rcu_read_lock()`.
        let (mut draft, rcu) = unsafe { (draft(exp), Rcu::assume_held()) };
        add::describe(&mut draft, class, &announced, rcu);
    }
}

c_export! {
    /// Gives back a reference.
    fn nf_ct_expect_put(exp: *mut bindings::nf_conntrack_expect) {
        if let Some(exp) = NonNull::new(exp) {
            // SAFETY: The caller has a reference, and gives it up.
            drop(unsafe { ARef::from_raw(exp.cast::<Expectation>()) });
        }
    }
}

c_export! {
    /// Adds an expectation.
    fn nf_ct_expect_related_report(
        expect: *mut bindings::nf_conntrack_expect,
        portid: u32,
        report: c_int,
        flags: c_uint
    ) -> c_int {
        // SAFETY: The caller made the expectation of an entry that it has at hand.
        let draft = unsafe { draft(expect) };
        let any_master = flags & bindings::NF_CT_EXP_F_SKIP_MASTER != 0;
        from_result(|| {
            add::relate(draft, any_master, requester(portid, report))?;
            Ok(0)
        })
    }
}

c_export! {
    /// Adds two expectations, or none.
    fn nf_ct_expect_related_pair(
        expect: *mut *mut bindings::nf_conntrack_expect,
        flags: c_uint
    ) -> c_int {
        // SAFETY: The caller hands over two, made of an entry that it has at hand.
        let (first, second) = unsafe { (draft(*expect), draft(*expect.add(1))) };
        let any_master = flags & bindings::NF_CT_EXP_F_SKIP_MASTER != 0;
        from_result(|| {
            add::relate_pair([first, second], any_master)?;
            Ok(0)
        })
    }
}

/// # Safety
///
/// The three are valid.
unsafe fn find<R>(
    net: *mut bindings::net,
    zone: *const bindings::nf_conntrack_zone,
    tuple: *const bindings::nf_conntrack_tuple,
    rcu: Rcu<'_>,
    take: impl FnOnce(&Seen<'_>) -> R,
) -> Option<R> {
    // SAFETY: The caller's promise; ours have the same bytes.
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
    /// Who expects a tuple; without a reference, so under RCU or the lock.
    fn __nf_ct_expect_find(
        net: *mut bindings::net,
        zone: *const bindings::nf_conntrack_zone,
        tuple: *const bindings::nf_conntrack_tuple
    ) -> *mut bindings::nf_conntrack_expect {
        // SAFETY: The caller hands over valid ones, under `rcu_read_lock()` or the lock.
        let found = unsafe { find(net, zone, tuple, Rcu::assume_held(), |seen| seen.raw()) };
        found.unwrap_or(null_mut())
    }
}

c_export! {
    /// Who expects a tuple, with a reference for the caller.
    fn nf_ct_expect_find_get(
        net: *mut bindings::net,
        zone: *const bindings::nf_conntrack_zone,
        tuple: *const bindings::nf_conntrack_tuple
    ) -> *mut bindings::nf_conntrack_expect {
        let section = RcuGuard::new();
        // SAFETY: The caller hands over valid ones.
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
    /// Takes an expectation away.
    fn nf_ct_unlink_expect_report(
        exp: *mut bindings::nf_conntrack_expect,
        portid: u32,
        report: c_int
    ) {
        // SAFETY: The caller holds the lock, under which it met the expectation.
        let (locked, linked) = unsafe {
            let locked = Locked::assume_held();
            (locked, Linked::from_raw(exp, locked))
        };
        expect::remove(&linked, requester(portid, report), locked);
    }
}

c_export! {
    /// Takes away everything that an entry expects.
    fn nf_ct_remove_expectations(ct: *mut bindings::nf_conn) {
        // SAFETY: The caller holds a reference.
        expect::remove_all(unsafe { Conn::from_raw(ct) });
    }
}

/// # Safety
///
/// `choice` may be called with an expectation, the lock held, and `data`.
unsafe fn chosen(choice: Choice, data: *mut c_void) -> impl FnMut(&Linked<'_>) -> bool {
    move |expectation| {
        // SAFETY: The caller's promise.
        choice.is_some_and(|choice| unsafe { choice(expectation.raw(), data) })
    }
}

c_export! {
    /// Takes away the expectations that the caller chooses.
    fn nf_ct_expect_iterate_destroy(iter: Choice, data: *mut c_void) {
        // SAFETY: As the caller asks.
        expect::remove_where(None, Requester::default(), unsafe { chosen(iter, data) });
    }
}

c_export! {
    /// Takes away the expectations of a namespace that the caller chooses.
    fn nf_ct_expect_iterate_net(
        net: *mut bindings::net,
        iter: Choice,
        data: *mut c_void,
        portid: u32,
        report: c_int
    ) {
        // SAFETY: The caller hands over a namespace.
        let net = unsafe { Net::from_raw(net) };
        // SAFETY: As the caller asks.
        let chosen = unsafe { chosen(iter, data) };
        expect::remove_where(Some(net), requester(portid, report), chosen);
    }
}
