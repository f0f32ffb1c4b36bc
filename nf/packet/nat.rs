// SPDX-License-Identifier: GPL-2.0

//! Entries from the view of NAT: unconfirmed ones, which may still get another reply tuple, and the
//! extension that records the masquerading device.
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
    error::{
        code::EOPNOTSUPP,
        from_result,
        to_result, //
    },
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
                Conn,
                Entry, //
            },
            ext::{
                self,
                Extension,
                SeqAdjust, //
            },
            fresh::Fresh, //
        },
        kernel::{
            attr::Attribute,
            rcu::RcuGuard, //
        }, //
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

/// The extension of an entry for NAT.
#[repr(transparent)]
pub(crate) struct NatExtension(Opaque<bindings::nf_conn_nat>);

// SAFETY: The one field that is accessed here is accessed atomically; a helper uses the rest.
unsafe impl Sync for NatExtension {}
// SAFETY: `struct nf_conn_nat` is the extension with this number.
unsafe impl Extension for NatExtension {
    const ID: u32 = bindings::nf_ct_ext_id_NF_CT_EXT_NAT;
}

impl NatExtension {
    /// Returns the interface index of the device through which the connection was masqueraded; 0:
    /// none.
    #[inline]
    pub(crate) fn masquerade_device(&self) -> &Atomic<i32> {
        // SAFETY: The field is valid and aligned.
        unsafe { Atomic::from_ptr(addr_of_mut!((*self.0.get()).masq_index)) }
    }

    #[inline]
    pub(crate) fn raw(&self) -> *mut bindings::nf_conn_nat {
        self.0.get()
    }
}

/// An entry that is not confirmed yet, in the context that handles the packet that created it.
///
/// # Examples
///
/// ```ignore
/// // From a rule (SNAT to 192.0.2.1) to the reply tuple.
/// let Some(entry) = skb.unconfirmed() else {
///     // The decision was made with the connection's first packet.
///     return Verdict::Accept;
/// };
/// let range = Range::default().at(widen([192, 0, 2, 1]));
/// // Chooses a free port, and stores the inverse of the translated tuple:
/// // original 10.0.0.2:1024 -> 198.51.100.7:80, reply 198.51.100.7:80 -> 192.0.2.1:1024.
/// let verdict = setup::setup_info(entry, &range, Manip::Source);
///
/// // Does not compile: `setup_info` consumed the value, and the entry's end is decided once.
/// setup::null_binding(entry, Manip::Source);
/// ```
///
/// # Invariants
///
/// The entry was not confirmed when the value was made, and during `'a` no other context adds
/// extensions to it or changes its reply tuple.
pub(crate) struct Unconfirmed<'a>(&'a Entry, PhantomData<*mut ()>);

impl<'a> Unconfirmed<'a> {
    /// # Safety
    ///
    /// `conn` meets the type invariants, except that it may be confirmed: the result is [`None`]
    /// then.
    pub(crate) unsafe fn from_conn(conn: &'a Entry) -> Option<Self> {
        // INVARIANT: By the safety requirements, and as checked.
        (!conn.is_confirmed()).then_some(Self(conn, PhantomData))
    }

    /// Returns the entry.
    pub(crate) fn conn(&self) -> &'a Entry {
        self.0
    }

    /// Returns the master: the connection with the expectation of this one.
    pub(crate) fn master(&self) -> Option<&'a Conn> {
        self.0.master()
    }

    /// Reborrows the value.
    pub(crate) fn again(&mut self) -> Unconfirmed<'_> {
        // INVARIANT: `self` is borrowed as long as the new value lives.
        Unconfirmed(self.0, PhantomData)
    }

    /// Replaces the reply tuple.
    pub(crate) fn set_reply(&mut self, tuple: &Tuple) {
        // SAFETY: By the type invariants the reply tuple may be changed.
        unsafe { conn::store_reply(self.0.raw(), tuple.words()) };
    }

    /// Returns the NAT extension, which is added if the entry has none. [`None`]: no memory.
    pub(crate) fn ensure_nat_extension(&mut self) -> Option<&'a NatExtension> {
        if let Some(extension) = self.0.extensions().find() {
            return Some(extension);
        }
        self.add(NatExtension::ID);
        self.0.extensions().find()
    }

    /// Adds the extension for sequence number adjustment, if the entry has none. [`None`]: no
    /// memory.
    pub(crate) fn ensure_seqadj(&mut self) -> Option<()> {
        if self.0.extensions().find::<SeqAdjust>().is_none() {
            self.add(SeqAdjust::ID)?;
        }
        Some(())
    }

    fn add(&mut self, id: u32) -> Option<()> {
        // SAFETY: By the type invariants.
        let extension = unsafe { ext::add_by_number(self.0.raw(), id, bindings::gfp::ATOMIC) };
        extension.map(|_| ())
    }
}

impl Skb {
    /// Returns the packet's entry, if it is not confirmed.
    #[inline]
    pub(crate) fn unconfirmed(&mut self) -> Option<Unconfirmed<'_>> {
        let Tracked::Yes(conn, _) = self.tracked() else {
            return None;
        };
        // SAFETY: By the invariants of `Skb` no other context uses the packet, nor its entry if
        // that is unconfirmed. (Clones of the packet share the entry. Linux 7.3 confirms or drops
        // them before two of them reach two CPUs: `br_nf_local_in()`, `nf_ct_drop_unconfirmed()`.)
        unsafe { Unconfirmed::from_conn(conn) }
    }
}

/// The selector of an IPsec policy lookup (`struct flowi`).
#[repr(transparent)]
pub(crate) struct Flow(bindings::flowi);

impl Flow {
    /// Sets the source. An IPv4 address is padded with zeroes; a port is in network byte order.
    pub(crate) fn set_source(&mut self, family: Family, address: [u8; 16], port: Option<[u8; 2]>) {
        self.set(family, true, address, port);
    }

    /// Sets the destination, in the same form.
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
        // SAFETY: All members of the unions are plain data. The family selects the one in use.
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

/// Sets up the translation of an entry that user space creates, through `nf_nat_hook`; see
/// [`Translator::parse_nat_setup`].
///
/// `EOPNOTSUPP`: there is no NAT.
pub(crate) fn setup_from_user(
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
    let _section = RcuGuard::new();
    // SAFETY: In an RCU read-side section, during which a hook stays valid.
    let hook = unsafe { bindings::rct_nat_hook().as_ref() };
    let parse = hook
        .and_then(|hook| hook.parse_nat_setup)
        .ok_or(EOPNOTSUPP)?;
    // SAFETY: `Fresh` is exclusive; the attribute is valid, or null.
    to_result(unsafe { parse(entry.raw(), manip, attribute) })
}

/// A provider of NAT (`nf_nat_hook`).
pub(crate) trait Translator: 'static {
    /// Sets up one end of an entry that user space creates, the source or else the destination, by
    /// the attribute `CTA_NAT_SRC` or `CTA_NAT_DST`. Without `attribute` the end gets a null
    /// binding.
    fn parse_nat_setup(
        entry: Unconfirmed<'_>,
        source: bool,
        attribute: Option<Attribute<'_>>,
    ) -> kernel::error::Result;

    /// Writes the packet's addresses before translation to `flow`, for the lookup of IPsec
    /// policies.
    fn decode_session(skb: &Skb, flow: &mut Flow);

    /// Removes an entry with a decided source, which is about to be freed, from the table by
    /// source.
    fn remove_nat_bysrc(conn: &Entry);
}

/// Keeps a [`Translator`] registered.
///
/// # Invariants
///
/// `nf_nat_hook` points to the hook of this module.
pub(crate) struct TranslatorRegistration(());

impl TranslatorRegistration {
    /// Registers `T`.
    pub(crate) fn new<T: Translator>() -> Self {
        let hook: &'static bindings::nf_nat_hook = &const {
            bindings::nf_nat_hook {
                parse_nat_setup: Some(parse_nat_setup::<T>),
                decode_session: Some(decode_session::<T>),
                remove_nat_bysrc: Some(remove_nat_bysrc::<T>),
            }
        };
        // SAFETY: The hook is static. No other module can have set it: nf_nat exports the same
        // symbols as this module, so that only one of the two is loaded.
        unsafe { bindings::rct_nat_hook_set(hook) };
        // INVARIANT: As just set.
        Self(())
    }
}

impl Drop for TranslatorRegistration {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the hook is that of this module.
        unsafe { bindings::rct_nat_hook_set(null()) };
        synchronize_rcu();
    }
}

/// Calls [`Translator::parse_nat_setup`] for ctnetlink.
///
/// # Safety
///
/// For ctnetlink alone, with an entry that it is creating, under `rcu_read_lock()`.
unsafe extern "C" fn parse_nat_setup<T: Translator>(
    ct: *mut bindings::nf_conn,
    manip: bindings::nf_nat_manip_type,
    attribute: *const bindings::nlattr,
) -> core::ffi::c_int {
    // SAFETY: The caller is creating the entry; no other context has it.
    let Some(entry) = (unsafe { Unconfirmed::from_conn(Entry::from_raw(ct)) }) else {
        return kernel::error::code::EEXIST.to_errno();
    };
    let source = manip == bindings::nf_nat_manip_type_NF_NAT_MANIP_SRC;
    let attribute = NonNull::new(attribute.cast_mut());
    // SAFETY: The caller hands over a validated attribute, or null.
    let attribute = attribute.map(|attribute| unsafe { Attribute::from_raw(attribute) });
    from_result(|| T::parse_nat_setup(entry, source, attribute).map(|()| 0))
}

/// Calls [`Translator::decode_session`] for the core.
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

/// Calls [`Translator::remove_nat_bysrc`] for the tracker.
///
/// # Safety
///
/// The entry has its last reference, and is not freed yet.
unsafe extern "C" fn remove_nat_bysrc<T: Translator>(ct: *mut bindings::nf_conn) {
    // SAFETY: By the safety requirements.
    T::remove_nat_bysrc(unsafe { Entry::from_raw(ct) });
}
