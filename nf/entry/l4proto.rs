// SPDX-License-Identifier: GPL-2.0

//! `struct nf_conntrack_l4proto`: what differs between protocols, for C code.
//!
//! A tracker implements a few traits; the tables of functions that C code calls are made of them at
//! compile time.
//!
//! # Examples
//!
//! ```ignore
//! static TCP: L4Proto<{ tcp::timeout::COUNT }> = L4Proto::new(protocol::TCP, false)
//!     .tuples::<Ports>()
//!     .protoinfo::<Tcp>()
//!     .column::<Tcp>()
//!     .timeouts::<Tcp>();
//! ```
//!
//! C header: [`include/net/netfilter/nf_conntrack_l4proto.h`](srctree/include/net/netfilter/nf_conntrack_l4proto.h)

use core::{
    ffi::{
        c_int,
        c_uint,
        c_void, //
    },
    mem::size_of, //
};

use kernel::{
    error::from_result,
    prelude::*, //
};

use crate::{
    nf::{
        bindings,
        kernel::{
            attr::{
                size_of_attribute,
                Attributes,
                Message,
                Policy, //
            },
            net::Net,
            seq_file::Out, //
        },
    },
    proto::types::{
        timeout::Timeout,
        tuple::Tuple, //
    },
};

use super::{
    conn::{
        Conn,
        Entry, //
    },
    cta::*,
};

/// The C type.
pub(crate) type Raw = bindings::nf_conntrack_l4proto;

/// The parts of a tuple that a request has to have, or a filter compares (`CTA_FILTER_F_*` of
/// `nf_internals.h`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parts(pub(crate) u32);

impl Parts {
    /// The source address.
    pub(crate) const SOURCE: Self = Self(1);
    /// The destination address.
    pub(crate) const DESTINATION: Self = Self(1 << 1);
    /// The zone, if the message has one.
    pub(crate) const ZONE: Self = Self(1 << 2);
    /// The protocol number.
    pub(crate) const PROTOCOL: Self = Self(1 << 3);
    /// All.
    pub(crate) const ALL: Self = Self(0xfff);
    /// The ports, or what a protocol has in their place.
    pub(crate) const TRANSPORT: Self = Self(0xff0);

    /// Returns whether some of `others` are among them.
    pub(crate) const fn any(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    /// Returns whether that of an attribute (`CTA_PROTO_*`) is among them.
    pub(crate) const fn has(self, attribute: u16) -> bool {
        self.0 & Self::bit_of(attribute) != 0
    }

    /// Returns the bit of an attribute; zero for one that is no part of a tuple.
    const fn bit_of(attribute: u16) -> u32 {
        match attribute {
            CTA_PROTO_SRC_PORT => 1 << 4,
            CTA_PROTO_DST_PORT => 1 << 5,
            CTA_PROTO_ICMP_TYPE => 1 << 6,
            CTA_PROTO_ICMP_CODE => 1 << 7,
            CTA_PROTO_ICMP_ID => 1 << 8,
            CTA_PROTO_ICMPV6_TYPE => 1 << 9,
            CTA_PROTO_ICMPV6_CODE => 1 << 10,
            CTA_PROTO_ICMPV6_ID => 1 << 11,
            _ => 0,
        }
    }
}

/// The attributes of a request, and those that have to be there.
pub(crate) struct TupleAttributes<'a> {
    attributes: Attributes<'a>,
    wanted: Parts,
}

impl<'a> TupleAttributes<'a> {
    /// # Safety
    ///
    /// `table` is as [`Attributes::from_raw`] wants it, with [`CTA_PROTO_MAX`]` + 1` places.
    pub(crate) unsafe fn from_raw(table: *mut *mut bindings::nlattr, wanted: u32) -> Self {
        // SAFETY: The caller's promise.
        let attributes = unsafe { Attributes::from_raw(table, CTA_PROTO_MAX + 1) };
        Self::new(attributes, Parts(wanted))
    }

    /// Makes a request of attributes; those of `wanted` have to be there.
    pub(crate) fn new(attributes: Attributes<'a>, wanted: Parts) -> Self {
        Self { attributes, wanted }
    }

    /// Returns the first `N` bytes of an attribute; [`None`]: it is not wanted.
    ///
    /// `EINVAL`: it is wanted, but not there.
    pub(crate) fn bytes<const N: usize>(&self, attribute: u16) -> Result<Option<[u8; N]>> {
        if !self.wanted.has(attribute) {
            return Ok(None);
        }
        let attribute = self.attributes.get(attribute).ok_or(EINVAL)?;
        attribute.bytes().map(Some)
    }
}

/// How tuples of a protocol are written in messages.
pub(crate) trait TupleForm: 'static {
    /// The netlink policy of the attributes.
    const POLICY: &'static [Policy; CTA_PROTO_MAX + 1];

    /// The size of each attribute's payload in bytes.
    const SIZES: &'static [usize];

    /// Writes the attributes of `tuple`.
    fn put(tuple: &Tuple, message: &mut Message<'_>) -> Result;

    /// Reads the wanted attributes into `tuple`.
    fn get(request: &TupleAttributes<'_>, tuple: &mut Tuple) -> Result;
}

/// Returns how many bytes the attributes of a tuple take in a message.
pub(crate) const fn tuple_size<F: TupleForm>() -> c_uint {
    let mut rest = F::SIZES;
    let mut size = 0;
    while let [payload, tail @ ..] = rest {
        size += size_of_attribute(*payload);
        rest = tail;
    }
    // CAST: a handful.
    size as c_uint
}

/// How the state that a protocol keeps in an entry is written in messages (`CTA_PROTOINFO_*`).
pub(crate) trait ProtoInfoForm: 'static {
    /// How many bytes it takes in a message, without the nest's header.
    const MESSAGE_SIZE: u16;

    /// The state, as it was read from a message.
    type ProtoInfo;

    /// Returns whether early drop may remove the entry, assured or not.
    fn may_be_dropped(conn: &Conn) -> bool;

    /// Writes the state. Of an entry that is `going` to be destroyed, the number of the state only.
    fn put(conn: &Conn, going: bool, message: &mut Message<'_>) -> Result;

    /// Reads the state from the attributes `CTA_PROTOINFO_*`; [`None`]: it is not there.
    fn get(attributes: &Attributes<'_>) -> Result<Option<Self::ProtoInfo>>;

    /// Stores the state in an entry.
    fn set(conn: &Entry, info: &Self::ProtoInfo);
}

/// The column of a protocol in `/proc/net/nf_conntrack`.
pub(crate) trait ProcColumn: 'static {
    /// Writes the column, and a blank behind it.
    fn show(conn: &Conn, out: &mut Out<'_>);
}

/// How the `N` timeouts of a protocol are written in messages (`CTA_TIMEOUT_*`).
pub(crate) trait TimeoutForm<const N: usize>: 'static {
    /// The number of attributes, which are numbered from 1 on.
    const ATTRIBUTES: usize;

    /// Sets the timeouts of a policy, or, without one, those of the namespace. Packets may read
    /// them meanwhile.
    fn get(attributes: &Attributes<'_>, net: &Net, policy: Option<&[Timeout; N]>) -> Result;

    /// Writes timeouts.
    fn put(timeouts: &[Timeout; N], message: &mut Message<'_>) -> Result;
}

/// A number that is greater than that of any protocol's timeouts.
const MAX_TIMEOUTS: usize = 16;

/// The netlink policy of timeouts: seconds.
static SECONDS: [Policy; MAX_TIMEOUTS] = [const { Policy::U32 }; MAX_TIMEOUTS];

/// The table of functions of a protocol with `N` timeouts.
///
/// # Invariants
///
/// `ctnl_timeout.obj_size` is that of `N` words, or zero.
#[repr(transparent)]
pub(crate) struct L4Proto<const N: usize>(Raw);

// SAFETY: It is not written to; what it points to is static.
unsafe impl<const N: usize> Sync for L4Proto<N> {}

impl<const N: usize> L4Proto<N> {
    /// Makes a table without functions. `may_clash`: two entries for one connection can be merged.
    pub(crate) const fn new(number: u8, may_clash: bool) -> Self {
        // INVARIANT: zero.
        Self(Raw {
            l4proto: number,
            allow_clash: may_clash,
            nlattr_size: 0,
            can_early_drop: None,
            to_nlattr: None,
            from_nlattr: None,
            tuple_to_nlattr: None,
            nlattr_tuple_size: None,
            nlattr_to_tuple: None,
            nla_policy: core::ptr::null(),
            ctnl_timeout: bindings::nf_conntrack_l4proto__bindgen_ty_1 {
                nlattr_to_obj: None,
                obj_to_nlattr: None,
                obj_size: 0,
                nlattr_max: 0,
                nla_policy: core::ptr::null(),
            },
            #[cfg(CONFIG_NF_CONNTRACK_PROCFS)]
            print_conntrack: None,
        })
    }

    /// Adds the form of tuples.
    pub(crate) const fn tuples<F: TupleForm>(mut self) -> Self {
        self.0.tuple_to_nlattr = Some(tuple_to_nlattr::<F>);
        self.0.nlattr_to_tuple = Some(nlattr_to_tuple::<F>);
        self.0.nlattr_tuple_size = Some(nlattr_tuple_size::<F>);
        self.0.nla_policy = Policy::raw(F::POLICY);
        self
    }

    /// Adds the state.
    pub(crate) const fn protoinfo<P: ProtoInfoForm>(mut self) -> Self {
        self.0.nlattr_size = P::MESSAGE_SIZE;
        self.0.can_early_drop = Some(can_early_drop::<P>);
        self.0.to_nlattr = Some(to_nlattr::<P>);
        self.0.from_nlattr = Some(from_nlattr::<P>);
        self
    }

    /// Adds the column.
    #[cfg(CONFIG_NF_CONNTRACK_PROCFS)]
    pub(crate) const fn column<C: ProcColumn>(mut self) -> Self {
        self.0.print_conntrack = Some(print_conntrack::<C>);
        self
    }

    /// Adds nothing: this kernel has no such file.
    #[cfg(not(CONFIG_NF_CONNTRACK_PROCFS))]
    pub(crate) const fn column<C: ProcColumn>(self) -> Self {
        self
    }

    /// Adds the timeouts.
    pub(crate) const fn timeouts<T: TimeoutForm<N>>(mut self) -> Self {
        const { assert!(T::ATTRIBUTES < MAX_TIMEOUTS) };
        // INVARIANT: `N` words.
        self.0.ctnl_timeout = bindings::nf_conntrack_l4proto__bindgen_ty_1 {
            nlattr_to_obj: Some(nlattr_to_obj::<T, N>),
            obj_to_nlattr: Some(obj_to_nlattr::<T, N>),
            // CAST: a handful.
            obj_size: (N * size_of::<u32>()) as u16,
            // CAST: a handful.
            nlattr_max: T::ATTRIBUTES as u16,
            nla_policy: Policy::raw(&SECONDS),
        };
        self
    }

    /// Returns the C table.
    #[inline]
    pub(crate) const fn raw(&'static self) -> &'static Raw {
        &self.0
    }
}

/// Calls [`ProtoInfoForm::may_be_dropped`].
///
/// # Safety
///
/// For C code that holds a reference to the entry.
unsafe extern "C" fn can_early_drop<P: ProtoInfoForm>(ct: *const bindings::nf_conn) -> bool {
    // SAFETY: The caller's promise.
    P::may_be_dropped(unsafe { Conn::from_raw(ct.cast_mut()) })
}

/// Calls [`ProtoInfoForm::put`].
///
/// # Safety
///
/// For C code that holds a reference to the entry and writes the message.
unsafe extern "C" fn to_nlattr<P: ProtoInfoForm>(
    skb: *mut bindings::sk_buff,
    _nla: *mut bindings::nlattr,
    ct: *mut bindings::nf_conn,
    destroy: bool,
) -> c_int {
    // SAFETY: The caller's promise.
    let (conn, mut message) = unsafe { (Conn::from_raw(ct), Message::from_raw(skb)) };
    from_result(|| P::put(conn, destroy, &mut message).map(|()| 0))
}

/// Calls [`ProtoInfoForm::get`].
///
/// # Safety
///
/// For C code that holds a reference to the entry, with attributes that it parsed.
unsafe extern "C" fn from_nlattr<P: ProtoInfoForm>(
    tb: *mut *mut bindings::nlattr,
    ct: *mut bindings::nf_conn,
) -> c_int {
    // SAFETY: The caller's promise; the table has a slot for each attribute of this kind.
    let attributes = unsafe { Attributes::from_raw(tb, CTA_PROTOINFO_MAX + 1) };
    // SAFETY: The caller's promise.
    let conn = unsafe { Conn::from_raw(ct) };
    from_result(|| {
        if let Some(info) = P::get(&attributes)? {
            P::set(conn, &info);
        }
        Ok(0)
    })
}

/// Calls [`ProcColumn::show`].
///
/// # Safety
///
/// For the `show` operation of a file, which holds a reference to the entry.
#[cfg(CONFIG_NF_CONNTRACK_PROCFS)]
unsafe extern "C" fn print_conntrack<C: ProcColumn>(
    seq: *mut bindings::seq_file,
    ct: *mut bindings::nf_conn,
) {
    // SAFETY: The caller's promise.
    let (conn, mut out) = unsafe { (Conn::from_raw(ct), Out::from_raw(seq)) };
    C::show(conn, &mut out);
}

/// Calls [`TupleForm::put`].
///
/// # Safety
///
/// For C code that writes the message, with a tuple.
pub(crate) unsafe extern "C" fn tuple_to_nlattr<F: TupleForm>(
    skb: *mut bindings::sk_buff,
    tuple: *const bindings::nf_conntrack_tuple,
) -> c_int {
    // SAFETY: The caller's promise.
    let mut message = unsafe { Message::from_raw(skb) };
    // SAFETY: The caller's promise; the types have the same bytes, and the tuple type's
    // alignment is not larger.
    let tuple = unsafe { &*tuple.cast::<Tuple>() };
    from_result(|| F::put(tuple, &mut message).map(|()| 0))
}

/// Calls [`TupleForm::get`].
///
/// # Safety
///
/// For C code, with attributes that it parsed and a tuple of its own.
pub(crate) unsafe extern "C" fn nlattr_to_tuple<F: TupleForm>(
    tb: *mut *mut bindings::nlattr,
    tuple: *mut bindings::nf_conntrack_tuple,
    flags: u32,
) -> c_int {
    // SAFETY: The caller's promise; the table has a slot for each attribute of this kind.
    let request = unsafe { TupleAttributes::from_raw(tb, flags) };
    // SAFETY: As for `tuple_to_nlattr`; the tuple belongs to the caller alone.
    let tuple = unsafe { &mut *tuple.cast::<Tuple>() };
    from_result(|| F::get(&request, tuple).map(|()| 0))
}

/// Returns [`tuple_size`].
pub(crate) extern "C" fn nlattr_tuple_size<F: TupleForm>() -> c_uint {
    const { tuple_size::<F>() }
}

/// Calls [`TimeoutForm::get`].
///
/// # Safety
///
/// For C code, with attributes that it parsed, a namespace, and null or a policy's data.
unsafe extern "C" fn nlattr_to_obj<T: TimeoutForm<N>, const N: usize>(
    tb: *mut *mut bindings::nlattr,
    net: *mut bindings::net,
    data: *mut c_void,
) -> c_int {
    // SAFETY: The caller's promise; the table has a slot for each attribute of this kind, and for
    // 0.
    let attributes = unsafe { Attributes::from_raw(tb, T::ATTRIBUTES.wrapping_add(1)) };
    // SAFETY: The caller's promise.
    let net = unsafe { Net::from_raw(net) };
    // SAFETY: A policy's data has room for `N` timeouts, as `obj_size` says, which are accessed
    // atomically only.
    let policy = unsafe { data.cast::<[Timeout; N]>().as_ref() };
    from_result(|| T::get(&attributes, net, policy).map(|()| 0))
}

/// Calls [`TimeoutForm::put`].
///
/// # Safety
///
/// For C code that writes the message, with a policy's or a namespace's timeouts.
unsafe extern "C" fn obj_to_nlattr<T: TimeoutForm<N>, const N: usize>(
    skb: *mut bindings::sk_buff,
    data: *const c_void,
) -> c_int {
    // SAFETY: The caller's promise.
    let mut message = unsafe { Message::from_raw(skb) };
    // SAFETY: The caller's promise; accessed atomically only.
    let timeouts = unsafe { &*data.cast::<[Timeout; N]>() };
    from_result(|| T::put(timeouts, &mut message).map(|()| 0))
}
