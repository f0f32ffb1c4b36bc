// SPDX-License-Identifier: GPL-2.0

//! Templates: attributes that a rule attaches to a packet, for the entry that the packet may create
//! (`nft … ct zone set`, `iptables -j CT`).
//!
//! A template is a `struct nf_conn` with the status bit TEMPLATE. It comes from `kmalloc` instead
//! of the slab, and is never in a table.

use core::{
    mem::size_of,
    ptr::{
        NonNull, //
    }, //
};

use crate::nf::{
    bindings,
    kernel::net::Net, //
};

use super::conn::{
    self,
    StatusBit, //
};

// The low bits of a packet's pointer to it carry the packet's state.
const _: () = assert!(bindings::RCT_KMALLOC_MINALIGN > bindings::RCT_NFCT_INFOMASK);

/// Allocates a template, with one reference. [`None`]: no memory.
pub(crate) fn allocate(
    net: &Net,
    zone: bindings::nf_conntrack_zone,
    gfp: u32,
) -> Option<NonNull<bindings::nf_conn>> {
    // SAFETY: Allocates.
    let memory = unsafe { bindings::rct_kzalloc(size_of::<bindings::nf_conn>(), gfp) };
    let template = NonNull::new(memory.cast::<bindings::nf_conn>())?;
    let raw = template.as_ptr();
    // SAFETY: The memory belongs to this function, is zeroed, and large enough.
    unsafe {
        conn::init_lock(raw);
        (*raw).status = 1 << StatusBit::Template as u32;
        (*raw).zone = zone;
        bindings::rct_ct_set_net(raw, net.raw());
        bindings::rct_ct_set_use(raw, 1);
    }
    Some(template)
}

/// Frees a template.
///
/// # Safety
///
/// It came from [`allocate`], and nothing uses it any more.
pub(crate) unsafe fn free(template: NonNull<bindings::nf_conn>) {
    // SAFETY: The caller's promise; the blob, if any, is the template's own.
    unsafe {
        bindings::kfree((*template.as_ptr()).ext.cast());
        bindings::kfree(template.as_ptr().cast());
    }
}
