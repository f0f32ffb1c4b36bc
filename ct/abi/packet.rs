// SPDX-License-Identifier: GPL-2.0

//! Packets: what the hooks do, for those who call it without them, and tuples.

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
            parse::Packet, //
        },
    },
    nf::{
        bindings,
        c_export::c_export,
        packet::hook::{
            Hook,
            HookState, //
        },
        prelude::*, //
    },
};

c_export! {
    /// Attaches a packet's connection to it.
    fn nf_conntrack_in(
        skb: *mut bindings::sk_buff,
        state: *const bindings::nf_hook_state
    ) -> c_uint {
        // SAFETY: The caller hands over a packet and a state that are valid until the return,
        // under `rcu_read_lock()`.
        unsafe {
            let state = HookState::from_raw(NonNull::new_unchecked(state.cast_mut()));
            hooks::conntrack_in(Skb::from_raw(skb), state, Rcu::assume_held()).as_raw()
        }
    }
}

c_export! {
    /// Puts a packet's connection into the table.
    fn __nf_conntrack_confirm(skb: *mut bindings::sk_buff) -> c_int {
        // SAFETY: The caller hands over a packet that is its own.
        let skb = unsafe { Skb::from_raw(skb) };
        let rcu = RcuGuard::new();
        confirm::confirm_packet(skb, rcu.token()).as_raw() as c_int
    }
}

c_export! {
    /// The hook behind all others.
    fn nf_confirm(
        _data: *mut c_void,
        skb: *mut bindings::sk_buff,
        state: *const bindings::nf_hook_state
    ) -> c_uint {
        // SAFETY: The caller hands over a packet and a state that are valid until the return,
        // under `rcu_read_lock()`.
        unsafe {
            let state = HookState::from_raw(NonNull::new_unchecked(state.cast_mut()));
            Confirm::run(Skb::from_raw(skb), state, Rcu::assume_held()).as_raw()
        }
    }
}

c_export! {
    /// The tuple of the packet whose network header begins at `nhoff`.
    fn nf_ct_get_tuplepr(
        skb: *const bindings::sk_buff,
        nhoff: c_uint,
        l3num: u16,
        net: *mut bindings::net,
        tuple: *mut bindings::nf_conntrack_tuple
    ) -> bool {
        // SAFETY: The caller hands over a packet that does not change.
        let skb = unsafe { Skb::from_raw_shared(skb) };
        // SAFETY: The caller hands over a namespace.
        let net = unsafe { Net::from_raw(net) };
        let rcu = RcuGuard::new();
        let found = Family::from_number(l3num)
            .and_then(|family| Packet::parse(skb, family, nhoff))
            .and_then(|packet| packet.tuple(skb, net, rcu.token()));
        match found {
            Some(found) => {
                // SAFETY: There is room for a tuple, which has the same bytes.
                unsafe { tuple.cast::<Tuple>().write(found) };
                true
            }
            None => false,
        }
    }
}

c_export! {
    /// The tuple that answers a tuple.
    fn nf_ct_invert_tuple(
        inverse: *mut bindings::nf_conntrack_tuple,
        orig: *const bindings::nf_conntrack_tuple
    ) -> bool {
        // SAFETY: The caller hands over a tuple, which has the same bytes as ours.
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

/// The place of an entry's tuple, which C code takes an entry for.
fn tuple_hash(conn: ARef<Conn>, dir: Direction) -> *mut bindings::nf_conntrack_tuple_hash {
    let conn = ARef::into_raw(conn);
    // SAFETY: Valid; two directions, two places. The reference goes to the caller.
    unsafe {
        core::ptr::addr_of_mut!((*conn.cast::<bindings::nf_conn>().as_ptr()).tuplehash)
            .cast::<bindings::nf_conntrack_tuple_hash>()
            .add(dir as usize)
    }
}

c_export! {
    /// The entry that has a tuple, with a reference for the caller.
    fn nf_conntrack_find_get(
        net: *mut bindings::net,
        zone: *const bindings::nf_conntrack_zone,
        tuple: *const bindings::nf_conntrack_tuple
    ) -> *mut bindings::nf_conntrack_tuple_hash {
        // SAFETY: The caller hands over valid ones; ours have the same bytes.
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
