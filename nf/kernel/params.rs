// SPDX-License-Identifier: GPL-2.0

//! Settings of the whole machine: module parameters and exported variables, which stand
//! in `exports.c` because C code and the parameter code look for them by name.

use core::ptr::addr_of_mut;

use kernel::sync::atomic::Atomic;

use crate::nf::bindings;

/// `nf_conntrack_max`: how many entries a namespace may have.
#[inline]
pub(crate) fn max_entries() -> &'static Atomic<u32> {
    // SAFETY: A valid, aligned word, only accessed atomically.
    unsafe { Atomic::from_ptr(addr_of_mut!(bindings::nf_conntrack_max)) }
}

/// `nf_ct_expect_max`: how many expectations a namespace may have.
pub(crate) fn max_expectations() -> &'static Atomic<u32> {
    // SAFETY: A valid, aligned word, only accessed atomically.
    unsafe { Atomic::from_ptr(addr_of_mut!(bindings::nf_ct_expect_max)) }
}

/// `nf_conntrack_htable_size`: the number of buckets, for C code that sizes its own tables
/// after it.
pub(crate) fn buckets() -> &'static Atomic<u32> {
    // SAFETY: A valid, aligned word, only accessed atomically.
    unsafe { Atomic::from_ptr(addr_of_mut!(bindings::nf_conntrack_htable_size)) }
}

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $c:ident;)*) => {
        $(
            $(#[$doc])*
            pub(crate) fn $name() -> bool {
                // SAFETY: A valid byte; the parameter code stores nothing but 0 and 1.
                unsafe { bindings::rct_read_once_u8(addr_of_mut!(bindings::$c).cast()) != 0 }
            }
        )*
    };
}

flags! {
    /// `enable_hooks`: track in every namespace from its start.
    enable_hooks = rct_param_enable_hooks;
    /// `acct`: new namespaces count packets and bytes.
    acct = rct_param_acct;
    /// `tstamp`: new namespaces note begin and end of connections.
    tstamp = rct_param_tstamp;
    /// `adopt_sockets`: connections that sockets had before get entries at once.
    adopt_sockets = rct_param_adopt_sockets;
    /// `index_addresses`: entries are found by their addresses.
    index_addresses = rct_param_index_addresses;
    /// `auto_resize`: the table's size follows the number of entries.
    auto_resize = rct_param_auto_resize;
    /// `event_reasons`: events of netlink tell why an entry ended.
    event_reasons = rct_param_event_reasons;
}

/// Sets `auto_resize` to off.
pub(crate) fn no_auto_resize() {
    // SAFETY: A valid byte, only read as [`auto_resize`] does and written whole.
    unsafe { addr_of_mut!(bindings::rct_param_auto_resize).write_volatile(false) };
}
