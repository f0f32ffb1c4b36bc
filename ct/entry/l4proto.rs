// SPDX-License-Identifier: GPL-2.0

//! The protocols as C code and netlink see them (`struct nf_conntrack_l4proto`): attributes of
//! tuples and protocol state, and timeouts.
//!
//! The logic of the protocols is in [`crate::proto`]; this file connects it with the layouts of
//! [`crate::nf::entry::l4proto`]. Everything here is constant.

use core::{
    array::from_ref,
    mem::{
        offset_of,
        size_of, //
    },
};

use kernel::prelude::*;

use crate::{
    nf::{
        entry::{
            conn::Entry,
            cta::*,
            l4proto::{
                L4Proto,
                ProcColumn,
                ProtoInfoForm,
                Raw,
                TimeoutForm,
                TupleAttributes,
                TupleForm, //
            },
        },
        kernel::{
            attr::{
                size_of_attribute,
                Attributes,
                Message,
                Policy, //
            },
            seq_file::Out,
            settings,
            time::HZ, //
        },
        prelude::*, //
    },
    proto::{
        gre,
        sctp,
        tcp,
        types::{
            num::u32_as_usize,
            timeout::Timeout, //
        },
        udp,
        wire, //
    },
};

/// The number for all protocols without a tracker of their own (`IPPROTO_RAW`).
const ANY: u8 = 255;

/// TCP.
pub(in crate::ct) static TCP: L4Proto<{ tcp::timeout::COUNT }> = L4Proto::new(protocol::TCP, false)
    .tuples::<Ports>()
    .protoinfo::<Tcp>()
    .column::<Tcp>()
    .timeouts::<Tcp>();

/// UDP.
pub(in crate::ct) static UDP: L4Proto<{ udp::COUNT }> = L4Proto::new(protocol::UDP, true)
    .tuples::<Ports>()
    .timeouts::<Udp>();

/// SCTP.
pub(in crate::ct) static SCTP: L4Proto<{ sctp::COUNT }> = L4Proto::new(protocol::SCTP, false)
    .tuples::<Ports>()
    .protoinfo::<Sctp>()
    .column::<Sctp>()
    .timeouts::<Sctp>();

/// GRE.
pub(in crate::ct) static GRE: L4Proto<{ gre::COUNT }> = L4Proto::new(protocol::GRE, true)
    .tuples::<Ports>()
    .column::<Gre>()
    .timeouts::<Gre>();

/// The `N` timeouts of a protocol, in jiffies.
trait Timeouts<const N: usize>: 'static {
    /// The index of the timeout of each attribute, from attribute 1 on.
    const PLACES: &'static [usize];

    /// The index of the timeout of new connections, which is at index 0 as well.
    const FIRST: usize;

    /// Returns the namespace's timeouts.
    fn of(net: &Net) -> &[Timeout; N];
}

impl<T: Timeouts<N>, const N: usize> TimeoutForm<N> for T {
    const ATTRIBUTES: usize = Self::PLACES.len();

    /// Timeouts of a policy that the message does not have become those of the namespace.
    fn get(attributes: &Attributes<'_>, net: &Net, policy: Option<&[Timeout; N]>) -> Result {
        const { assert!(T::FIRST < N) };
        let defaults = Self::of(net);
        if let Some(policy) = policy {
            for (timeout, default) in policy.iter().zip(defaults) {
                timeout.set(default.get());
            }
        }
        let timeouts = policy.unwrap_or(defaults);
        for (number, place) in (1_u16..).zip(Self::PLACES) {
            if let (Some(seconds), Some(timeout)) = (attributes.get(number), timeouts.get(*place)) {
                timeout.set(jiffies(seconds.be32()?));
            }
        }
        if let (Some(new), Some(first)) = (timeouts.first(), timeouts.get(Self::FIRST)) {
            new.set(first.get());
        }
        Ok(())
    }

    fn put(timeouts: &[Timeout; N], message: &mut Message<'_>) -> Result {
        for (number, place) in (1_u16..).zip(Self::PLACES) {
            let timeout = timeouts.get(*place).map_or(0, Timeout::get);
            message.put_be32(number, timeout / HZ).map_err(|_| ENOSPC)?;
        }
        Ok(())
    }
}

/// Converts seconds to jiffies. A time that is longer than an entry can live becomes as long as an
/// entry can live: the C tracker makes a short time of it, or none.
fn jiffies(seconds: u32) -> u32 {
    // CAST: not negative.
    seconds.saturating_mul(HZ).min(i32::MAX as u32)
}

/// A protocol with tuples of queries: the ICMPs.
trait Queries: 'static {
    /// The attributes.
    const QUERY: Query;
}

impl<T: Queries> TupleForm for T {
    const POLICY: &'static [Policy; CTA_PROTO_MAX + 1] = &Self::QUERY.policy();

    const SIZES: &'static [usize] = &[2, 1, 1];

    fn put(tuple: &Tuple, message: &mut Message<'_>) -> Result {
        Self::QUERY.put(tuple, message)
    }

    fn get(request: &TupleAttributes<'_>, tuple: &mut Tuple) -> Result {
        Self::QUERY.get(request, tuple)
    }
}

/// ICMP for IPv4.
pub(in crate::ct) static ICMP: L4Proto<1> = L4Proto::new(protocol::ICMP, true)
    .tuples::<Icmp>()
    .timeouts::<Icmp>();

/// ICMPv6.
pub(in crate::ct) static ICMPV6: L4Proto<1> = L4Proto::new(protocol::ICMPV6, true)
    .tuples::<Icmpv6>()
    .timeouts::<Icmpv6>();

/// All other protocols.
pub(in crate::ct) static GENERIC: L4Proto<1> = L4Proto::new(ANY, true).timeouts::<Generic>();

/// Returns the `struct nf_conntrack_l4proto` of a protocol.
pub(in crate::ct) fn find(number: u8) -> &'static Raw {
    match number {
        protocol::TCP => TCP.raw(),
        protocol::UDP => UDP.raw(),
        protocol::SCTP => SCTP.raw(),
        protocol::GRE => GRE.raw(),
        protocol::ICMP => ICMP.raw(),
        protocol::ICMPV6 if cfg!(CONFIG_IPV6) => ICMPV6.raw(),
        _ => GENERIC.raw(),
    }
}

/// Returns the state of a TCP connection. It is one byte, and is read without the lock, as C code
/// does.
pub(in crate::ct) fn tcp_state(conn: &Conn) -> tcp::State {
    let number = conn.proto_byte(offset_of!(tcp::Track, state));
    tcp::State::from_u8(number).unwrap_or(tcp::State::None)
}

/// Returns the state of an SCTP association, without the lock.
pub(in crate::ct) fn sctp_state(conn: &Conn) -> sctp::State {
    sctp::State::from_u32(conn.proto_byte(sctp::Track::STATE_OFFSET).into())
}

/// Returns the timeouts of a GRE connection, in seconds.
pub(in crate::ct) fn gre_timeouts(conn: &Conn) -> gre::Track {
    gre::Track {
        stream_timeout: conn.proto_half::<0>() / HZ,
        timeout: conn.proto_half::<1>() / HZ,
    }
}

/// Tuples with two ports, or two GRE keys.
pub(in crate::ct) struct Ports;

impl TupleForm for Ports {
    const POLICY: &'static [Policy; CTA_PROTO_MAX + 1] = &PORT_POLICY;

    const SIZES: &'static [usize] = &[2, 2];

    fn put(tuple: &Tuple, message: &mut Message<'_>) -> Result {
        message.put(CTA_PROTO_SRC_PORT, &tuple.src_key)?;
        message.put(CTA_PROTO_DST_PORT, &tuple.dst_key)
    }

    fn get(request: &TupleAttributes<'_>, tuple: &mut Tuple) -> Result {
        if let Some(port) = request.bytes(CTA_PROTO_SRC_PORT)? {
            tuple.src_key = port;
        }
        if let Some(port) = request.bytes(CTA_PROTO_DST_PORT)? {
            tuple.dst_key = port;
        }
        Ok(())
    }
}

/// The netlink policy of ports.
pub(in crate::ct) const PORT_POLICY: [Policy; CTA_PROTO_MAX + 1] = Policy::table([
    (CTA_PROTO_SRC_PORT, Policy::U16),
    (CTA_PROTO_DST_PORT, Policy::U16),
]);

/// The netlink attributes that an ICMP has in the place of ports.
struct Query {
    /// The query's id.
    id: u16,
    /// The message's type.
    kind: u16,
    /// The message's code.
    code: u16,
    /// Whether a message of this type is a query.
    has_answer: fn(u8) -> bool,
}

impl Query {
    /// Returns the netlink policy of the attributes.
    const fn policy(&self) -> [Policy; CTA_PROTO_MAX + 1] {
        Policy::table([
            (self.id, Policy::U16),
            (self.kind, Policy::U8),
            (self.code, Policy::U8),
        ])
    }

    /// Writes the attributes of a tuple.
    fn put(&self, tuple: &Tuple, message: &mut Message<'_>) -> Result {
        message.put(self.id, &tuple.src_key)?;
        message.put_u8(self.kind, tuple.icmp_type())?;
        message.put_u8(self.code, tuple.icmp_code())
    }

    /// Reads the attributes of a tuple. `EINVAL`: a type that is not a query's.
    fn get(&self, request: &TupleAttributes<'_>, tuple: &mut Tuple) -> Result {
        let [kind, code] = &mut tuple.dst_key;
        if let Some([wanted]) = request.bytes(self.kind)? {
            *kind = wanted;
            if !(self.has_answer)(wanted) {
                return Err(EINVAL);
            }
        }
        if let Some([wanted]) = request.bytes(self.code)? {
            *code = wanted;
        }
        if let Some(id) = request.bytes(self.id)? {
            tuple.src_key = id;
        }
        Ok(())
    }
}

/// ICMP for IPv4.
pub(in crate::ct) struct Icmp;

impl Queries for Icmp {
    const QUERY: Query = Query {
        id: CTA_PROTO_ICMP_ID,
        kind: CTA_PROTO_ICMP_TYPE,
        code: CTA_PROTO_ICMP_CODE,
        has_answer: |kind| wire::icmp::answer(kind).is_some(),
    };
}

impl Timeouts<1> for Icmp {
    const PLACES: &'static [usize] = &[0];

    const FIRST: usize = 0;

    fn of(net: &Net) -> &[Timeout; 1] {
        from_ref(settings::ICMP_TIMEOUT.of(net))
    }
}

/// ICMPv6.
pub(in crate::ct) struct Icmpv6;

impl Queries for Icmpv6 {
    const QUERY: Query = Query {
        id: CTA_PROTO_ICMPV6_ID,
        kind: CTA_PROTO_ICMPV6_TYPE,
        code: CTA_PROTO_ICMPV6_CODE,
        has_answer: |kind| wire::icmpv6::answer(kind).is_some(),
    };
}

impl Timeouts<1> for Icmpv6 {
    const PLACES: &'static [usize] = &[0];

    const FIRST: usize = 0;

    fn of(net: &Net) -> &[Timeout; 1] {
        from_ref(settings::ICMPV6_TIMEOUT.of(net))
    }
}

/// TCP.
pub(in crate::ct) struct Tcp;

impl Tcp {
    /// The netlink policy of `CTA_PROTOINFO_TCP`.
    const POLICY: [Policy; CTA_PROTOINFO_TCP_MAX + 1] = {
        const STATE: Policy = Policy::u8_up_to(tcp::State::SynSent2.to_u8());
        const SCALE: Policy = Policy::u8_up_to(Tcp::MAX_SCALE);
        Policy::table([
            (CTA_PROTOINFO_TCP_STATE, STATE),
            (CTA_PROTOINFO_TCP_WSCALE_ORIGINAL, SCALE),
            (CTA_PROTOINFO_TCP_WSCALE_REPLY, SCALE),
            (CTA_PROTOINFO_TCP_FLAGS_ORIGINAL, Policy::bytes(2)),
            (CTA_PROTOINFO_TCP_FLAGS_REPLY, Policy::bytes(2)),
        ])
    };

    /// The greatest window scale (RFC 7323, section 2.3).
    const MAX_SCALE: u8 = 14;
}

/// The state of a TCP connection in a message (`CTA_PROTOINFO_TCP`).
pub(in crate::ct) struct TcpProtoInfo {
    /// The connection's state.
    state: Option<u8>,
    /// The window scales of the opener and of the other peer.
    scales: (Option<u8>, Option<u8>),
    /// The flags and their mask, of both peers.
    flags: [Option<[u8; 2]>; 2],
}

impl ProtoInfoForm for Tcp {
    type ProtoInfo = TcpProtoInfo;

    // CAST: A few dozen. The two scales count as one, as user space is used to.
    const MESSAGE_SIZE: u16 = (2 * size_of_attribute(1) + 2 * size_of_attribute(2)) as u16;

    fn may_be_dropped(conn: &Conn) -> bool {
        tcp_state(conn).may_be_dropped_early()
    }

    fn put(conn: &Conn, going: bool, message: &mut Message<'_>) -> Result {
        let Some(track) = conn.with_proto(|track: &mut tcp::Track| *track) else {
            return Ok(());
        };
        message.nest(CTA_PROTOINFO_TCP, |message| {
            message.put_u8(CTA_PROTOINFO_TCP_STATE, track.state)?;
            if going {
                return Ok(());
            }
            let [original, reply] = &track.seen;
            message.put_u8(CTA_PROTOINFO_TCP_WSCALE_ORIGINAL, original.scale)?;
            message.put_u8(CTA_PROTOINFO_TCP_WSCALE_REPLY, reply.scale)?;
            // The second byte is a mask, which is for requests only.
            message.put(CTA_PROTOINFO_TCP_FLAGS_ORIGINAL, &[original.flags, 0])?;
            message.put(CTA_PROTOINFO_TCP_FLAGS_REPLY, &[reply.flags, 0])
        })
    }

    fn get(attributes: &Attributes<'_>) -> Result<Option<TcpProtoInfo>> {
        let Some(nest) = attributes.get(CTA_PROTOINFO_TCP) else {
            return Ok(None);
        };
        let nest = nest.nest(const { &Self::POLICY })?;
        let attributes = nest.attributes();
        let number = |attribute| {
            let found = attributes.get(attribute);
            found.map(|found| found.u8()).transpose()
        };
        let flags = |attribute| {
            let found = attributes.get(attribute);
            found.map(|found| found.bytes::<2>()).transpose()
        };
        let state = number(CTA_PROTOINFO_TCP_STATE)?;
        let scales = (
            number(CTA_PROTOINFO_TCP_WSCALE_ORIGINAL)?,
            number(CTA_PROTOINFO_TCP_WSCALE_REPLY)?,
        );
        let flags = [
            flags(CTA_PROTOINFO_TCP_FLAGS_ORIGINAL)?,
            flags(CTA_PROTOINFO_TCP_FLAGS_REPLY)?,
        ];
        Ok(Some(TcpProtoInfo {
            state,
            scales,
            flags,
        }))
    }

    fn set(conn: &Entry, info: &TcpProtoInfo) {
        conn.with_proto(|track: &mut tcp::Track| {
            track.state = info.state.unwrap_or(track.state);
            for (seen, flags) in track.seen.iter_mut().zip(info.flags) {
                if let Some([flags, mask]) = flags {
                    seen.flags = (seen.flags & !mask) | (flags & mask);
                }
            }
            let [original, reply] = &mut track.seen;
            if let (Some(first), Some(second)) = info.scales {
                if original.has(tcp::flag::WINDOW_SCALE) && reply.has(tcp::flag::WINDOW_SCALE) {
                    original.scale = first;
                    reply.scale = second;
                }
            }
        });
    }
}

impl ProcColumn for Tcp {
    fn show(conn: &Conn, out: &mut Out<'_>) {
        out.text(tcp_state(conn).name());
        out.text(" ");
    }
}

impl Timeouts<{ tcp::timeout::COUNT }> for Tcp {
    // The states, and then the timeouts that are not a state's.
    const PLACES: &'static [usize] = &[
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        8,
        9,
        tcp::timeout::RETRANS,
        tcp::timeout::UNACK,
    ];

    // CAST: A wider type.
    const FIRST: usize = tcp::State::SynSent.to_u8() as usize;

    fn of(net: &Net) -> &[Timeout; tcp::timeout::COUNT] {
        settings::TCP_TIMEOUTS.of(net)
    }
}

/// UDP.
struct Udp;

impl Timeouts<{ udp::COUNT }> for Udp {
    const PLACES: &'static [usize] = &[udp::UNREPLIED, udp::REPLIED];

    const FIRST: usize = udp::UNREPLIED;

    fn of(net: &Net) -> &[Timeout; udp::COUNT] {
        settings::UDP_TIMEOUTS.of(net)
    }
}

/// SCTP.
pub(in crate::ct) struct Sctp;

impl Sctp {
    /// The netlink policy of `CTA_PROTOINFO_SCTP`.
    const POLICY: [Policy; CTA_PROTOINFO_SCTP_MAX + 1] = {
        // CAST: 8.
        let last = sctp::State::HeartbeatSent.to_u32() as u8;
        Policy::table([
            (CTA_PROTOINFO_SCTP_STATE, Policy::u8_up_to(last)),
            (CTA_PROTOINFO_SCTP_VTAG_ORIGINAL, Policy::U32),
            (CTA_PROTOINFO_SCTP_VTAG_REPLY, Policy::U32),
        ])
    };
}

/// The state of an SCTP association in a message (`CTA_PROTOINFO_SCTP`).
pub(in crate::ct) struct SctpProtoInfo {
    /// The association's state.
    state: sctp::State,
    /// The verification tag of the original direction.
    original: wire::sctp::Tag,
    /// The verification tag of the reply direction.
    reply: wire::sctp::Tag,
}

impl ProtoInfoForm for Sctp {
    type ProtoInfo = SctpProtoInfo;

    // CAST: A few dozen.
    const MESSAGE_SIZE: u16 = (size_of_attribute(1) + 2 * size_of_attribute(4)) as u16;

    fn may_be_dropped(conn: &Conn) -> bool {
        sctp_state(conn).may_be_dropped_early()
    }

    fn put(conn: &Conn, going: bool, message: &mut Message<'_>) -> Result {
        let Some(track) = conn.with_proto(|track: &mut sctp::Track| *track) else {
            return Ok(());
        };
        message.nest(CTA_PROTOINFO_SCTP, |message| {
            // CAST: Below 10.
            message.put_u8(CTA_PROTOINFO_SCTP_STATE, track.state().to_u32() as u8)?;
            if going {
                return Ok(());
            }
            let tag = |direction| track.tag(direction).0;
            message.put(CTA_PROTOINFO_SCTP_VTAG_ORIGINAL, &tag(Direction::Original))?;
            message.put(CTA_PROTOINFO_SCTP_VTAG_REPLY, &tag(Direction::Reply))
        })
    }

    fn get(attributes: &Attributes<'_>) -> Result<Option<SctpProtoInfo>> {
        let Some(nest) = attributes.get(CTA_PROTOINFO_SCTP) else {
            return Ok(None);
        };
        let nest = nest.nest(const { &Self::POLICY })?;
        let attributes = nest.attributes();
        let need = |attribute| attributes.get(attribute).ok_or(EINVAL);
        let state = sctp::State::from_u32(need(CTA_PROTOINFO_SCTP_STATE)?.u8()?.into());
        let original = wire::sctp::Tag(need(CTA_PROTOINFO_SCTP_VTAG_ORIGINAL)?.bytes()?);
        let reply = wire::sctp::Tag(need(CTA_PROTOINFO_SCTP_VTAG_REPLY)?.bytes()?);
        Ok(Some(SctpProtoInfo {
            state,
            original,
            reply,
        }))
    }

    fn set(conn: &Entry, info: &SctpProtoInfo) {
        conn.with_proto(|track: &mut sctp::Track| {
            track.set_state(info.state);
            track.set_tag(Direction::Original, info.original);
            track.set_tag(Direction::Reply, info.reply);
        });
    }
}

impl ProcColumn for Sctp {
    fn show(conn: &Conn, out: &mut Out<'_>) {
        out.text(sctp_state(conn).name());
        out.text(" ");
    }
}

impl Timeouts<{ sctp::COUNT }> for Sctp {
    const PLACES: &'static [usize] = &[1, 2, 3, 4, 5, 6, 7, 8, 9];

    const FIRST: usize = u32_as_usize(sctp::State::Closed.to_u32());

    fn of(net: &Net) -> &[Timeout; sctp::COUNT] {
        settings::SCTP_TIMEOUTS.of(net)
    }
}

/// GRE.
pub(in crate::ct) struct Gre;

impl ProcColumn for Gre {
    fn show(conn: &Conn, out: &mut Out<'_>) {
        let seconds = gre_timeouts(conn);
        out.text("timeout=");
        out.number(seconds.timeout.into());
        out.text(", stream_timeout=");
        out.number(seconds.stream_timeout.into());
        out.text(" ");
    }
}

impl Timeouts<{ gre::COUNT }> for Gre {
    const PLACES: &'static [usize] = &[gre::UNREPLIED, gre::REPLIED];

    const FIRST: usize = gre::UNREPLIED;

    fn of(net: &Net) -> &[Timeout; gre::COUNT] {
        settings::GRE_TIMEOUTS.of(net)
    }
}

/// All other protocols.
struct Generic;

impl Timeouts<1> for Generic {
    const PLACES: &'static [usize] = &[0];

    const FIRST: usize = 0;

    fn of(net: &Net) -> &[Timeout; 1] {
        from_ref(settings::GENERIC_TIMEOUT.of(net))
    }
}

const _: () = assert!(size_of::<gre::Track>() == 2 * size_of::<u32>());
