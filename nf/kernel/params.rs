// SPDX-License-Identifier: GPL-2.0

//! Settings that apply to all namespaces: module parameters and exported variables. They are
//! defined in `exports.c`, because C code and the kernel's parameter code need their names.

use core::ptr::addr_of_mut;

use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};

use crate::nf::bindings;

/// Returns `nf_conntrack_max`, the limit of entries in a namespace.
#[inline]
pub(crate) fn max_entries() -> &'static Atomic<u32> {
    // SAFETY: A valid, aligned word, only accessed atomically.
    unsafe { Atomic::from_ptr(addr_of_mut!(bindings::nf_conntrack_max)) }
}

/// Returns `nf_ct_expect_max`, the limit of expectations in a namespace.
pub(crate) fn max_expectations() -> &'static Atomic<u32> {
    // SAFETY: A valid, aligned word, only accessed atomically.
    unsafe { Atomic::from_ptr(addr_of_mut!(bindings::nf_ct_expect_max)) }
}

/// Returns `nf_conntrack_htable_size`, the number of buckets. C code sizes tables of its own by it.
pub(crate) fn buckets() -> &'static Atomic<u32> {
    // SAFETY: A valid, aligned word, only accessed atomically.
    unsafe { Atomic::from_ptr(addr_of_mut!(bindings::nf_conntrack_htable_size)) }
}

/// Whose settings a new namespace has.
#[derive(Clone, Copy)]
pub(crate) enum Inherit {
    /// The defaults.
    Defaults,
    /// Those of the first namespace, `init_net`.
    First,
    /// Those of the namespace of the process that makes it.
    Creator,
}

/// Returns the parameter `inherit`: whose settings a new namespace has. The numbers are those of
/// `net.core.devconf_inherit_init_net`.
pub(crate) fn inherit() -> Inherit {
    // SAFETY: A valid, aligned word, only accessed atomically.
    let inherit = unsafe { Atomic::from_ptr(addr_of_mut!(bindings::rct_param_inherit)) };
    match inherit.load(Relaxed) {
        1 => Inherit::First,
        3 => Inherit::Creator,
        _ => Inherit::Defaults,
    }
}

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $c:ident;)*) => {
        $(
            $(#[$doc])*
            pub(crate) fn $name() -> bool {
                // SAFETY: A valid byte; the parameter code stores 0 or 1.
                unsafe { bindings::rct_read_once_u8(addr_of_mut!(bindings::$c).cast()) != 0 }
            }
        )*
    };
}

flags! {
    /// `enable_hooks`: every namespace tracks connections from its start.
    enable_hooks = rct_param_enable_hooks;
    /// `acct`: new namespaces count packets and bytes.
    acct = rct_param_acct;
    /// `tstamp`: new namespaces store the begin and end of connections.
    tstamp = rct_param_tstamp;
    /// `adopt_sockets`: connections of sockets get entries from the state of the socket.
    adopt_sockets = rct_param_adopt_sockets;
    /// `index_addresses`: entries are found by their addresses.
    index_addresses = rct_param_index_addresses;
    /// `auto_resize`: the table's size follows the number of entries.
    auto_resize = rct_param_auto_resize;
    /// `module_names`: the module is in `/sys/module` under the C modules' names, too.
    module_names = rct_param_module_names;
    /// `event_reasons`: netlink events have the reason for the end of an entry.
    event_reasons = rct_param_event_reasons;
}

/// Sets `auto_resize` to off.
pub(crate) fn no_auto_resize() {
    // SAFETY: A valid byte, which is read by `auto_resize`, and written as a whole.
    unsafe { addr_of_mut!(bindings::rct_param_auto_resize).write_volatile(false) };
}
