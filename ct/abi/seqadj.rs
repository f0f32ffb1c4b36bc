// SPDX-License-Identifier: GPL-2.0

//! Sequence adjustment.

use core::ffi::{
    c_int,
    c_uint, //
};

use crate::{
    ct::{
        entry::seqadj,
        packet::parse::Packet, //
    },
    nf::{
        bindings,
        c_export::c_export,
        prelude::*, //
    },
    proto::tcp::SeqNum, //
};

fn direction(info: bindings::ip_conntrack_info) -> Direction {
    CtInfo::from_number(info).dir()
}

c_export! {
    /// Sets the offset of all sequence numbers of a direction.
    fn nf_ct_seqadj_init(
        ct: *mut bindings::nf_conn,
        ctinfo: bindings::ip_conntrack_info,
        off: i32
    ) -> c_int {
        // SAFETY: The caller holds a reference.
        seqadj::init(unsafe { Conn::from_raw(ct) }, direction(ctinfo), off);
        0
    }
}

c_export! {
    /// Adds an offset to the sequence numbers of a direction after `seq`.
    fn nf_ct_seqadj_set(
        ct: *mut bindings::nf_conn,
        ctinfo: bindings::ip_conntrack_info,
        seq: bindings::__be32,
        off: i32
    ) -> c_int {
        // SAFETY: The caller holds a reference.
        let conn = unsafe { Conn::from_raw(ct) };
        seqadj::add(conn, direction(ctinfo), SeqNum(u32::from_be(seq)), off);
        0
    }
}

c_export! {
    /// Adds an offset to the sequence numbers after the first byte of this IPv4 segment.
    fn nf_ct_tcp_seqadj_set(
        skb: *mut bindings::sk_buff,
        ct: *mut bindings::nf_conn,
        ctinfo: bindings::ip_conntrack_info,
        off: i32
    ) {
        // SAFETY: The caller holds a reference, and passes a packet that it owns.
        let (conn, skb) = unsafe { (Conn::from_raw(ct), Skb::from_raw(skb)) };
        if conn.protocol() != protocol::TCP {
            return;
        }
        let seq = skb
            .network_offset()
            .and_then(|offset| Packet::parse(skb, Family::Ipv4, offset))
            .and_then(|packet| skb.read(packet.transport.wrapping_add(4)));
        if let Some(seq) = seq {
            seqadj::add(conn, direction(ctinfo), SeqNum(u32::from_be_bytes(seq)), off);
        }
    }
}

c_export! {
    /// Adjusts the sequence numbers in a segment. Returns 0 if the packet has to be dropped.
    fn nf_ct_seq_adjust(
        skb: *mut bindings::sk_buff,
        ct: *mut bindings::nf_conn,
        ctinfo: bindings::ip_conntrack_info,
        protoff: c_uint
    ) -> c_int {
        // SAFETY: The caller holds a reference, and passes a packet that it owns.
        let (conn, skb) = unsafe { (Conn::from_raw(ct), Skb::from_raw(skb)) };
        seqadj::adjust(skb, conn, direction(ctinfo), protoff).is_some().into()
    }
}

c_export! {
    /// Returns the offset of the byte with the sequence number `seq`.
    fn nf_ct_seq_offset(
        ct: *const bindings::nf_conn,
        dir: bindings::ip_conntrack_dir,
        seq: u32
    ) -> i32 {
        // SAFETY: The caller holds a reference.
        let conn = unsafe { Conn::from_raw(ct.cast_mut()) };
        let dir = if dir == 0 { Direction::Original } else { Direction::Reply };
        seqadj::offset(conn, dir, SeqNum(seq))
    }
}
