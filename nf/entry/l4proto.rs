// SPDX-License-Identifier: GPL-2.0

//! `struct nf_conntrack_l4proto`: how C code asks for what differs between protocols.
//!
//! A tracker describes itself with a few traits; the tables of functions that C code calls
//! are made of them at compile time.
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
            seq_file::Out,
            time::HZ, //
        },
    },
    proto::types::{
        timeout::Timeout,
        tuple::Tuple, //
    },
};

use super::conn::Conn;

/// What C code calls it.
pub(crate) type Raw = bindings::nf_conntrack_l4proto;

/// The attributes of a tuple's transport part (`CTA_PROTO_*`).
#[derive(Clone, Copy)]
#[repr(u16)]
pub(crate) enum TupleAttribute {
    /// Source port.
    SourcePort = bindings::ctattr_l4proto_CTA_PROTO_SRC_PORT as u16,
    /// Destination port.
    DestinationPort = bindings::ctattr_l4proto_CTA_PROTO_DST_PORT as u16,
    /// ICMP identifier.
    IcmpId = bindings::ctattr_l4proto_CTA_PROTO_ICMP_ID as u16,
    /// ICMP type.
    IcmpType = bindings::ctattr_l4proto_CTA_PROTO_ICMP_TYPE as u16,
    /// ICMP code.
    IcmpCode = bindings::ctattr_l4proto_CTA_PROTO_ICMP_CODE as u16,
    /// ICMPv6 identifier.
    Icmpv6Id = bindings::ctattr_l4proto_CTA_PROTO_ICMPV6_ID as u16,
    /// ICMPv6 type.
    Icmpv6Type = bindings::ctattr_l4proto_CTA_PROTO_ICMPV6_TYPE as u16,
    /// ICMPv6 code.
    Icmpv6Code = bindings::ctattr_l4proto_CTA_PROTO_ICMPV6_CODE as u16,
}

/// Places in a table of policies for [`TupleAttribute`]s.
pub(crate) const TUPLE_PLACES: usize = bindings::ctattr_l4proto___CTA_PROTO_MAX as usize;

impl TupleAttribute {
    /// The bit of its [`Parts`].
    const fn bit(self) -> u32 {
        1 << match self {
            Self::SourcePort => 4,
            Self::DestinationPort => 5,
            Self::IcmpType => 6,
            Self::IcmpCode => 7,
            Self::IcmpId => 8,
            Self::Icmpv6Type => 9,
            Self::Icmpv6Code => 10,
            Self::Icmpv6Id => 11,
        }
    }
}

/// Which parts of a tuple a request has to tell, or a filter compares (`CTA_FILTER_F_*` of
/// `nf_internals.h`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parts(pub(crate) u32);

impl Parts {
    /// The source address.
    pub(crate) const SOURCE: Self = Self(1);
    /// The destination address.
    pub(crate) const DESTINATION: Self = Self(1 << 1);
    /// The zone, if it is told.
    pub(crate) const ZONE: Self = Self(1 << 2);
    /// The protocol's number.
    pub(crate) const PROTOCOL: Self = Self(1 << 3);
    /// All.
    pub(crate) const ALL: Self = Self(0xfff);
    /// What a protocol has in the place of ports.
    pub(crate) const TRANSPORT: Self = Self(0xff0);

    /// Whether some of `others` are among them.
    pub(crate) const fn any(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    /// Whether that of an attribute is among them.
    pub(crate) const fn has(self, attribute: TupleAttribute) -> bool {
        self.0 & attribute.bit() != 0
    }
}

/// The attributes of a request, of which some have to be there.
pub(crate) struct Request<'a> {
    attributes: Attributes<'a>,
    wanted: Parts,
}

impl<'a> Request<'a> {
    /// # Safety
    ///
    /// `table` is as [`Attributes::from_raw`] wants it, with [`TUPLE_PLACES`] places.
    pub(crate) unsafe fn from_raw(table: *mut *mut bindings::nlattr, wanted: u32) -> Self {
        // SAFETY: The caller's promise.
        let attributes = unsafe { Attributes::from_raw(table, TUPLE_PLACES) };
        Self::new(attributes, Parts(wanted))
    }

    /// A request with these attributes, of which those of `wanted` have to be there.
    pub(crate) fn new(attributes: Attributes<'a>, wanted: Parts) -> Self {
        Self { attributes, wanted }
    }

    /// The first `N` bytes of an attribute; [`None`] if nobody wants to know. `EINVAL`: it is
    /// wanted, but not there.
    pub(crate) fn bytes<const N: usize>(
        &self,
        attribute: TupleAttribute,
    ) -> Result<Option<[u8; N]>> {
        if !self.wanted.has(attribute) {
            return Ok(None);
        }
        let attribute = self.attributes.get(attribute as u16).ok_or(EINVAL)?;
        attribute.bytes().map(Some)
    }
}

/// How tuples of a protocol travel in messages.
pub(crate) trait TupleForm: 'static {
    /// What its attributes must look like.
    const POLICY: &'static [Policy; TUPLE_PLACES];

    /// Bytes of their payloads, one by one.
    const SIZES: &'static [usize];

    /// Writes the transport part of `tuple`.
    fn put(tuple: &Tuple, message: &mut Message<'_>) -> Result;

    /// Reads it.
    fn get(request: &Request<'_>, tuple: &mut Tuple) -> Result;
}

/// Bytes that a tuple's transport part takes in a message.
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

/// What an entry of a protocol remembers.
pub(crate) trait Memory: 'static {
    /// Bytes that it takes in a message, without the nest's header.
    const MESSAGE_SIZE: u16;

    /// What a message says of it.
    type ProtoInfo;

    /// Whether a full table may drop the entry, assured or not.
    fn may_be_dropped(conn: &Conn) -> bool;

    /// Writes it: of an entry that is going, the state only.
    fn put(conn: &Conn, going: bool, message: &mut Message<'_>) -> Result;

    /// Reads what a message says, if it does. `attributes` are those of
    /// [`ProtocolAttribute`]s.
    fn get(attributes: &Attributes<'_>) -> Result<Option<Self::ProtoInfo>>;

    /// Has the entry remember that.
    fn set(conn: &Conn, told: &Self::ProtoInfo);
}

/// What a protocol shows of an entry in `/proc/net/nf_conntrack`.
pub(crate) trait Shown: 'static {
    /// Writes it, and a blank behind it.
    fn show(conn: &Conn, out: &mut Out<'_>);
}

/// The attributes that hold what trackers remember (`CTA_PROTOINFO_*`).
#[derive(Clone, Copy)]
#[repr(u16)]
pub(crate) enum ProtocolAttribute {
    /// A nest of [`TcpAttribute`]s.
    Tcp = bindings::ctattr_protoinfo_CTA_PROTOINFO_TCP as u16,
    /// A nest of [`SctpAttribute`]s.
    Sctp = bindings::ctattr_protoinfo_CTA_PROTOINFO_SCTP as u16,
}

/// Places in a table of [`ProtocolAttribute`]s.
pub(crate) const PROTOCOL_PLACES: usize = bindings::ctattr_protoinfo___CTA_PROTOINFO_MAX as usize;

/// What the TCP tracker remembers (`CTA_PROTOINFO_TCP_*`).
#[derive(Clone, Copy)]
#[repr(u16)]
pub(crate) enum TcpAttribute {
    /// The state's number.
    State = bindings::ctattr_protoinfo_tcp_CTA_PROTOINFO_TCP_STATE as u16,
    /// Window scale of the opener.
    OriginalScale = bindings::ctattr_protoinfo_tcp_CTA_PROTOINFO_TCP_WSCALE_ORIGINAL as u16,
    /// Window scale of the other peer.
    ReplyScale = bindings::ctattr_protoinfo_tcp_CTA_PROTOINFO_TCP_WSCALE_REPLY as u16,
    /// Flags of the opener, and a mask.
    OriginalFlags = bindings::ctattr_protoinfo_tcp_CTA_PROTOINFO_TCP_FLAGS_ORIGINAL as u16,
    /// Flags of the other peer, and a mask.
    ReplyFlags = bindings::ctattr_protoinfo_tcp_CTA_PROTOINFO_TCP_FLAGS_REPLY as u16,
}

/// Places in a table of [`TcpAttribute`]s.
pub(crate) const TCP_PLACES: usize =
    bindings::ctattr_protoinfo_tcp___CTA_PROTOINFO_TCP_MAX as usize;

/// What the SCTP tracker remembers (`CTA_PROTOINFO_SCTP_*`).
#[derive(Clone, Copy)]
#[repr(u16)]
pub(crate) enum SctpAttribute {
    /// The state's number.
    State = bindings::ctattr_protoinfo_sctp_CTA_PROTOINFO_SCTP_STATE as u16,
    /// The tag of packets in the original direction.
    OriginalTag = bindings::ctattr_protoinfo_sctp_CTA_PROTOINFO_SCTP_VTAG_ORIGINAL as u16,
    /// The tag of packets in the reply direction.
    ReplyTag = bindings::ctattr_protoinfo_sctp_CTA_PROTOINFO_SCTP_VTAG_REPLY as u16,
}

/// Places in a table of [`SctpAttribute`]s.
pub(crate) const SCTP_PLACES: usize =
    bindings::ctattr_protoinfo_sctp___CTA_PROTOINFO_SCTP_MAX as usize;

/// A protocol's `N` timeouts.
pub(crate) trait Timeouts<const N: usize>: 'static {
    /// Which of them an attribute means, by the attribute's number less one.
    const PLACES: &'static [usize];

    /// The one of new connections, which is also found at index 0.
    const FIRST: usize;

    /// The namespace's.
    fn of(net: &Net) -> &[Timeout; N];
}

/// More than any protocol has.
const MOST_TIMEOUTS: usize = 16;

/// What the attributes of timeouts must look like: seconds.
static SECONDS: [Policy; MOST_TIMEOUTS] = [const { Policy::U32 }; MOST_TIMEOUTS];

/// The table of functions of a protocol with `N` timeouts.
///
/// # Invariants
///
/// `ctnl_timeout.obj_size` is that of `N` words, or zero.
#[repr(transparent)]
pub(crate) struct L4Proto<const N: usize>(Raw);

// SAFETY: Nobody writes to it; what it points to is static.
unsafe impl<const N: usize> Sync for L4Proto<N> {}

impl<const N: usize> L4Proto<N> {
    /// A protocol without anything. `may_clash`: two entries of one connection can be merged.
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

    /// How its tuples travel.
    pub(crate) const fn tuples<F: TupleForm>(mut self) -> Self {
        self.0.tuple_to_nlattr = Some(tuple_to_nlattr::<F>);
        self.0.nlattr_to_tuple = Some(nlattr_to_tuple::<F>);
        self.0.nlattr_tuple_size = Some(nlattr_tuple_size::<F>);
        self.0.nla_policy = Policy::raw(F::POLICY);
        self
    }

    /// What its entries remember.
    pub(crate) const fn memory<M: Memory>(mut self) -> Self {
        self.0.nlattr_size = M::MESSAGE_SIZE;
        self.0.can_early_drop = Some(can_early_drop::<M>);
        self.0.to_nlattr = Some(to_nlattr::<M>);
        self.0.from_nlattr = Some(from_nlattr::<M>);
        self
    }

    /// What its entries show.
    #[cfg(CONFIG_NF_CONNTRACK_PROCFS)]
    pub(crate) const fn shown<S: Shown>(mut self) -> Self {
        self.0.print_conntrack = Some(print_conntrack::<S>);
        self
    }

    /// What its entries show: nobody looks.
    #[cfg(not(CONFIG_NF_CONNTRACK_PROCFS))]
    pub(crate) const fn shown<S: Shown>(self) -> Self {
        self
    }

    /// Its timeouts.
    pub(crate) const fn timeouts<T: Timeouts<N>>(mut self) -> Self {
        const {
            assert!(T::PLACES.len() < MOST_TIMEOUTS);
            assert!(T::FIRST < N);
        }
        // INVARIANT: `N` words.
        self.0.ctnl_timeout = bindings::nf_conntrack_l4proto__bindgen_ty_1 {
            nlattr_to_obj: Some(nlattr_to_obj::<T, N>),
            obj_to_nlattr: Some(obj_to_nlattr::<T, N>),
            // CAST: a handful.
            obj_size: (N * size_of::<u32>()) as u16,
            // CAST: a handful.
            nlattr_max: T::PLACES.len() as u16,
            nla_policy: Policy::raw(&SECONDS),
        };
        self
    }

    /// The table as C code takes it.
    #[inline]
    pub(crate) const fn raw(&'static self) -> &'static Raw {
        &self.0
    }
}

/// [`Memory::may_be_dropped`].
///
/// # Safety
///
/// For C code that holds a reference to the entry.
unsafe extern "C" fn can_early_drop<M: Memory>(ct: *const bindings::nf_conn) -> bool {
    // SAFETY: The caller's promise.
    M::may_be_dropped(unsafe { Conn::from_raw(ct.cast_mut()) })
}

/// [`Memory::put`].
///
/// # Safety
///
/// For C code that holds a reference to the entry and writes the message.
unsafe extern "C" fn to_nlattr<M: Memory>(
    skb: *mut bindings::sk_buff,
    _nla: *mut bindings::nlattr,
    ct: *mut bindings::nf_conn,
    destroy: bool,
) -> c_int {
    // SAFETY: The caller's promise.
    let (conn, mut message) = unsafe { (Conn::from_raw(ct), Message::from_raw(skb)) };
    from_result(|| M::put(conn, destroy, &mut message).map(|()| 0))
}

/// [`Memory::get`].
///
/// # Safety
///
/// For C code that holds a reference to the entry, with attributes that it parsed.
unsafe extern "C" fn from_nlattr<M: Memory>(
    tb: *mut *mut bindings::nlattr,
    ct: *mut bindings::nf_conn,
) -> c_int {
    // SAFETY: The caller's promise; it has a place for each attribute of this kind.
    let attributes = unsafe { Attributes::from_raw(tb, PROTOCOL_PLACES) };
    // SAFETY: The caller's promise.
    let conn = unsafe { Conn::from_raw(ct) };
    from_result(|| {
        if let Some(told) = M::get(&attributes)? {
            M::set(conn, &told);
        }
        Ok(0)
    })
}

/// [`Shown::show`].
///
/// # Safety
///
/// For the `show` operation of a file, which holds a reference to the entry.
#[cfg(CONFIG_NF_CONNTRACK_PROCFS)]
unsafe extern "C" fn print_conntrack<S: Shown>(
    seq: *mut bindings::seq_file,
    ct: *mut bindings::nf_conn,
) {
    // SAFETY: The caller's promise.
    let (conn, mut out) = unsafe { (Conn::from_raw(ct), Out::from_raw(seq)) };
    S::show(conn, &mut out);
}

/// [`TupleForm::put`].
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

/// [`TupleForm::get`].
///
/// # Safety
///
/// For C code, with attributes that it parsed and a tuple of its own.
pub(crate) unsafe extern "C" fn nlattr_to_tuple<F: TupleForm>(
    tb: *mut *mut bindings::nlattr,
    tuple: *mut bindings::nf_conntrack_tuple,
    flags: u32,
) -> c_int {
    // SAFETY: The caller's promise; it has a place for each attribute of this kind.
    let request = unsafe { Request::from_raw(tb, flags) };
    // SAFETY: As for `tuple_to_nlattr`; the tuple is the caller's alone.
    let tuple = unsafe { &mut *tuple.cast::<Tuple>() };
    from_result(|| F::get(&request, tuple).map(|()| 0))
}

/// [`tuple_size`].
pub(crate) extern "C" fn nlattr_tuple_size<F: TupleForm>() -> c_uint {
    const { tuple_size::<F>() }
}

/// Sets timeouts: of a policy, or, without one, of the namespace. Those that are not told
/// become the namespace's.
///
/// # Safety
///
/// For C code, with attributes that it parsed, a namespace, and null or a policy's data.
unsafe extern "C" fn nlattr_to_obj<T: Timeouts<N>, const N: usize>(
    tb: *mut *mut bindings::nlattr,
    net: *mut bindings::net,
    data: *mut c_void,
) -> c_int {
    // SAFETY: The caller's promise; it has a place for each attribute of this kind, and 0.
    let attributes = unsafe { Attributes::from_raw(tb, T::PLACES.len().wrapping_add(1)) };
    // SAFETY: The caller's promise.
    let defaults = T::of(unsafe { Net::from_raw(net) });
    // SAFETY: A policy's data has room for `N` timeouts, as `obj_size` says. Packets may read
    // them now: they are accessed atomically only.
    let policy = unsafe { data.cast::<[Timeout; N]>().as_ref() };
    if let Some(policy) = policy {
        for (own, default) in policy.iter().zip(defaults) {
            own.set(default.get());
        }
    }
    from_result(|| set::<T, N>(policy.unwrap_or(defaults), &attributes).map(|()| 0))
}

fn set<T: Timeouts<N>, const N: usize>(
    timeouts: &[Timeout; N],
    attributes: &Attributes<'_>,
) -> Result {
    for (number, place) in (1_u16..).zip(T::PLACES) {
        if let (Some(attribute), Some(timeout)) = (attributes.get(number), timeouts.get(*place)) {
            timeout.set(jiffies(attribute.be32()?));
        }
    }
    if let (Some(new), Some(first)) = (timeouts.first(), timeouts.get(T::FIRST)) {
        new.set(first.get());
    }
    Ok(())
}

/// Seconds in jiffies. More than an entry can live become as long as an entry can live: the C
/// tracker would make a short time of them, or none.
fn jiffies(seconds: u32) -> u32 {
    // CAST: not negative.
    seconds.saturating_mul(HZ).min(i32::MAX as u32)
}

/// Writes a policy, or the namespace's timeouts.
///
/// # Safety
///
/// For C code that writes the message, with a policy's or a namespace's timeouts.
unsafe extern "C" fn obj_to_nlattr<T: Timeouts<N>, const N: usize>(
    skb: *mut bindings::sk_buff,
    data: *const c_void,
) -> c_int {
    // SAFETY: The caller's promise.
    let mut message = unsafe { Message::from_raw(skb) };
    // SAFETY: The caller's promise; accessed atomically only.
    let timeouts = unsafe { &*data.cast::<[Timeout; N]>() };
    for (number, place) in (1_u16..).zip(T::PLACES) {
        let timeout = timeouts.get(*place).map_or(0, Timeout::get);
        if message.put_be32(number, timeout / HZ).is_err() {
            return ENOSPC.to_errno();
        }
    }
    0
}
