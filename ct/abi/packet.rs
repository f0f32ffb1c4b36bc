// SPDX-License-Identifier: GPL-2.0

//! Packets and tuples: the functions of the hooks, for modules that track packets without hooks.

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

use kernel::sync::aref::ARef;

use crate::{
    ct::{
        life::{
            confirm,
            lookup::LookupKey, //
        },
        packet::{
            hooks::{
                self,
                Confirm, //
            },
            parse::Packet,
            track, //
        },
    },
    nf::{
        bindings,
        c_export::c_export,
        packet::{
            hook::{
                Hook,
                HookState, //
            },
            log, //
        },
        prelude::*, //
    },
};

c_export! {
    /// Looks up or creates the entry of a packet, and attaches it. Returns a verdict.
    fn nf_conntrack_in(
        skb: *mut bindings::sk_buff,
        state: *const bindings::nf_hook_state
    ) -> c_uint {
        // SAFETY: The caller passes a packet and a state that are valid until the return,
        // under `rcu_read_lock()`.
        unsafe {
            let state = HookState::from_raw(NonNull::new_unchecked(state.cast_mut()));
            hooks::conntrack_in(Skb::from_raw(skb), state, Rcu::assume_held()).as_raw()
        }
    }
}

c_export! {
    /// Confirms the entry of a packet: inserts it into the table. Returns a verdict.
    fn __nf_conntrack_confirm(skb: *mut bindings::sk_buff) -> c_int {
        // SAFETY: The caller passes a packet that it owns.
        let skb = unsafe { Skb::from_raw(skb) };
        let rcu = RcuGuard::new();
        confirm::confirm_packet(skb, rcu.token()).as_int()
    }
}

c_export! {
    /// Passes a packet at its last hook to the helper, and confirms its entry.
    fn nf_confirm(
        _data: *mut c_void,
        skb: *mut bindings::sk_buff,
        state: *const bindings::nf_hook_state
    ) -> c_uint {
        // SAFETY: The caller passes a packet and a state that are valid until the return,
        // under `rcu_read_lock()`.
        unsafe {
            let state = HookState::from_raw(NonNull::new_unchecked(state.cast_mut()));
            Confirm::run(Skb::from_raw(skb), state, Rcu::assume_held()).as_raw()
        }
    }
}

c_export! {
    /// Reads the tuple of the packet whose network header is at `nhoff`. Returns whether it has
    /// one.
    fn nf_ct_get_tuplepr(
        skb: *const bindings::sk_buff,
        nhoff: c_uint,
        l3num: u16,
        net: *mut bindings::net,
        tuple: *mut bindings::nf_conntrack_tuple
    ) -> bool {
        // SAFETY: The caller passes a packet that does not change.
        let skb = unsafe { Skb::from_raw_shared(skb) };
        // SAFETY: The caller passes a namespace.
        let net = unsafe { Net::from_raw(net) };
        let rcu = RcuGuard::new();
        let found = Family::from_number(l3num)
            .and_then(|family| Packet::parse(skb, family, nhoff))
            .and_then(|packet| packet.tuple(skb, net, rcu.token()));
        match found {
            Some(found) => {
                // SAFETY: There is room for a tuple; the Rust type has the layout of the C type.
                unsafe { tuple.cast::<Tuple>().write(found) };
                true
            }
            None => false,
        }
    }
}

c_export! {
    /// Inverts a tuple: computes the tuple of the other direction. Returns whether there is one.
    fn nf_ct_invert_tuple(
        inverse: *mut bindings::nf_conntrack_tuple,
        orig: *const bindings::nf_conntrack_tuple
    ) -> bool {
        // SAFETY: The caller passes a tuple; the Rust type has the layout of the C type.
        match unsafe { *orig.cast::<Tuple>() }.invert() {
            Some(answer) => {
                // SAFETY: There is room for a tuple.
                unsafe { inverse.cast::<Tuple>().write(answer) };
                true
            }
            None => false,
        }
    }
}

/// Returns the pointer by which C code names an entry and a direction; the caller owns the
/// reference.
fn tuple_hash(conn: ARef<Conn>, dir: Direction) -> *mut bindings::nf_conntrack_tuple_hash {
    let conn = ARef::into_raw(conn);
    // SAFETY: The entry is valid, and has a tuple for each direction. The reference goes to C.
    unsafe {
        core::ptr::addr_of_mut!((*conn.cast::<bindings::nf_conn>().as_ptr()).tuplehash)
            .cast::<bindings::nf_conntrack_tuple_hash>()
            .add(dir.index())
    }
}

c_export! {
    /// Finds the entry that has a tuple, and takes a reference for the caller.
    fn nf_conntrack_find_get(
        net: *mut bindings::net,
        zone: *const bindings::nf_conntrack_zone,
        tuple: *const bindings::nf_conntrack_tuple
    ) -> *mut bindings::nf_conntrack_tuple_hash {
        // SAFETY: The caller passes valid pointers; the Rust types have the layout of the C types.
        let (net, zone, tuple) =
            unsafe { (Net::from_raw(net), *zone.cast::<Zone>(), *tuple.cast::<Tuple>()) };
        let rcu = RcuGuard::new();
        let wanted = LookupKey { key: tuple.key(), zone, net };
        match wanted.find(rcu.token()).0 {
            Some((conn, dir)) => tuple_hash(conn, dir),
            None => null_mut(),
        }
    }
}

c_export! {
    /// Does the work of `nf_l4proto_log_invalid()` and `nf_ct_l4proto_log_invalid()`; the message
    /// is a `struct va_format`.
    fn rct_log_invalid(
        skb: *const bindings::sk_buff,
        state: *const bindings::nf_hook_state,
        protonum: u8,
        message: *const c_void
    ) {
        // SAFETY: The caller, in `exports.c`, passes on a packet and a state that are valid until
        // the return, and a `struct va_format`.
        unsafe {
            let state = HookState::from_raw(NonNull::new_unchecked(state.cast_mut()));
            if track::logs_invalid(state, protonum) {
                log::invalid_formatted(Skb::from_raw_shared(skb), state, protonum, message);
            }
        }
    }
}
