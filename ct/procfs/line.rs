// SPDX-License-Identifier: GPL-2.0

//! Formats of an entry's line.
//!
//! [`Classic`], for `/proc/net/nf_conntrack`, is the format of the C tracker (here in three lines;
//! `?`: only for some entries; `|`: one of both):
//!
//! ```text
//! family 2|10 protocol number seconds-left? state? original-tuple zone-orig=? counters?
//!   [UNREPLIED]? reply-tuple zone-reply=? counters? [flag]?
//!   mark= secctx=? zone=? delta-time=? use=
//! ```
//!
//! The state is that of TCP or SCTP, or the timeouts of a GRE connection (`timeout=,
//! stream_timeout=`). A tuple is `src= dst=`, then `sport= dport=` or `type= code= id=`. Counters
//! are `packets= bytes=`. The flag is `HW_OFFLOAD`, `OFFLOAD` or `ASSURED`. An entry that is
//! offloaded to a flow table has neither seconds nor a TCP state. `use=` is the reference count,
//! with the reader's reference.
//!
//! [`Extended`], for `/proc/net/rust_conntrack`, appends:
//!
//! - `state=`: the TCP or SCTP state; for other protocols `UNREPLIED` or `REPLIED`, and `STREAM`
//!   for an assured UDP entry;
//! - `expires=`: the remaining lifetime if no further packet arrives, in seconds with the unit
//!   (`119s`), or `offloaded`;
//! - `id=`: the id, as `conntrack -L -o id` shows it. If the same tuple is tracked again later,
//!   that is another entry with another id;
//! - `[ADOPTED]`: the entry was created from a socket whose connection is older than the tracker.

use kernel::sync::atomic::Relaxed;

use crate::{
    ct::{
        entry::{
            self,
            l4proto, //
        },
        packet::kernel_hook::ConntrackHook, //
    },
    nf::{
        entry::{
            conn::Status,
            ext::Timestamps,
            l4proto::ProcColumn, //
        },
        kernel::{
            seq_file::Out,
            time, //
        },
        packet::tracker::Tracker,
        prelude::*, //
    },
};

/// A format of an entry's line.
pub(super) trait Format: 'static {
    /// Writes the line.
    fn write(conn: &Conn, out: &mut Out<'_>);
}

/// The format of the C tracker.
pub(super) struct Classic;

impl Format for Classic {
    fn write(conn: &Conn, out: &mut Out<'_>) {
        Line::of(conn).classic(out);
        out.text("\n");
    }
}

/// The format of the C tracker, with additional fields at the end.
pub(super) struct Extended;

impl Format for Extended {
    fn write(conn: &Conn, out: &mut Out<'_>) {
        let line = Line::of(conn);
        line.classic(out);
        line.additional_fields(out);
        out.text("\n");
    }
}

/// An entry, with copies of what packets may change while its line is written.
struct Line<'a> {
    conn: &'a Conn,
    status: Status,
    original: Tuple,
    zone: Zone,
    /// The remaining lifetime in seconds.
    seconds_left: u64,
}

impl<'a> Line<'a> {
    fn of(conn: &'a Conn) -> Self {
        Self {
            conn,
            status: conn.status(),
            original: conn.tuple(Direction::Original),
            zone: conn.zone(),
            seconds_left: (conn.remaining() / time::HZ).into(),
        }
    }

    fn is_offloaded(&self) -> bool {
        self.status.has(StatusBit::Offload)
    }

    /// Returns the name of the state, for a protocol that has states.
    fn state(&self) -> Option<&'static str> {
        match self.original.protonum {
            protocol::TCP => Some(l4proto::tcp_state(self.conn).name()),
            protocol::SCTP => Some(l4proto::sctp_state(self.conn).name()),
            _ => None,
        }
    }

    fn classic(&self, out: &mut Out<'_>) {
        let family = match self.original.family() {
            Some(Family::Ipv4) => "ipv4",
            Some(Family::Ipv6) => "ipv6",
            None => "unknown",
        };
        out.padded(family, 8);
        field(out, " ", self.original.l3num);
        out.text(" ");
        out.padded(protocol_name(self.original.protonum), 8);
        field(out, " ", self.original.protonum);
        out.text(" ");

        if !self.is_offloaded() {
            out.number(self.seconds_left);
            out.text(" ");
        }
        match self.original.protonum {
            protocol::TCP if self.is_offloaded() => {}
            protocol::TCP => l4proto::Tcp::show(self.conn, out),
            protocol::SCTP => l4proto::Sctp::show(self.conn, out),
            protocol::GRE => l4proto::Gre::show(self.conn, out),
            _ => {}
        }

        self.direction(Direction::Original, out);
        if !self.status.has(StatusBit::SeenReply) {
            out.text("[UNREPLIED] ");
        }
        self.direction(Direction::Reply, out);

        if self.status.has(StatusBit::HwOffload) {
            out.text("[HW_OFFLOAD] ");
        } else if self.is_offloaded() {
            out.text("[OFFLOAD] ");
        } else if self.status.has(StatusBit::Assured) {
            out.text("[ASSURED] ");
        }

        #[cfg(CONFIG_NF_CONNTRACK_MARK)]
        field_then_blank(out, "mark=", self.conn.mark());
        self.security_label(out);
        self.zone(out, Zone::BOTH, "zone=");
        if let Some(timestamps) = self.conn.extensions().find::<Timestamps>() {
            let age = time::real_ns().saturating_sub(timestamps.start().load(Relaxed));
            field_then_blank(out, "delta-time=", age / 1_000_000_000);
        }
        field(out, "use=", self.conn.use_count());
    }

    /// Writes the tuple of one direction, with its zone and counters.
    fn direction(&self, dir: Direction, out: &mut Out<'_>) {
        write_tuple(&self.conn.tuple(dir), out);
        match dir {
            Direction::Original => self.zone(out, Zone::ORIGINAL, "zone-orig="),
            Direction::Reply => self.zone(out, Zone::REPLY, "zone-reply="),
        }
        if let Some((packets, bytes)) = entry::counted(self.conn, dir) {
            field_then_blank(out, "packets=", packets);
            field_then_blank(out, "bytes=", bytes);
        }
    }

    /// Writes the zone, if it is for exactly these directions.
    fn zone(&self, out: &mut Out<'_>, directions: u8, name: &str) {
        if cfg!(CONFIG_NF_CONNTRACK_ZONES) && self.zone.dir == directions {
            field_then_blank(out, name, self.zone.id);
        }
    }

    #[cfg(CONFIG_NF_CONNTRACK_SECMARK)]
    fn security_label(&self, out: &mut Out<'_>) {
        if let Ok(label) = kernel::security::SecurityCtx::from_secid(self.conn.secmark()) {
            // The length that some security modules give includes the terminating zero byte.
            let text = label.as_bytes().split(|&byte| byte == 0).next();
            out.text("secctx=");
            out.bytes(text.unwrap_or_default());
            out.text(" ");
        }
    }

    #[cfg(not(CONFIG_NF_CONNTRACK_SECMARK))]
    fn security_label(&self, _out: &mut Out<'_>) {}

    fn additional_fields(&self, out: &mut Out<'_>) {
        out.text(" state=");
        out.text(match self.state() {
            Some(state) => state,
            None if !self.status.has(StatusBit::SeenReply) => "UNREPLIED",
            None if self.is_stream() => "STREAM",
            None => "REPLIED",
        });
        if self.is_offloaded() {
            out.text(" expires=offloaded");
        } else {
            field(out, " expires=", self.seconds_left);
            out.text("s");
        }
        // Netlink sends the id in the machine's byte order, and programs read it in network order.
        field(out, " id=", u32::from_be(ConntrackHook::id(self.conn)));
        if self.status.has(StatusBit::Adopted) {
            out.text(" [ADOPTED]");
        }
    }

    fn is_stream(&self) -> bool {
        self.original.protonum == protocol::UDP && self.status.has(StatusBit::Assured)
    }
}

fn protocol_name(protonum: u8) -> &'static str {
    match protonum {
        protocol::ICMP => "icmp",
        protocol::TCP => "tcp",
        protocol::UDP => "udp",
        protocol::GRE => "gre",
        protocol::ICMPV6 => "icmpv6",
        protocol::SCTP => "sctp",
        _ => "unknown",
    }
}

/// Writes a name and a number.
fn field(out: &mut Out<'_>, name: &str, number: impl Into<u64>) {
    out.text(name);
    out.number(number.into());
}

/// Writes a name, a number and a blank.
fn field_then_blank(out: &mut Out<'_>, name: &str, number: impl Into<u64>) {
    field(out, name, number);
    out.text(" ");
}

/// Writes the addresses of a tuple, and its ports or what the protocol has instead.
pub(super) fn write_tuple(tuple: &Tuple, out: &mut Out<'_>) {
    match tuple.family() {
        Some(Family::Ipv4) => {
            out.text("src=");
            out.ipv4(&tuple.src_ipv4());
            out.text(" dst=");
            out.ipv4(&tuple.dst_ipv4());
            out.text(" ");
        }
        Some(Family::Ipv6) => {
            out.text("src=");
            out.ipv6(&tuple.src);
            out.text(" dst=");
            out.ipv6(&tuple.dst);
            out.text(" ");
        }
        None => {}
    }
    match tuple.protonum {
        protocol::TCP | protocol::UDP | protocol::SCTP => {
            field_then_blank(out, "sport=", tuple.src_port());
            field_then_blank(out, "dport=", tuple.dst_port());
        }
        protocol::ICMP | protocol::ICMPV6 => {
            field_then_blank(out, "type=", tuple.icmp_type());
            field_then_blank(out, "code=", tuple.icmp_code());
            field_then_blank(out, "id=", tuple.icmp_id());
        }
        protocol::GRE => {
            out.text("srckey=0x");
            out.hex(tuple.src_port());
            out.text(" dstkey=0x");
            out.hex(tuple.dst_port());
            out.text(" ");
        }
        _ => {}
    }
}
