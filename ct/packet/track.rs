// SPDX-License-Identifier: GPL-2.0

//! Tracking: shows a packet to the tracker of its protocol, and applies the result to the entry.
//!
//! The trackers in [`crate::proto`] are pure: they get the packet and the protocol's state, and
//! return a [`Step`]. This file reads the packet, locks the entry where the state is more than a
//! word, and does what the step says: sets the timeout and status bits, queues events, deletes the
//! entry.
//!
//! TCP has two short paths before the full tracker: [`tcp::fast_path`] for a plain ACK of an
//! established connection, and [`tcp::complete_handshake`] for the last segment of a handshake.

use core::mem::offset_of;

use crate::{
    ct::{
        entry::{
            self,
            seqadj,
            timeout, //
        },
        figures::causes,
        life::{
            delete::{
                self,
                DestroyReason, //
            },
            reconsider, //
        },
    },
    nf::{
        entry::ecache::{
            self,
            Event, //
        },
        kernel::{
            settings,
            time, //
        },
        packet::{
            hook::{
                HookState,
                InetHook, //
            },
            log, //
        },
        prelude::*, //
    },
    proto::{
        generic,
        gre,
        icmp,
        icmpv6,
        sctp,
        step::{
            Reason,
            Step,
            Update, //
        },
        tcp,
        time::Jiffies32,
        types::num::u32_as_usize,
        udp,
        wire, //
    },
};

use super::parse::Packet;

/// The result of tracking a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum TrackOutcome {
    /// The packet belongs to the connection.
    Accept,
    /// The packet is INVALID.
    Invalid,
    /// The packet begins a new connection of the same tuple; the entry was deleted (C:
    /// `NF_REPEAT`).
    Repeat,
    /// The packet begins a new connection, but another CPU is still deleting the entry: it is to be
    /// dropped.
    Drop,
}

/// What a packet that has no entry is to a connection.
pub(super) enum Opening {
    /// It may be the first packet of one.
    First,
    /// It is a TCP segment that can only be a later packet of one. [`Ok`]: an entry may be created
    /// for it nevertheless. Otherwise it is INVALID, for this reason.
    Later(Result<(), Reason>),
    /// It is INVALID, for this reason.
    Invalid(Reason),
}

/// The maximum length of TCP options, in bytes.
const TCP_OPTIONS: usize = 40;

/// What tracking needs besides the packet and its entry.
#[derive(Clone, Copy)]
pub(super) struct PacketContext<'a> {
    /// The headers of the packet.
    pub(super) packet: Packet,
    /// The state of the hook.
    pub(super) state: HookState<'a>,
    /// The relation of the packet to the connection.
    pub(super) info: CtInfo,
    /// The RCU section of the hook.
    pub(super) rcu: Rcu<'a>,
}

impl PacketContext<'_> {
    /// Tracks a TCP or UDP packet of `conn`.
    #[inline(always)]
    pub(super) fn track_tcp_or_udp(self, conn: &Conn, skb: &mut Skb) -> TrackOutcome {
        if self.packet.protocol == protocol::UDP {
            return self.udp(conn, skb);
        }
        match self.fast_path(conn, skb) {
            Some(timeout) => {
                self.refresh(conn, skb, timeout);
                TrackOutcome::Accept
            }
            None => track_segment(conn, skb, self.packet, self.state, self.info, self.rcu),
        }
    }

    /// Returns what the packet, which has no entry, is to a connection.
    #[inline(always)]
    pub(super) fn opening(self, skb: &mut Skb) -> Opening {
        if self.packet.protocol != protocol::TCP {
            return Opening::First;
        }
        let Some(bytes) = skb.read(self.packet.transport) else {
            return Opening::Invalid(Reason::Malformed(wire::Error::Short));
        };
        let header = wire::tcp::Header::parse(&bytes);
        if let Some(reason) = self.segment_error(&header, skb) {
            return Opening::Invalid(reason);
        }
        if matches!(tcp::Kind::of(header.flags()), tcp::Kind::Syn) {
            return Opening::First;
        }
        let loose = settings::TCP_LOOSE.read(self.state.net()) != 0;
        Opening::Later(tcp::may_open(&header, loose))
    }

    /// Tracks the first packet of `conn`, which [may be that](Self::opening).
    #[inline(always)]
    pub(super) fn track_first(self, conn: &Conn, skb: &mut Skb) -> TrackOutcome {
        match self.packet.protocol {
            protocol::UDP => return self.udp(conn, skb),
            protocol::TCP => {
                if let Some(update) = self.open_syn(conn, skb) {
                    self.update(conn, skb, update);
                    return TrackOutcome::Accept;
                }
            }
            _ => {}
        }
        self.track(conn, skb)
    }

    /// Tracks a packet of `conn`.
    pub(super) fn track(self, conn: &Conn, skb: &mut Skb) -> TrackOutcome {
        match self.packet.protocol {
            protocol::UDP => self.udp(conn, skb),
            protocol::TCP => track_segment(conn, skb, self.packet, self.state, self.info, self.rcu),
            _ => self.track_other(conn, skb),
        }
    }

    /// Tracks a packet of any protocol but TCP and UDP.
    #[cold]
    #[inline(never)]
    fn track_other(self, conn: &Conn, skb: &mut Skb) -> TrackOutcome {
        let net = self.state.net();
        if !conn.is_confirmed() {
            reconsider::note_created(conn);
        }
        let step = match self.packet.protocol {
            protocol::ICMP => icmp::packet(
                self.packet.family,
                &self.original(conn),
                timeout::icmp(conn, net, self.rcu),
            ),
            protocol::ICMPV6 => icmpv6::packet(
                self.packet.family,
                &self.original(conn),
                &entry::status(conn),
                timeout::icmpv6(conn, net, self.rcu),
            ),
            protocol::SCTP => self.sctp(conn, skb),
            protocol::GRE => self.gre(conn),
            _ => generic::packet(timeout::generic(conn, net, self.rcu)),
        };
        self.apply(conn, skb, step)
    }

    /// Returns the original tuple.
    fn original(&self, conn: &Conn) -> Tuple {
        conn.tuple(Direction::Original)
    }

    /// Returns whether the transport checksum is to be verified, and is wrong.
    ///
    /// Only incoming packets are verified: the checksum of outgoing ones is computed later, or by
    /// the device.
    #[inline(always)]
    fn has_bad_checksum(self, skb: &mut Skb) -> bool {
        self.state.is_at(InetHook::PreRouting)
            && settings::CHECKSUM.read(self.state.net()) != 0
            && skb.checksum_is_bad(
                self.state.hooknum(),
                self.packet.transport,
                self.packet.protocol,
                self.packet.family.to_u8(),
            )
    }

    /// Tracks a plain segment of an established connection. Returns the timeout that it sets.
    /// [`None`]: the segment needs the full tracker, and nothing has changed.
    #[inline(always)]
    fn fast_path(self, conn: &Conn, skb: &mut Skb) -> Option<u32> {
        if !entry::is_established(conn) || !is_in(conn, tcp::State::Established) {
            return None;
        }
        self.with_plain_ack(conn, skb, tcp::fast_path)
    }

    /// Tracks a segment that completes a handshake and does no more than that. [`None`]: as for
    /// [`fast_path`](Self::fast_path).
    #[inline]
    fn handshake_ack(self, conn: &Conn, skb: &mut Skb) -> Option<Update> {
        if !is_in(conn, tcp::State::SynRecv) || !entry::is_answered(conn) {
            return None;
        }
        let timeout = self.with_plain_ack(conn, skb, tcp::complete_handshake)?;
        Some(Update {
            timeout: Some(timeout),
            assured: !conn.has(StatusBit::Assured),
            protoinfo: true,
        })
    }

    /// Calls `advance`, one of TCP's short paths, if the segment is a [plain ACK](Self::plain_ack).
    #[inline(always)]
    fn with_plain_ack(
        self,
        conn: &Conn,
        skb: &mut Skb,
        advance: impl FnOnce(
            &mut tcp::Track,
            &tcp::Segment<'_>,
            Direction,
            &tcp::Timeouts,
            u8,
        ) -> Option<u32>,
    ) -> Option<u32> {
        let segment = self.plain_ack(skb)?;
        let net = self.state.net();
        let timeouts = timeout::tcp(conn, net, self.rcu);
        let max_retrans = settings::TCP_MAX_RETRANS.read(net);
        let dir = self.info.dir();
        conn.with_proto(|track: &mut tcp::Track| {
            advance(track, &segment, dir, timeouts, max_retrans)
        })?
    }

    /// Returns the segment if it is valid by itself, has no flag but ACK, and no options but
    /// timestamps.
    #[inline(always)]
    fn plain_ack(self, skb: &mut Skb) -> Option<tcp::Segment<'static>> {
        let bytes = skb.read(self.packet.transport)?;
        let header = wire::tcp::Header::parse(&bytes);
        let is_plain = header.flags().is_ack_alone() && self.has_plain_options(&header, skb);
        let available = self.packet.transport_len(skb);
        if !is_plain || tcp::check(&header, available).is_err() || self.has_bad_checksum(skb) {
            return None;
        }
        Some(tcp::Segment {
            header,
            options: &[],
            payload_len: available.saturating_sub(header.header_len()),
            ack_offset: 0,
        })
    }

    /// Returns whether a segment has no options, or timestamps in the usual form alone, which the
    /// tracker ignores.
    #[inline(always)]
    fn has_plain_options(self, header: &wire::tcp::Header, skb: &Skb) -> bool {
        match header.options_len() {
            0 => true,
            12 => {
                let options = skb.read::<12>(self.packet.transport.wrapping_add(20));
                options.is_some_and(|options| wire::tcp::is_timestamp_only(&options))
            }
            _ => false,
        }
    }

    /// Returns what makes a TCP segment INVALID by itself.
    #[inline(always)]
    fn segment_error(self, header: &wire::tcp::Header, skb: &mut Skb) -> Option<Reason> {
        if let Err(reason) = tcp::check(header, self.packet.transport_len(skb)) {
            return Some(reason);
        }
        self.has_bad_checksum(skb)
            .then_some(Reason::Malformed(wire::Error::Checksum))
    }

    /// Returns the segment with this header. `buffer` holds its options.
    #[inline(always)]
    fn segment<'s>(
        self,
        header: wire::tcp::Header,
        skb: &'s Skb,
        buffer: &'s mut [u8; TCP_OPTIONS],
    ) -> tcp::Segment<'s> {
        let options = buffer
            .get_mut(..u32_as_usize(header.options_len()))
            .and_then(|buffer| skb.slice(self.packet.transport.wrapping_add(20), buffer))
            .unwrap_or(&[]);
        let available = self.packet.transport_len(skb);
        tcp::Segment {
            header,
            options,
            payload_len: available.saturating_sub(header.header_len()),
            ack_offset: 0,
        }
    }

    /// Opens a TCP connection with a SYN. [`None`]: the segment is another one, which needs the
    /// full tracker.
    #[inline]
    fn open_syn(self, conn: &Conn, skb: &Skb) -> Option<Update> {
        let bytes = skb.read(self.packet.transport)?;
        let mut buffer = [0; TCP_OPTIONS];
        let segment = self.segment(wire::tcp::Header::parse(&bytes), skb, &mut buffer);
        let net = self.state.net();
        let timeouts = timeout::tcp(conn, net, self.rcu);
        let (begun, timeout) =
            tcp::open_syn(&segment, timeouts, settings::TCP_MAX_RETRANS.read(net))?;
        conn.with_proto(|track: &mut tcp::Track| *track = begun)?;
        Some(Update {
            protoinfo: true,
            ..Update::refresh(timeout)
        })
    }

    /// Runs the full tracker of TCP.
    #[inline]
    fn segment_step(self, conn: &Conn, skb: &mut Skb) -> Step {
        let Some(bytes) = skb.read(self.packet.transport) else {
            return Step::invalid(Reason::Malformed(wire::Error::Short));
        };
        let header = wire::tcp::Header::parse(&bytes);
        if let Some(reason) = self.segment_error(&header, skb) {
            return Step::invalid(reason);
        }
        let mut buffer = [0; TCP_OPTIONS];
        let segment = tcp::Segment {
            ack_offset: self.ack_offset(conn, &header),
            ..self.segment(header, skb, &mut buffer)
        };
        let net = self.state.net();
        let config = tcp::Config {
            timeouts: timeout::tcp(conn, net, self.rcu),
            hz: time::HZ,
            loose: settings::TCP_LOOSE.read(net) != 0,
            liberal: settings::TCP_BE_LIBERAL.read(net) != 0,
            ignore_invalid_rst: settings::TCP_IGNORE_INVALID_RST.read(net) != 0,
            max_retrans: settings::TCP_MAX_RETRANS.read(net),
        };
        let status = entry::status(conn);
        let now = Jiffies32(time::jiffies32());
        conn.with_proto(|track: &mut tcp::Track| {
            if !status.confirmed {
                if let Err(reason) = tcp::open(track, &segment, &config) {
                    return Step::invalid(reason);
                }
            }
            let dir = self.info.dir();
            tcp::packet(track, &segment, dir, &status, &config, now)
        })
        .unwrap_or(Step::Ignore(None))
    }

    /// Returns how far a helper has shifted the byte that a segment acknowledges.
    #[inline]
    fn ack_offset(&self, conn: &Conn, header: &wire::tcp::Header) -> i32 {
        seqadj::offset(conn, self.info.dir().opposite(), header.ack().sub(1))
    }

    /// Tracks a UDP packet.
    #[inline(always)]
    fn udp(self, conn: &Conn, skb: &mut Skb) -> TrackOutcome {
        let Some(bytes) = skb.read(self.packet.transport) else {
            return invalid(
                skb,
                self.state,
                self.packet.protocol,
                Reason::Malformed(wire::Error::Short),
            );
        };
        let header = wire::udp::Header::parse(&bytes);
        if let Err(reason) = udp::check(&header, self.packet.transport_len(skb), skb.is_gso()) {
            return invalid(skb, self.state, self.packet.protocol, reason);
        }
        if header.has_checksum() && self.has_bad_checksum(skb) {
            return invalid(
                skb,
                self.state,
                self.packet.protocol,
                Reason::Malformed(wire::Error::Checksum),
            );
        }
        let status = entry::status(conn);
        let timeouts = timeout::udp(conn, self.state.net(), self.rcu);
        // One word, which is written only for the first packet: no lock.
        let mut track = udp::Track {
            stream_ts: conn.proto_word(),
        };
        let before = track;
        let update = udp::packet(
            &mut track,
            &status,
            timeouts,
            time::jiffies(),
            const { u32_as_usize(time::HZ) },
        );
        if track != before {
            conn.set_proto_word(track.stream_ts);
        }
        self.update(conn, skb, update);
        TrackOutcome::Accept
    }

    /// Runs the tracker of SCTP.
    #[inline]
    fn sctp(&self, conn: &Conn, skb: &mut Skb) -> Step {
        let start = self.packet.transport;
        let Some(bytes) = skb.read(start) else {
            return Step::invalid(Reason::Malformed(wire::Error::Short));
        };
        let net = self.state.net();
        if self.state.is_at(InetHook::PreRouting)
            && settings::CHECKSUM.read(net) != 0
            && skb.sctp_checksum_is_bad(start)
        {
            return Step::invalid(Reason::Malformed(wire::Error::Checksum));
        }
        let skb = &*skb;
        let packet = sctp::parse(
            wire::sctp::Header::parse(&bytes),
            self.packet.transport_len(skb),
            |at| skb.read(start.checked_add(at)?),
        );
        let packet = match packet {
            Ok(packet) => packet,
            Err(reason) => return Step::invalid(reason),
        };
        let status = entry::status(conn);
        let timeouts = timeout::sctp(conn, net, self.rcu);
        conn.with_proto(|track: &mut sctp::Track| {
            if !status.confirmed {
                if let Err(reason) = sctp::open(track, &packet) {
                    return Step::invalid(reason);
                }
            }
            let direction = self.info.dir();
            sctp::packet(track, &packet, direction, &status, timeouts)
        })
        .unwrap_or(Step::Ignore(None))
    }

    /// Runs the tracker of GRE.
    #[inline]
    fn gre(&self, conn: &Conn) -> Step {
        let status = entry::status(conn);
        // Two words, which are written only for the first packet, or by a helper: no lock.
        if !status.confirmed {
            let track = gre::open(timeout::gre(conn, self.state.net(), self.rcu));
            conn.set_proto_half::<0>(track.stream_timeout);
            conn.set_proto_half::<1>(track.timeout);
        }
        let track = gre::Track {
            stream_timeout: conn.proto_half::<0>(),
            timeout: conn.proto_half::<1>(),
        };
        gre::packet(&track, &status)
    }

    /// Does what a tracker's step says.
    #[inline]
    fn apply(self, conn: &Conn, skb: &Skb, step: Step) -> TrackOutcome {
        match step {
            Step::Accept(update) => {
                self.update(conn, skb, update);
                TrackOutcome::Accept
            }
            Step::Ignore(reason) => {
                if let Some(reason) = reason {
                    self.log(skb, reason);
                }
                TrackOutcome::Accept
            }
            Step::Invalid {
                reason,
                lower_timeout,
            } => {
                self.note_invalid(skb, reason);
                if let Some(timeout) = lower_timeout {
                    entry::refresh(conn, timeout);
                    self.log(skb, Reason::TimeoutLowered);
                }
                TrackOutcome::Invalid
            }
            Step::Reopen if delete::delete(conn, DestroyReason::Reopened) => TrackOutcome::Repeat,
            Step::Reopen => TrackOutcome::Drop,
            Step::Kill => {
                entry::account(conn, self.info.dir(), skb.len());
                delete::delete(conn, DestroyReason::Reset);
                TrackOutcome::Accept
            }
        }
    }

    /// Applies an update to the entry.
    #[inline(always)]
    fn update(self, conn: &Conn, skb: &Skb, update: Update) {
        if let Some(timeout) = update.timeout {
            self.refresh(conn, skb, timeout);
        }
        if update.assured || update.protoinfo {
            note_change(conn, update.assured, update.protoinfo);
        }
    }

    /// Sets the entry's timeout, and counts the packet.
    #[inline(always)]
    fn refresh(self, conn: &Conn, skb: &Skb, timeout: u32) {
        entry::refresh(conn, timeout);
        entry::account(conn, self.info.dir(), skb.len());
    }

    /// Counts and logs why the packet is INVALID.
    #[inline]
    pub(super) fn note_invalid(self, skb: &Skb, reason: Reason) {
        note_invalid(skb, self.state, self.packet.protocol, reason);
    }

    /// Logs what is wrong with the packet.
    #[inline]
    fn log(self, skb: &Skb, reason: Reason) {
        log_invalid(skb, self.state, self.packet.protocol, reason);
    }
}

/// Tracks any TCP segment.
#[inline(never)]
fn track_segment(
    conn: &Conn,
    skb: &mut Skb,
    packet: Packet,
    state: HookState<'_>,
    info: CtInfo,
    rcu: Rcu<'_>,
) -> TrackOutcome {
    let context = PacketContext {
        packet,
        state,
        info,
        rcu,
    };
    if let Some(update) = context.handshake_ack(conn, skb) {
        context.update(conn, skb, update);
        return TrackOutcome::Accept;
    }
    let step = context.segment_step(conn, skb);
    context.apply(conn, skb, step)
}

/// Returns whether a TCP connection is in a state, as read without its lock.
#[inline(always)]
fn is_in(conn: &Conn, state: tcp::State) -> bool {
    conn.proto_byte(offset_of!(tcp::Track, state)) == state.to_u8()
}

/// Counts and logs a packet that is INVALID by itself.
#[cold]
fn invalid(skb: &Skb, state: HookState<'_>, protocol: u8, reason: Reason) -> TrackOutcome {
    note_invalid(skb, state, protocol, reason);
    TrackOutcome::Invalid
}

/// Counts and logs why a packet is INVALID.
#[cold]
#[inline(never)]
pub(super) fn note_invalid(skb: &Skb, state: HookState<'_>, protocol: u8, reason: Reason) {
    state
        .net()
        .count_figure(causes::invalid_by(protocol, reason));
    log_invalid(skb, state, protocol, reason);
}

/// Sets and queues what an update has changed in a connection.
#[inline(never)]
fn note_change(conn: &Conn, assured: bool, protoinfo: bool) {
    if assured && !conn.test_and_set(StatusBit::Assured) {
        ecache::keep(conn, Event::Assured);
    }
    if protoinfo {
        ecache::keep(conn, Event::ProtoInfo);
    }
}

/// Returns whether `nf_conntrack_log_invalid` asks for INVALID packets of a protocol to be logged.
#[inline]
pub(in crate::ct) fn logs_invalid(state: HookState<'_>, protocol: u8) -> bool {
    /// All protocols (`IPPROTO_RAW`).
    const ANY: u8 = 255;
    let setting = settings::LOG_INVALID.read(state.net());
    setting == protocol || setting == ANY
}

/// Logs why a packet is INVALID, if `nf_conntrack_log_invalid` asks for its protocol.
#[inline]
pub(in crate::ct) fn log_invalid(skb: &Skb, state: HookState<'_>, protocol: u8, reason: Reason) {
    if logs_invalid(state, protocol) {
        log_reason(skb, state, protocol, reason);
    }
}

/// Logs a reason, if the setting applies to it.
#[cold]
#[inline(never)]
fn log_reason(skb: &Skb, state: HookState<'_>, protocol: u8, reason: Reason) {
    if reason.is_logged() {
        log::invalid(skb, state, protocol, reason.message(), reason.value());
    }
}
