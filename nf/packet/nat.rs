// SPDX-License-Identifier: GPL-2.0

//! Entries, as NAT sees them: those that may still get another reply tuple, and the part that
//! remembers through which device a connection was masqueraded.
//!
//! C header: [`include/net/netfilter/nf_nat.h`](srctree/include/net/netfilter/nf_nat.h)

use core::{
    marker::PhantomData,
    ptr::{
        addr_of_mut,
        null,
        NonNull, //
    },
};

use kernel::{
    error::from_result,
    sync::{
        atomic::Atomic,
        rcu::synchronize_rcu, //
    },
    types::Opaque, //
};

use crate::{
    nf::{
        bindings,
        entry::{
            conn::{
                self,
                Conn, //
            },
            ext::{
                self,
                Extension,
                SeqAdjust, //
            },
            fresh::Fresh, //
        },
        kernel::attr::Attribute, //
    },
    proto::types::{
        family::Family,
        tuple::Tuple, //
    },
};

use super::skb::{
    Skb,
    Tracked, //
};

/// What a connection keeps for NAT.
#[repr(transparent)]
pub(crate) struct NatPart(Opaque<bindings::nf_conn_nat>);

// SAFETY: What we touch is accessed atomically only; the rest is a helper's.
unsafe impl Sync for NatPart {}
// SAFETY: `struct nf_conn_nat` is the part under this number.
unsafe impl Extension for NatPart {
    const ID: u32 = bindings::nf_ct_ext_id_NF_CT_EXT_NAT;
}

impl NatPart {
    /// The number of the device through which the connection was masqueraded; 0: it was not.
    #[inline]
    pub(crate) fn masquerade_device(&self) -> &Atomic<i32> {
        // SAFETY: A valid, aligned field.
        unsafe { Atomic::from_ptr(addr_of_mut!((*self.0.get()).masq_index)) }
    }

    #[inline]
    pub(crate) fn raw(&self) -> *mut bindings::nf_conn_nat {
        self.0.get()
    }
}

/// An entry that is not in the table, at the hands of who handles the packet that made it.
///
/// # Invariants
///
/// Not confirmed, and during `'a` nobody else adds parts to it, or changes its reply tuple.
pub(crate) struct Unconfirmed<'a>(&'a Conn, PhantomData<*mut ()>);

impl<'a> Unconfirmed<'a> {
    /// # Safety
    ///
    /// As the invariants say, but that it may be confirmed: then there is [`None`].
    pub(crate) unsafe fn from_conn(conn: &'a Conn) -> Option<Self> {
        // INVARIANT: The caller's promise, and as checked.
        (!conn.is_confirmed()).then_some(Self(conn, PhantomData))
    }

    /// The entry.
    pub(crate) fn conn(&self) -> &'a Conn {
        self.0
    }

    /// The connection that announced this one.
    pub(crate) fn master(&self) -> Option<&'a Conn> {
        self.0.master()
    }

    /// The same, for a shorter time.
    pub(crate) fn again(&mut self) -> Unconfirmed<'_> {
        // INVARIANT: What `self` allows is lent.
        Unconfirmed(self.0, PhantomData)
    }

    /// Changes the tuple that answers will have.
    pub(crate) fn set_reply(&mut self, tuple: &Tuple) {
        // SAFETY: By the type invariants the entry's tuple may be changed.
        unsafe { conn::store_reply(self.0.raw(), tuple.words()) };
    }

    /// The part of the entry for NAT, which it gets if it has none. [`None`]: no memory.
    pub(crate) fn nat_part(&mut self) -> Option<&'a NatPart> {
        if let Some(part) = self.0.extensions().find() {
            return Some(part);
        }
        self.add(NatPart::ID);
        self.0.extensions().find()
    }

    /// Sees to it that sequence numbers can be shifted. [`None`]: no memory.
    pub(crate) fn ensure_seqadj(&mut self) -> Option<()> {
        if self.0.extensions().find::<SeqAdjust>().is_none() {
            self.add(SeqAdjust::ID)?;
        }
        Some(())
    }

    fn add(&mut self, id: u32) -> Option<()> {
        // SAFETY: By the type invariants.
        let part = unsafe { ext::add_by_number(self.0.raw(), id, bindings::RCT_GFP_ATOMIC as u32) };
        part.map(|_| ())
    }
}

impl Skb {
    /// The packet's entry, if the packet is still the one that made it.
    #[inline]
    pub(crate) fn unconfirmed(&mut self) -> Option<Unconfirmed<'_>> {
        let Tracked::Yes(conn, _) = self.tracked() else {
            return None;
        };
        // SAFETY: By the invariants of `Skb` the packet is ours, and with it an entry that is
        // not confirmed. (Where a bridge floods clones of it, they come one after the other.)
        unsafe { Unconfirmed::from_conn(conn) }
    }
}

/// What IPsec looks its policies up by.
#[repr(transparent)]
pub(crate) struct Flow(bindings::flowi);

impl Flow {
    /// Sets the source. An IPv4 address ends in zeroes; a port is in network byte order.
    pub(crate) fn set_source(&mut self, family: Family, address: [u8; 16], port: Option<[u8; 2]>) {
        self.set(family, true, address, port);
    }

    /// Sets the destination.
    pub(crate) fn set_destination(
        &mut self,
        family: Family,
        address: [u8; 16],
        port: Option<[u8; 2]>,
    ) {
        self.set(family, false, address, port);
    }

    fn set(&mut self, family: Family, source: bool, address: [u8; 16], port: Option<[u8; 2]>) {
        let [a, b, c, d, ..] = address;
        // SAFETY: All members of the unions are plain data; the family says which is in use.
        unsafe {
            let upper = match family {
                Family::Ipv4 => {
                    let flow = &mut self.0.u.ip4;
                    let place = if source {
                        &mut flow.saddr
                    } else {
                        &mut flow.daddr
                    };
                    *place = u32::from_ne_bytes([a, b, c, d]);
                    &mut flow.uli
                }
                Family::Ipv6 => {
                    let flow = &mut self.0.u.ip6;
                    let place = if source {
                        &mut flow.saddr
                    } else {
                        &mut flow.daddr
                    };
                    *place = core::mem::transmute_copy(&address);
                    &mut flow.uli
                }
            };
            if let Some(port) = port.map(u16::from_ne_bytes) {
                let ports = &mut upper.ports;
                *(if source {
                    &mut ports.sport
                } else {
                    &mut ports.dport
                }) = port;
            }
        }
    }
}

/// Has an entry that its maker alone knows translated as user space says; see
/// [`Translator::parse`]. `EOPNOTSUPP`: nobody does NAT.
pub(crate) fn set_up(
    entry: &mut Fresh,
    source: bool,
    attribute: Option<Attribute<'_>>,
) -> kernel::error::Result {
    let manip = if source {
        bindings::nf_nat_manip_type_NF_NAT_MANIP_SRC
    } else {
        bindings::nf_nat_manip_type_NF_NAT_MANIP_DST
    };
    let attribute = attribute.map_or(null(), |attribute| attribute.raw().cast_const());
    // SAFETY: The entry is its maker's alone; the attribute is valid, or null.
    kernel::error::to_result(unsafe { bindings::rct_nat_parse(entry.raw(), manip, attribute) })
}

/// Who does NAT on this machine (`nf_nat_hook`).
pub(crate) trait Translator: 'static {
    /// User space makes an entry, and says what its source (or else destination) is mapped
    /// to. Without `attribute`: to nothing.
    fn parse(
        entry: Unconfirmed<'_>,
        source: bool,
        attribute: Option<Attribute<'_>>,
    ) -> kernel::error::Result;

    /// Undoes in `flow` what was done to the packet, so that a policy of IPsec matches what
    /// was sent.
    fn decode_session(skb: &Skb, flow: &mut Flow);

    /// An entry, the source of which was decided about, is about to be freed.
    fn forget(conn: &Conn);
}

/// Keeps the hook in place.
///
/// # Invariants
///
/// `nf_nat_hook` points to the hook of this module.
pub(crate) struct TranslatorRegistration(());

impl TranslatorRegistration {
    /// Makes `T` the machine's translator.
    pub(crate) fn new<T: Translator>() -> Self {
        let hook: &'static bindings::nf_nat_hook = &const {
            bindings::nf_nat_hook {
                parse_nat_setup: Some(parse::<T>),
                decode_session: Some(decode_session::<T>),
                remove_nat_bysrc: Some(forget::<T>),
            }
        };
        // SAFETY: The hook is static. No other module can have set it: nf_nat exports the names
        // that we export.
        unsafe { bindings::rct_nat_hook_set(hook) };
        // INVARIANT: just set.
        Self(())
    }
}

impl Drop for TranslatorRegistration {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the hook is ours to take away.
        unsafe { bindings::rct_nat_hook_set(null()) };
        synchronize_rcu();
    }
}

/// [`Translator::parse`], as netlink's code calls it.
///
/// # Safety
///
/// For that code alone, with an entry that it is making, under `rcu_read_lock()`.
unsafe extern "C" fn parse<T: Translator>(
    ct: *mut bindings::nf_conn,
    manip: bindings::nf_nat_manip_type,
    attribute: *const bindings::nlattr,
) -> core::ffi::c_int {
    // SAFETY: The caller makes the entry, and nobody else knows it.
    let Some(entry) = (unsafe { Unconfirmed::from_conn(Conn::from_raw(ct)) }) else {
        return kernel::error::code::EEXIST.to_errno();
    };
    let source = manip == bindings::nf_nat_manip_type_NF_NAT_MANIP_SRC;
    let attribute = NonNull::new(attribute.cast_mut());
    // SAFETY: The caller hands over a checked attribute, or null.
    let attribute = attribute.map(|attribute| unsafe { Attribute::from_raw(attribute) });
    from_result(|| T::parse(entry, source, attribute).map(|()| 0))
}

/// [`Translator::decode_session`], as the core calls it.
///
/// # Safety
///
/// For the core alone, with a valid packet and flow, under `rcu_read_lock()`.
unsafe extern "C" fn decode_session<T: Translator>(
    skb: *mut bindings::sk_buff,
    flow: *mut bindings::flowi,
) {
    // SAFETY: The core hands over a packet that does not change, and a flow of its own.
    unsafe { T::decode_session(Skb::from_raw_shared(skb), &mut *flow.cast()) };
}

/// [`Translator::forget`], as who frees an entry calls it.
///
/// # Safety
///
/// For an entry that is whole.
unsafe extern "C" fn forget<T: Translator>(ct: *mut bindings::nf_conn) {
    // SAFETY: The caller's promise.
    T::forget(unsafe { Conn::from_raw(ct) });
}
